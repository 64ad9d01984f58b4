"""A WebSocket client for the shell's tests: raw frames over any Trio stream."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import trio
import trio.testing

from csgate.config import LimitSettings
from csgate.gateway.websocket import (
    CloseInfo,
    ReceiveBudget,
    TextMessage,
    TooLargeMessage,
    WebSocket,
    WebSocketSettings,
    serve_websocket,
)
from csgate.wire import Handshake

App = Callable[[WebSocket], Awaitable[None]]
SETTINGS = WebSocketSettings.from_limits(LimitSettings())
HANDSHAKE = Handshake("/ws", {}, [], ("csgate.v1",), None, b"dGhlIHNhbXBsZSBub25jZQ==")


class Peer:
    """The client's end: reads whole frames, keeps what is left."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._rest = bytearray()

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end of the stream."""
        while len(self._rest) < size:
            data = await self.stream.receive_some(65536)
            if not data:
                break
            self._rest += data
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data

    async def head(self) -> bytes:
        """The 101 answer."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            byte = await self.read(1)
            assert byte, data
            data += byte
        return data

    async def frame(self) -> tuple[int, bytes]:
        """(first byte, payload) of the next frame; (0, b"") at the end of the stream."""
        start = await self.read(2)
        if len(start) < 2:
            return 0, b""
        size = start[1]
        if size == 126:
            size = int.from_bytes(await self.read(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.read(8), "big")
        return start[0], await self.read(size)

    async def leave(self) -> None:
        """Reads to the end, then closes."""
        try:
            while await self.stream.receive_some(65536):
                pass
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        await self.stream.aclose()

    async def close_code(self) -> int:
        """Of the close frame that has to come next, after any messages, pings and pongs."""
        while True:
            first, payload = await self.frame()
            assert first, "the stream ended without a close frame"
            if first == 0x88:
                return int.from_bytes(payload[:2], "big") if payload else 1005


class Served:
    """A connection being served; ``info`` or ``error`` is set when it is over."""

    def __init__(self, peer: Peer, server: trio.abc.Stream) -> None:
        self.peer = peer
        self.server = server
        self.info: CloseInfo | None = None
        self.error: BaseException | None = None
        self.over = trio.Event()
        self.scope = trio.CancelScope()

    async def ended(self) -> CloseInfo:
        """How it ended."""
        await self.finished()
        assert self.info is not None, self.error
        return self.info

    async def finished(self) -> None:
        """Waits for the end; the peer closes its side when the server has, as clients do."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.peer.leave)
            await self.over.wait()
            nursery.cancel_scope.cancel()


Streams = tuple[trio.abc.Stream, trio.abc.Stream]


@asynccontextmanager
async def serving(
    app: App,
    streams: Streams | None = None,
    *,
    budget: ReceiveBudget | None = None,
    initial: bytes = b"",
    subprotocol: str | None = None,
    **changes: Any,
) -> Any:
    """Serves ``app`` on one end of ``streams`` (memory by default), with the head of the answer read away."""
    client, server = streams or trio.testing.memory_stream_pair()
    served = Served(Peer(client), server)

    async def run() -> None:
        try:
            with served.scope:
                served.info = await serve_websocket(
                    server,
                    HANDSHAKE,
                    app,
                    subprotocol=subprotocol,
                    settings=replace(SETTINGS, **changes),
                    budget=budget or ReceiveBudget(64 * 2**20),
                    initial=initial,
                    peer="198.51.100.7",
                )
        except Exception as error:
            served.error = error
        finally:
            served.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await served.peer.head()
        yield served
        nursery.cancel_scope.cancel()


async def echo(ws: WebSocket) -> None:
    """Sends back what comes; the size of what is too large."""
    while True:
        message = await ws.receive()
        if isinstance(message, TooLargeMessage):
            ws.send_text(b"too large: %d" % message.size)
        elif isinstance(message, TextMessage):
            ws.send_text(message.data)
        else:
            ws.send_binary(message.data)


@asynccontextmanager
async def tcp_pair() -> Any:
    """(client, server): two ends of a TCP connection."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        port = listeners[0].socket.getsockname()[1]
        client = await trio.open_tcp_stream("127.0.0.1", port)
        async with client, await listeners[0].accept() as server:
            yield client, server
