"""One WebSocket connection, from the name of a host to the closing of the socket.

trio-websocket leaves the socket to the garbage collector when the server closes first, so the stream is opened, owned
and closed here.
"""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from csgate.client.address import ChatAddress
from csgate.client.refusals import ChatRefused, ChatUnreachable, cause_of

SUBPROTOCOL: Final = "csgate.v1"
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
RECEIVE_BYTES: Final = 64 * 1024
CONNECT_S: Final = 15.0
ABNORMAL: Final = 1006
"""What RFC 6455 section 7.1.5 calls a connection that ended without a close frame."""

_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class WireClosed(Exception):
    """The WebSocket has ended."""


class Wire(Protocol):
    """An open WebSocket. ``send`` and ``receive`` are for one task each."""

    async def send(self, frame: str | bytes) -> None:
        """Sends one message: a text frame for str, a binary one for bytes.

        Raises:
            WireClosed: it cannot be sent any more.
        """
        ...

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            WireClosed: there is none.
        """
        ...

    async def close(self) -> None:
        """Closes with 1000 and waits for the other side to agree; the caller sets the deadline."""
        ...


Dial = Callable[[ChatAddress, str, Callable[[Wire], Awaitable[None]]], Awaitable[tuple[int, str]]]
"""Opens a WebSocket with a token, runs the function on it, and returns close code and reason. ``talk`` is one."""


class _Watched(trio.abc.Stream):
    """A stream that tells when the peer has hung up: trio-websocket waits for an answer to its handshake for ever."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._ended = trio.Event()

    async def cancel_at_end(self, opening: trio.CancelScope) -> None:
        await self._ended.wait()
        opening.cancel()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except BaseException:
            self._ended.set()
            raise
        if not data:
            self._ended.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _TrioWire:
    __slots__ = ("_ws",)

    def __init__(self, ws: WebSocketConnection) -> None:
        self._ws = ws

    async def send(self, frame: str | bytes) -> None:
        try:
            await self._ws.send_message(frame)
        except ConnectionClosed:
            raise WireClosed from None

    async def receive(self) -> str | bytes:
        try:
            message: str | bytes = await self._ws.get_message()
        except ConnectionClosed:
            raise WireClosed from None
        return message

    async def close(self) -> None:
        await self._ws.aclose()


async def talk(address: ChatAddress, token: str, conversation: Callable[[Wire], Awaitable[None]]) -> tuple[int, str]:
    """Connects, runs ``conversation`` on the open WebSocket, and returns close code and reason when it is over.

    Raises:
        ChatUnreachable: nobody answers, or not now.
        ChatRefused: something else than a chat of csgate's answers.
    """
    parts = urlsplit(address.websocket)
    stream = _Watched(await _open_stream(address, parts.hostname or "", parts.port, secure=parts.scheme == "wss"))
    closed = (ABNORMAL, "the connection broke")
    rejected: list[ConnectionRejected] = []
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(CONNECT_S) as opening:
                nursery.start_soon(stream.cancel_at_end, opening)
                ws = await wrap_client_stream(
                    nursery,
                    cast("trio.SocketStream", stream),  # any stream will do
                    parts.netloc,
                    f"{parts.path}?{parts.query}" if parts.query else parts.path,
                    subprotocols=[SUBPROTOCOL],
                    extra_headers=[(b"Authorization", b"Bearer " + token.encode())],
                    max_message_size=MAX_MESSAGE_BYTES,
                    receive_buffer_size=RECEIVE_BYTES,
                )
            if not opening.cancelled_caught:
                await conversation(_TrioWire(ws))
                if ws.closed is not None and ws.closed.code != ABNORMAL:
                    closed = (ws.closed.code, ws.closed.reason or "")
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as group:
        # Raised by trio-websocket's reader, which lives in the nursery.
        rejected += [error for error in group.exceptions if isinstance(error, ConnectionRejected)]
    finally:
        await trio.aclose_forcefully(stream)
    for error in rejected:
        status = error.status_code
        if status == 429 or status >= 500:
            raise ChatUnreachable(f"{address.websocket} takes nobody now (HTTP {status}).")
        raise ChatRefused(f"{address.websocket} is no chat of csgate's (HTTP {status}).", status)
    return closed


async def _open_stream(address: ChatAddress, host: str, port: int | None, *, secure: bool) -> _Stream:
    try:
        with trio.fail_after(CONNECT_S):
            if not secure:
                return await trio.open_tcp_stream(host, port or 80)
            stream = await trio.open_ssl_over_tcp_stream(
                host, port or 443, https_compatible=True, ssl_context=ssl.create_default_context()
            )
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return stream
    except (OSError, trio.BrokenResourceError) as error:
        reason = cause_of(error)
    except trio.TooSlowError:
        reason = f"no connection within {CONNECT_S:g} seconds"
    raise ChatUnreachable(f"Nobody answers at {address.websocket} ({reason}); is csgate running there?")
