"""Three real nodes on one real Redis, and a language model that takes its time."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from pydantic import SecretStr

from csgate.cluster import open_cluster
from csgate.config import Config, RedisSettings, SessionSettings
from csgate.telemetry import Telemetry, open_logger

from ..redis_server import RedisServer
from .conftest import Server, start_server
from .speaking import Speaker

QUICK_LEASE = {"CSGATE_CLUSTER__LEASE_SECONDS": "1.0", "CSGATE_CLUSTER__RENEW_SECONDS": "0.25"}


def start_node(folder: Path, redis: RedisServer, name: str, *, port: int = 0, **environment: str) -> Server:
    return start_server(
        folder / name,
        port=port,
        **{
            "CSGATE_SESSION__STORE": "redis",
            "CSGATE_REDIS__URL": redis.url,
            "CSGATE_CLUSTER__NODE": name,
            "CSGATE_INFERENCE__WARM_UP": "false",
            "CSGATE_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
            **environment,
        },
    )


@contextmanager
def three_nodes(folder: Path, redis: RedisServer, **environment: str) -> Iterator[list[Server]]:
    """Started at the same time; whoever is alive in the end is stopped."""
    with ThreadPoolExecutor(3) as pool:
        nodes = list(
            pool.map(
                lambda name: start_node(
                    folder, redis, name, CSGATE_CLUSTER__ZONE="west" if name == "node3" else "east", **environment
                ),
                ("node1", "node2", "node3"),
            )
        )
    try:
        yield nodes
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.wait(10)


def assert_alive(nodes: list[Server]) -> None:
    """None of them has ended by itself."""
    for at, node in enumerate(nodes, 1):
        code = node.process.poll()
        assert code is None, f"node {at} has ended with {code}; its last words:\n{''.join(node.text[-30:])}"


class Babbler(Speaker):
    """Says ``pieces`` words, with ``pause`` seconds between them."""

    def __init__(self, pieces: int = 30, pause: float = 0.05) -> None:
        self.pieces = pieces
        self.pause = pause
        super().__init__()

    @property
    def text(self) -> str:
        return "".join(self._words()).strip()

    def answer(self) -> Iterator[str]:
        for word in self._words():
            yield word
            time.sleep(self.pause)

    def _words(self) -> Iterator[str]:
        return (f"word{number} " for number in range(self.pieces))


def read_redis_logs(redis: RedisServer, conversations: list[str]) -> dict[str, list[dict[str, Any]]]:
    """All events of these conversations, from Redis itself; asserted: no turn is open in them."""
    config = Config(session=SessionSettings(store="redis"), redis=RedisSettings(url=SecretStr(redis.url)))

    async def read() -> dict[str, list[dict[str, Any]]]:
        logs = {}
        async with open_cluster(config, Telemetry(log=open_logger(stream=io.StringIO()))) as cluster:
            for conversation in conversations:
                page = await cluster.store.read(conversation)
                logs[conversation] = [] if page is None else msgspec.to_builtins(page.events)
        return logs

    logs = trio.run(read)
    for conversation in conversations:
        assert redis.ask("HLEN", f"csgate:{{{conversation}}}:t") == ":0"
    return logs
