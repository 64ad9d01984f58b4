"""hypercorn behind the splitter, over real sockets: one request after another, and what peers do in between."""

import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.gateway.conftest import OpenPort, rest, until

from csgate.gateway import http_stream, listener
from csgate.gateway.http_stream import plain_response, server_tls_context
from csgate.gateway.listener import Upgrade

LARGE = 32 * 1024 * 1024


class App:
    """A small ASGI app. ``/slow`` waits for ``go``."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.asked: list[str] = []
        self.heard: list[str] = []
        self.cancelled = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(f"{scope['method']} {scope['path']}")
        body = b""
        match scope["path"]:
            case "/echo":
                while True:
                    message = await receive()
                    self.heard.append(message["type"])
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    if not message.get("more_body"):
                        break
            case "/slow":
                try:
                    await self.go.wait()
                except trio.Cancelled:
                    self.cancelled += 1
                    raise
                body = b"slow"
            case "/large":
                body = b"x" * LARGE
            case "/fail":
                raise RuntimeError("secret words")
            case "/half":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                raise RuntimeError("secret words")
            case _:
                body = b"fine"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


@pytest.fixture
def app() -> App:
    return App()


def get(path: str = "/", *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


LAST = "Connection: close"
UPGRADE = get(
    "/ws",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def hello(upgrade: Upgrade) -> None:
    await upgrade.stream.send_all(b"upgraded" + upgrade.initial)


SOCKETS = {"/ws": hello}


async def test_requests_one_after_another(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect()
        for path in ("/", "/a", "/b"):
            await stream.send_all(get(path))
            answer = await until(stream, b"fine")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"server:" not in answer.lower()
        await stream.send_all(get("/c", LAST))
        assert (await rest(stream)).endswith(b"fine")
    assert app.asked == ["GET /", "GET /a", "GET /b", "GET /c"]


async def test_pipelined_requests_are_answered_in_order(open_port: OpenPort, app: App) -> None:
    post = get("/echo", "Content-Length: 3", method="POST")
    async with open_port(app) as port:
        answer = await port.ask(post + b"one" + get("/") + post + b"two" + get("/", LAST))
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200")]
    assert [body.strip() for body in bodies] == [b"", b"one", b"fine", b"two", b"fine"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_byte_by_byte(open_port: OpenPort, app: App, chunked: bool) -> None:
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 10"
    body = b"5\r\nslow \r\n5\r\nbytes\r\n0\r\n\r\n" if chunked else b"slow bytes"
    async with open_port(app) as port:
        stream = await port.connect()
        for byte in get("/echo", length, LAST, method="POST") + body:
            await stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert (await rest(stream)).endswith(b"\r\n\r\nslow bytes")


async def test_expect_100_continue(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/echo", "Expect: 100-continue", "Content-Length: 4", LAST, method="POST"))
        assert (await until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"body")
        assert (await rest(stream)).endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_other_methods(open_port: OpenPort, app: App, method: str) -> None:
    async with open_port(app) as port:
        answer = await port.ask(get("/", LAST, method=method))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n" if method == "HEAD" else b"fine")


async def test_a_peer_that_sends_no_more_but_reads_gets_its_answer(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/slow"))
        await stream.send_eof()
        await trio.sleep(0.05)
        app.go.set()
        assert (await rest(stream)).endswith(b"slow")


async def test_a_peer_that_leaves_between_requests(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get())
        await until(stream, b"fine")
        await stream.send_eof()
        assert await rest(stream) == b""


async def test_a_body_that_ends_too_soon(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/echo", "Content-Length: 9", method="POST") + b"four")
        await stream.send_eof()
        assert await rest(stream) == b""
        await port.gone()


def reset(stream: trio.SocketStream) -> None:
    """Ends the connection with a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def test_a_peer_that_vanishes_while_it_is_answered(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/slow"))
        await trio.sleep(0.05)
        reset(stream)
        await port.gone()
        assert not any("failed" in entry["event"] for entry in port.log)


async def test_a_peer_that_vanishes_while_it_is_sent_to(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/large"), 4096)
        await stream.receive_some(100)
        reset(stream)
        await port.gone()
        assert not any("failed" in entry["event"] for entry in port.log)


async def test_a_peer_that_never_reads(open_port: OpenPort, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CLOSE_S", 0.05)
    async with open_port(app, send_seconds=0.1) as port:
        await port.connect(get("/large"), 4096)
        with trio.fail_after(5):
            await port.gone()


async def test_cancelling_does_not_wait_for_a_peer_that_never_reads(open_port: OpenPort, app: App) -> None:
    """hypercorn shields what it sends."""
    async with open_port(app, send_seconds=1_000) as port:
        handled = trio.Event()

        async def serve(stream: trio.SocketStream) -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await port.listener.handle(stream)
            handled.set()

        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            (own,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [own])
            client = await trio.open_tcp_stream(*own.socket.getsockname())
            await client.send_all(get("/large"))
            await trio.sleep(0.1)
            scopes[0].cancel()
            with trio.fail_after(2):
                await handled.wait()
            await client.aclose()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("pause", [False, True])
async def test_an_upgrade_behind_other_requests(open_port: OpenPort, app: App, pause: bool) -> None:
    async with open_port(app, SOCKETS) as port:
        stream = await port.connect(get() if pause else get() + get("/b") + UPGRADE + b"early")
        if pause:
            await until(stream, b"fine")
            await stream.send_all(UPGRADE + b"early")
            assert await rest(stream) == b"upgradedearly"
        else:
            answer = await rest(stream)
            assert answer.count(b"HTTP/1.1 200 ") == 2
            assert answer.endswith(b"fineupgradedearly")


async def test_an_upgrade_waits_for_the_answer_before_it(open_port: OpenPort, app: App) -> None:
    async with open_port(app, SOCKETS) as port:
        stream = await port.connect(get("/slow"))
        await trio.sleep(0.05)
        await stream.send_all(UPGRADE)
        await trio.sleep(0.05)
        assert app.cancelled == 0
        app.go.set()
        answer = await rest(stream)
        assert answer.endswith(b"\r\n\r\nslowupgraded")


async def test_no_upgrade_after_connection_close(open_port: OpenPort, app: App) -> None:
    async with open_port(app, SOCKETS) as port:
        assert (await port.ask(get("/", LAST) + UPGRADE)).endswith(b"fine")


@pytest.mark.parametrize(("garbage", "status"), [(b"\x00\r\n\r\n", 400), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)])
@pytest.mark.parametrize("pause", [False, True])
async def test_a_later_request_that_is_broken(
    open_port: OpenPort, app: App, garbage: bytes, status: int, pause: bool
) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get() + (b"" if pause else garbage))
        if pause:
            await until(stream, b"fine")
            await stream.send_all(garbage)
        answer = await rest(stream)
        assert answer.count(b"HTTP/1.1 ") == (1 if pause else 2)
        assert f"HTTP/1.1 {status} ".encode() in answer
        assert port.refused("bad_http") == 1


async def test_a_broken_body_is_a_broken_request(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        stream = await port.connect(get("/echo", "Transfer-Encoding: chunked", method="POST"))
        await stream.send_all(b"xyz\r\n")
        assert (await rest(stream)).startswith(b"HTTP/1.1 400 ")


async def test_an_app_that_fails(open_port: OpenPort, app: App) -> None:
    async with open_port(app) as port:
        answer = await port.ask(get("/fail"))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"secret" not in answer
        assert (await port.ask(get("/half"))).endswith(b"half")
        assert (await port.ask(get("/", LAST))).endswith(b"fine")


async def test_an_idle_connection_is_closed(open_port: OpenPort, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_stream, "KEEP_ALIVE_S", 0.1)
    async with open_port(app) as port:
        stream = await port.connect(get())
        assert (await rest(stream)).endswith(b"fine")
        await stream.send_eof()


async def test_the_answer_to_a_body_that_nobody_reads_arrives(open_port: OpenPort, app: App) -> None:
    """Closing with bytes unread would reset the connection, and the answer with it."""
    async with open_port(app) as port:
        stream = await port.connect(get("/", f"Content-Length: {LARGE}", method="POST"))

        async def send() -> None:
            try:
                for _ in range(32):
                    await stream.send_all(b"x" * 65536)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            answer = await rest(stream)
        assert answer.endswith(b"fine")


async def test_over_tls(open_port: OpenPort, app: App, certificate: tuple[trustme.CA, str, str]) -> None:
    ca, chain, key = certificate
    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with open_port(app, SOCKETS, tls=server_tls_context(chain, key)) as port:
        stream = trio.SSLStream(await port.connect(), context, server_hostname="127.0.0.1", https_compatible=True)
        await stream.send_all(get())
        await until(stream, b"fine")
        await stream.send_all(UPGRADE)
        assert await rest(stream) == b"upgraded"
        await stream.aclose()
        stream = trio.SSLStream(await port.connect(), context, server_hostname="127.0.0.1", https_compatible=True)
        await stream.send_all(get("/", LAST))
        assert (await rest(stream)).endswith(b"fine")
        await stream.aclose()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str, str]:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return ca, str(folder / "both.pem"), str(folder / "both.pem")


def test_an_encrypted_key_is_an_error_not_a_question(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "key.pem").write_bytes(locked)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with pytest.raises(OSError, match="SSL"):
        server_tls_context(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


def test_a_plain_response_is_whole() -> None:
    response = plain_response(426, "No.", ((b"upgrade", b"websocket"), (b"connection", b"upgrade")))
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 426 Upgrade Required",
        b"content-type: text/plain; charset=utf-8",
        b"content-length: 4",
        b"connection: close, upgrade",
        b"upgrade: websocket",
    ]
    assert body == b"No.\n"
