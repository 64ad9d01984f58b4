"""The HTTP side of a connection: hypercorn's stack behind the request splitter.

hypercorn's ``TCPServer`` is not public API, so the dependency is pinned below its next minor version and every touch of
it is in this module.
"""

import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Event as HypercornEvent
from hypercorn.events import Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from csgate.gateway.pace import take_turn
from csgate.gateway.splitter import RequestSplitter

RECEIVE_BYTES: Final = 16 * 1024
LARGE_BYTES: Final = 4 * 1024
"""One read. It is parsed in one go, and as many requests as fit into 64 KiB would hold the event loop for 50 ms."""
PEER_GONE: Final = "csgate.peer_gone"
"""In each request's ``scope["state"]``: an event, set when the peer has closed its side. It may still read: an answer
that is at hand is sent all the same, and one that takes long may as well be given up."""
QUEUED_READS: Final = 4
"""Reads of a body that may wait for the application, which then holds the client back: bytes, times connections."""
KEEP_ALIVE_S: Final = 15
READ_TIMEOUT_S: Final = 60


class HttpSide:
    """The ASGI application on hypercorn, for any number of connections of one node."""

    __slots__ = ("_app", "_config", "_context")

    def __init__(self, app: Callable[..., Any], head_bytes: int) -> None:
        config = HypercornConfig()
        config.h11_max_incomplete_size = head_bytes
        config.max_app_queue_size = QUEUED_READS
        config.include_server_header = False
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.read_timeout = READ_TIMEOUT_S
        config.accesslog = None
        config.errorlog = None
        self._config = config
        self._context = WorkerContext(None)
        self._app: AppWrapper = wrap_app(cast(ASGIFramework, app), config.wsgi_max_body_size, "asgi")

    async def serve(self, stream: trio.abc.Stream, splitter: RequestSplitter, passed: bytes, send_s: float) -> bool:
        """Answers requests on ``stream`` until it ends, or ``splitter.upgrade`` or ``splitter.broken`` is set.

        ``passed`` are bytes of the first request that were read already. Requests that came before the end, the upgrade
        or the broken one are answered first. The stream is left open: its owner closes it.

        Returns:
            Whether the stream is good for an answer to what the splitter found.
        """
        gone = trio.Event()
        with trio.CancelScope() as scope:
            guarded = _GuardedStream(stream, splitter, passed, send_s, scope, gone)
            server = _Server(
                self._app,
                self._config,
                self._context,
                cast(Any, ConnectionState(cast(Any, {PEER_GONE: gone}))),
                cast(Any, guarded),
            )
            await server.run()
        return guarded.handed_over


class _Server(TCPServer):
    """hypercorn's, which tells the stream as well whether a request is being answered."""

    async def protocol_send(self, event: HypercornEvent) -> None:
        if isinstance(event, Updated):
            cast(_GuardedStream, self.stream).answering(not event.idle)
        await super().protocol_send(event)


class _GuardedStream:
    """What hypercorn sees of the stream.

    Reads go through the splitter; sends, which hypercorn shields from cancellation, get a deadline; closing is the
    owner's business and only ends the serving. ``handed_over``: the serving ended because of what the splitter found.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        splitter: RequestSplitter,
        passed: bytes,
        send_s: float,
        scope: trio.CancelScope,
        gone: trio.Event,
    ) -> None:
        self._stream = stream
        self._gone = gone
        self._splitter = splitter
        self._passed = passed
        self._send_s = send_s
        self._scope = scope
        self._sending: trio.CancelScope | None = None
        self._idle = trio.Event()
        self._idle.set()
        self.handed_over = False
        # hypercorn tells TLS from plain by which of these attributes it finds.
        if isinstance(stream, trio.SSLStream):
            self.transport_stream = stream.transport_stream
            self.do_handshake = stream.do_handshake
            self.selected_alpn_protocol = stream.selected_alpn_protocol
        else:
            self.socket = cast(trio.SocketStream, stream).socket

    def answering(self, busy: bool) -> None:
        """hypercorn begins or has finished an answer."""
        if busy:
            self._idle = trio.Event()
        else:
            self._idle.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        passed, self._passed = self._passed, b""
        try:
            while not passed:
                if self._splitter.upgrade is not None or self._splitter.broken is not None:
                    await self._end(handed_over=True)
                data = await self._stream.receive_some(min(max_bytes or RECEIVE_BYTES, RECEIVE_BYTES))
                if not data:
                    await self._end(handed_over=False)
                if len(data) > LARGE_BYTES:
                    await take_turn()
                passed = self._splitter.receive(data)
        except trio.BrokenResourceError:
            self._scope.cancel()
            raise
        except trio.Cancelled:
            # Whoever cancels does not wait for a peer that does not read.
            if self._sending is not None:
                self._sending.cancel()
            raise
        return passed

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(self._send_s) as self._sending:
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                self._scope.cancel()
                raise
        sending, self._sending = self._sending, None
        if sending.cancelled_caught:
            self._scope.cancel()
            raise trio.BrokenResourceError("the peer does not read")

    async def _end(self, *, handed_over: bool) -> NoReturn:
        """Ends the serving once what came is answered; told of the end, hypercorn would drop the answer.

        A peer may close its side and still read. But a request whose body will never be whole has no answer.
        """
        if not handed_over:
            self._gone.set()
        if not self._splitter.unfinished:
            await self._idle.wait()
        self.handed_over = handed_over
        self._scope.cancel()
        await trio.sleep_forever()

    async def send_eof(self) -> None:
        """hypercorn has nothing more to say; the owner closes the stream."""

    async def aclose(self) -> None:
        self._scope.cancel()


def plain_response(status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A whole HTTP/1.1 response that closes the connection, for what never reaches the HTTP stack."""
    body = (text + "\n").encode()
    options = [value.decode("latin-1") for name, value in headers if name.lower() == b"connection"]
    lines = [
        f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}",
        "content-type: text/plain; charset=utf-8",
        f"content-length: {len(body)}",
        f"connection: {', '.join(['close', *options])}",
        *(
            f"{name.decode('latin-1')}: {value.decode('latin-1')}"
            for name, value in headers
            if name.lower() != b"connection"
        ),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def server_tls_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """TLS 1.2 and later, offering HTTP/1.1 only: HTTP/2 is the proxy's business.

    Raises:
        OSError: a file cannot be read, or is not what it should be.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password="")  # an encrypted key is an error, not a question on a terminal
    context.set_alpn_protocols(["http/1.1"])
    return context
