"""One WebSocket connection, from the name of a host to the closing of the socket.

trio-websocket leaves the socket to the garbage collector when the server closes first, so the stream is opened, owned
and closed here.
"""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from csgate.client.address import ChatAddress
from csgate.client.refusals import ChatRefused, ChatUnreachable, cause_of

SUBPROTOCOL: Final = "csgate.v1"
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
RECEIVE_BYTES: Final = 64 * 1024
CONNECT_S: Final = 15.0
ABNORMAL: Final = 1006
"""What RFC 6455 section 7.1.5 calls a connection that ended without a close frame."""

_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def talk(
    address: ChatAddress, token: str, conversation: Callable[[WebSocketConnection], Awaitable[None]]
) -> tuple[int, str]:
    """Connects, runs ``conversation`` on the open WebSocket, and returns close code and reason when it is over.

    Raises:
        ChatUnreachable: nobody answers, or not now.
        ChatRefused: something else than a chat of csgate's answers.
    """
    parts = urlsplit(address.websocket)
    stream = await _open_stream(address, parts.hostname or "", parts.port, secure=parts.scheme == "wss")
    closed = (ABNORMAL, "the connection broke")
    rejected: list[ConnectionRejected] = []
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(CONNECT_S) as opening:
                ws = await wrap_client_stream(
                    nursery,
                    stream,
                    parts.netloc,
                    f"{parts.path}?{parts.query}" if parts.query else parts.path,
                    subprotocols=[SUBPROTOCOL],
                    extra_headers=[(b"Authorization", b"Bearer " + token.encode())],
                    max_message_size=MAX_MESSAGE_BYTES,
                    receive_buffer_size=RECEIVE_BYTES,
                )
            if not opening.cancelled_caught:
                await conversation(ws)
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
