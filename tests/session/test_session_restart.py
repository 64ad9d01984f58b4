"""A store that outlives the process: the next one goes on where the last one ended, and each message has one end."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.config import SessionSettings
from csgate.errors import DuplicateMismatch, NotFound
from csgate.events import DeltaEvent, Draft, ErrorEvent, MessageEvent, Picture, Principal, ReplyEvent
from csgate.session import Conversations, MemoryStore, Turn, open_conversations
from csgate.session.sqlite import SqliteStore, open_sqlite_store


class House:
    """Processes that follow one another on one file, and what their answerers were given."""

    def __init__(self, rig: Any, folder: Path) -> None:
        self.rig = rig
        self.folder = folder
        self.turns: list[Turn] = []
        self.hold = True
        self.store: Any = None
        self._more = trio.Event()

    async def begun(self, count: int) -> None:
        """Until so many turns have begun, in all processes."""
        while len(self.turns) < count:
            await self._more.wait()

    async def answer(self, turn: Turn) -> Draft:
        self.turns.append(turn)
        self._more.set()
        self._more = trio.Event()
        turn.delta("a piece")
        if self.hold and turn.text == "hold":
            await trio.sleep_forever()
        return Draft(text=f"re: {turn.text}", hand_over=turn.text == "person")

    @asynccontextmanager
    async def process(self, **settings: Any) -> AsyncIterator[Conversations]:
        chosen = SessionSettings(durability="normal", **settings)
        with trio.fail_after(30):
            async with (
                open_sqlite_store(self.folder, chosen, self.rig.telemetry) as self.store,
                open_conversations(self.store, self.answer, chosen, self.rig.telemetry) as conversations,
            ):
                yield conversations


@pytest.fixture
def house(bare_rig: Any, tmp_path: Path) -> House:
    return House(bare_rig(), tmp_path)


def finals(events: Any) -> list[Any]:
    return [event for event in events if isinstance(event, ReplyEvent | ErrorEvent)]


async def test_open_turns_run_again_as_the_next_attempt_and_end_once(house: House) -> None:
    # Expired long ago: it was valid when the message was acknowledged.
    ann = Principal("ann", issuer="shop", tenant="t1", tier=3, expires_at=1.0)
    recorder = house.rig.recorder
    sink = recorder()
    async with house.process() as conversations:
        first = await conversations.attach(ann, sink)
        await first.submit("before", "hi", None)
        await sink.wait(ReplyEvent)
        await first.submit("a", "hold", Picture(memoryview(b"\xff\x00"), "binary", "pictures/1"))
        await first.submit("b", "你好", Picture(b"QUFB", "base64"))
        await sink.wait(DeltaEvent, match=lambda event: event.id == "a")
    house.hold = False
    sink = recorder()
    async with house.process() as conversations:
        again = await conversations.attach(
            ann, sink, conversation=first.conversation, epoch=first.epoch, offset=first.offset
        )
        assert again.recovered
        await conversations.drained()
        # The same message again: the same ack, and no second answer.
        assert (await again.submit("a", "hold", Picture(b"\xff\x00", "binary"))).offset == 3
        with pytest.raises(DuplicateMismatch):
            await again.submit("a", "something else", None)
        log = (await house.store.read(first.conversation)).events
    assert [event.offset for event in log] == [1, 2, 3, 4, 5, 6]
    assert [event.id for event in finals(log)] == ["before", "a", "b"]
    before, held, held_again, behind = house.turns
    assert (before.attempt, held.attempt, held_again.attempt) == (1, 1, 2)
    assert behind.attempt == 1  # it had not begun
    assert held_again.principal == ann
    assert held_again.picture == Picture(b"\xff\x00", "binary", "pictures/1")
    assert (behind.picture, behind.language, behind.text) == (Picture(b"QUFB", "base64"), "zh", "你好")
    assert [event.offset for event in held_again.history] == [1, 2]
    assert {event.attempt for event in sink.of(DeltaEvent) if event.id == "a"} <= {2}


async def test_a_turn_that_died_with_its_process_twice_becomes_an_error(house: House, ann: Principal) -> None:
    sink = house.rig.recorder()
    async with house.process() as conversations:
        first = await conversations.attach(ann, sink)
        await first.submit("a", "hold", None)
        await first.submit("b", "hold", None)
        await sink.wait(DeltaEvent)
    for begun in (2, 3):
        async with house.process() as conversations:
            await house.begun(begun)
            assert conversations.open_turns > 0
    assert [(turn.id, turn.attempt) for turn in house.turns] == [("a", 1), ("a", 2), ("b", 1)]
    house.hold = False
    async with house.process() as conversations:
        await conversations.drained()
        log = (await house.store.read(first.conversation)).events
    assert [(type(event), event.id) for event in finals(log)] == [(ErrorEvent, "a"), (ReplyEvent, "b")]
    assert finals(log)[0].code == "internal"
    assert [(turn.id, turn.attempt) for turn in house.turns[3:]] == [("b", 2)]
    (line,) = [line for line in house.rig.logged() if line["event"] == "turn_given_up"]
    assert line["ref"] == finals(log)[0].ref


async def test_a_turn_that_cannot_be_read_keeps_no_process_from_starting(house: House, ann: Principal) -> None:
    async with house.process() as conversations:
        first = await conversations.attach(ann, house.rig.recorder())
        await first.submit("a", "hold", None)
        second = await conversations.attach(ann, house.rig.recorder())
        await second.submit("b", "hold", None)
        await house.begun(2)
    house.hold = False
    with closing(sqlite3.connect(house.folder / "csgate.db", isolation_level=None)) as file:
        file.execute("UPDATE turns SET principal = x'c1' WHERE id = 'a'")
        async with house.process() as conversations:
            await conversations.drained()
            assert conversations.trouble is None
            log = (await house.store.read(second.conversation)).events
        left = file.execute("SELECT id, attempt FROM turns").fetchall()
    assert [event.id for event in finals(log)] == ["b"]
    assert left == [("a", 1)], "as it was, for a version that can read it"
    assert [line["turn"] for line in house.rig.logged() if line["event"] == "turn_unreadable"] == ["a"]


async def test_state_count_and_idempotency_survive(house: House, ann: Principal) -> None:
    sink = house.rig.recorder()
    async with house.process() as conversations:
        first = await conversations.attach(ann, sink)
        ack = await first.submit("a", "person", None)
        await sink.wait(ReplyEvent)
        await conversations.drained()
    async with house.process() as conversations:
        assert conversations.count == 1
        again = await conversations.attach(ann, sink, conversation=first.conversation)
        assert again.state == "waiting"
        assert again.epoch == first.epoch
        assert await again.submit("a", "person", None) == ack
        assert (await again.submit("b", "hi", None)).offset == 4
        with pytest.raises(NotFound):
            await conversations.attach(Principal("eve"), sink, conversation=first.conversation)
    assert [turn.id for turn in house.turns if turn.id == "a"] == ["a"]


async def test_the_answers_of_those_who_do_not_come_back_are_stopped(house: House, ann: Principal) -> None:
    async with house.process() as conversations:
        first = await conversations.attach(ann, house.rig.recorder())
        await first.submit("a", "hold", None)
    async with house.process(grace_seconds=0.05) as conversations:
        await conversations.drained()
        assert conversations.live == 0
        log = (await house.store.read(first.conversation)).events
    assert [type(event) for event in log] == [MessageEvent, ReplyEvent]
    assert log[1].stopped


async def test_too_many_of_an_earlier_setting_are_forgotten(house: House, ann: Principal) -> None:
    async with house.process() as conversations:
        for number in range(5):
            attachment = await conversations.attach(ann, house.rig.recorder())
            await attachment.submit("a", f"hi {number}", None)
        await conversations.drained()
    async with house.process(max_conversations=2, max_age_seconds=0.05) as conversations:
        assert conversations.count == 5
        while conversations.count > 0:  # noqa: ASYNC110  there is no event for it
            await trio.sleep(0.01)
        assert await house.store.count() == 0


async def test_the_store_in_memory_opens_nothing_again() -> None:
    assert await MemoryStore().reopen() == ()


async def test_a_turn_reads_nothing_from_the_disk(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = house.rig.recorder()
    async with house.process(page_events=4) as conversations:
        first = await conversations.attach(ann, sink)
        await first.submit("a", "hi", None)
        await sink.wait(ReplyEvent)

        async def refused(_: object) -> None:
            raise AssertionError("a read")

        store: SqliteStore = house.store
        monkeypatch.setattr(store._reader, "ask", refused)
        for id in "bcd":
            await first.submit(id, "hi", None)
            await sink.wait(ReplyEvent, match=lambda event, id=id: event.id == id)
    assert [event.offset for event in house.turns[-1].history] == [4, 5, 6]
