"""The listener: one port for WebSocket upgrades on ``/ws`` and for everything else over HTTP, with or without TLS.

A connection is a task that owns its stream: whatever happens, the stream is closed when the task ends. Nothing that a
peer does raises out of here.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

import trio

from csgate.config import LimitSettings
from csgate.errors import Overloaded
from csgate.gateway.address import Network, client_address, is_trusted
from csgate.gateway.admission import Places
from csgate.gateway.http_stream import RECEIVE_BYTES, HttpSide, plain_response
from csgate.gateway.pace import take_turn
from csgate.gateway.splitter import RequestSplitter
from csgate.telemetry import Telemetry
from csgate.wire.handshake import Handshake, HandshakeRefused, read_handshake

CLOSE_S: Final = 2.0
LINGER_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid WebSocket handshake that waits for its answer. ``initial`` are bytes that came behind the head."""

    stream: trio.abc.Stream
    handshake: Handshake
    initial: bytes
    address: str


Served = trio.SocketStream | trio.SSLStream[trio.SocketStream]

WebSocketHandler = Callable[[Upgrade], Awaitable[None]]
"""Serves one connection to its end, or raises ``HandshakeRefused`` before anything was sent."""


class Listener:
    """Serves one kind of connection; :meth:`serve` may run on any number of sockets.

    ``sockets`` maps a path to its WebSocket handler. ``http`` answers everything else; without one that is 404.
    """

    __slots__ = ("_http", "_limits", "_places", "_sockets", "_telemetry", "_tls", "_trusted")

    def __init__(
        self,
        sockets: Mapping[str, WebSocketHandler],
        http: HttpSide | None,
        limits: LimitSettings,
        telemetry: Telemetry,
        *,
        places: Places | None = None,
        trusted: Sequence[Network] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sockets = sockets
        self._http = http
        self._limits = limits
        self._telemetry = telemetry
        self._places = places or Places(
            limits.connections, limits.connections_per_address, limits.connections_per_principal
        )
        self._trusted = trusted
        self._tls = tls

    async def serve(
        self,
        host: str,
        port: int,
        *,
        backlog: int,
        handler_nursery: trio.Nursery,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accepts until cancelled; connections run in ``handler_nursery`` and outlive the accepting.

        Reports the bound address, so that port 0 can be asked for.

        Raises:
            OSError: the address cannot be bound.
        """
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
        name = listeners[0].socket.getsockname()
        task_status.started((name[0], name[1]))
        await self.accept(listeners, handler_nursery)

    async def accept(self, listeners: Sequence[trio.SocketListener], handler_nursery: trio.Nursery) -> None:
        """As :meth:`serve`, on sockets that listen already. They are closed on the way out."""
        await trio.serve_listeners(self.handle, list(listeners), handler_nursery=handler_nursery)

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, from its first byte to the closing of its socket."""
        try:
            peer = str(stream.socket.getpeername()[0])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        try:
            with self._place_at_accept(peer):
                if self._tls is None:
                    await self._connection(stream, peer)
                else:
                    tls = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
                    await self._tls_connection(tls, peer)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._telemetry.log.debug("connection_broken", peer=peer)
        except* Overloaded:
            self._telemetry.metrics.refused.labels("overloaded").inc()
        except* Exception as group:
            self._telemetry.log.error("connection_failed", peer=peer, exc_info=group)
        finally:
            await trio.aclose_forcefully(stream)

    def _place_at_accept(self, peer: str) -> AbstractContextManager[None]:
        """A place is taken before the first byte is read, unless the peer is a proxy: then the head says for whom."""
        return nullcontext() if self._behind_proxy(peer) else self._places.connection(client_address(peer, (), ()))

    def _place_by_head(self, peer: str, address: str) -> AbstractContextManager[None]:
        return self._places.connection(address) if self._behind_proxy(peer) else nullcontext()

    def _behind_proxy(self, peer: str) -> bool:
        return is_trusted(peer, self._trusted)

    async def _tls_connection(self, stream: trio.SSLStream[trio.SocketStream], peer: str) -> None:
        try:
            with trio.fail_after(self._limits.head_seconds):
                await stream.do_handshake()
        except (trio.TooSlowError, trio.BrokenResourceError):
            self._telemetry.metrics.refused.labels("tls").inc()
            await trio.aclose_forcefully(stream)
            return
        await self._connection(stream, peer)

    async def _connection(self, stream: Served, peer: str) -> None:
        splitter = RequestSplitter(self._limits.head_bytes)
        try:
            passed = await self._first_head(stream, splitter)
            if passed:
                if self._http is None:
                    await self._answer(stream, 404, "There is nothing here by that name.")
                    return
                with self._place_by_head(peer, self._address(splitter, peer)):
                    if not await self._http.serve(stream, splitter, passed, self._limits.send_seconds):
                        await self._linger(stream)
                        return
            if splitter.broken is not None:
                status = splitter.broken.error_status_hint
                self._telemetry.metrics.refused.labels("bad_http").inc()
                await self._answer(stream, status, "This is not a valid HTTP request.")
            elif splitter.upgrade is not None:
                await self._upgrade(stream, splitter, peer)
        except Overloaded as error:
            self._telemetry.metrics.refused.labels("overloaded").inc()
            await self._answer(stream, 503, error.text(), ((b"retry-after", b"5"),))
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await stream.aclose()

    async def _first_head(self, stream: Served, splitter: RequestSplitter) -> bytes:
        """Reads until the first head is whole; ``b""`` when the peer left or took too long."""
        with trio.move_on_after(self._limits.head_seconds):
            while True:
                data = await stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return b""
                await take_turn()  # hundreds may come at once
                passed = splitter.receive(data)
                if passed or splitter.upgrade is not None or splitter.broken is not None:
                    return passed
        self._telemetry.metrics.refused.labels("slow_head").inc()
        return b""

    async def _upgrade(self, stream: Served, splitter: RequestSplitter, peer: str) -> None:
        request, rest = splitter.take_upgrade()
        try:
            handshake = read_handshake(request)
            handler = self._sockets.get(handshake.path)
            if handler is None:
                raise HandshakeRefused(404, "There is no WebSocket here.")
            del request  # the connection may idle for hours
            forwarded = [value for name, value in handshake.headers if name == b"x-forwarded-for"]
            address = client_address(peer, forwarded, self._trusted)
            with self._place_by_head(peer, address):
                await handler(Upgrade(stream, handshake, rest, address))
        except HandshakeRefused as refusal:
            self._telemetry.metrics.refused.labels("handshake").inc()
            await self._answer(stream, refusal.status, refusal.reason, refusal.headers)

    def _address(self, splitter: RequestSplitter, peer: str) -> str:
        headers = splitter.first.headers if splitter.first is not None else []
        return client_address(peer, [value for name, value in headers if name == b"x-forwarded-for"], self._trusted)

    async def _answer(
        self, stream: Served, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Writes a whole response that closes the connection."""
        with trio.move_on_after(CLOSE_S), suppress(trio.BrokenResourceError):
            await stream.send_all(plain_response(status, text, tuple(headers)))
            await self._linger(stream)

    async def _linger(self, stream: Served) -> None:
        """Says that nothing more will come, and waits a little for the peer to stop.

        Closing with bytes unread would reset the connection, and the last answer might never be seen (RFC 9112
        section 9.6).
        """
        with trio.move_on_after(CLOSE_S), suppress(trio.BrokenResourceError):
            # Under TLS the end comes without a farewell, as it does when an HTTPS server closes.
            below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            await below.send_eof()
            discarded = 0
            while discarded < LINGER_BYTES and (data := await stream.receive_some(RECEIVE_BYTES)):
                discarded += len(data)
