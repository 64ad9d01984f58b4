"""Who is listed, in which order, and for how long."""

from typing import Any

import trio

from csgate.cluster import Cluster

from .conftest import Town


async def listed(cluster: Cluster, *addresses: str) -> None:
    with trio.fail_after(10):
        while cluster.addresses() != list(addresses):  # noqa: ASYNC110  each node looks once a second
            await trio.sleep(0.02)


def load(connections: int) -> Any:
    return lambda: {"connections": connections, "turns": 0}


async def test_the_same_zone_first_then_who_has_least_to_do(town: Town) -> None:
    async with (
        town.store(cluster={"node": "a", "zone": "east"}) as a,
        town.store(cluster={"node": "b", "zone": "west"}) as b,
        town.store(cluster={"node": "c", "zone": "east"}) as c,
        town.store(cluster={"node": "d", "zone": "east"}) as d,
        town.store(cluster={"node": "quiet"}),
    ):
        await b.enter("ws://b/ws", load(0))
        await c.enter("ws://c/ws", load(7))
        await d.enter("ws://d/ws", load(3))
        await a.enter("ws://a/ws", load(1))
        await listed(a, "ws://d/ws", "ws://c/ws", "ws://b/ws")
        await listed(b, "ws://a/ws", "ws://d/ws", "ws://c/ws")
        assert [(one["name"], one["zone"], one["load"]) for one in a.describe()] == [
            ("a", "east", {"connections": 1, "turns": 0}),
            ("b", "west", {"connections": 0, "turns": 0}),
            ("c", "east", {"connections": 7, "turns": 0}),
            ("d", "east", {"connections": 3, "turns": 0}),
        ]
        await d.drain()
        await listed(a, "ws://c/ws", "ws://b/ws")
        assert [one["name"] for one in a.describe() if one["draining"]] == ["d"]


async def test_a_node_that_ends_is_gone_at_once_and_one_that_dies_after_a_while(town: Town) -> None:
    async with town.store(cluster={"node": "a"}) as a:
        async with town.store(cluster={"node": "b"}) as b:
            await b.enter("ws://b/ws", load(0))
            await listed(a, "ws://b/ws")
        await listed(a)
        # An entry of a version to come, and one whose time has run out.
        for name, body in (("future", '{"id":1}'), ("dead", "")):
            town.redis.ask("ZADD", f"{town.prefix}:{{nodes}}:all", "9999999999999", name)
            town.redis.ask("SET", f"{town.prefix}:{{nodes}}:{name}", body)
        await a.enter("ws://a/ws", load(0))
        assert [one["name"] for one in a.describe()] == ["a"]
