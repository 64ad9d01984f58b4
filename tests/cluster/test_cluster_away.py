"""What the parts do while Redis is away, and when it is back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from csgate.cluster import fanout as fanout_module
from csgate.cluster.fanout import Fanout
from csgate.errors import Overloaded, StoreUnavailable
from csgate.events import AckEvent, DeltaEvent, MessageEvent, Principal, ReplyEvent, StateEvent, TypingEvent
from csgate.session import Header, OpenTurn
from csgate.session import countdown as countdown_module

from ..redis_server import RedisServer
from ..session.conftest import Recorder
from .conftest import Town
from .test_cluster_sharing import Script, log_of, until

NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


async def test_channels_that_are_wanted_meanwhile_are_subscribed_afterwards(own_redis: RedisServer) -> None:
    town = Town(own_redis)
    async with town.store() as one, town.store() as two:
        store: Any = one.store
        await store.join("before")
        await store.join("before")
        await trio.to_thread.run_sync(own_redis.kill)
        await until(lambda: store.trouble is not None)
        with pytest.raises(StoreUnavailable):
            await store.join("meanwhile")
        store.attend("meanwhile", True)
        store.attend("meanwhile", True)
        store.attend("never", False)
        store.tell("before", TypingEvent(on=True))
        assert await store.listened_elsewhere("before"), "nobody can tell"
        await trio.to_thread.run_sync(own_redis.start)
        await until(lambda: store.trouble is None)
        other: Any = two.store
        with trio.fail_after(5):
            while not await other.listened_elsewhere("meanwhile"):  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert await other.listened_elsewhere("before")
        assert not await other.may_give_back("meanwhile"), "an agent is attached"
        store.attend("meanwhile", False)
        with trio.fail_after(5):
            while not await other.may_give_back("meanwhile"):  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert not await store.may_give_back("meanwhile"), "the other does it"


async def test_nobody_comes_while_redis_is_away(
    own_redis: RedisServer, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node lives through it, and gives the conversation back once Redis is there again."""
    monkeypatch.setattr(countdown_module, "GIVE_BACK_AGAIN_S", 0.2)
    here = Recorder()
    async with Town(own_redis).node(Script(), handoff_seconds=0.5) as node:
        waiting = await node.conversations.attach(ann, here)
        await waiting.handoff()
        await here.wait(StateEvent)
        await trio.to_thread.run_sync(own_redis.kill)
        await until(lambda: any(line["event"] == "handoff_not_ended_yet" for line in node.rig.logged()))
        await trio.to_thread.run_sync(own_redis.start)
        await here.wait(StateEvent, count=2)
        assert waiting.state == "bot"


async def test_turns_of_others_are_fetched_although_nothing_was_heard(
    own_redis: RedisServer, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, script, here = Town(own_redis), Script(), Recorder()
    async with town.node(script) as one, town.store() as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        page = await two.store.load(first.conversation)
        assert page is not None
        one.cluster.leases.look(first.conversation)  # in vain: there is nothing new
        # Deaf for a while: what the other node accepts is counted at the next renewal.
        monkeypatch.setattr(one.store._fanout, "_take", lambda message: None)
        for id in ("b", "c"):
            accepted = await two.store.accept(
                page.header,
                MessageEvent(id, 0, "customer", "hi", NOW),
                b"1" * 16,
                OpenTurn(id, "hi", None, ann, "en"),
            )
            assert accepted.new
            assert not accepted.here
        await until(lambda: one.conversations.open_turns == 3)
        script.go.set()
        await here.wait(ReplyEvent, count=3)
        assert [event.id for event in here.of(ReplyEvent)] == ["a", "b", "c"]
        log = await log_of(one, first.conversation)
        await until(lambda: first.offset == len(log) == 6)


async def test_a_conversation_takes_only_so_many_turns_from_all_nodes(town: Town, ann: Principal) -> None:
    async with town.store(max_waiting=2) as cluster:
        header = Header("c", "epoch", "shop", "t1", "ann")
        for id in "abc":
            event = MessageEvent(id, 0, "customer", "hi", NOW)
            await cluster.store.accept(header, event, b"1" * 16, OpenTurn(id, "hi", None, ann, "en"))
        with pytest.raises(Overloaded):
            await cluster.store.accept(
                header, MessageEvent("d", 0, "customer", "hi", NOW), b"1" * 16, OpenTurn("d", "hi", None, ann, "en")
            )


async def test_what_is_told_is_bounded_and_an_end_goes_before_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Link:
        trouble = None

        async def ask(self, *commands: Any) -> None:
            await trio.sleep(0.01)
            sent.extend(commands)

    monkeypatch.setattr(fanout_module, "MAX_WAITING", 3)
    link: Any = Link()
    fanout = Fanout(link, "0123456789abcdef", "x", sharded=False)
    for seq in range(5):
        fanout.tell_event("c", DeltaEvent("m", 1, seq, "text"))
    fanout.tell_event("c", AckEvent("m", 1))  # to its sender only
    assert len(fanout._queue) == 3
    fanout.tell("c", b"C", b"m")
    await fanout.quiet("c")
    assert len(fanout._queue) == 1, "no piece after the end, but what else was to be told"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.speak)
        await trio.testing.wait_all_tasks_blocked()
        await fanout.quiet("c")
        assert [command[0] for command in sent] == [b"PUBLISH"]
        nursery.cancel_scope.cancel()
