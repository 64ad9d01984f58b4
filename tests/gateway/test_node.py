"""The node: opened whole, drained on the way out. The engine is a stand-in; everything else is real."""

import io
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trustme
from tests.gateway.conftest import SECRET, Client, Closed, rest, until

from csgate.cli.groups import one_reason
from csgate.config import Config, load_config
from csgate.errors import ConfigError
from csgate.events import Draft
from csgate.gateway import node as node_module
from csgate.gateway.node import Node, describe_engine, open_node, run_node
from csgate.inference import EngineInfo, ModelInfo
from csgate.session import Turn
from csgate.telemetry import Metrics, Telemetry, open_logger

LARGE = 8 * 2**20
INFO = EngineInfo(
    provider="CPUExecutionProvider",
    precision="int8",
    models={"intent": ModelInfo("tiny", "1", "intent", "int8", "CPUExecutionProvider", "0" * 64, ("hello",))},
)


class Stage:
    """What stands in for the engine and the dialog: turns may wait for ``release`` or be ``large``."""

    def __init__(self) -> None:
        self.info = INFO
        self.release = trio.Event()
        self.held = trio.Event()
        self.log = io.StringIO()
        self.telemetry = Telemetry(Metrics(), open_logger("debug", stream=self.log))

    async def prepare(self) -> None:
        pass

    async def answer(self, turn: Turn) -> Draft:
        if turn.text == "hold":
            self.held.set()
            await self.release.wait()
        if turn.text == "large":
            return Draft(text="x" * LARGE)
        return Draft(text=f"re: {turn.text}")

    def logged(self, event: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [entry for entry in entries if entry["event"] == event]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()

    @asynccontextmanager
    async def open_engine(*_: Any) -> AsyncIterator[Stage]:
        yield made

    monkeypatch.setattr(node_module, "open_engine", open_engine)
    monkeypatch.setattr(node_module, "Dialog", lambda *_: made)
    return made


def config_at(tmp_path: Path, **sections: Any) -> Config:
    sections["server"] = {"port": 0, "data_dir": str(tmp_path), "drain_seconds": 5} | sections.get("server", {})
    sections["auth"] = {"secret": SECRET}
    return load_config(None, sections, environ={})


OpenNode = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
def opened(stage: Stage, tmp_path: Path) -> OpenNode:
    @asynccontextmanager
    async def open_one(**sections: Any) -> AsyncIterator[Node]:
        with trio.fail_after(20):
            async with open_node(config_at(tmp_path, **sections), stage.telemetry) as node:
                yield node

    return open_one


async def connect(node: Node, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
    stream = await trio.open_tcp_stream(*node.address)
    if tls is None:
        return stream
    return trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)


def token(node: Node, subject: str = "ann") -> str:
    return node.auth.mint(subject, lifetime_s=3600, now=time.time())


async def upgrade(stream: trio.abc.Stream, node: Node, *headers: str) -> Client:
    lines = [
        "GET /ws HTTP/1.1",
        "Host: a",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {token(node)}",
        *headers,
    ]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    return Client(stream)


async def v1(node: Node, tls: ssl.SSLContext | None = None) -> Client:
    client = await upgrade(await connect(node, tls), node, "Sec-WebSocket-Protocol: csgate.v1")
    assert (await client.head()).startswith("HTTP/1.1 101 ")
    await client.say(type="hello")
    assert (await client.expect("welcome"))["engine"] == describe_engine(INFO)
    return client


async def get(address: tuple[str, int] | None, path: str) -> tuple[int, bytes]:
    assert address is not None
    stream = await trio.open_tcp_stream(*address)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await rest(stream)).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body


async def test_one_port_for_chat_and_http(opened: OpenNode, stage: Stage) -> None:
    async with opened() as node:
        assert node.operator_address is None
        assert node.readiness().ready
        status, body = await get(node.address, "/readyz")
        assert (status, json.loads(body)["engine"]) == (200, describe_engine(INFO))
        client = await v1(node)
        assert (await client.ask("m1"))["text"] == "re: hello"
        await client.leave()
        await client.stream.aclose()
        (listening,) = stage.logged("listening")
        assert (listening["port"], listening["tls"]) == (node.address[1], False)
        assert (listening["operator_host"], listening["operator_port"]) == (None, None)
    assert not node.readiness().ready
    assert stage.logged("drained")[0]["connections"] == 0


async def test_operator_routes_on_a_port_of_their_own(opened: OpenNode, stage: Stage) -> None:
    async with opened(server={"operator_port": 0}) as node:
        (listening,) = stage.logged("listening")
        assert (listening["operator_host"], listening["operator_port"]) == node.operator_address
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await get(node.operator_address, path))[0] == 200
            assert (await get(node.address, path))[0] == 404
        assert (await get(node.operator_address, "/v1/guest"))[0] == 404
        stream = await trio.open_tcp_stream(*(node.operator_address or ("", 0)))
        client = await upgrade(stream, node)
        assert (await client.head()).startswith("HTTP/1.1 404 ")
        await stream.aclose()


# --- The drain -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("over_tls", [False, True])
async def test_the_drain_finishes_what_was_begun(
    opened: OpenNode, stage: Stage, tmp_path: Path, authority: trustme.CA, over_tls: bool
) -> None:
    server, context = {}, None
    if over_tls:
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        server = {"tls_certificate": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
        context = ssl.create_default_context()
        authority.configure_trust(context)
    events: list[str] = []

    async def watch(client: Client, node: Node) -> None:
        await client.expect("draining")
        events.append("draining")
        error = await client.ask("late")
        events.append(error["code"])
        probe = await connect(node, context)
        await probe.send_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"this node is draining" in await until(probe, b"}")
        newcomer = await upgrade(await connect(node, context), node)
        assert (await newcomer.head()).startswith("HTTP/1.1 503 ")
        stage.release.set()
        events.append((await client.expect("reply"))["id"])
        try:
            await client.receive()
        except Closed as closed:
            events.append(str(closed.code))
        for stream in (client.stream, probe, newcomer.stream):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        async with opened(server=server) as node:
            client = await v1(node, context)
            await client.say(type="message", id="m1", text="hold")
            await client.expect("ack")
            nursery.start_soon(watch, client, node)
    assert events == ["draining", "overloaded", "m1", "4001"]
    assert stage.logged("drained")[0]["connections"] == 0
    assert stage.logged("drain_incomplete") == []


async def test_a_slow_reader_gets_the_close_frame_behind_its_answer(opened: OpenNode) -> None:
    """The drain waits for close handshakes, not only for answers."""
    texts: list[str] = []

    async def read(client: Client) -> None:
        await trio.sleep(0.1)
        try:
            while True:
                texts.append(await client.text())
        except Closed as closed:
            texts.append(str(closed.code))

    async with trio.open_nursery() as nursery:
        async with opened(limits={"outbound_queue_bytes": 2 * LARGE}) as node:
            sock = trio.socket.socket()
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 65_536)
            await sock.connect(node.address)
            stream = trio.SocketStream(sock)
            client = await upgrade(stream, node, "Sec-WebSocket-Protocol: csgate.v1")
            await client.head()
            await client.say(type="hello")
            await client.expect("welcome")
            await client.say(type="message", id="m1", text="large")
            await client.expect("ack")
            while node.conversations.open_turns:  # noqa: ASYNC110
                await trio.sleep(0.001)
            nursery.start_soon(read, client)
    await stream.aclose()
    assert texts.pop() == "4001"
    events = [json.loads(text) for text in texts]
    assert [event["type"] for event in events] == ["reply", "draining"]
    assert len(events[0]["text"]) == LARGE


async def test_a_drain_that_cannot_finish(opened: OpenNode, stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        async with opened(server={"drain_seconds": 0.05}) as node:
            client = await v1(node)
            await client.say(type="message", id="m1", text="hold")
            await client.expect("ack")

            async def read() -> None:
                assert await client.close_code() == 4001
                await client.stream.aclose()

            nursery.start_soon(read)
    assert stage.logged("drain_incomplete")
    assert stage.logged("drained")[0]["connections"] == 0


async def test_the_drain_finishes_completions(opened: OpenNode, stage: Stage) -> None:
    answers: list[bytes] = []

    def request(node: Node, text: str) -> bytes:
        key = node.auth.mint("crm", role="service", lifetime_s=60, now=time.time())
        body = json.dumps({"model": "csgate", "messages": [{"role": "user", "content": text}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
        return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def watch(stream: trio.abc.Stream, node: Node) -> None:
        while node.readiness().ready:  # noqa: ASYNC110 - nothing announces it
            await trio.sleep(0.001)
        late = await connect(node)
        async with late, stream:
            await late.send_all(request(node, "late"))
            answers.append(await rest(late))
            stage.release.set()
            answers.append(await rest(stream))

    async with trio.open_nursery() as nursery:
        async with opened() as node:
            stream = await connect(node)
            await stream.send_all(request(node, "hold"))
            await stage.held.wait()
            nursery.start_soon(watch, stream, node)
    late, held = answers
    assert late.startswith(b"HTTP/1.1 503 ")
    assert held.startswith(b"HTTP/1.1 200 ")
    assert b"re: hold" in held
    assert stage.logged("drain_incomplete") == []


async def test_a_peer_that_does_not_answer_the_close_frame(opened: OpenNode, stage: Stage) -> None:
    async with opened(limits={"close_seconds": 0.1}) as node:
        client = await v1(node)
    assert stage.logged("drained")[0]["connections"] == 0
    await trio.aclose_forcefully(client.stream)


async def test_no_drain_when_the_block_fails(opened: OpenNode, stage: Stage) -> None:
    async def hold(client: Client) -> None:
        with pytest.raises((Closed, trio.BrokenResourceError)):
            await client.expect("never")
        await trio.aclose_forcefully(client.stream)

    async def fail(nursery: trio.Nursery) -> None:
        async with opened() as node:
            nursery.start_soon(hold, await v1(node))
            raise ConfigError("mistake")

    async with trio.open_nursery() as nursery:
        with pytest.raises(ExceptionGroup) as caught:
            await fail(nursery)
    assert str(one_reason(caught.value)) == "mistake"
    assert stage.logged("draining") == []


# --- What stops the start --------------------------------------------------------------------------------------------


async def test_an_address_that_is_taken_is_told_before_the_models_are_loaded(
    opened: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "open_engine", lambda *_: pytest.fail("loaded"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            async with opened(server={"port": port}):
                pytest.fail("opened")
    assert str(caught.value) == (
        f"Cannot listen on 127.0.0.1 port {port}: another program listens there already. Choose another with --port."
    )


@pytest.mark.parametrize("missing", [False, True])
async def test_a_certificate_that_cannot_be_used(opened: OpenNode, tmp_path: Path, missing: bool) -> None:
    file = tmp_path / "cert.pem"
    if not missing:
        file.write_text("not a certificate")
    with pytest.raises(ConfigError) as caught:
        async with opened(server={"tls_certificate": str(file), "tls_key": str(file)}):
            pytest.fail("opened")
    assert str(caught.value).startswith("server.tls_certificate or tls_key cannot be used: ")
    assert str(caught.value).endswith(".")


async def test_a_proxy_that_is_no_network(opened: OpenNode) -> None:
    with pytest.raises(ConfigError, match=r"server\.trusted_proxies: 'proxy'"):
        async with opened(server={"trusted_proxies": ["proxy"]}):
            pytest.fail("opened")


# --- Signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(stage: Stage, tmp_path: Path, number: signal.Signals) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_node, config_at(tmp_path), stage.telemetry)
            os.kill(os.getpid(), number)
    assert stage.logged("signal")[0]["signal"] == number.name
    assert stage.logged("drained")


async def test_a_second_signal_ends_the_drain(stage: Stage, tmp_path: Path) -> None:
    config = config_at(tmp_path, server={"drain_seconds": 1_000}, limits={"close_seconds": 1_000})
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            node = await nursery.start(run_node, config, stage.telemetry)
            client = await v1(node)
            await client.say(type="message", id="m1", text="hold")
            await client.expect("ack")
            os.kill(os.getpid(), signal.SIGTERM)
            await client.expect("draining")
            os.kill(os.getpid(), signal.SIGTERM)
    assert len(stage.logged("signal")) == 2
    assert stage.logged("drained") == []
    await trio.aclose_forcefully(client.stream)
