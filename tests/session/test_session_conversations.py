"""Opening, owning, finding, bounding and forgetting conversations; what a resume gives back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.config import SessionSettings
from csgate.errors import BadEnvelope, DuplicateMismatch, Forbidden, NotFound, Overloaded, StoreUnavailable
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    MessageEvent,
    Picture,
    Principal,
    RateEvent,
    ReplyEvent,
    TypingEvent,
)
from csgate.session import open_conversations


async def test_a_message_is_acknowledged_then_answered(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        assert (attachment.offset, attachment.recovered, attachment.history) == (0, False, ())
        assert (attachment.snapshot, attachment.state) == (None, "bot")
        assert len(attachment.conversation) == 22
        ack = await attachment.submit("m1", "hello", None)
        assert ack == AckEvent("m1", 1)
        assert sink.events[0] == ack
        reply = await sink.wait(ReplyEvent)
        assert (reply.id, reply.offset, reply.text, reply.source) == ("m1", 2, "re: hello", "canned")
        assert reply.timestamp == "2026-01-01T00:00:00.000Z"
        assert sink.kinds() == ["ack", "reply"]
        assert attachment.offset == 2
        assert await rig.log_of(attachment.conversation) == [
            MessageEvent("m1", 1, "customer", "hello", "2026-01-01T00:00:00.000Z"),
            reply,
        ]
        await wait_all_tasks_blocked()
        assert conversations.open_turns == 0
    assert rig.sample("csgate_replies_total", source="canned") == 1
    assert rig.sample("csgate_turn_seconds_count") == 1
    assert rig.sample("csgate_turns_open") == 0
    assert rig.sample("csgate_conversations") == 1


async def test_the_wall_clock_is_the_default(autojump_clock: object, ann: Principal, rig: Any) -> None:
    async with open_conversations(rig.store, rig.answer, SessionSettings(), rig.telemetry) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("m", "hi", None)
        written = datetime.fromisoformat((await rig.log_of(attachment.conversation))[0].timestamp)
        assert abs((datetime.now(UTC) - written).total_seconds()) < 60


async def test_the_others_see_the_message_its_sender_the_ack(autojump_clock: object, rig: Any, ann: Principal) -> None:
    here, there = rig.recorder(), rig.recorder()
    async with rig.open() as conversations:
        one = await conversations.attach(ann, here)
        other = await conversations.attach(ann, there, conversation=one.conversation)
        await one.submit("m1", "hi", None)
        await here.wait(ReplyEvent)
        await other.submit("m2", "ho", None, ack=False)
        await there.wait(ReplyEvent, count=2)
        one.typing(True)
    assert here.kinds() == ["ack", "reply", "message", "reply"]
    assert there.kinds() == ["message", "reply", "reply", "typing"]
    assert there.of(TypingEvent) == [TypingEvent(on=True, author="customer")]


async def test_the_same_message_again_is_the_same_ack_and_no_second_answer(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    sink = rig.recorder()
    picture = Picture(b"abc", "binary")
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        first = await attachment.submit("m1", None, picture)
        assert await attachment.submit("m1", "", Picture(memoryview(b"abc"), "binary")) == first
        for text, other in ((None, None), ("x", picture), (None, Picture(b"abc", "base64"))):
            with pytest.raises(DuplicateMismatch):
                await attachment.submit("m1", text, other)
        await sink.wait(ReplyEvent)
        assert await attachment.submit("m1", None, picture) == first
        await wait_all_tasks_blocked()
        assert conversations.open_turns == 0
    assert sink.of(AckEvent) == [first] * 3
    assert len(sink.of(ReplyEvent)) == 1


async def test_only_the_owner_and_the_agents_of_the_tenant_come_in(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    async with rig.open() as conversations:
        mine = await conversations.attach(ann, rig.recorder())
        await mine.submit("m1", "hi", None)
        wrong = [
            Principal(subject="bob", issuer="shop", tenant="t1"),
            Principal(subject="ann", issuer="other", tenant="t1"),
            Principal(subject="ann", issuer="shop", tenant="t2"),
            Principal(subject="ann", issuer="shop", tenant="t2", role="agent"),
            Principal(subject="ann", issuer="shop", tenant="t1", conversation="another"),
        ]
        for name in (mine.conversation, "unknown"):
            for principal in wrong:
                with pytest.raises(NotFound):
                    await conversations.attach(principal, rig.recorder(), conversation=name)
        right = [ann, agent, Principal(subject="ann", issuer="shop", tenant="t1", role="service")]
        for principal in right:
            await conversations.attach(principal, rig.recorder(), conversation=mine.conversation)
        with pytest.raises(Forbidden):
            await conversations.attach(agent, rig.recorder())
        restricted = Principal(subject="ann", issuer="shop", tenant="t1", conversation=mine.conversation)
        attachment = await conversations.attach(restricted, rig.recorder())
        assert attachment.conversation == mine.conversation
        await attachment.detach()
    # The same holds for one that only the store knows.
    async with rig.open() as conversations:
        for principal in wrong:
            with pytest.raises(NotFound):
                await conversations.attach(principal, rig.recorder(), conversation=mine.conversation)
        assert conversations.live == 0
        await conversations.attach(ann, rig.recorder(), conversation=mine.conversation)


async def test_an_idle_conversation_lives_in_the_store_alone_and_an_unsaid_one_nowhere(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async with rig.open() as conversations:
        silent = await conversations.attach(ann, rig.recorder())
        again = await conversations.attach(ann, rig.recorder(), conversation=silent.conversation)
        spoken = await conversations.attach(ann, rig.recorder())
        await spoken.submit("m1", "hi", None)
        await wait_all_tasks_blocked()
        assert (conversations.count, conversations.live, await rig.store.count()) == (2, 2, 1)
        for attachment in (silent, again, spoken, spoken):
            await attachment.detach()
        assert (conversations.count, conversations.live) == (1, 0)
        with pytest.raises(NotFound):
            await conversations.attach(ann, rig.recorder(), conversation=silent.conversation)
        back = await conversations.attach(ann, rig.recorder(), conversation=spoken.conversation)
        assert len(back.history) == 2


async def test_a_detached_attachment_does_nothing_and_hears_nothing(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    sink, other = rig.recorder(), rig.recorder()
    async with rig.open() as conversations:
        one = await conversations.attach(ann, sink)
        two = await conversations.attach(ann, other, conversation=one.conversation)
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.detach()
        with pytest.raises(trio.ClosedResourceError):
            await one.submit("m1", "hi", None)
        one.cancel("m1")
        await two.submit("m1", "hi", None)
        await other.wait(ReplyEvent)
    assert sink.events == []


# --- Resume ------------------------------------------------------------------------------------------------------


async def test_a_resume_gives_exactly_what_was_missed(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(page_events=3) as conversations:
        first = await conversations.attach(ann, rig.recorder())
        for number in range(3):
            await first.submit(f"m{number}", "hi", None)
        await wait_all_tasks_blocked()
        log = await rig.log_of(first.conversation)
        assert [event.offset for event in log] == [1, 2, 3, 4, 5, 6]
        for offset in range(7):
            back = await conversations.attach(
                ann, rig.recorder(), conversation=first.conversation, epoch=first.epoch, offset=offset
            )
            assert (back.recovered, list(back.history), back.offset) == (True, log[offset:], 6)
            await back.detach()
        for epoch, wrong in ((first.epoch, 7), (first.epoch, -1), ("other", 2), (first.epoch, None), (None, 2)):
            back = await conversations.attach(
                ann, rig.recorder(), conversation=first.conversation, epoch=epoch, offset=wrong
            )
            assert (back.recovered, list(back.history), back.offset) == (False, log[3:], 6)
            await back.detach()


async def test_a_resume_from_before_what_is_retained_gets_a_page(
    autojump_clock: object, rig: Any, make_store: Any, ann: Principal
) -> None:
    rig.store = make_store(max_events=4)
    async with rig.open() as conversations:
        first = await conversations.attach(ann, rig.recorder())
        for number in range(3):
            await first.submit(f"m{number}", "hi", None)
        await wait_all_tasks_blocked()
        for offset, recovered in ((1, False), (2, True)):
            back = await conversations.attach(
                ann, rig.recorder(), conversation=first.conversation, epoch=first.epoch, offset=offset
            )
            assert back.recovered is recovered
            assert [event.offset for event in back.history] == [3, 4, 5, 6]


async def test_an_unsaid_conversation_is_resumed_while_somebody_is_there(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async with rig.open() as conversations:
        first = await conversations.attach(ann, rig.recorder())
        again = await conversations.attach(
            ann, rig.recorder(), conversation=first.conversation, epoch=first.epoch, offset=0
        )
        assert (again.recovered, again.history, again.offset) == (True, (), 0)
        other = await conversations.attach(
            ann, rig.recorder(), conversation=first.conversation, epoch=first.epoch, offset=3
        )
        assert other.recovered is False


async def test_history_and_live_join_without_gap_or_overlap(autojump_clock: object, rig: Any, ann: Principal) -> None:
    """A newcomer reads from a slow store while a message is accepted, answered and streamed."""
    rig.store = rig.slow_store()
    for delay in range(24):
        first_sink, late_sink = rig.recorder(), rig.recorder()
        async with rig.open() as conversations:
            first = await conversations.attach(ann, first_sink)
            late = None

            async def come(sink: Any, name: str, delay: float) -> None:
                nonlocal late
                await trio.sleep(delay)
                late = await conversations.attach(ann, sink, conversation=name)
                sink.events.extend(late.history)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(come, late_sink, first.conversation, delay * 0.0005)
                await first.submit("m1", "stream a b", None)
                await first.submit("m2", "hi", None)
                await first_sink.wait(ReplyEvent, count=2)
            assert late is not None
            await trio.sleep(1)
            log = await rig.log_of(first.conversation)
            seen = [event for event in late_sink.events if getattr(event, "offset", 0)]
            assert seen == log


async def test_the_answer_in_progress_comes_as_one_snapshot(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open() as conversations:
        sink = rig.recorder()
        first = await conversations.attach(ann, sink)
        await first.submit("m0", "sleep 1", None)
        early = await conversations.attach(ann, rig.recorder(), conversation=first.conversation)
        assert early.snapshot is None
        await sink.wait(ReplyEvent)
        await first.submit("m1", "stream a b c d e f g h i j", None)
        await sink.wait(DeltaEvent, count=2)
        late = rig.recorder()
        second = await conversations.attach(ann, late, conversation=first.conversation, epoch=first.epoch, offset=3)
        snapshot = second.snapshot
        assert snapshot is not None
        assert (second.recovered, second.history, snapshot.seq) == (True, (), 2)
        assert snapshot.text == "".join(delta.text for delta in sink.of(DeltaEvent))
        reply = await late.wait(ReplyEvent)
        assert [delta.seq for delta in late.of(DeltaEvent)] == [3, 4, 5]
        assert snapshot.text + "".join(delta.text for delta in late.of(DeltaEvent)) == reply.text == "abcdefghij"


async def test_no_snapshot_of_an_answer_whose_final_event_is_on_its_way(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    async with rig.open() as conversations:
        sink = rig.recorder()
        first = await conversations.attach(ann, sink)
        await first.submit("m1", "stream a", None)
        await sink.wait(DeltaEvent)
        rig.store.seconds = lambda: 0.1
        await trio.sleep(0.025)  # the answer is finished and being stored
        rig.store.seconds = lambda: 0.0
        late = rig.recorder()
        second = await conversations.attach(ann, late, conversation=first.conversation)
        assert second.snapshot is None
        await late.wait(ReplyEvent)


# --- Bounds ------------------------------------------------------------------------------------------------------


async def test_the_oldest_idle_conversation_makes_room(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(max_conversations=3) as conversations:
        held = await conversations.attach(ann, rig.recorder())
        await held.submit("m", "hi", None)
        names = []
        for _ in range(2):
            attachment = await conversations.attach(ann, rig.recorder())
            await attachment.submit("m", "hi", None)
            await wait_all_tasks_blocked()
            await attachment.detach()
            names.append(attachment.conversation)
        fourth = await conversations.attach(ann, rig.recorder())
        assert conversations.count == 3
        with pytest.raises(NotFound):
            await conversations.attach(ann, rig.recorder(), conversation=names[0])
        third = await conversations.attach(ann, rig.recorder(), conversation=names[1])
        with pytest.raises(Overloaded) as caught:
            await conversations.attach(ann, rig.recorder())
        assert caught.value.retry_after
        await third.detach()
        await conversations.attach(ann, rig.recorder())
        with pytest.raises(NotFound):
            await conversations.attach(ann, rig.recorder(), conversation=names[1])
        await fourth.detach()
        await conversations.attach(ann, rig.recorder())
        assert await rig.store.load(held.conversation) is not None


async def test_two_newcomers_do_not_share_the_room_of_one(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    refused = []
    async with rig.open(max_conversations=2) as conversations:
        held = await conversations.attach(ann, rig.recorder())
        old = await conversations.attach(ann, rig.recorder())
        await old.submit("m", "hi", None)
        await trio.sleep(1)
        await old.detach()

        async def come() -> None:
            try:
                await conversations.attach(ann, rig.recorder())
            except Overloaded:
                refused.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            nursery.start_soon(come)
        assert conversations.count == 2
        assert refused == [1]
        assert held.state == "bot"


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), OSError("the disk is gone")], ids=repr)
async def test_a_sweep_that_fails_is_followed_by_another_one(
    autojump_clock: object, rig: Any, ann: Principal, failure: Exception
) -> None:
    rig.store = rig.slow_store()
    rig.store.failure = failure
    async with rig.open(max_age_seconds=100) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("a", "hi", None)
        await trio.sleep(1)
        await attachment.detach()
        rig.store.fail = {"prune"}
        await trio.sleep(250)
        assert conversations.count == 1
        rig.store.fail = set()
        await trio.sleep(120)
        assert conversations.count == 0
    assert {line["event"] for line in rig.logged()} == {"conversations_not_forgotten"}


async def test_age_takes_idle_conversations_and_leaves_attached_ones(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async with rig.open(max_age_seconds=100) as conversations:
        stays = await conversations.attach(ann, rig.recorder())
        await stays.submit("m", "hi", None)
        for _ in range(300):
            attachment = await conversations.attach(ann, rig.recorder())
            await attachment.submit("m", "hi", None)
            await wait_all_tasks_blocked()
            await attachment.detach()
        await trio.sleep(90)
        assert conversations.count == 301
        await trio.sleep(100)
        assert conversations.count == 1
        await stays.submit("n", "still here", None)


async def test_attachments_are_bounded(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(max_attachments=2) as conversations:
        one = await conversations.attach(ann, rig.recorder())
        two = await conversations.attach(ann, rig.recorder(), conversation=one.conversation)
        with pytest.raises(Overloaded):
            await conversations.attach(ann, rig.recorder(), conversation=one.conversation)
        await two.detach()
        await conversations.attach(ann, rig.recorder(), conversation=one.conversation)


async def test_evicted_between_being_found_and_being_pinned(
    autojump_clock: object, memory_rig: Any, ann: Principal
) -> None:
    rig = memory_rig
    async with rig.open() as conversations:
        one = await conversations.attach(ann, rig.recorder())
        await one.submit("m", "hi", None)
        await wait_all_tasks_blocked()
        await one.detach()

    class Forgetful(type(rig.store)):  # type: ignore[misc]
        async def load(self, conversation: str) -> Any:
            stored = await super().load(conversation)
            await self.prune((), now="", before="~", at_most=9)
            return stored

    forgetful = Forgetful()
    forgetful._logs = rig.store._logs
    async with rig.open(forgetful) as conversations:
        with pytest.raises(NotFound):
            await conversations.attach(ann, rig.recorder(), conversation=one.conversation)
        assert conversations.live == 0


async def test_two_who_come_at_once_share_one_conversation(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    sinks = [rig.recorder(), rig.recorder()]
    async with rig.open() as conversations:
        one = await conversations.attach(ann, rig.recorder())
        await one.submit("m", "hi", None)
        await trio.sleep(1)
        await one.detach()
        async with trio.open_nursery() as nursery:
            for sink in sinks:
                nursery.start_soon(lambda sink=sink: conversations.attach(ann, sink, conversation=one.conversation))
        assert conversations.live == 1
        back = await conversations.attach(ann, rig.recorder(), conversation=one.conversation)
        await back.submit("n", "ho", None)
        for sink in sinks:
            assert (await sink.wait(ReplyEvent)).id == "n"


async def test_a_sink_that_fails_loses_its_attachment_and_nothing_else(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    @dataclass
    class Broken:
        calls: int = 0
        given_up: int = 0

        def deliver(self, event: object) -> None:
            self.calls += 1
            raise RuntimeError("the connection has a bug")

        def detached(self) -> None:
            self.given_up += 1

    class Ruin(Broken):
        def detached(self) -> None:
            super().detached()
            raise RuntimeError("and another one")

    broken, ruin, sink = Broken(), Ruin(), rig.recorder()
    async with rig.open() as conversations:
        one = await conversations.attach(ann, sink)
        for other in (broken, ruin):
            held = await conversations.attach(ann, other, conversation=one.conversation)
        await one.submit("m", "hi", None)
        await sink.wait(ReplyEvent)
        await held.detach()
        await one.detach()
    assert (broken.calls, broken.given_up) == (ruin.calls, ruin.given_up) == (1, 1)
    assert sink.given_up == 0
    assert [line["event"] for line in rig.logged()] == ["sink_failed"] * 3


# --- Ratings -----------------------------------------------------------------------------------------------------


async def test_a_rating_is_logged_and_shown_to_the_others(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    sink, other = rig.recorder(), rig.recorder()
    async with rig.open() as conversations:
        one = await conversations.attach(ann, sink)
        two = await conversations.attach(agent, other, conversation=one.conversation)
        await one.submit("m", "hi", None)
        await one.submit("bad", "fail", None)
        await sink.wait(ErrorEvent)
        await one.rate("m", 5, "nice")
        rating = RateEvent("m", 5, 5, "2026-01-01T00:00:00.000Z", "nice")
        assert other.of(RateEvent) == [rating]
        assert sink.of(RateEvent) == []
        assert one.offset == 5
        assert (await rig.log_of(one.conversation))[-1] == rating
        for reply in ("unknown", "bad"):
            with pytest.raises(NotFound):
                await one.rate(reply, 5)
        for score in (0, 6):
            with pytest.raises(BadEnvelope):
                await one.rate("m", score)
        with pytest.raises(Forbidden):
            await two.rate("m", 1)
        assert msgspec.json.encode(rating)


async def test_an_event_that_the_page_has_is_not_given_again_when_it_is_published(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store(seconds=lambda: 1.0)
    sink = rig.recorder()
    async with rig.open() as conversations, trio.open_nursery() as nursery:
        one = await conversations.attach(ann, rig.recorder())
        start = trio.current_time()
        nursery.start_soon(one.submit, "m", "hi", None)
        await trio.sleep_until(start + 1.5)  # stored at 1, published at 2
        rig.store.seconds = lambda: 0.1
        other = await conversations.attach(ann, sink, conversation=one.conversation)
        assert trio.current_time() < start + 2
        assert [event.offset for event in other.history] == [1]
        await sink.wait(ReplyEvent)
    assert sink.of(MessageEvent) == []
