"""The HTTP side of a connection: hypercorn's stack behind the request splitter.

hypercorn's ``TCPServer`` is not public API, so the dependency is pinned below its next minor version and every touch of
it is in this module.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final, cast

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from csgate.gateway.splitter import RequestSplitter

RECEIVE_BYTES: Final = 64 * 1024
KEEP_ALIVE_S: Final = 15
READ_TIMEOUT_S: Final = 60

_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class HttpSide:
    """The ASGI application on hypercorn, for any number of connections of one node."""

    __slots__ = ("_app", "_config", "_context")

    def __init__(self, app: Callable[..., Any], head_bytes: int) -> None:
        config = HypercornConfig()
        config.h11_max_incomplete_size = head_bytes
        config.include_server_header = False
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.read_timeout = READ_TIMEOUT_S
        config.accesslog = None
        config.errorlog = None
        self._config = config
        self._context = WorkerContext(None)
        self._app: AppWrapper = wrap_app(cast(ASGIFramework, app), config.wsgi_max_body_size, "asgi")

    async def serve(self, stream: trio.abc.Stream, splitter: RequestSplitter, passed: bytes, send_s: float) -> None:
        """Answers requests on ``stream`` until it ends, breaks, or ``splitter.upgrade`` is set.

        ``passed`` are bytes of the first request that were read already. The stream is left open: its owner closes it.
        """
        with trio.CancelScope() as scope:
            guarded = _GuardedStream(stream, splitter, passed, send_s, scope)
            server = TCPServer(
                self._app,
                self._config,
                self._context,
                cast(Any, ConnectionState(cast(Any, {}))),
                cast(Any, guarded),
            )
            await server.run()


class _GuardedStream:
    """What hypercorn sees of the stream.

    Reads go through the splitter; sends, which hypercorn shields from cancellation, get a deadline; closing is the
    owner's business and only ends the serving.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        splitter: RequestSplitter,
        passed: bytes,
        send_s: float,
        scope: trio.CancelScope,
    ) -> None:
        self._stream = stream
        self._splitter = splitter
        self._passed = passed
        self._send_s = send_s
        self._scope = scope
        # hypercorn tells TLS from plain by which of these attributes it finds.
        if isinstance(stream, trio.SSLStream):
            self.transport_stream = stream.transport_stream
            self.do_handshake = stream.do_handshake
            self.selected_alpn_protocol = stream.selected_alpn_protocol
        else:
            self.socket = cast(trio.SocketStream, stream).socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._passed:
            passed, self._passed = self._passed, b""
            return passed
        while True:
            data = await self._stream.receive_some(max_bytes or RECEIVE_BYTES)
            passed = self._splitter.receive(data) if data else b""
            if passed:
                return passed
            if not data or self._splitter.upgrade is not None or self._splitter.broken is not None:
                # Told of the end, hypercorn would linger until its keep-alive timer fires.
                self._scope.cancel()
                await trio.sleep_forever()

    async def send_all(self, data: bytes) -> None:
        try:
            with trio.fail_after(self._send_s):
                await self._stream.send_all(data)
        except trio.TooSlowError as error:
            raise trio.BrokenResourceError("the peer does not read") from error

    async def send_eof(self) -> None:
        """hypercorn has nothing more to say; the owner closes the stream."""

    async def aclose(self) -> None:
        self._scope.cancel()


def plain_response(status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A whole HTTP/1.1 response that closes the connection, for what never reaches the HTTP stack."""
    body = (text + "\n").encode()
    options = [value.decode("latin-1") for name, value in headers if name.lower() == b"connection"]
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
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


def target_path(request: h11.Request) -> str:
    """The path of the request target without its query."""
    return request.target.decode("latin-1").partition("?")[0]


def server_tls_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """TLS 1.2 and later, offering HTTP/1.1 only: HTTP/2 is the proxy's business."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
