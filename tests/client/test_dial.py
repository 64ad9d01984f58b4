"""Connecting: with TLS, to nobody, to something that is no gateway; the socket is closed every time."""

import ssl
from pathlib import Path

import pytest
import trio
import trustme
from trio_websocket import WebSocketRequest, serve_websocket

from csgate.client import ChatRefused, ChatUnreachable, connect, dial, parse_address
from csgate.client.dial import Wire, WireClosed, talk


async def serve(nursery: trio.Nursery, handler: object, tls: ssl.SSLContext | None = None) -> int:
    server = await nursery.start(
        lambda task_status: serve_websocket(
            handler, "127.0.0.1", 0, tls, handler_nursery=nursery, task_status=task_status
        )
    )
    return int(server.port)


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept(subprotocol="csgate.v1")
    await ws.send_message(request.path)
    await ws.aclose(4000, "enough")


async def read_one(wire: Wire) -> None:
    assert await wire.receive() in ("/ws", "/chat?x=1")
    with pytest.raises(WireClosed):
        await wire.receive()
    with pytest.raises(WireClosed):
        await wire.send("too late")


async def test_the_close_code_comes_back(nursery: trio.Nursery) -> None:
    port = await serve(nursery, echo)
    assert await talk(parse_address(f"127.0.0.1:{port}"), "token", read_one) == (4000, "enough")
    assert await talk(parse_address(f"ws://127.0.0.1:{port}/chat?x=1"), "token", read_one) == (4000, "enough")


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


async def test_tls(nursery: trio.Nursery, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    port = await serve(nursery, echo, context)
    assert await talk(parse_address(f"wss://127.0.0.1:{port}"), "token", read_one) == (4000, "enough")


async def test_a_certificate_for_somebody_else_is_refused(authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(context)

    async def handshake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handshake, [listener])
        port = listener.transport_listener.socket.getsockname()[1]
        with pytest.raises(ChatUnreachable, match="certificate"):
            await talk(parse_address(f"wss://127.0.0.1:{port}"), "token", read_one)
        nursery.cancel_scope.cancel()


async def test_a_host_that_never_answers(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock) -> None:
    async def forever(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", forever)
    with pytest.raises(ChatUnreachable, match="no connection within 15 seconds"):
        await talk(parse_address("gate.example"), "token", read_one)


@pytest.mark.parametrize("answer", [b"", b"220 mail.example ESMTP\r\n"])
async def test_something_that_is_no_gateway(answer: bytes) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, [listener])
        port = listener.socket.getsockname()[1]
        async with connect(f"127.0.0.1:{port}", token="mine", keep_trying=False) as chat:
            with pytest.raises(ChatUnreachable, match="hangs up"):
                await chat.receive()
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNECT_S", 0.3)

    async def wait(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, wait, [listener])
        port = listener.socket.getsockname()[1]
        assert await talk(parse_address(f"127.0.0.1:{port}"), "token", read_one) == (1006, "the connection broke")
        nursery.cancel_scope.cancel()


async def test_a_refusal_with_a_body(nursery: trio.Nursery) -> None:
    async def refuse(request: WebSocketRequest) -> None:
        await request.reject(403, body=b"Not from there.")

    port = await serve(nursery, refuse)
    with pytest.raises(ChatRefused, match="HTTP 403"):
        await talk(parse_address(f"127.0.0.1:{port}"), "token", read_one)


@pytest.mark.parametrize(("status", "kind"), [(404, ChatRefused), (503, ChatUnreachable), (429, ChatUnreachable)])
async def test_an_http_answer_instead_of_a_handshake(status: int, kind: type[Exception]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        port = listener.socket.getsockname()[1]
        async with connect(f"127.0.0.1:{port}", token="mine", keep_trying=False) as client:
            with pytest.raises(kind, match=f"HTTP {status}"):
                await client.receive()
        nursery.cancel_scope.cancel()
