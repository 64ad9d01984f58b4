"""The store in memory, as the interface says."""

import pytest

from csgate.errors import DuplicateMismatch
from csgate.events import ErrorEvent, MessageEvent, Principal, RateEvent, ReplyEvent, StateEvent
from csgate.session import Accepted, Header, MemoryStore, OpenTurn, Page, Record, Stored

HEADER = Header("c", "e", "shop", "t1", "ann")
TURN = OpenTurn("m", "hi", None, Principal(subject="ann"), "en")


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000Z"


def message(id: str, second: int = 0) -> MessageEvent:
    return MessageEvent(id=id, offset=0, author="customer", text="hi", timestamp=at(second))


def reply(id: str) -> ReplyEvent:
    return ReplyEvent(id, 0, "yes", None, None, (), "", "canned", at(1))


async def test_nothing_is_known_before_the_first_event() -> None:
    store = MemoryStore()
    assert await store.load("c") is None
    assert await store.read("c") is None
    assert await store.recall("c", "m") is None
    assert await store.count() == 0


async def test_a_message_is_accepted_once_and_finished_once() -> None:
    store = MemoryStore()
    assert await store.accept(HEADER, message("m"), b"1", TURN) == Accepted(1, new=True)
    assert await store.accept(HEADER, message("m"), b"1", TURN) == Accepted(1, new=False)
    with pytest.raises(DuplicateMismatch):
        await store.accept(HEADER, message("m"), b"2", TURN)
    assert await store.recall("c", "m") == Record(1, b"1", "open")
    finished = await store.finish(HEADER, "m", reply("m"))
    assert finished is not None
    assert finished.final.offset == 2
    assert finished.state_event is None
    assert await store.finish(HEADER, "m", reply("m")) is None
    assert await store.finish(HEADER, "unknown", reply("unknown")) is None
    assert await store.recall("c", "m") == Record(1, b"1", "reply")
    assert await store.load("c") == Stored(HEADER, None)
    page = await store.read("c")
    assert page is not None
    assert [event.offset for event in page.events] == [1, 2]


async def test_an_error_and_a_message_without_a_turn_leave_no_reply_to_rate() -> None:
    store = MemoryStore()
    await store.accept(HEADER, message("m"), b"1", TURN)
    await store.finish(HEADER, "m", ErrorEvent("internal", "sorry", "r", id="m"))
    await store.accept(HEADER, message("n"), b"1", None)
    assert await store.finish(HEADER, "n", reply("n")) is None
    assert await store.recall("c", "m") == Record(1, b"1", "error")
    assert await store.recall("c", "n") == Record(3, b"1", "unanswered")


async def test_state_follows_the_log() -> None:
    store = MemoryStore()
    stored = await store.append(HEADER, StateEvent("waiting", 0, at(0)))
    assert stored == StateEvent("waiting", 1, at(0))
    assert await store.load("c") == Stored(HEADER, stored)
    await store.append(HEADER, RateEvent("m", 5, 0, at(0)))
    assert await store.load("c") == Stored(HEADER, stored)


async def test_the_newest_state_outlives_its_place_in_the_log() -> None:
    store = MemoryStore(max_events=1)
    stored = await store.append(HEADER, StateEvent("human", 0, at(0)))
    await store.append(HEADER, message("m"))
    page = await store.read("c")
    assert page is not None
    assert stored not in page.events
    assert await store.load("c") == Stored(HEADER, stored)


async def test_reading_after_an_offset_and_the_newest_few() -> None:
    store = MemoryStore(max_events=4)
    for number in range(6):
        await store.append(HEADER, message(str(number)))

    async def offsets(after: int = 0, limit: int | None = None) -> list[int]:
        page = await store.read("c", after=after, limit=limit)
        assert page is not None
        assert (page.first, page.last) == (3, 6)
        return [event.offset for event in page.events]

    assert await offsets() == [3, 4, 5, 6]
    assert await offsets(after=4) == [5, 6]
    assert await offsets(after=6) == []
    assert await offsets(after=9) == []
    assert await offsets(limit=2) == [5, 6]
    assert await offsets(limit=9) == [3, 4, 5, 6]
    assert await offsets(after=5, limit=3) == [6]


async def test_ids_are_forgotten_with_their_messages_but_never_while_open() -> None:
    store = MemoryStore(max_events=2)
    await store.accept(HEADER, message("a"), b"1", TURN)
    for id in "bcd":
        await store.accept(HEADER, message(id), b"1", None)
    assert await store.recall("c", "a") == Record(1, b"1", "open")
    finished = await store.finish(HEADER, "a", reply("a"))
    assert finished is not None
    assert finished.final.offset == 5
    assert [await store.recall("c", id) for id in "abc"] == [None] * 3
    assert await store.recall("c", "d") == Record(4, b"1", "unanswered")


async def test_prune_takes_the_longest_idle_first_and_keeps_what_is_in_use() -> None:
    store = MemoryStore()
    for second, name in enumerate("abcdef"):
        await store.append(Header(name, "e", "", "", "ann"), message("m", second))
    await store.append(Header("b", "e", "", "", "ann"), message("n", 9))
    # By activity now: a0 c2 d3 e4 f5 b9.
    assert await store.prune({"a"}, now=at(9), before=at(4), at_most=1) == 1
    assert await store.load("c") is None
    assert await store.prune({"a"}, now=at(9), before=at(4), at_most=5) == 1
    assert await store.load("d") is None
    assert await store.prune((), now=at(9), before=at(4), at_most=5) == 0
    # "a" was in use at second 9 and is no longer the oldest.
    assert await store.prune((), now=at(9), before=at(9), at_most=5) == 2
    assert await store.count() == 2
    assert await store.load("a") is not None
    assert await store.prune({"a", "b"}, now=at(9), before="~", at_most=5) == 0
    assert await store.prune((), now=at(9), before="~", at_most=5) == 2
    assert await store.prune((), now=at(9), before="~", at_most=5) == 0


async def test_a_final_event_without_a_time_leaves_the_time_of_the_last_activity() -> None:
    store = MemoryStore()
    await store.accept(HEADER, message("m", 5), b"1", TURN)
    await store.finish(HEADER, "m", ErrorEvent("internal", "sorry", "r", id="m"))
    assert await store.prune((), now=at(9), before=at(5), at_most=1) == 0
    page = await store.read("c")
    assert isinstance(page, Page)
    assert page.last == 2
