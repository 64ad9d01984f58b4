"""A node among newer ones: what it cannot read costs it nothing else, and stays for those that can."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.cluster import Cluster, open_cluster
from csgate.cluster.codec import encode_turn
from csgate.events import AckEvent, DeltaEvent, MessageEvent, Picture, Principal, ReplyEvent, StateEvent
from csgate.session import Attachment, Header, OpenTurn, open_conversations

from ..session.conftest import Recorder, Rig
from .conftest import RENEW_S, Node, Town
from .test_cluster_sharing import Script, finals, log_of, until

NOW = "2026-01-01T00:00:00.000Z"
HEADER = Header("c", "epoch", "shop", "t1", "ann")
ANN = Principal(subject="ann", issuer="shop", tenant="t1")


class StampEvent(msgspec.Struct, frozen=True, tag="stamp"):
    """An event of a version to come."""

    offset: int
    timestamp: str


async def accepted(newer: Cluster, id: str, language: Any, header: Header = HEADER) -> None:
    event = MessageEvent(id, 0, "customer", "hi", NOW)
    await newer.store.accept(header, event, id.encode() * 16, OpenTurn(id, "hi", None, ANN, language))


async def redis(town: Town, node: Node, name: str, letter: str, *arguments: str) -> Any:
    return await node.store._link.one((name.encode(), f"{town.prefix}:{{c}}:{letter}", *arguments))


def lines(node: Node, event: str) -> list[dict[str, Any]]:
    return [line for line in node.rig.logged() if line["event"] == event]


# --- Turns ----------------------------------------------------------------------------------------------------------


async def test_a_turn_that_cannot_be_read_is_left_to_a_node_that_can(town: Town) -> None:
    script, other, here = Script(), Script(), Recorder()
    async with town.node(script) as node:
        async with town.store() as newer:
            await accepted(newer, "a", "fr")
        # That node has let go of it.
        await until(lambda: lines(node, "turn_unreadable"))
        await trio.sleep(8 * RENEW_S)
        assert await redis(town, node, "HGET", "h", "fence") == b"2", "taken once, and not again and again"
        assert not await redis(town, node, "EXISTS", "l")
        assert node.cluster.leases.held == {}
        # What comes behind it is answered, where nobody answers the first.
        tab = await node.conversations.attach(ANN, here, conversation="c")
        await tab.submit("b", "hi", None)
        assert (await here.wait(ReplyEvent)).id == "b"
        await until(lambda: node.cluster.leases.held == {})
        await trio.sleep(8 * RENEW_S)
        assert await redis(town, node, "HGET", "h", "fence") == b"3"
        assert [line["turn"] for line in lines(node, "turn_unreadable")] == ["a"], "told of once"
        value = await redis(town, node, "HGET", "t", "a")
        readable = value[:18] + encode_turn(OpenTurn("a", "hi", None, ANN, "en"))
        await redis(town, node, "HSET", "t", "a", readable)
        async with town.node(other):
            assert (await here.wait(ReplyEvent, count=2)).id == "a"
        assert [(turn.id, turn.attempt) for turn in (*script.turns, *other.turns)] == [("b", 1), ("a", 2)]


async def no_state(town: Town, newer: Cluster) -> None:
    await accepted(newer, "a", "en")
    paused: Any = "paused"
    await newer.store.append(HEADER, StateEvent(paused, 0, NOW))


async def no_head(town: Town, newer: Cluster) -> None:
    await accepted(newer, "a", "en")
    town.redis.ask("HDEL", f"{town.prefix}:{{c}}:h", "head")


@pytest.mark.parametrize("spoil", [no_state, no_head])
async def test_turns_of_a_conversation_that_cannot_be_read_end_no_node(
    town: Town, spoil: Callable[[Town, Cluster], Awaitable[None]]
) -> None:
    here = Recorder()
    async with town.node() as node:
        async with town.store() as newer:
            await spoil(town, newer)
        await until(lambda: lines(node, "turn_unreadable"))
        tab = await node.conversations.attach(ANN, here)
        await tab.submit("b", "hi", None)
        await here.wait(ReplyEvent)
        await trio.sleep(4 * RENEW_S)
        assert await redis(town, node, "HGET", "h", "fence") == b"2"
        assert (await redis(town, node, "HGET", "t", "a"))[16:18] == b"01"


async def test_a_turn_that_cannot_be_read_among_those_that_a_node_holds(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, here, looks = Script(), Recorder(), list[str]()
    async with town.node(script) as one, town.store() as newer:
        tab = await one.conversations.attach(ANN, here)
        await tab.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        stored = await newer.store.load(tab.conversation)
        assert stored is not None
        await accepted(newer, "b", "fr", stored.header)
        await accepted(newer, "c", "en", stored.header)
        await until(lambda: one.conversations.open_turns == 2)
        with monkeypatch.context() as patch:
            patch.setattr(one.cluster.leases, "look", looks.append)
            await trio.sleep(4 * RENEW_S)
        assert looks == [], "known, and not looked at again and again"
        script.go.set()
        await here.wait(ReplyEvent, count=2)
        await until(lambda: one.cluster.leases.held == {})
        assert [event.id for event in finals(await log_of(one, tab.conversation))] == ["a", "c"]
        assert [line["turn"] for line in lines(one, "turn_unreadable")] == ["b"]
        # It goes on there all the same.
        await tab.submit("d", "hi", None)
        await here.wait(ReplyEvent, match=lambda event: event.id == "d")


async def test_a_lease_that_is_lost_while_the_session_closes(town: Town) -> None:
    script, rig, config = Script(), Rig(), town.config()
    photo = Picture(b"photo", "binary", "pictures/1")

    async def keep(conversation: str, picture: Picture) -> None:
        pass

    with trio.fail_after(30):
        async with open_cluster(config, rig.telemetry) as cluster:
            async with open_conversations(
                cluster.store, script, config.session, rig.telemetry, keep=keep
            ) as conversations:
                tab = await conversations.attach(ANN, Recorder())
                for id in "abc":
                    await tab.submit(id, "hold", photo)
                await until(lambda: script.turns)
            ears = cluster.leases.ears
            assert ears is not None
            ears.cancelled(tab.conversation, "b")
            cluster.leases.lose(tab.conversation)


# --- Events ---------------------------------------------------------------------------------------------------------


async def logged_by_a_newer_node(newer: Cluster, conversation: str) -> None:
    stored = await newer.store.load(conversation)
    assert stored is not None
    stamp: Any = StampEvent(0, NOW)
    await newer.store.append(stored.header, stamp)


async def test_a_message_that_cannot_be_read_costs_no_subscription(town: Town) -> None:
    here = Recorder()
    async with town.node() as one, town.node() as two, town.store() as newer:
        tab = await one.conversations.attach(ANN, here)
        await tab.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        await until(lambda: one.conversations.open_turns == 0)
        there = await two.conversations.attach(ANN, Recorder(), conversation=tab.conversation)
        for _ in range(3):
            await logged_by_a_newer_node(newer, tab.conversation)
        await until(lambda: lines(one, "message_not_understood"))
        await there.submit("b", "hi", None)
        assert (await here.wait(MessageEvent)).offset == 6, "the next offset shows the gap"
        await here.wait(ReplyEvent, match=lambda event: event.id == "b")
        assert not lines(one, "subscriber_lost")
        assert len(lines(one, "message_not_understood")) == 1


async def test_an_event_that_cannot_be_read_is_stepped_over(town: Town) -> None:
    here, beside = Recorder(), Recorder()
    async with town.node() as one, town.store() as newer:
        tab = await one.conversations.attach(ANN, here)
        await tab.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        second = await one.conversations.attach(ANN, beside, conversation=tab.conversation)
        await logged_by_a_newer_node(newer, tab.conversation)  # offset 3
        assert (await tab.submit("b", "hi", None)).offset == 4
        assert (await beside.wait(MessageEvent)).offset == 4
        await here.wait(ReplyEvent, count=2)
        await logged_by_a_newer_node(newer, tab.conversation)  # offset 6, after which nothing comes
        await until(lambda: tab.offset == second.offset == 5)
        assert (await tab.submit("b", "hi", None)).offset == 4, "the same ack"
        # Resumed before a gap, at one and behind it.
        for offset, missed in ((2, [4, 5]), (3, [4, 5]), (5, []), (6, [])):
            back = await one.conversations.attach(
                ANN, Recorder(), conversation=tab.conversation, epoch=tab.epoch, offset=offset
            )
            assert (back.recovered, back.offset) == (True, 6)
            assert [event.offset for event in back.history] == missed
        assert (await tab.submit("c", "hi", None)).offset == 7
        await here.wait(ReplyEvent, count=3)
        assert [event.offset for event in here.of(AckEvent, ReplyEvent)] == [1, 2, 4, 5, 4, 7, 8]
        page = await one.store.read(tab.conversation)
        assert page is not None
        assert (page.first, page.last) == (1, 8)
        assert [line["offset"] for line in lines(one, "event_unreadable")] == [3, 6], "each is told of once"
        assert not lines(one, "conversation_failed")


async def test_a_log_that_cannot_be_followed_does_not_hold_up_what_waits(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, go, offsets = Recorder(), trio.Event(), list[int]()

    async def broken(*_: Any, **__: Any) -> None:
        await go.wait()
        raise RuntimeError("unforeseen")

    async def submit(tab: Attachment) -> None:
        offsets.append((await tab.submit("b", "hi", None)).offset)

    async with town.node() as one, town.store() as two, trio.open_nursery() as nursery:
        tab = await one.conversations.attach(ANN, here)
        await tab.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        await until(lambda: one.conversations.open_turns == 0)
        stored = await two.store.load(tab.conversation)
        assert stored is not None
        with monkeypatch.context() as patch:
            patch.setattr(one.store._fanout, "_take", lambda message: None)
            await two.store.append(stored.header, MessageEvent("x", 0, "human", "hi", NOW))
            await trio.sleep(2 * RENEW_S)
        monkeypatch.setattr(one.store, "read", broken)
        await two.store.append(stored.header, MessageEvent("y", 0, "human", "hi", NOW))
        await trio.sleep(2 * RENEW_S)
        nursery.start_soon(submit, tab)
        await wait_all_tasks_blocked(0.05)
        go.set()
        await until(lambda: offsets == [5])
        assert len(lines(one, "conversation_failed")) == 1
        assert here.given_up == 1, "its client comes back, and gets a page to start from"
