"""Three real nodes on one real Redis, and a language model that takes its time."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Babbler:
    """Speaks OpenAI's API on a port of this machine: ``pieces`` words, ``pause`` seconds between them."""

    def __init__(self, pieces: int = 30, pause: float = 0.05) -> None:
        self.pieces = pieces
        self.pause = pause
        self.asked = 0
        babbler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                babbler.asked += 1
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                try:
                    for number in range(babbler.pieces):
                        self._say({"content": f"word{number} "}, None)
                        time.sleep(babbler.pause)
                    self._say({}, "stop")
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    pass  # the gateway is dead, or does not want more
                self.close_connection = True

            def _say(self, delta: dict[str, str], reason: str | None) -> None:
                body = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def text(self) -> str:
        return "".join(f"word{number} " for number in range(self.pieces)).strip()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CSGATE_GENERATION__GENERATOR": f"http://127.0.0.1:{self._server.server_port}/v1",
            "CSGATE_GENERATION__MODEL": "babbler",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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
