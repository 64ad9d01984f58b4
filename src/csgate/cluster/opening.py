"""A node's part in a cluster, opened and closed as one."""

import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from csgate import __version__
from csgate.cluster import scripts
from csgate.cluster.fanout import NODE_CHARS, Fanout
from csgate.cluster.keys import Keys
from csgate.cluster.leases import Leases
from csgate.cluster.link import open_link
from csgate.cluster.redis_store import RedisStore
from csgate.cluster.registry import Registry
from csgate.cluster.safety import SHARDED_SINCE, inspect
from csgate.config import Config
from csgate.errors import StoreUnavailable
from csgate.telemetry import Telemetry

CLOSE_S: Final = 2.0


class Cluster:
    """What :class:`csgate.gateway.node.Neighbours` asks for, and the store."""

    __slots__ = ("_registry", "leases", "store")

    def __init__(self, store: RedisStore, registry: Registry, leases: Leases) -> None:
        self.store = store
        self.leases = leases
        self._registry = registry

    def addresses(self) -> list[str]:
        """Where clients of this node may fail over to, best first."""
        return self._registry.others()

    def describe(self) -> list[dict[str, object]]:
        """All nodes, for operators."""
        return [msgspec.structs.asdict(member) for member in self._registry.members]

    async def enter(self, address: str, load: Callable[[], dict[str, int]]) -> None:
        """This node serves now."""
        await self._registry.enter(address, load)

    async def drain(self) -> None:
        """It will not much longer."""
        await self._registry.drain()


@asynccontextmanager
async def open_cluster(config: Config, telemetry: Telemetry) -> AsyncIterator[Cluster]:
    """Connects to Redis, and owns the tasks: subscriber, sender, renewal and search of leases, registry.

    Raises:
        ConfigError: Redis cannot be used, or may lose what it acknowledges.
    """
    node = secrets.token_hex(NODE_CHARS // 2)
    name = config.cluster.node or f"{socket.gethostname()}-{node[:4]}"
    keys = Keys(config.redis.prefix)
    async with open_link(config.redis, telemetry, scripts.ALL) as link:
        version = await inspect(link, config.redis, telemetry)
        fanout = Fanout(link, node, config.redis.prefix, sharded=version >= SHARDED_SINCE)
        leases = Leases(link, keys, node, config.cluster, telemetry)
        store = RedisStore(link, keys, node, config.session, leases, fanout)
        registry = Registry(link, keys, node, name, config.cluster.zone, __version__)
        telemetry.log.info("joined", node=name, id=node, redis=".".join(map(str, version)))
        async with trio.open_nursery() as nursery:
            # Those that need the session's ears wait for them.
            nursery.start_soon(fanout.hear)
            nursery.start_soon(fanout.speak)
            nursery.start_soon(leases.renew)
            nursery.start_soon(leases.fetch)
            nursery.start_soon(leases.search)
            nursery.start_soon(store.flush_for_ever)
            nursery.start_soon(registry.run)
            try:
                yield Cluster(store, registry, leases)
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                    await registry.leave()
                    try:
                        await leases.release()
                        await store.flush()
                    except StoreUnavailable:
                        telemetry.log.warning("left_without_redis")  # leases and entries end by themselves
