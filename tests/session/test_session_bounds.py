"""Bounds in bytes: of the pictures that open turns hold, and of the logs in memory."""

from collections.abc import Container
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.errors import DuplicateMismatch, Overloaded
from csgate.events import (
    ErrorEvent,
    LogEvent,
    MessageEvent,
    Picture,
    Principal,
    RateEvent,
    ReplyEvent,
    StateEvent,
)
from csgate.session import Header, MemoryStore
from csgate.session.footprint import event_bytes, log_bytes

SIX = Picture(b"sixsix", "binary")
TIME = "2026-01-01T00:00:00.000Z"


# --- Pictures -------------------------------------------------------------------------------------------------------


async def test_pictures_of_open_turns_are_bounded_over_all_conversations(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    here, there = rig.recorder(), rig.recorder()
    async with rig.open(max_open_bytes=10) as conversations:
        one = await conversations.attach(ann, here)
        other = await conversations.attach(ann, there)
        first = await one.submit("a", "sleep 1", SIX)
        with pytest.raises(Overloaded) as refused:
            await other.submit("a", "hi", SIX)
        assert refused.value.retry_after
        # Neither a text alone, nor what fits, nor what was accepted before is refused.
        await other.submit("b", "sleep 1", None)
        await other.submit("c", "hi", Picture(memoryview(bytearray(4)), "base64"))
        assert conversations.open_bytes == 10
        with pytest.raises(Overloaded):
            await other.submit("d", "hi", Picture(b"1", "binary"))
        assert await one.submit("a", "sleep 1", SIX) == first
        with pytest.raises(DuplicateMismatch):
            await one.submit("a", "sleep 1", Picture(b"eleveneleve", "binary"))
        await here.wait(ReplyEvent)
        await there.wait(ReplyEvent, count=2)
        assert conversations.open_bytes == 0
        await other.submit("a", "hi", Picture(b"ten ten te", "binary"))
        assert conversations.open_bytes == 10
        await there.wait(ReplyEvent, count=3)
        with pytest.raises(Overloaded):
            await other.submit("e", "hi", Picture(b"eleveneleve", "binary"))
        assert await rig.log_of(other.conversation) != []


async def test_bytes_are_counted_as_bytes(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("a", "sleep 1", Picture(memoryview(bytes(8)).cast("I"), "binary"))
        assert conversations.open_bytes == 8


async def test_newcomers_do_not_share_the_bytes_of_one(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    outcomes: list[bool] = []
    async with rig.open(max_open_bytes=13) as conversations:

        async def say() -> None:
            attachment = await conversations.attach(ann, rig.recorder())
            try:
                await attachment.submit("m", "sleep 1", SIX)
                outcomes.append(True)
            except Overloaded:
                outcomes.append(False)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(say)
        assert sorted(outcomes) == [False, False, False, True, True]
        assert conversations.open_bytes == 12


@pytest.mark.parametrize(
    "end", ["answer", "fail", "refuse", "timeout", "cancel", "mute", "abandon", "drain", "unstored"]
)
async def test_however_turns_end_they_give_their_bytes_back(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal, end: str
) -> None:
    rig.store = rig.slow_store(rig.store) if end == "unstored" else rig.store
    words = {"answer": "hi", "fail": "fail", "refuse": "refuse", "timeout": "sleep 100"}.get(end, "sleep 5")
    async with rig.open(turn_seconds=10.0, grace_seconds=1.0) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        for id in "ab":  # one runs, one waits
            await attachment.submit(id, words, SIX)
        await attachment.submit("b", words, SIX)
        if words.startswith("sleep"):
            assert (conversations.open_turns, conversations.open_bytes) == (2, 12)
        match end:
            case "cancel":
                attachment.cancel("b")
                attachment.cancel("a")
            case "mute":
                helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
                await helper.submit("x", "Hello.", None)
            case "abandon":
                await attachment.detach()
            case "drain":
                conversations.begin_drain()
            case "unstored":
                rig.store.fail.add("finish")
            case _:
                pass
        await conversations.drained()
        assert (conversations.open_turns, conversations.open_bytes) == (0, 0)


async def test_a_message_that_is_not_stored_holds_nothing(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    rig.store.fail.add("accept")
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        with pytest.raises(OSError, match="disk"):
            await attachment.submit("a", "hi", SIX)
        assert (conversations.open_turns, conversations.open_bytes) == (0, 0)


# --- Logs -----------------------------------------------------------------------------------------------------------


async def test_the_oldest_that_nobody_uses_are_forgotten_for_their_bytes(
    autojump_clock: object, memory_rig: Any, ann: Principal
) -> None:
    rig = memory_rig
    async with rig.open(max_log_bytes=60_000) as conversations:
        kept = await conversations.attach(ann, rig.recorder())
        await kept.submit("m", "hi", None)
        busy = await conversations.attach(ann, rig.recorder())
        await busy.submit("m", "sleep 20", None)
        await busy.detach()
        ids = []
        for _ in range(5):
            sink = rig.recorder()
            attachment = await conversations.attach(ann, sink)
            await attachment.submit("m", "x" * 10_000, None)  # and as much in its reply
            await sink.wait(ReplyEvent)
            await attachment.detach()
            ids.append(attachment.conversation)
            await wait_all_tasks_blocked()
        known = [await rig.store.load(id) is not None for id in ids]
        assert known == [False, False, True, True, True]
        for id in (kept.conversation, busy.conversation):
            assert await rig.store.load(id) is not None
        assert conversations.count == await rig.store.count() == 5
        assert rig.sample("csgate_conversations") == 5
        # One message at the most beyond the bound, and its reply.
        assert rig.store.memory_bytes < 60_000 + 25_000


async def test_with_nothing_to_forget_new_messages_are_refused(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    class Counting(MemoryStore):
        prunes = 0

        async def prune(self, keep: Container[str], *, now: str, before: str, at_most: int) -> int:
            self.prunes += 1
            return await super().prune(keep, now=now, before=before, at_most=at_most)

    sink, store = rig.recorder(), Counting()
    async with rig.open(store, max_log_bytes=10_000) as conversations:
        one = await conversations.attach(ann, sink)
        other = await conversations.attach(ann, rig.recorder())
        helper = await conversations.attach(agent, rig.recorder(), conversation=one.conversation)
        await other.submit("a", "hi", None)
        first = await one.submit("a", "x" * 10_000, None)
        await sink.wait(ReplyEvent)
        for attachment in (one, other, helper):
            with pytest.raises(Overloaded) as refused:
                await attachment.submit("b", "hi", None)
            assert refused.value.retry_after
        with pytest.raises(Overloaded):
            await one.rate("a", 5)
        assert store.prunes == 1, "it looks through all conversations for every message"
        assert await one.submit("a", "x" * 10_000, None) == first
        with pytest.raises(DuplicateMismatch):
            await one.submit("a", "hi", None)
        assert conversations.open_turns == 0
        await one.detach()
        await helper.detach()
        with pytest.raises(Overloaded):
            await other.submit("b", "hi", None)
        await trio.sleep(1.0)
        await other.submit("b", "hi", None)
        assert await store.load(one.conversation) is None
        assert conversations.count == await store.count() == 1


async def test_the_store_counts_what_it_keeps_and_no_more() -> None:
    store = MemoryStore(max_events=3)
    assert store.memory_bytes == 0
    headers = [Header(name, "e", "shop", "t1", "ann") for name in "ab"]
    for number in range(5):
        for header in headers:
            event = MessageEvent(str(number), 0, "customer", "x" * 10**number, TIME)
            await store.accept(header, event, b"1", None)
            await store.accept(header, event, b"1", None)
    kept = []
    for header in headers:
        page = await store.read(header.id)
        assert page is not None
        kept.append(log_bytes(header) + sum(map(event_bytes, page.events)))
    assert 11_000 < kept[0] < 14_000
    assert store.memory_bytes == sum(kept)
    await store.append(headers[1], StateEvent("waiting", 0, TIME))
    await store.prune({"b"}, now=TIME, before="~", at_most=5)
    assert 0 < store.memory_bytes < sum(kept) - kept[0] + 1_000
    await store.prune((), now=TIME, before="~", at_most=5)
    assert store.memory_bytes == 0


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (MessageEvent("m", 1, "customer", "", TIME), MessageEvent("m", 1, "customer", "x" * 1000, TIME)),
        (MessageEvent("m", 1, "customer", "", TIME), MessageEvent("m" * 1001, 1, "customer", "", TIME)),
        (
            ReplyEvent("m", 1, "", None, None, (), "", "canned", TIME),
            ReplyEvent("m", 1, "x" * 300, None, None, (), "y" * 300, "canned", TIME, quick_replies=("z" * 400,)),
        ),
        (ErrorEvent("internal", "", "r"), ErrorEvent("internal", "x" * 1000, "r")),
        (RateEvent("m", 5, 1, TIME), RateEvent("m", 5, 1, TIME, "x" * 1000)),
    ],
)
def test_an_event_takes_a_constant_and_its_texts(short: LogEvent, long: LogEvent) -> None:
    assert event_bytes(short) > 200
    assert event_bytes(long) == event_bytes(short) + 1000


def test_wide_text_and_long_names_take_more() -> None:
    assert event_bytes(MessageEvent("m", 1, "customer", "你好" * 500, TIME)) > 8_000
    plain = log_bytes(Header("c", "e", "shop", "t1", "ann"))
    assert plain > 500
    assert log_bytes(Header("c", "e", "shop" + "i" * 100, "t1" + "t" * 100, "ann" + "s" * 100)) == plain + 300
    assert event_bytes(StateEvent("bot", 1, TIME)) > 200
