"""Messages of one conversation that come in at several nodes are answered in the order of the log."""

from typing import Any

import pytest
import trio

from csgate.events import DeltaEvent, MessageEvent, Principal, ReplyEvent
from csgate.session import Header, OpenTurn

from ..session.conftest import Recorder
from .conftest import Node, Town
from .test_cluster_sharing import Script, finals, log_of, until

NOW = "2026-01-01T00:00:00.000Z"
# So that nothing is found out by counting.
SELDOM = {"lease_seconds": 30.0, "renew_seconds": 10.0}


async def accepted_at(node: Any, header: Header, id: str, ann: Principal) -> None:
    event = MessageEvent(id, 0, "customer", "hi", NOW)
    accepted = await node.store.accept(header, event, id.encode() * 16, OpenTurn(id, "hi", None, ann, "en"))
    assert accepted.new
    assert not accepted.here


async def answered(node: Node, conversation: str) -> list[str]:
    return [event.id for event in finals(await log_of(node, conversation))]


async def test_what_another_node_accepted_before_is_answered_before_although_it_was_not_heard_of(
    town: Town, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, here = Script(), Recorder()
    async with town.node(script, cluster=SELDOM) as one, town.store() as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        stored = await two.store.load(first.conversation)
        assert stored is not None
        monkeypatch.setattr(one.store._fanout, "_take", lambda message: None)
        await accepted_at(two, stored.header, "b", ann)
        script.go.set()  # the answer to the first is ready, and the next may begin
        await first.submit("c", "hi", None)
        await here.wait(ReplyEvent, match=lambda event: event.id == "c")
        assert await answered(one, first.conversation) == ["a", "b", "c"]


async def test_what_another_node_accepted_later_is_answered_later_although_it_was_given_before(
    town: Town, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, here = Script(), Recorder()
    async with town.node(script, cluster=SELDOM) as one, town.store() as two, trio.open_nursery() as nursery:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hold", None)
        await here.wait(DeltaEvent)
        stored = await two.store.load(first.conversation)
        assert stored is not None
        ask, slow = one.store._link.ask, trio.Event()

        async def slowly(*commands: Any, **options: Any) -> Any:
            answers = await ask(*commands, **options)
            if len(commands) == 2:  # an acceptance; it is done, but its answer takes its time
                await slow.wait()
            return answers

        monkeypatch.setattr(one.store._link, "ask", slowly)
        nursery.start_soon(first.submit, "b", "hi", None)
        page: Any = None
        while page is None or page.last < 2:
            page = await two.store.read(first.conversation)
        await accepted_at(two, stored.header, "c", ann)
        await until(lambda: one.conversations.open_turns == 3)
        slow.set()
        script.go.set()
        await here.wait(ReplyEvent, count=3)
        assert await answered(one, first.conversation) == ["a", "b", "c"]


async def test_without_anybody_to_answer_what_is_open_stays_so(town: Town, ann: Principal) -> None:
    header = Header("c", "epoch", "shop", "t1", "ann")
    async with town.store(cluster=SELDOM) as one, town.store(cluster=SELDOM) as two:
        turn = OpenTurn("a", "hi", None, ann, "en")
        event = MessageEvent("a", 0, "customer", "hi", NOW)
        assert (await one.store.accept(header, event, b"1" * 16, turn)).here
        await accepted_at(two, header, "b", ann)
        event = MessageEvent("c", 0, "customer", "hi", NOW)
        assert (await one.store.accept(header, event, b"1" * 16, OpenTurn("c", "hi", None, ann, "en"))).here
        assert one.leases.held["c"].turns == {"a", "c"}
