"""Any sequence of operations gives the same answers from Redis as from the store in memory."""

from collections.abc import Sequence
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csgate.events import MessageEvent, Principal
from csgate.session import MemoryStore, OpenTurn, Reopened

from ..session.test_session_stores import MAX_EVENTS, PAGE_EVENTS, Step, answer, everything, header, moment, steps
from .conftest import Town


class Deaf:
    """Ears that take turns and do nothing."""

    def given(self, turns: Sequence[Reopened]) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_: ()


@given(st.lists(st.one_of(steps(), steps(), steps(), steps(), steps(), st.none()), max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_gives_the_same_answers_as_memory(town: Town, sequence: list[Step | None]) -> None:
    async def compare() -> None:
        memory, at, left = MemoryStore(MAX_EVENTS), 0, sequence
        fresh = Town(town.redis)
        while left is not None:
            async with fresh.store(
                max_events=MAX_EVENTS, page_events=PAGE_EVENTS, cluster={"lease_seconds": 30.0}
            ) as cluster:
                store: Any = cluster.store
                store.connect(Deaf())
                # The process before let go of its turns; this one takes them over.
                await cluster.leases.take_abandoned(at_once=True)
                # None in the sequence: the process ends, and another begins.
                restart = left.index(None) if None in left else len(left)
                steps, left = left[:restart], left[restart + 1 :] if restart < len(left) else None
                for step in steps:
                    assert step is not None
                    at += 1
                    assert await answer(store, step, moment(at)) == await answer(memory, step, moment(at))
                assert await everything(store) == await everything(memory)

    trio.run(compare)


async def test_what_is_forgotten_and_what_is_kept(town: Town) -> None:
    # No renewal, which would take the lease again that is let go below.
    seldom = {"lease_seconds": 30.0, "renew_seconds": 10.0}
    async with town.store(cluster=seldom) as cluster, town.store(cluster=seldom) as other:
        store: Any = cluster.store
        for at, name in enumerate(("old", "used", "elsewhere", "waiting", "new")):
            event = MessageEvent("m", 0, "customer", "hi", moment(at))
            turn = OpenTurn("m", "hi", None, Principal("ann"), "en") if name == "waiting" else None
            await store.accept(header(name), event, b"1" * 16, turn)
        # Whoever answered there is dead, and nobody has taken over yet.
        town.redis.ask("DEL", f"{town.prefix}:{{waiting}}:l")
        town.redis.ask("ZADD", f"{town.prefix}:{{index}}:active", "0", "never-written")
        await other.store.join("elsewhere")
        assert await store.count() == 6
        assert await store.prune({"used"}, now=moment(9), before=moment(4), at_most=9) == 1
        assert await store.count() == 4
        assert await store.load("old") is None
        # What was kept counts as active now.
        assert await store.prune((), now=moment(9), before=moment(9), at_most=9) == 1
        left = [name for name in ("used", "elsewhere", "waiting", "new") if await store.load(name) is not None]
        assert left == ["used", "elsewhere", "waiting"]
