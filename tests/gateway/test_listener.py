"""The listener over real sockets: places, deadlines, refusals, and that no connection ends the others."""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trustme
from tests.gateway.conftest import OpenPort, rest, until

from csgate.errors import Overloaded
from csgate.gateway import listener
from csgate.gateway.listener import Upgrade
from csgate.wire import HandshakeRefused


def request(path: str = "/ws", *headers: str, version: str = "13") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: a",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Handler:
    """A WebSocket handler that says from where it was called, and holds the connection until the peer ends it."""

    def __init__(self) -> None:
        self.upgrades: list[Upgrade] = []
        self.error: Callable[[], BaseException] | None = None

    async def __call__(self, upgrade: Upgrade) -> None:
        self.upgrades.append(upgrade)
        if self.error is not None:
            raise self.error()
        await upgrade.stream.send_all(f"hello {upgrade.address}\n".encode() + upgrade.initial)
        await rest(upgrade.stream)


@pytest.fixture
def handler() -> Handler:
    return Handler()


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"fine"})


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


async def test_an_upgrade_gets_its_handshake_and_what_came_behind_it(open_port: OpenPort, handler: Handler) -> None:
    async with open_port(sockets={"/ws": handler}) as port:
        stream = await port.connect(request("/ws?format=text", "Origin: https://a.example") + b"early")
        assert await until(stream, b"early") == b"hello 127.0.0.1\nearly"
        (upgrade,) = handler.upgrades
        assert upgrade.handshake.query == {"format": "text"}
        assert upgrade.handshake.origin == "https://a.example"
        assert upgrade.initial == b"early"
        assert port.places.count == 1


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (request("/elsewhere"), 404, "handshake"),
        (request(version="8"), 426, "handshake"),
        (request().replace(b"GET", b"POST"), 405, "handshake"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404, None),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_http"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000, 431, "bad_http"),
    ],
)
async def test_refusals(open_port: OpenPort, handler: Handler, data: bytes, code: int, reason: str | None) -> None:
    async with open_port(sockets={"/ws": handler}) as port:
        stream = await port.connect(data)
        answer = await rest(stream)
        assert status(answer) == code
        assert b"connection: close" in answer
        if reason is not None:
            assert port.refused(reason) == 1
        await stream.aclose()
        await port.gone()
        assert handler.upgrades == []
        assert [entry for entry in port.log if "failed" in entry["event"]] == []


async def test_a_handler_may_refuse(open_port: OpenPort, handler: Handler) -> None:
    handler.error = lambda: HandshakeRefused(503, "This node is going away.")
    async with open_port(sockets={"/ws": handler}) as port:
        answer = await port.ask(request())
        assert status(answer) == 503
        assert answer.endswith(b"This node is going away.\n")
        assert port.refused("handshake") == 1


async def test_a_slow_head_is_given_up(open_port: OpenPort, handler: Handler) -> None:
    async with open_port(fine, {"/ws": handler}, head_seconds=0.05) as port:
        for begun in (b"", b"GET / HT"):
            assert await port.ask(begun) == b""
        assert port.refused("slow_head") == 2


async def test_a_peer_that_says_nothing_and_leaves(open_port: OpenPort) -> None:
    async with open_port(fine) as port:
        stream = await port.connect()
        await stream.send_eof()
        assert await rest(stream) == b""


async def test_a_refused_peer_that_goes_on_sending_sees_the_answer(
    open_port: OpenPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LINGER_BYTES", 200_000)
    async with open_port(fine) as port:
        stream = await port.connect(b"nonsense\r\n\r\n")
        await stream.send_all(b"x" * 150_000)
        assert status(await rest(stream)) == 400
        with suppress(trio.BrokenResourceError):
            for _ in range(200):
                await stream.send_all(b"x" * 65536)
            pytest.fail("read without end")
        await port.gone()


# --- Places ----------------------------------------------------------------------------------------------------------


async def test_places_by_address(open_port: OpenPort, handler: Handler) -> None:
    async with open_port(fine, {"/ws": handler}, connections_per_address=2) as port:
        for _ in range(2):
            await until(await port.connect(request()), b"\n")
        stream = await port.connect()
        with suppress(trio.BrokenResourceError):
            assert await rest(stream) == b""  # closed before it was read
        assert port.refused("overloaded") == 1
        await port.streams[0].aclose()
        while port.places.count == 2:  # noqa: ASYNC110
            await trio.sleep(0.001)
        assert await until(await port.connect(request()), b"\n") == b"hello 127.0.0.1\n"


async def test_places_behind_a_proxy_go_by_what_it_says(open_port: OpenPort, handler: Handler) -> None:
    limits = {"connections_per_address": 1, "trusted": ("127.0.0.1",)}
    async with open_port(fine, {"/ws": handler}, **limits) as port:
        for client in ("192.0.2.1", "192.0.2.2"):
            stream = await port.connect(request("/ws", f"X-Forwarded-For: 6.6.6.6, {client}"))
            assert await until(stream, b"\n") == f"hello {client}\n".encode()
        for data in (
            request("/ws", "X-Forwarded-For: 192.0.2.1"),
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        ):
            answer = await port.ask(data)
            assert status(answer) == 503
            assert b"retry-after: 5" in answer
        assert port.refused("overloaded") == 2
        stream = await port.connect(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.3\r\n\r\n")
        await until(stream, b"fine")
        assert port.places.count == 3


# --- Whatever happens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (lambda: RuntimeError("secret words"), True),
        (lambda: ExceptionGroup("", [RuntimeError("one"), OSError("two")]), True),
        (lambda: trio.BrokenResourceError(), False),
        (lambda: trio.ClosedResourceError(), False),
        (lambda: ConnectionResetError(), False),
        (lambda: ExceptionGroup("", [Overloaded("late")]), False),
    ],
)
async def test_nothing_a_connection_raises_ends_the_listener(
    open_port: OpenPort, handler: Handler, error: Any, logged: bool
) -> None:
    handler.error = error
    async with open_port(sockets={"/ws": handler}) as port:
        assert await port.ask(request()) == b""
        await trio.testing.wait_all_tasks_blocked(0.01)
        failures = [entry for entry in port.log if entry["event"] == "connection_failed"]
        assert bool(failures) is logged
        handler.error = None
        assert await until(await port.connect(request()), b"\n") == b"hello 127.0.0.1\n"


async def test_cancellation_is_not_swallowed(open_port: OpenPort, handler: Handler) -> None:
    ended: list[bool] = []

    async def serve(port: Any, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await port.listener.handle(stream)
        ended.append(scope.cancelled_caught)

    scopes: list[trio.CancelScope] = []
    async with open_port(sockets={"/ws": handler}) as port, trio.open_nursery() as nursery:
        (own,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, lambda stream: serve(port, stream), [own])
        client = await trio.open_tcp_stream(*own.socket.getsockname())
        await client.send_all(request())
        await until(client, b"\n")
        scopes[0].cancel()
        assert await rest(client) == b""
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ended == [True]
        nursery.cancel_scope.cancel()


async def test_a_peer_that_is_gone_before_it_is_looked_at(open_port: OpenPort) -> None:
    class Gone:
        closed = False

        @property
        def socket(self) -> Any:
            raise OSError("not connected")

        async def aclose(self) -> None:
            self.closed = True
            await trio.lowlevel.checkpoint()

    async with open_port(fine) as port:
        stream = Gone()
        await port.listener.handle(stream)  # type: ignore[arg-type]
        assert stream.closed


async def test_a_peer_that_resets(open_port: OpenPort, handler: Handler) -> None:
    async with open_port(fine, {"/ws": handler}) as port:
        for data in (b"GET / HT", request()):
            stream = await port.connect(data)
            await trio.sleep(0.02)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
            await port.gone()
        assert [entry["event"] for entry in port.log] == ["connection_broken", "connection_broken"]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


async def test_tls_handshakes_that_fail(open_port: OpenPort, context: ssl.SSLContext) -> None:
    async with open_port(fine, tls=context, head_seconds=0.2) as port:
        assert b"200" not in await port.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        silent = await port.connect()
        assert await rest(silent) == b""
        untrusting = trio.SSLStream(await port.connect(), ssl.create_default_context(), server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await untrusting.do_handshake()
        await trio.aclose_forcefully(untrusting)
        await port.gone()
        assert port.refused("tls") == 3
        assert [entry for entry in port.log if "failed" in entry["event"]] == []


async def test_an_upgrade_and_a_refusal_over_tls(
    open_port: OpenPort, handler: Handler, context: ssl.SSLContext, authority: trustme.CA
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with open_port(sockets={"/ws": handler}, tls=context) as port:
        for data, answer in ((request(), b"hello 127.0.0.1\n"), (request("/other"), b"There is no WebSocket here.\n")):
            stream = trio.SSLStream(await port.connect(), trusting, server_hostname="127.0.0.1", https_compatible=True)
            await stream.send_all(data)
            assert (await until(stream, b"\n" + answer if b"There" in answer else answer)).endswith(answer)
            await stream.aclose()
