"""A real Redis, and nodes without a gateway: a store and conversations each, in one Trio program."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from csgate.cluster import Cluster, open_cluster
from csgate.config import ClusterSettings, Config, RedisSettings, SessionSettings
from csgate.events import Principal
from csgate.session import Conversations, open_conversations

from ..redis_server import RedisServer
from ..session.conftest import Rig

LEASE_S = 0.4
RENEW_S = 0.1


class Node:
    """A cluster's member as a test sees it."""

    def __init__(self, cluster: Cluster, conversations: Conversations, rig: Rig) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self.conversations = conversations
        self.rig = rig


class Town:
    """Nodes on one Redis. Each has a prefix of its own in it, thus a Redis of its own."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.prefix = secrets.token_hex(4)

    def config(self, **settings: Any) -> Config:
        cluster = {"lease_seconds": LEASE_S, "renew_seconds": RENEW_S, **settings.pop("cluster", {})}
        redis = {"url": self.redis.url, "prefix": self.prefix, "command_seconds": 1.0, **settings.pop("redis", {})}
        return Config(
            session=SessionSettings(store="redis", **settings),
            cluster=ClusterSettings(**cluster),
            redis=RedisSettings(**redis),
        )

    @asynccontextmanager
    async def store(self, **settings: Any) -> AsyncIterator[Cluster]:
        async with open_cluster(self.config(**settings), Rig().telemetry) as cluster:
            yield cluster

    @asynccontextmanager
    async def node(self, answer: Any = None, **settings: Any) -> AsyncIterator[Node]:
        rig = Rig()
        config = self.config(**settings)
        with trio.fail_after(30):
            async with (
                open_cluster(config, rig.telemetry) as cluster,
                open_conversations(cluster.store, answer or rig.answer, config.session, rig.telemetry) as conversations,
            ):
                yield Node(cluster, conversations, rig)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests that leave it alive."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def town(redis: RedisServer) -> Town:
    return Town(redis)


@pytest.fixture
def ann() -> Principal:
    return Principal(subject="ann", issuer="shop", tenant="t1")


@pytest.fixture
def agent() -> Principal:
    return Principal(subject="gus", issuer="desk", tenant="t1", role="agent")
