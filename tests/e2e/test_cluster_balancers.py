"""The configurations in deploy/, each with its real balancer in front of three real nodes on one Redis."""

import http.client
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..redis_server import RedisServer, free_port
from .balancers import DEPLOY, haproxy, program, wait_for, with_addresses
from .cluster import QUICK_LEASE, three_nodes
from .conftest import Server
from .raw import RawWebSocket, ask


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("balanced")
    redis = RedisServer(folder / "redis")
    try:
        with three_nodes(folder, redis, **QUICK_LEASE) as running:
            yield running
    finally:
        redis.kill()


@contextmanager
def nginx(folder: Path, nodes: list[Server]) -> Iterator[tuple[int, int]]:
    ports = free_port(), free_port()
    text = with_addresses((DEPLOY / "nginx.conf").read_text(), nodes)
    for given, port in zip(("listen 8000;", "listen 8001;"), ports, strict=True):
        text = text.replace(given, f"listen 127.0.0.1:{port};")
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(text.replace("http {", f"http {{\n{temporary}", 1))
    options = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
    process = subprocess.Popen(
        [program("nginx"), "-p", str(folder), "-c", str(config), "-e", f"{folder}/error.log", "-g", options],
        stderr=subprocess.DEVNULL,
    )
    try:
        for port in ports:
            wait_for(port)
        yield ports
    finally:
        process.kill()
        process.wait(10)


def chat(
    node: Server, port: int, *, path: str = "/ws", source: str = "127.0.0.1", cookie: str = "", **known: Any
) -> Any:
    """A chat through the balancer at ``port``: the client and its welcome."""
    headers = ("X-Forwarded-For: 6.6.6.6", *([f"Cookie: {cookie}"] if cookie else ()))
    client = RawWebSocket(
        port,
        path,
        protocols=("csgate.v1", f"csgate.bearer.{node.token('ann')}"),
        headers=headers,
        sock=socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0)),
    )
    assert client.status == 101, client.head
    client.send_json({"type": "hello", **known})
    return client, client.expect("welcome")


def connected(nodes: list[Server]) -> list[list[str]]:
    """The addresses of the chats that each node has taken."""
    return [[line["address"] for line in node.log if line["event"] == "connected"] for node in nodes]


def news(nodes: list[Server], before: list[list[str]], count: int) -> list[list[str]]:
    deadline = time.monotonic() + 5
    while True:
        fresh = [now[len(then) :] for now, then in zip(connected(nodes), before, strict=True)]
        if sum(map(len, fresh)) >= count or time.monotonic() > deadline:
            return fresh
        time.sleep(0.02)


def goes_on_through(node: Server, port: int, **how: Any) -> None:
    """A conversation that begins and is resumed through the balancer, wherever the second connection ends up."""
    client, welcome = chat(node, port, **how)
    with client:
        assert ask(client, "m1", "Where is my order 12345?")["offset"] == 2
    client, again = chat(node, port, conversation=welcome["conversation"], epoch=welcome["epoch"], offset=1, **how)
    with client:
        assert again["recovered"]
        assert [event["offset"] for event in client.expect("history")["events"]] == [2]
        assert ask(client, "m2", "hello")["offset"] == 4


def test_haproxy_by_address(nodes: list[Server], tmp_path: Path) -> None:
    before = connected(nodes)
    with haproxy(tmp_path, nodes, "source") as port:
        goes_on_through(nodes[0], port)
        for number in range(12):
            client, _ = chat(nodes[0], port, source=f"127.0.0.{10 + number // 2}")
            with client:
                pass
        fresh = news(nodes, before, 14)
        for path in ("/readyz", "/metrics", "/healthz"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == 403
            connection.close()
    for address, count in Counter(address for some in fresh for address in some).items():
        assert any(some.count(address) == count for some in fresh), "one address, one node"
    assert sum(bool(some) for some in fresh) > 1
    assert "6.6.6.6" not in {address for some in fresh for address in some}


def test_haproxy_by_cookie(nodes: list[Server], tmp_path: Path) -> None:
    with haproxy(tmp_path, nodes, "cookie") as port:
        goes_on_through(nodes[0], port)
        client, _ = chat(nodes[0], port)
        with client:
            (line,) = [line for line in client.head.splitlines() if line.lower().startswith("set-cookie: csgate_node=")]
        cookie = line.split(" ", 1)[1].partition(";")[0]
        before = connected(nodes)
        for _ in range(6):
            client, _ = chat(nodes[0], port, cookie=cookie)
            with client:
                assert "set-cookie" not in client.head.lower()
        fresh = news(nodes, before, 6)
    assert sorted(map(len, fresh)) == [0, 0, 6]


def test_haproxy_by_load_leaves_out_a_node_that_is_not_ready(nodes: list[Server], tmp_path: Path) -> None:
    with haproxy(tmp_path, nodes, "leastconn") as port:
        goes_on_through(nodes[0], port)
        before = connected(nodes)
        clients = [chat(nodes[0], port)[0] for _ in range(6)]
        assert sorted(map(len, news(nodes, before, 6))) == [2, 2, 2]
        for client in clients:
            client.sock.close()
        nodes[1].process.send_signal(signal.SIGSTOP)
        try:
            # Sent there meanwhile, one waits for the checks to notice; what counts is that it does not stay so.
            time.sleep(3.5)
            before = connected(nodes)
            for _ in range(4):
                client, _ = chat(nodes[0], port)
                with client:
                    assert ask(client, "m1", "hello")["offset"] == 2
            assert [len(some) > 0 for some in news(nodes, before, 4)] == [True, False, True]
        finally:
            nodes[1].process.send_signal(signal.SIGCONT)


def test_nginx_by_address_and_by_conversation(nodes: list[Server], tmp_path: Path) -> None:
    with nginx(tmp_path, nodes) as (by_address, by_conversation):
        goes_on_through(nodes[0], by_address)
        before = connected(nodes)
        for _ in range(4):
            client, _ = chat(nodes[0], by_address)
            with client:
                pass
        assert sorted(map(len, news(nodes, before, 4))) == [0, 0, 4]
        before = connected(nodes)
        for number in range(12):
            client, _ = chat(nodes[0], by_conversation, path=f"/ws?conversation=c{number // 2}")
            with client:
                pass
        fresh = list(map(len, news(nodes, before, 12)))
        assert all(count % 2 == 0 for count in fresh), "both tabs of a conversation are at one node"
        assert sum(map(bool, fresh)) > 1
        goes_on_through(nodes[0], by_conversation)
        for path in ("/readyz", "/metrics"):
            connection = http.client.HTTPConnection("127.0.0.1", by_address, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == 404
            connection.close()
    assert "6.6.6.6" not in {address for some in connected(nodes) for address in some}
