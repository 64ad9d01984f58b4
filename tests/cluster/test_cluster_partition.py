"""A node that is cut off from Redis while the others are not."""

from typing import Any

import pytest
import trio

from csgate.errors import NotFound, StoreUnavailable
from csgate.events import DeltaEvent, Principal, ReplyEvent

from ..redis_wire import Wire
from ..session.conftest import Recorder
from .conftest import LEASE_S, Town
from .test_cluster_sharing import Script, finals, log_of, until


async def test_a_node_that_is_cut_off_acknowledges_nothing_and_answers_nothing_twice(
    town: Town, ann: Principal
) -> None:
    cut, well, here, there = Script(), Script(), Recorder(), Recorder()
    well.go.set()
    async with trio.open_nursery() as nursery:
        wire = Wire(town.redis.port)
        await nursery.start(wire.serve)
        through = {"url": f"redis://127.0.0.1:{wire.port}/0", "command_seconds": 0.3}
        async with town.node(cut, redis=through, max_events=6) as one, town.node(well, max_events=6) as two:
            first = await one.conversations.attach(ann, here)
            await first.submit("a", "hold", None)
            await here.wait(DeltaEvent)
            second = await two.conversations.attach(ann, there, conversation=first.conversation)
            wire.block()
            with pytest.raises(StoreUnavailable):
                await first.submit("b", "hi", None)
            # Its lease runs out, and the other node answers; later its own answer is ready.
            await there.wait(ReplyEvent)
            cut.go.set()
            await trio.sleep(2 * LEASE_S)
            assert one.conversations.trouble
            assert not here.of(ReplyEvent)
            wire.open.set()
            await until(lambda: not one.conversations.trouble and one.conversations.open_turns == 0)
            await here.wait(ReplyEvent)
            log = await log_of(two, first.conversation)
            assert [event.id for event in finals(log)][:1] == ["a"]
            assert len([event for event in finals(log) if event.id == "a"]) == 1
            assert (await first.submit("c", "hi", None)).offset > 2
            await there.wait(ReplyEvent, match=lambda event: event.id == "c")
            await until(lambda: first.offset == second.offset)
            # Cut off for so long that the log has forgotten what it missed: its client begins anew.
            wire.cut()
            for number in range(5):
                await second.submit(f"m{number}", "hi", None)
                await there.wait(ReplyEvent, match=lambda event, number=number: event.id == f"m{number}")
            assert here.given_up == 0
            wire.open.set()
            await until(lambda: here.given_up == 1)
        nursery.cancel_scope.cancel()


async def test_what_another_node_forgets_is_gone_here_as_well(town: Town, ann: Principal) -> None:
    here = Recorder()
    async with town.node() as one, town.node() as two:
        first = await one.conversations.attach(ann, here)
        await first.submit("a", "hi", None)
        await here.wait(ReplyEvent)
        await until(lambda: one.conversations.open_turns == 0)
        store: Any = two.store
        assert await store.prune((), now="2026-01-02", before="~", at_most=9) == 0, "somebody is attached elsewhere"
        assert await store._forget(first.conversation)
        await until(lambda: here.given_up == 1)
        with pytest.raises(NotFound):
            await two.conversations.attach(ann, Recorder(), conversation=first.conversation)


async def test_a_node_that_was_given_turns_while_its_session_closes_lets_them_be(town: Town, ann: Principal) -> None:
    script = Script()
    async with town.store() as cluster:
        # Without ears nothing is taken: there is nobody to answer.
        async with town.node(script) as one:
            first = await one.conversations.attach(ann, Recorder())
            await first.submit("a", "hold", None)
            await until(lambda: script.turns)
        assert await cluster.leases.take_abandoned(at_once=True) == 0
