"""Several nodes on one Redis: who answers, who hears, and that each message has one end whatever happens."""

import signal
from typing import Any

import pytest
import trio

from csgate.errors import DuplicateMismatch, StoreUnavailable
from csgate.events import (
    DeltaEvent,
    Draft,
    ErrorEvent,
    MessageEvent,
    Principal,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.session import Turn

from ..redis_server import RedisServer
from ..session.conftest import Recorder
from .conftest import LEASE_S, Node, Town


def finals(events: Any) -> list[Any]:
    return [event for event in events if isinstance(event, ReplyEvent | ErrorEvent)]


async def log_of(node: Node, conversation: str) -> list[Any]:
    page = await node.store.read(conversation)
    assert page is not None
    return list(page.events)


async def until(condition: Any, seconds: float = 10.0) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  two nodes share no event
            await trio.sleep(0.01)


class Script:
    """An answerer that can be held, and counts."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.go = trio.Event()

    async def __call__(self, turn: Turn) -> Draft:
        self.turns.append(turn)
        turn.delta("one ")
        if turn.text == "hold":
            await self.go.wait()
        turn.delta("two")
        return Draft(text=f"re: {turn.text}", source="generated", hand_over=turn.text == "person")


async def test_two_tabs_on_two_nodes_see_the_same(town: Town, ann: Principal) -> None:
    here, there = Recorder(), Recorder()
    async with town.node() as one, town.node() as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        second = await two.conversations.attach(
            ann, there, conversation=first.conversation, epoch=first.epoch, offset=0
        )
        assert [event.offset for event in second.history] == [1, 2]
        for number in range(10):
            node, sink = (first, here) if number % 2 else (second, there)
            await node.submit(f"m{number}", "hi", None)
            await sink.wait(ReplyEvent, match=lambda event, number=number: event.id == f"m{number}")
        first.typing(True)
        await there.wait(TypingEvent)
        log = await log_of(one, first.conversation)
        await until(lambda: first.offset == second.offset == len(log) == 22)
        assert [event.offset for event in log] == list(range(1, 23))
        for sink in (here, there):
            offsets = [event.offset for event in sink.events if hasattr(event, "offset")]
            assert offsets == sorted(set(offsets)), "acks among them"
            assert offsets == list(range(offsets[0], 23))
        with pytest.raises(DuplicateMismatch):
            await second.submit("m1", "something else", None)
        assert (await second.submit("m1", "hi", None)).offset == (await first.submit("m1", "hi", None)).offset


async def test_messages_at_the_same_time_from_many_nodes(town: Town, ann: Principal) -> None:
    sinks = [Recorder() for _ in range(3)]
    wide = {"max_waiting": 100}
    async with town.node(**wide) as one, town.node(**wide) as two, town.node(**wide) as three:
        first = await one.conversations.attach(ann, sinks[0])
        await first.submit("a", "hi", None)
        tabs = [first]
        for node, sink in ((two, sinks[1]), (three, sinks[2])):
            tabs.append(await node.conversations.attach(ann, sink, conversation=first.conversation))
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(tabs[number % 3].submit, f"m{number}", "stream x y", None)
                await trio.sleep(0.002)
        await until(lambda: all(tab.offset == 62 for tab in tabs))
        log = await log_of(two, first.conversation)
        assert [event.offset for event in log] == list(range(1, 63))
        assert sorted(event.id for event in finals(log)) == sorted(["a", *(f"m{number}" for number in range(30))])
        asked = [event.id for event in log if isinstance(event, MessageEvent)]
        assert [event.id for event in finals(log)] == asked, "answered in their order, whoever took them"
        for sink in sinks:
            offsets = [event.offset for event in sink.events if hasattr(event, "offset")]
            assert offsets == list(range(offsets[0], 63))


async def test_an_answer_is_seen_on_another_node_as_snapshot_and_pieces(town: Town, ann: Principal) -> None:
    script, here, there = Script(), Recorder(), Recorder()
    async with town.node(script) as one, town.node(script) as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        await two.conversations.attach(ann, there, conversation=first.conversation)
        snapshot = await there.wait(SnapshotEvent)
        assert (snapshot.text, snapshot.seq, snapshot.attempt) == ("one ", 1, 1)
        script.go.set()
        reply = await there.wait(ReplyEvent)
        assert reply.text == "re: hold"
        assert len(script.turns) == 1
        assert [event.seq for event in there.of(DeltaEvent)] in ([], [2])


async def test_a_message_from_another_node_waits_for_the_one_that_answers(town: Town, ann: Principal) -> None:
    script, other, here, there = Script(), Script(), Recorder(), Recorder()
    async with town.node(script) as one, town.node(other) as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        second = await two.conversations.attach(ann, there, conversation=first.conversation)
        await second.submit("b", "hi", None)
        await until(lambda: one.conversations.open_turns == 2)
        assert two.conversations.open_turns == 0
        second.cancel("a")  # answered elsewhere
        await there.wait(ReplyEvent, count=2)
        assert [(event.id, event.stopped) for event in there.of(ReplyEvent)] == [("a", True), ("b", False)]
        assert [turn.id for turn in script.turns] == ["a", "b"]
        assert other.turns == []


async def test_another_node_takes_over_what_a_dead_one_was_answering(town: Town, ann: Principal) -> None:
    dying, living, there = Script(), Script(), Recorder()
    living.go.set()
    async with town.node(living) as two:
        with trio.CancelScope() as death:
            async with town.node(dying) as one:
                # As kill -9 leaves it: nothing is let go of.
                one.cluster.leases.release = _nothing  # type: ignore[method-assign]
                first = await one.conversations.attach(ann, Recorder())
                await first.submit("a", "hold", None)
                await first.submit("b", "hi", None)
                await until(lambda: dying.turns)
                again = await two.conversations.attach(
                    ann, there, conversation=first.conversation, epoch=first.epoch, offset=0
                )
                assert again.recovered
                death.cancel()
        started = trio.current_time()
        await there.wait(ReplyEvent, count=2)
        assert trio.current_time() - started < LEASE_S + 3.0
        log = await log_of(two, first.conversation)
        assert [event.id for event in finals(log)] == ["a", "b"]
        assert [(turn.id, turn.attempt) for turn in living.turns] == [("a", 2), ("b", 1)]
        assert {event.attempt for event in there.of(DeltaEvent) if event.id == "a"} == {2}


async def _nothing() -> None:
    pass


async def test_a_turn_that_died_with_two_nodes_becomes_an_error(town: Town, ann: Principal) -> None:
    there = Recorder()
    async with town.node() as last:
        stop, ears = last.cluster.leases.take_abandoned, trio.Event()

        async def not_yet() -> int:
            return await stop() if ears.is_set() else 0

        last.cluster.leases.take_abandoned = not_yet  # type: ignore[method-assign]
        conversation = None
        for _ in range(2):
            script = Script()
            async with town.node(script) as node:
                if conversation is None:
                    first = await node.conversations.attach(ann, Recorder())
                    await first.submit("a", "hold", None)
                    conversation = first.conversation
                await until(lambda script=script: script.turns)
        await last.conversations.attach(ann, there, conversation=conversation)
        ears.set()
        error = await there.wait(ErrorEvent)
        assert (error.id, error.code) == ("a", "internal")


async def test_a_late_reply_of_a_node_that_lost_its_lease_is_discarded(town: Town, ann: Principal) -> None:
    late, other, here, there = Script(), Script(), Recorder(), Recorder()
    other.go.set()
    async with town.node(late) as one, town.node(other) as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        await two.conversations.attach(ann, there, conversation=first.conversation)
        # Paused: it does not renew, and does not notice.
        one.cluster.leases._renew = _nothing  # type: ignore[method-assign]
        await there.wait(ReplyEvent)
        late.go.set()
        await until(lambda: one.conversations.open_turns == 0)
        log = await log_of(two, first.conversation)
        assert len(finals(log)) == 1
        assert [turn.attempt for turn in (*late.turns, *other.turns)] == [1, 2]
        await here.wait(ReplyEvent)
        assert len(here.of(ReplyEvent)) == len(there.of(ReplyEvent)) == 1
        assert any(line["event"] == "lease_lost" for line in one.rig.logged())


async def test_an_agent_at_another_node_mutes_the_bot_and_keeps_it_mute(
    town: Town, ann: Principal, agent: Principal
) -> None:
    script, here, there = Script(), Recorder(), Recorder()
    async with town.node(script, handoff_seconds=0.3) as one, town.node(handoff_seconds=0.3) as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        helper = await two.conversations.attach(agent, there, conversation=first.conversation)
        await helper.submit("x", "I am Gus.", None)
        assert (await here.wait(ReplyEvent)).source == "muted"
        await until(lambda: first.state == helper.state == "human")
        await trio.sleep(0.8)  # more than twice the time for a person to come
        assert first.state == "human"
        await helper.detach()
        await here.wait(StateEvent, match=lambda event: event.state == "bot")
        log = await log_of(one, first.conversation)
        assert [event.state for event in log if isinstance(event, StateEvent)] == ["human", "bot"], "once"


async def test_who_is_gone_everywhere_gets_no_answer_and_who_is_elsewhere_does(town: Town, ann: Principal) -> None:
    script, there = Script(), Recorder()
    async with town.node(script, grace_seconds=0.2) as one, town.node() as two:
        first = await one.conversations.attach(ann, Recorder())
        await first.submit("a", "hold", None)
        await until(lambda: script.turns)
        again = await two.conversations.attach(ann, there, conversation=first.conversation)
        await first.detach()
        await trio.sleep(0.6)
        assert not there.of(ReplyEvent)
        await again.detach()
        await until(lambda: one.conversations.open_turns == 0)
        log = await log_of(two, first.conversation)
        assert [event.stopped for event in finals(log)] == [True]


@pytest.fixture
def own_redis(tmp_path: Any) -> Any:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


async def test_without_redis_nothing_is_acknowledged_and_all_goes_on_afterwards(
    own_redis: RedisServer, ann: Principal
) -> None:
    town, script, here, there = Town(own_redis), Script(), Recorder(), Recorder()
    async with town.node(script) as one, town.node(script) as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hi", None)
        second = await two.conversations.attach(
            ann, there, conversation=first.conversation, offset=0, epoch=first.epoch
        )
        await here.wait(ReplyEvent)
        await first.submit("b", "hold", None)
        await there.wait(DeltaEvent, match=lambda event: event.id == "b")
        await trio.to_thread.run_sync(own_redis.kill)
        with pytest.raises(StoreUnavailable):
            await first.submit("c", "hi", None)
        await until(lambda: one.conversations.trouble and two.conversations.trouble)
        script.go.set()
        with pytest.raises(StoreUnavailable):
            await two.conversations.attach(ann, Recorder(), conversation="somebody-else-s")
        await trio.to_thread.run_sync(own_redis.start)
        await until(lambda: not one.conversations.trouble and not two.conversations.trouble)
        await first.submit("c", "hi", None)
        await there.wait(ReplyEvent, match=lambda event: event.id == "c")
        await here.wait(ReplyEvent, match=lambda event: event.id == "c")
        log = await log_of(two, first.conversation)
        assert [event.offset for event in log] == list(range(1, len(log) + 1))
        assert [event.id for event in finals(log)] == ["a", "b", "c"]
        for sink in (here, there):
            offsets = [event.offset for event in sink.events if hasattr(event, "offset")]
            assert offsets == sorted(set(offsets))
        await until(lambda: first.offset == second.offset == len(log))


async def test_a_redis_that_hangs_counts_as_lost_and_comes_back(own_redis: RedisServer, ann: Principal) -> None:
    town, here = Town(own_redis), Recorder()
    async with town.node() as one:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        own_redis.send(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            await first.submit("b", "hi", None)
        assert one.conversations.trouble
        own_redis.send(signal.SIGCONT)
        await until(lambda: not one.conversations.trouble)
        await first.submit("b", "hi", None)
        await here.wait(ReplyEvent, match=lambda event: event.id == "b")
        log = await log_of(one, first.conversation)
        assert [event.id for event in finals(log)] == ["a", "b"]
