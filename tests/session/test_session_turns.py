"""Turns: one at a time, in order, exactly one final event each, whatever becomes of them."""

from typing import Any

import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.errors import DuplicateMismatch, Overloaded
from csgate.events import (
    AckEvent,
    DeltaEvent,
    Draft,
    ErrorEvent,
    MessageEvent,
    Picture,
    Principal,
    ProgressEvent,
    ReplyEvent,
)
from csgate.session import Turn


def final(events: list[Any]) -> list[tuple[str, str]]:
    return [
        (event.id, getattr(event, "code", "") or event.text)
        for event in events
        if isinstance(event, ReplyEvent | ErrorEvent)
    ]


async def test_messages_are_answered_one_at_a_time_in_order(autojump_clock: object, rig: Any, ann: Principal) -> None:
    running = most = 0
    order = []

    async def answer(turn: Turn) -> Draft:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1.0 / len(order or "x"))
        order.append(turn.id)
        running -= 1
        return Draft(text=turn.id)

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        for number in range(5):
            await attachment.submit(str(number), "hi", None)
        assert conversations.open_turns == 5
        await sink.wait(ReplyEvent, count=5)
    assert most == 1
    assert order == [event.id for event in sink.of(ReplyEvent)] == list("01234")
    assert [event.offset for event in sink.of(ReplyEvent)] == [6, 7, 8, 9, 10]


async def test_who_waits_is_told_the_position(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        for name in "abc":
            await attachment.submit(name, "sleep 1", None)
        await sink.wait(ReplyEvent, count=3)
    assert [(event.id, event.stage, event.position) for event in sink.of(ProgressEvent)] == [
        ("b", "queued", 1),
        ("c", "queued", 2),
        ("c", "queued", 1),
    ]
    acks = {event.id: place for place, event in enumerate(sink.events) if isinstance(event, AckEvent)}
    assert all(place >= acks[event.id] for place, event in enumerate(sink.events) if isinstance(event, ProgressEvent))


async def test_what_the_answerer_is_given(autojump_clock: object, rig: Any, ann: Principal) -> None:
    turns: list[Turn] = []

    async def answer(turn: Turn) -> Draft:
        turns.append(turn)
        turn.progress("understanding")
        turn.progress("queued", 3, 20.0)
        await trio.sleep(1)
        return Draft(text="yes")

    rig.answer = answer
    sink = rig.recorder()
    picture = Picture(b"abc", "binary")
    structlog.contextvars.bind_contextvars(connection="k1")
    async with rig.open(turn_seconds=9.0) as conversations:
        attachment = await conversations.attach(ann, sink, locale="zh-CN")
        await attachment.submit("a", None, picture)
        await attachment.submit("b", "hi", None)
        await attachment.submit("c", "ho", None)
        await sink.wait(ReplyEvent, count=3)
    structlog.contextvars.clear_contextvars()
    a, b, c = turns
    assert (a.conversation, a.id, a.text, a.picture) == (attachment.conversation, "a", "", picture)
    assert (a.principal, a.attempt, a.language, b.language) == (ann, 1, "zh", "en")
    assert (a.deadline, b.deadline, c.deadline) == (9.0, 10.0, 11.0)
    assert [[event.offset for event in turn.history] for turn in turns] == [[], [1, 4], [1, 2, 4, 5]]
    assert [event for event in sink.of(ProgressEvent) if event.id == "a"] == [
        ProgressEvent("a", "understanding"),
        ProgressEvent("a", "queued", 3, 20.0),
    ]


async def test_notes_are_found_again_while_the_conversation_is_in_memory(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async def answer(turn: Turn) -> Draft:
        turn.notes["turns"] = turn.notes.get("turns", 0) + 1
        return Draft(text=f"{turn.notes['turns']}")

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        other = await conversations.attach(ann, sink)
        for number, holder in enumerate((attachment, attachment, other), 1):
            await holder.submit(f"{number}", "hi", None)
            await sink.wait(ReplyEvent, count=number)
        await attachment.detach()
        back = await conversations.attach(ann, sink, conversation=attachment.conversation)
        await back.submit("4", "hi", None)
        await sink.wait(ReplyEvent, count=4)
    assert [event.text for event in sink.of(ReplyEvent)] == ["1", "2", "1", "1"]


async def test_one_turn_that_fails_leaves_all_others_right(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        other_sink = rig.recorder()
        other = await conversations.attach(ann, other_sink)
        await other.submit("x", "sleep 2", None)
        for id, text in (("a", "fail"), ("b", "refuse"), ("c", "失败 fail"), ("d", "hi")):
            await attachment.submit(id, text, None)
        await sink.wait(ReplyEvent, count=2)
        assert (await other_sink.wait(ReplyEvent)).text == "re: sleep 2"
        log = await rig.log_of(attachment.conversation)
    assert final(log) == [("a", "internal"), ("b", "bad_image"), ("c", "re: 失败 fail"), ("d", "re: hi")]
    internal, refused = sink.of(ErrorEvent)
    assert internal in log
    assert internal.timestamp == "2026-01-01T00:00:00.000Z"
    assert "secret" not in internal.message
    assert "chunk" not in refused.message
    failed, told = rig.logged()
    assert (failed["ref"], failed["level"], failed["turn"]) == (internal.ref, "error", "a")
    assert failed["conversation"] == attachment.conversation
    assert "secret detail" in str(failed["exception"])
    assert (told["ref"], told["level"], told["code"]) == (refused.ref, "info", "bad_image")
    assert rig.sample("csgate_replies_total", source="error") == 2
    assert rig.sample("csgate_errors_total", code="internal") == 1


@pytest.mark.parametrize(
    ("group", "code"),
    [
        (ExceptionGroup("", [ExceptionGroup("", [Overloaded("x", retry_after=3.0)])]), "overloaded"),
        (ExceptionGroup("", [Overloaded("x"), ValueError()]), "internal"),
    ],
)
async def test_an_error_out_of_a_nursery_is_told_by_its_code(
    autojump_clock: object, rig: Any, ann: Principal, group: Exception, code: str
) -> None:
    async def answer(turn: Turn) -> Draft:
        raise group

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        await (await conversations.attach(ann, sink)).submit("a", "hi", None)
        assert (await sink.wait(ErrorEvent)).code == code


async def test_an_answer_of_the_wrong_kind_is_an_internal_error(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async def answer(turn: Turn) -> Any:
        return None

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        await (await conversations.attach(ann, sink)).submit("a", "hi", None)
        assert (await sink.wait(ErrorEvent)).code == "internal"


async def test_a_turn_ends_at_its_deadline(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open(turn_seconds=3.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 100", None)
        await attachment.submit("b", "sleep 2", None)
        await sink.wait(ReplyEvent)
        assert trio.current_time() == 5.0
    assert final(sink.events) == [("a", "timeout"), ("b", "re: sleep 2")]
    assert sink.of(ErrorEvent)[0].timestamp == "2026-01-01T00:00:03.000Z"
    assert rig.logged()[0]["level"] == "warning"


# --- Streaming ---------------------------------------------------------------------------------------------------


async def test_deltas_are_coalesced_and_held_back_ones_follow_in_time(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    times = []

    async def answer(turn: Turn) -> Draft:
        for piece in "abcde":
            turn.delta(piece)
        await trio.sleep(0.5)
        turn.delta("f")
        await trio.sleep(0.5)
        leaked.append(turn)
        return Draft(text="abcdef")

    leaked: list[Turn] = []
    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", None)
        for count in (1, 2, 3):
            await sink.wait(DeltaEvent, count=count)
            times.append(trio.current_time())
        await sink.wait(ReplyEvent)
        leaked[0].delta("too late")
        leaked[0].progress("answering")
    assert sink.of(DeltaEvent) == [
        DeltaEvent("a", 1, 1, "a"),
        DeltaEvent("a", 1, 2, "bcde"),
        DeltaEvent("a", 1, 3, "f"),
    ]
    assert times == [0.0, 0.05, 0.5]
    assert sink.kinds() == ["ack", "delta", "delta", "delta", "reply"]


# --- Cancel ------------------------------------------------------------------------------------------------------


async def test_cancel_ends_a_running_turn_at_once(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        attachment.cancel("nothing runs")
        await attachment.submit("a", "sleep 20", None)
        await attachment.submit("b", "stream one two three four five six", None)
        await wait_all_tasks_blocked()
        attachment.cancel("unknown")
        attachment.cancel("a")
        attachment.cancel("a")
        await sink.wait(DeltaEvent, count=2)
        attachment.cancel("b")
        reply = await sink.wait(ReplyEvent)
        attachment.cancel("b")
        assert trio.current_time() < 1
    (error,) = sink.of(ErrorEvent)
    assert (error.id, error.code) == ("a", "cancelled")
    assert (reply.id, reply.text, reply.stopped, reply.source) == ("b", "onetwothree", True, "stopped")


async def test_cancel_reaches_a_turn_that_waits(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        for name in "abc":
            await attachment.submit(name, "sleep 1", None)
        attachment.cancel("b")
        await sink.wait(ErrorEvent)
        assert trio.current_time() == 0
        await sink.wait(ReplyEvent, count=2)
        log = await rig.log_of(attachment.conversation)
    assert final(log) == [("b", "cancelled"), ("a", "re: sleep 1"), ("c", "re: sleep 1")]


async def test_cancel_reaches_a_message_on_its_way_to_the_store(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attachment.submit, "a", "hi", None)
            await wait_all_tasks_blocked()
            attachment.cancel("a")
            attachment.cancel("b")
        await sink.wait(ErrorEvent)
        await attachment.submit("b", "hi", None)
        await sink.wait(ReplyEvent)
    assert sink.kinds() == ["ack", "error", "ack", "reply"]


@pytest.mark.parametrize("ending", ["draft", "failure"])
async def test_a_cancelled_turn_ends_cancelled_even_if_the_answerer_resists(
    autojump_clock: object, rig: Any, ann: Principal, ending: str
) -> None:
    async def answer(turn: Turn) -> Draft:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        turn.delta("too late")
        turn.progress("answering")
        if ending == "failure":
            raise ValueError
        return Draft(text="done", hand_over=True)

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", None)
        await wait_all_tasks_blocked()
        attachment.cancel("a")
        await sink.wait(ErrorEvent)
        await wait_all_tasks_blocked()
        assert attachment.state == "bot"
    assert final(sink.events) == [("a", "cancelled")]
    assert [line["event"] for line in rig.logged()] == (["turn_failed"] if ending == "failure" else [])


async def test_the_first_reason_to_stop_a_turn_stands(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    async def answer(turn: Turn) -> Draft:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return Draft(text="done")

    rig.answer = answer
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        await attachment.submit("a", "hi", None)
        await wait_all_tasks_blocked()
        attachment.cancel("a")
        await helper.submit("x", "Hello", None)
        await sink.wait(ErrorEvent)
    assert final(sink.events) == [("a", "cancelled")]


# --- Connections come and go -------------------------------------------------------------------------------------


async def test_a_dropped_connection_leaves_the_answer_running(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(grace_seconds=10.0) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("a", "sleep 5", None)
        await attachment.detach()
        assert conversations.live == 1
        await trio.sleep(6)
        assert conversations.live == 0
        assert final(await rig.log_of(attachment.conversation)) == [("a", "re: sleep 5")]


async def test_after_the_grace_time_all_open_turns_are_cancelled(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async with rig.open(grace_seconds=10.0) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("a", "sleep 20", None)
        await attachment.submit("b", "hi", None)
        await attachment.detach()
        await trio.sleep(9.9)
        assert conversations.open_turns == 2
        await trio.sleep(0.2)
        assert conversations.open_turns == conversations.live == 0
        assert final(await rig.log_of(attachment.conversation)) == [("b", "cancelled"), ("a", "cancelled")]


async def test_coming_back_stops_the_grace_time(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(grace_seconds=10.0) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.submit("a", "sleep 25", None)
        await attachment.detach()
        await trio.sleep(9)
        sink = rig.recorder()
        back = await conversations.attach(ann, sink, conversation=attachment.conversation)
        await trio.sleep(9)
        await back.detach()
        await trio.sleep(1.5)
        last = await conversations.attach(ann, sink, conversation=attachment.conversation)
        assert (await sink.wait(ReplyEvent)).text == "re: sleep 25"
        assert last.offset == 2


async def test_a_submit_whose_caller_is_gone_is_done_all_the_same(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        with trio.move_on_after(0.0005):
            await attachment.submit("a", "hi", None)
        await attachment.detach()
        await trio.sleep(1)
        assert final(await rig.log_of(attachment.conversation)) == [("a", "re: hi")]
        assert sink.events == []
        back = await conversations.attach(ann, sink, conversation=attachment.conversation)
        assert await back.submit("a", "hi", None) == AckEvent("a", 1)
        assert conversations.open_turns == 0


# --- Bounds and failures -----------------------------------------------------------------------------------------


async def test_waiting_messages_are_bounded(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open(max_waiting=2) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        acks = [await attachment.submit(name, "sleep 1", None) for name in "abc"]
        with pytest.raises(Overloaded) as caught:
            await attachment.submit("d", "hi", None)
        assert caught.value.retry_after
        # What was accepted is known, whatever the load.
        assert await attachment.submit("b", "sleep 1", None) == acks[1]
        with pytest.raises(DuplicateMismatch):
            await attachment.submit("b", "other", None)
        assert conversations.open_turns == 3
        await trio.sleep(1.5)
        await attachment.submit("d", "hi", None)


async def test_open_turns_are_bounded_over_all_conversations(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    refused = []
    async with rig.open(max_open_turns=3) as conversations:

        async def say(number: int) -> None:
            attachment = await conversations.attach(ann, rig.recorder())
            try:
                await attachment.submit("m", "sleep 1", None)
            except Overloaded as error:
                refused.append(error.retry_after)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(say, number)
        assert conversations.open_turns == 3
        assert len(refused) == 2
        assert all(refused)


async def test_jobs_in_the_inbox_are_bounded(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store()
    async with rig.open(max_waiting=2) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        async with trio.open_nursery() as nursery:
            for name in "ab":
                nursery.start_soon(attachment.submit, name, "hi", None)
            await wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await attachment.submit("c", "hi", None)


async def test_a_store_that_fails_is_told_to_who_asked_and_acknowledges_nothing(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        rig.store.fail = {"accept"}
        with pytest.raises(OSError, match="disk"):
            await attachment.submit("a", "hi", None)
        assert (sink.events, conversations.open_turns) == ([], 0)
        rig.store.fail = {"finish"}
        await attachment.submit("b", "hi", None)
        await trio.sleep(1)
        rig.store.fail = {"read"}
        await attachment.submit("c", "hi", None)
        assert (await sink.wait(ErrorEvent)).id == "c"
        rig.store.fail = set()
        await attachment.submit("d", "hi", None)
        assert (await sink.wait(ReplyEvent)).id == "d"
        assert conversations.open_turns == 0
    assert [line["event"] for line in rig.logged()] == ["final_event_not_stored", "turn_failed"]


async def test_a_turn_that_the_store_no_longer_has_open_is_not_finished_twice(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 1", None)
        header = (await rig.store.load(attachment.conversation)).header
        await rig.store.finish(header, "a", ErrorEvent("internal", "somebody else was faster", "r", id="a"))
        await trio.sleep(2)
        assert conversations.open_turns == 0
    assert sink.kinds() == ["ack"]


async def test_the_block_ends_whatever_still_runs(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.store = rig.slow_store(seconds=lambda: 1.0)
    outcomes = []
    async with trio.open_nursery() as nursery:
        async with rig.open() as conversations:
            attachment = await conversations.attach(ann, rig.recorder())
            await attachment.submit("a", "sleep 20", None)

            async def late(name: str) -> None:
                try:
                    await attachment.submit(name, "hi", None)
                except Overloaded as error:
                    outcomes.append((name, error.detail))

            nursery.start_soon(late, "b")
            nursery.start_soon(late, "c")
            await wait_all_tasks_blocked()
    assert sorted(outcomes) == [("b", "the conversations were closed"), ("c", "the conversations were closed")]
    with pytest.raises(Overloaded):
        await attachment.submit("d", "hi", None)
    await attachment.detach()
    assert [type(event) for event in await rig.log_of(attachment.conversation)] == [MessageEvent]


# --- Drain -------------------------------------------------------------------------------------------------------


async def test_a_drain_answers_what_was_acknowledged_and_refuses_the_rest(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        await conversations.drained()
        attachment = await conversations.attach(ann, sink)
        helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        ack = await attachment.submit("a", "sleep 3", None)
        await attachment.submit("b", "sleep 3", None)
        assert not conversations.draining
        conversations.begin_drain()
        assert conversations.draining
        for who in (attachment, helper):
            with pytest.raises(Overloaded) as caught:
                await who.submit("c", "hi", None)
            assert caught.value.retry_after
        assert await attachment.submit("a", "sleep 3", None) == ack
        await conversations.drained()
        assert trio.current_time() == 6.0
        assert final(sink.events) == [("a", "re: sleep 3"), ("b", "re: sleep 3")]
