"""Handing a conversation to a person and back."""

from typing import Any
from unittest.mock import AsyncMock

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.errors import Forbidden, NotFound, StoreUnavailable
from csgate.events import AckEvent, DeltaEvent, ErrorEvent, MessageEvent, Principal, ReplyEvent, StateEvent, TypingEvent
from csgate.session.countdown import GIVE_BACK_AGAIN_S, Countdown


def states(sink: Any) -> list[str]:
    return [event.state for event in sink.of(StateEvent)]


@pytest.mark.parametrize(("text", "words"), [("hi", "Sorry"), ("你好", "抱歉")])
async def test_nobody_comes_and_the_bot_has_it_back(
    autojump_clock: object, rig: Any, ann: Principal, text: str, words: str
) -> None:
    sink = rig.recorder()
    async with rig.open(handoff_seconds=60.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", text, None)
        await attachment.handoff("x" * 1000)
        await attachment.handoff()
        assert attachment.state == "waiting"
        await attachment.submit("b", text, None)
        assert (await sink.wait(ReplyEvent, count=2)).source == "canned"
        await sink.wait(StateEvent, count=2)
        assert trio.current_time() == 60.0
        assert attachment.state == "bot"
        log = await rig.log_of(attachment.conversation)
        await attachment.detach()
        assert conversations.live == 0
    (notice,) = sink.of(MessageEvent)
    assert notice.author == "human"
    assert notice.text.startswith(words)
    assert notice.id.startswith("notice-")
    assert log[-2:] == [notice, StateEvent("bot", log[-1].offset, "2026-01-01T00:01:00.000Z")]
    assert states(sink) == ["waiting", "bot"]
    assert [len(line["reason"] or "") for line in rig.logged()] == [200, 0]


async def test_a_handoff_in_silence_keeps_the_conversation_until_its_end(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, rig.recorder(), locale="zh")
        await attachment.handoff()
        await attachment.detach()
        assert (conversations.count, conversations.live) == (1, 1)
        await trio.sleep(61)
        assert (conversations.count, conversations.live) == (1, 0)
        back = await conversations.attach(ann, rig.recorder(), conversation=attachment.conversation)
        assert [getattr(event, "text", event.timestamp)[:2] for event in back.history] == ["20", "抱歉", "20"]
        assert back.state == "bot"


async def test_an_agent_speaks_and_the_bot_is_mute(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    sink, desk = rig.recorder(), rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "stream one two three four five six seven", None)
        await attachment.submit("b", "sleep 1", None)
        await sink.wait(DeltaEvent, count=2)
        helper = await conversations.attach(agent, desk, conversation=attachment.conversation)
        assert helper.state == "bot"
        ack = await helper.submit("x", "Hello, this is Gus.", None)
        assert await helper.submit("x", "Hello, this is Gus.", None) == ack
        assert attachment.state == "human"
        await attachment.submit("c", "thank you", None)
        await sink.wait(ReplyEvent, count=3)
        await helper.submit("y", "You are welcome.", None)
        helper.typing(True)
        assert conversations.open_turns == 0
        log = await rig.log_of(attachment.conversation)
    assert sorted((event.id, event.text, event.source, event.stopped) for event in sink.of(ReplyEvent)) == [
        ("a", "onetwothree", "muted", True),
        ("b", "", "muted", False),
        ("c", "", "muted", False),
    ]
    assert states(sink) == states(desk) == ["human"]
    assert [event.text for event in sink.of(MessageEvent)] == ["Hello, this is Gus.", "You are welcome."]
    assert [event.text for event in desk.of(MessageEvent)] == ["thank you"]
    assert [event.id for event in desk.of(AckEvent)] == ["x", "x", "y"]
    assert sink.of(TypingEvent) == [TypingEvent(on=True, author="human")]
    assert [event.offset for event in log] == list(range(1, len(log) + 1))
    assert not sink.of(ErrorEvent)


async def test_an_agent_who_attaches_stops_the_countdown_and_who_leaves_starts_it(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    sink = rig.recorder()
    async with rig.open(handoff_seconds=60.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.handoff()
        await trio.sleep(50)
        helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        await trio.sleep(100)
        assert attachment.state == "waiting"
        await helper.submit("x", "Hello", None)
        second = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        await helper.detach()
        await trio.sleep(100)
        assert attachment.state == "human"
        await second.detach()
        await trio.sleep(59)
        assert attachment.state == "human"
        third = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        await third.detach()
        await trio.sleep(59)
        assert attachment.state == "human"
        await trio.sleep(2)
        assert attachment.state == "bot"
        await attachment.submit("a", "hi", None)
        assert (await sink.wait(ReplyEvent)).source == "canned"
    assert states(sink) == ["waiting", "human", "bot"]


async def test_one_who_waits_is_found_waiting_after_a_restart(autojump_clock: object, rig: Any, ann: Principal) -> None:
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        await attachment.handoff()
    await attachment.detach()
    sink = rig.recorder()
    async with rig.open() as conversations:
        back = await conversations.attach(ann, sink, conversation=attachment.conversation)
        assert back.state == "waiting"
        await sink.wait(StateEvent)
        assert trio.current_time() == 60.0
        assert back.state == "bot"


async def test_the_dialog_hands_over_after_its_reply(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "person", None)
        await attachment.submit("b", "person", None)
        await sink.wait(ReplyEvent, count=2)
        await wait_all_tasks_blocked()
    assert sink.kinds().index("reply") < sink.kinds().index("state")
    assert states(sink) == ["waiting"]


async def test_the_reply_and_what_it_changes_are_one_step(autojump_clock: object, rig: Any, ann: Principal) -> None:
    sink, rig.store = rig.recorder(), rig.slow_store()
    rig.store.fail = {"append"}  # thus dead before a second step could be made
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "person", None)
        await sink.wait(StateEvent)
        assert attachment.state == "waiting"
        log = await rig.log_of(attachment.conversation)
        assert [type(event) for event in log] == [MessageEvent, ReplyEvent, StateEvent]
    assert states(sink) == ["waiting"]


async def test_an_agent_does_not_ask_for_a_person(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        with pytest.raises(Forbidden):
            await helper.handoff()


async def test_a_store_that_fails_while_giving_back_ends_nothing_else(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.handoff()
        rig.store.fail = {"append"}
        await trio.sleep(61)
        rig.store.fail = set()
        await attachment.submit("a", "hi", None)
        await sink.wait(ReplyEvent)
        assert states(sink) == ["waiting"]
        await trio.sleep(GIVE_BACK_AGAIN_S)
        assert states(sink) == ["waiting", "bot"], "it is tried again: nobody stays with a mute bot"
    assert [line["event"] for line in rig.logged()] == ["handoff_asked", "handoff_not_ended"]


async def test_a_conversation_that_was_erased_while_nobody_came_is_not_begun_anew(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.store = rig.slow_store()
    rig.store.failure = NotFound("erased")
    sink = rig.recorder()
    async with rig.open(handoff_seconds=10) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.handoff()
        rig.store.fail = {"append"}
        await trio.sleep(11)
        rig.store.fail = set()
        await trio.sleep(60)
        assert sink.given_up == 1
        assert conversations.live == 0
        assert [type(event) for event in await rig.log_of(attachment.conversation)] == [StateEvent]


@pytest.mark.parametrize("before", [0, 1])
async def test_a_store_that_is_away_when_nobody_came_is_asked_again(
    autojump_clock: object, rig: Any, ann: Principal, before: int
) -> None:
    """Away before the sentence is stored, or between that and the change of state."""
    rig.store = rig.slow_store()
    sink = rig.recorder()
    async with rig.open(handoff_seconds=10) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.handoff()
        append, appended = rig.store.append, 0

        async def append_few(*args: Any) -> Any:
            nonlocal appended
            appended += 1
            if appended > before:
                raise StoreUnavailable("away")
            return await append(*args)

        rig.store.append = append_few
        await trio.sleep(60)
        assert states(sink) == ["waiting"]
        del rig.store.append
        await trio.sleep(GIVE_BACK_AGAIN_S)
        assert states(sink) == ["waiting", "bot"]
        log = await rig.log_of(attachment.conversation)
        assert [type(event) for event in log] == [StateEvent, MessageEvent, StateEvent]
    assert {line["event"] for line in rig.logged()} == {"handoff_asked", "handoff_not_ended_yet"}


async def test_an_agent_who_comes_while_the_store_is_away_is_not_overlooked(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    rig.store = rig.slow_store()
    rig.store.failure = StoreUnavailable("away")
    sink = rig.recorder()
    async with rig.open(handoff_seconds=10) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.handoff()
        rig.store.fail = {"append"}
        await trio.sleep(12)
        await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        rig.store.fail = set()
        await trio.sleep(60)
        assert states(sink) == ["waiting"]


async def test_what_goes_wrong_in_one_conversation_costs_no_other_one_anything(
    autojump_clock: object, rig: Any, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.store = rig.slow_store()
    broken, sink = rig.recorder(), rig.recorder()
    async with rig.open(handoff_seconds=10) as conversations:
        first = await conversations.attach(ann, broken)
        await first.handoff()
        with monkeypatch.context() as patch:
            patch.setattr(Countdown, "give_back", AsyncMock(side_effect=RuntimeError("unforeseen")))
            await trio.sleep(11)
        second = await conversations.attach(ann, sink)
        await second.submit("a", "hi", None)
        await sink.wait(ReplyEvent)
        await first.submit("b", "hi", None)
        await broken.wait(ReplyEvent)
    assert "conversation_failed" in {line["event"] for line in rig.logged()}


async def test_who_comes_back_learns_the_state_though_its_event_is_older_than_the_page(
    autojump_clock: object, rig: Any, ann: Principal, agent: Principal
) -> None:
    async with rig.open(page_events=2) as conversations:
        attachment = await conversations.attach(ann, rig.recorder())
        assert attachment.state_event is None
        helper = await conversations.attach(agent, rig.recorder(), conversation=attachment.conversation)
        await attachment.handoff()
        waiting = StateEvent("waiting", 1, "2026-01-01T00:00:00.000Z")
        shown = await conversations.attach(ann, rig.recorder(), conversation=attachment.conversation)
        assert (shown.history, shown.state_event) == ((waiting,), None)
        sink = rig.recorder()
        await conversations.attach(ann, sink, conversation=attachment.conversation)
        await attachment.submit("a", "hi", None)
        await sink.wait(ReplyEvent)
        told = await conversations.attach(ann, rig.recorder(), conversation=attachment.conversation)
        assert [event.offset for event in told.history] == [2, 3]
        assert (told.state, told.state_event, told.offset) == ("waiting", waiting, 3)
        resumed = await conversations.attach(
            ann, rig.recorder(), conversation=told.conversation, epoch=told.epoch, offset=2
        )
        assert (resumed.recovered, resumed.state_event) == (True, waiting)
        await helper.submit("x", "Hello, this is Gus.", None)
        await helper.submit("y", "What is it?", None)
        await helper.submit("z", "Are you there?", None)
        mute = await conversations.attach(ann, rig.recorder(), conversation=attachment.conversation)
        assert mute.state_event == StateEvent("human", 5, "2026-01-01T00:00:00.000Z")
        await helper.detach()
        await trio.sleep(61)
        for id in "bc":
            await attachment.submit(id, "hi", None)
            await sink.wait(ReplyEvent, match=lambda event, id=id: event.id == id)
        back = await conversations.attach(ann, rig.recorder(), conversation=attachment.conversation)
        assert (back.state, back.state_event) == ("bot", None)
