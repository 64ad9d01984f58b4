"""The shell on real sockets (the fast way) and on TLS."""

import socket
import ssl
import struct
from types import SimpleNamespace

import pytest
import trio
import trio.testing
import trustme
from tests.gateway.ws_peer import echo, serving, tcp_pair
from tests.wire.client_frames import BINARY, PING, TEXT, answer, close, fragments, frame

from csgate import _fast
from csgate.gateway import ws_transport
from csgate.gateway.websocket import CloseInfo, ReceiveBudget, TooLargeMessage, WebSocket, WebSocketClosed
from csgate.gateway.ws_transport import (
    RECEIVE_BYTES,
    SocketTransport,
    StreamTransport,
    scratch_buffer,
    transport_of,
)

PICTURE = bytes(range(256)) * 4096  # 1 MiB


async def echo_with_back_pressure(ws: WebSocket) -> None:
    while True:
        message = await ws.receive()
        assert not isinstance(message, TooLargeMessage)
        ws.send_binary(message.data)
        await ws.drain()


async def test_large_and_small_by_turns() -> None:
    async with tcp_pair() as pair, serving(echo, pair, outbound_queue_bytes=2**23) as served:
        for payload in (b"", b"small", PICTURE, b"x" * 70_000, b"y" * 20_000, PICTURE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.peer.send, frame(BINARY, payload))
                assert await served.peer.frame() == (0x82, payload)
        await served.peer.send(close(1000))
        assert await served.peer.close_code() == 1000
        assert await served.peer.frame() == (0, b"")
        assert await served.ended() == CloseInfo(1000, "", by_peer=True)


async def test_many_large_ones_with_back_pressure() -> None:
    async with tcp_pair() as pair, serving(echo_with_back_pressure, pair, outbound_queue_bytes=2**23) as served:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                for i in range(20):
                    await served.peer.send(*fragments(BINARY, PICTURE, 100_000 + i))

            for _ in range(20):
                assert await served.peer.frame() == (0x82, PICTURE)


async def test_a_slow_reader_on_a_socket_is_closed() -> None:
    async def app(ws: WebSocket) -> None:
        while not ws.closed:
            ws.send_binary(PICTURE)
            await trio.lowlevel.checkpoint()
        assert ws.backlog <= len(PICTURE) + 10 + 4 + len("too slow a reader")
        with pytest.raises(WebSocketClosed, match="4003"):
            await ws.receive()

    async with tcp_pair() as pair, serving(app, pair, outbound_queue_bytes=3 * 2**20) as served:
        # Once it reads, it finds whole frames and then the close.
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await served.peer.close_code() == 4003
        await served.peer.send(close(4003))
        assert (await served.ended()).code == 4003


async def test_close_from_elsewhere_while_reading_and_writing() -> None:
    async def app(ws: WebSocket) -> None:
        for _ in range(10):
            ws.send_binary(PICTURE)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def closer() -> None:
                await trio.testing.wait_all_tasks_blocked(0.01)
                ws.close(4001)

            with pytest.raises(WebSocketClosed, match="4001"):
                await ws.receive()

    async with tcp_pair() as pair, serving(app, pair, outbound_queue_bytes=2**24) as served:
        await trio.testing.wait_all_tasks_blocked(0.02)
        for _ in range(10):
            assert await served.peer.frame() == (0x82, PICTURE)
        assert await served.peer.close_code() == 4001
        await served.peer.send(close(4001))
        assert (await served.ended()).code == 4001


async def test_what_is_held_looks_like_no_slow_reader() -> None:
    async def app(ws: WebSocket) -> None:
        for i in range(100):
            ws.send_text(b"%04d" % i, more=True)
        ws.send_text(b"last")
        assert ws.closed is None
        assert ws.backlog == 0
        await ws.receive()

    async with tcp_pair() as pair, serving(app, pair, outbound_queue_bytes=20) as served:
        for i in range(100):
            assert await served.peer.frame() == (0x81, b"%04d" % i)
        assert await served.peer.frame() == (0x81, b"last")


async def test_a_reset_connection() -> None:
    async with tcp_pair() as pair, serving(echo, pair) as served:
        await served.peer.send(frame(TEXT, b"hi"))
        assert await served.peer.frame() == (0x81, b"hi")
        pair[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await pair[0].aclose()
        assert await served.ended() == CloseInfo(1006, "", by_peer=True)


async def test_sending_to_a_reset_connection() -> None:
    gone = trio.Event()

    async def app(ws: WebSocket) -> None:
        await gone.wait()
        for _ in range(3):
            ws.send_text(b"anybody there?")
        await ws.drain()
        await ws.receive()

    async with tcp_pair() as pair, serving(app, pair) as served:
        pair[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await pair[0].aclose()
        gone.set()
        assert await served.ended() == CloseInfo(1006, "", by_peer=True)


async def test_a_violator_gets_its_close_frame_and_no_reset() -> None:
    """The server throws away what was on its way; closing with it unread would be a reset."""
    async with tcp_pair() as pair, serving(echo, pair) as served:
        await served.peer.send(frame(3), b"\xff" * 3_000_000)
        assert await served.peer.close_code() == 1002
        assert await served.peer.frame() == (0, b"")
        await served.peer.stream.aclose()
        assert (await served.ended()).code == 1002


async def test_the_socket_is_closed_when_cancelled() -> None:
    budget = ReceiveBudget(2**24)
    async with tcp_pair() as pair, serving(echo, pair, budget=budget) as served:
        await served.peer.send(frame(BINARY, PICTURE)[:200_000])
        await trio.testing.wait_all_tasks_blocked(0.02)
        served.scope.cancel()
        await served.over.wait()
        assert pair[1].socket.fileno() == -1
        assert budget.used == 0


async def test_one_busy_connection_does_not_starve_another() -> None:
    flood = frame(BINARY, PICTURE[: 64 * 1024]) * 40

    async def swallow(ws: WebSocket) -> None:
        while True:
            await ws.receive()

    async with tcp_pair() as one, tcp_pair() as two, serving(swallow, one) as busy, serving(echo, two) as other:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def keep_busy() -> None:
                while True:
                    await busy.peer.send(flood)

            with trio.fail_after(20):
                for i in range(20):
                    await other.peer.send(frame(PING, b"%d" % i))
                    assert await other.peer.frame() == (0x8A, b"%d" % i)
            nursery.cancel_scope.cancel()


async def test_over_tls() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with tcp_pair() as (client, server):
        streams = (
            trio.SSLStream(client, client_context, server_hostname="localhost", https_compatible=True),
            trio.SSLStream(server, server_context, server_side=True, https_compatible=True),
        )
        async with serving(echo, streams, outbound_queue_bytes=2**23) as served:
            await served.peer.send(frame(TEXT, b"hello") + frame(PING, b"p"))
            assert await served.peer.read(10) == answer(TEXT, b"hello") + answer(0xA, b"p")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.peer.send, *fragments(BINARY, PICTURE, 300_000))
                assert await served.peer.frame() == (0x82, PICTURE)
            await served.peer.send(frame(TEXT, b"\xff") + b"\xff" * 1000)
            assert await served.peer.close_code() == 1007
            assert (await served.ended()).code == 1007


async def test_over_tls_the_server_does_not_wait_for_the_peer_to_end() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with tcp_pair() as (client, server):
        streams = (
            trio.SSLStream(client, client_context, server_hostname="localhost", https_compatible=True),
            trio.SSLStream(server, server_context, server_side=True, https_compatible=True),
        )
        async with serving(echo, streams) as served:
            await served.peer.send(close(1000))
            assert await served.peer.close_code() == 1000
            with trio.fail_after(3):  # less than close_s
                assert await served.peer.frame() == (0, b"")
                await served.over.wait()


# --- the transports by themselves ---


async def test_the_fast_transport_is_for_sockets_only() -> None:
    client, server = trio.testing.memory_stream_pair()
    async with tcp_pair() as (tcp, _):
        transport = transport_of(tcp)
        assert isinstance(transport, SocketTransport)
        transport.detach()
    assert isinstance(transport_of(server), StreamTransport)
    await client.aclose()


async def test_the_scratch_buffer_is_shared() -> None:
    assert scratch_buffer() is scratch_buffer()
    assert len(scratch_buffer()) == RECEIVE_BYTES


@pytest.mark.parametrize("fast", [True, False])
async def test_receive_and_interrupt(fast: bool) -> None:
    async with tcp_pair() as (client, server):
        transport = SocketTransport(server) if fast else StreamTransport(server)
        transport.interrupt()  # nobody waits: nothing happens
        await client.send_all(b"abcdef")
        target = memoryview(bytearray(4))
        assert await transport.receive(target) == 4
        assert bytes(target) == b"abcd"
        rest = await transport.receive(None)
        assert isinstance(rest, memoryview)
        assert bytes(rest) == b"ef"
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def interrupt() -> None:
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()

            with pytest.raises(trio.ClosedResourceError):
                await transport.receive(None)
        await client.aclose()
        assert len(await transport.receive(None)) == 0  # type: ignore[arg-type]
        assert await transport.receive(target) == 0
        transport.detach()


@pytest.mark.parametrize("arrives", [40_000, 16_000])
async def test_a_picture_is_read_without_reading_in_vain(arrives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message in one read, or in two where it comes in two pieces."""
    reads: list[int] = []  # -1: in vain

    def counted(sock: socket.socket, target: memoryview) -> int:
        reads.append(_fast.receive_now(sock, target))
        return reads[-1]

    monkeypatch.setattr(ws_transport, "_fast", SimpleNamespace(receive_now=counted, send_now=_fast.send_now))
    message = frame(BINARY, b"x" * 39_992)
    assert len(message) == 40_000
    pieces = [message[:arrives], message[arrives:]] if arrives < 40_000 else [message]
    async with tcp_pair() as pair:
        async with serving(echo, pair) as served:
            await trio.testing.wait_all_tasks_blocked(0.01)
            for piece in pieces * 3:
                await served.peer.send(piece)
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert reads == [-1, *(len(piece) for piece in pieces * 3)]


@pytest.mark.parametrize("fast", [True, False])
async def test_send_some_moves_on_when_the_peer_reads(fast: bool) -> None:
    async with tcp_pair() as (client, server):
        transport = SocketTransport(server) if fast else StreamTransport(server)
        total = 0
        while fast and (sent := transport.try_send(b"", PICTURE)):
            total += sent
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                await trio.testing.wait_all_tasks_blocked(0.01)
                transport.interrupt()
                await trio.testing.wait_all_tasks_blocked(0.01)
                while await client.receive_some(65536):
                    pass

            for _ in range(10):
                assert await transport.send_some(PICTURE) > 0
            await transport.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await transport.send_some(b"after the end")
        transport.detach()


async def test_send_eof_where_the_stream_cannot_or_is_gone() -> None:
    class OneWay(trio.abc.Stream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise trio.ClosedResourceError

        async def wait_send_all_might_not_block(self) -> None:
            pass

        async def aclose(self) -> None:
            pass

    transport = StreamTransport(OneWay())
    await transport.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await transport.send_some(b"x")
    async with tcp_pair() as (client, server):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        fast = SocketTransport(server)
        assert await fast.receive(None) == b""
        await fast.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            fast.try_send(b"x", b"")
        fast.detach()
