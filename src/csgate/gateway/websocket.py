"""A WebSocket connection on Trio: the shell that moves bytes for ``csgate.wire`` and keeps its times.

``serve_websocket`` opens the connection's nursery: the caller's ``app`` (which reads), a writer and a heartbeat. The
first of them to end cancels the others, and the socket is closed on every way out.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from csgate.errors import CloseCode
from csgate.gateway.pace import take_turn
from csgate.gateway.ws_heartbeat import Beat, Heartbeat
from csgate.gateway.ws_outbound import Outbound
from csgate.gateway.ws_settings import WebSocketSettings
from csgate.gateway.ws_transport import Sendable, Transport, transport_of
from csgate.wire import BinaryMessage, CloseInfo, Connection, ReceiveBudget, State, TextMessage, TooLargeMessage
from csgate.wire.frame import Opcode, frame_header
from csgate.wire.handshake import Handshake, accept_response

__all__ = [
    "BinaryMessage",
    "CloseInfo",
    "ReceiveBudget",
    "TextMessage",
    "TooLargeMessage",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketSettings",
    "serve_websocket",
]

_BLIND_LINGER_S: Final = 0.3
"""How long bytes are thrown away where the peer cannot be told that ours have ended (TLS): it may wait for us."""

_MESSAGES_A_TURN: Final = 32
"""Messages given out in a row before the other connections get their turn."""

App = Callable[["WebSocket"], Awaitable[None]]


def _may_abort(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


class WebSocketClosed(Exception):
    """There will be no more messages. ``code`` 1005: closed without a code; 1006: the peer vanished."""

    def __init__(self, info: CloseInfo) -> None:
        super().__init__(f"{info.code} {info.reason}".rstrip())
        self.code = info.code
        self.reason = info.reason


def _is_only_closed(error: Exception) -> bool:
    """Whether ``error`` is what an app's own nursery makes of ``WebSocketClosed``."""
    return isinstance(error, ExceptionGroup) and error.split(WebSocketClosed)[1] is None


class WebSocket:
    """One open connection, as its app sees it. ``receive`` and ``drain`` are for one task; the rest never blocks."""

    __slots__ = (
        "_alarm",
        "_connection",
        "_given",
        "_heartbeat",
        "_outbound",
        "_reading",
        "_settings",
        "_transport",
        "peer",
        "subprotocol",
    )

    def __init__(
        self,
        transport: Transport,
        settings: WebSocketSettings,
        budget: ReceiveBudget,
        subprotocol: str | None,
        peer: str,
    ) -> None:
        """For ``serve_websocket`` only; runs inside ``trio.run``."""
        self.subprotocol = subprotocol
        self.peer = peer
        self._settings = settings
        self._transport = transport
        self._connection = Connection(
            max_message_bytes=settings.max_message_bytes, max_frame_bytes=settings.max_frame_bytes, budget=budget
        )
        self._outbound = Outbound(transport)
        self._heartbeat = Heartbeat(settings, trio.current_time())
        self._alarm: trio.CancelScope | None = None
        self._reading = False
        self._given = 0

    @property
    def closed(self) -> CloseInfo | None:
        """How the connection ended, from the first close frame or the loss of the peer on."""
        return self._connection.close_info

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return self._outbound.size

    @property
    def max_message_bytes(self) -> int:
        """The largest message that ``receive`` gives; larger ones are read and dropped.

        May be set lower for as long as the peer is a stranger: counts from the next message on.
        """
        return self._connection.decoder.max_message_bytes

    @max_message_bytes.setter
    def max_message_bytes(self, size: int) -> None:
        self._connection.decoder.max_message_bytes = size

    async def receive(self) -> TextMessage | BinaryMessage | TooLargeMessage:
        """The next message. A checkpoint when it had to wait, and every so often otherwise. Safe to cancel.

        Raises:
            WebSocketClosed: no more messages will come.
        """
        if self._given >= _MESSAGES_A_TURN:
            self._given = 0
            await trio.lowlevel.checkpoint()
        connection = self._connection
        decoder = connection.decoder
        while True:
            if decoder.has_input or connection.state is not State.OPEN:
                message = connection.next_message()
                if connection.output:
                    self._flush()
                if message is not None:
                    decoder.keep()
                    self._given += 1
                    break
                if connection.state is not State.OPEN:
                    self._closing()
                    assert connection.close_info is not None
                    raise WebSocketClosed(connection.close_info)
            message = await self._fill()
            if message is not None:
                break
        self._heartbeat.began_at = None
        return message

    def send_text(self, data: Sendable, *, more: bool = False) -> None:
        """Sends ``data`` (UTF-8, not checked) as one text message, at once or as soon as the peer takes it.

        Dropped silently after a close. A peer that lets more than ``outbound_queue_bytes`` pile up is closed with 4003.

        Args:
            more: another message is likely to follow at once, and one system call will do for both. Without one, this
                message goes in the scheduler's next pass.
        """
        self._send(frame_header(Opcode.TEXT, len(data)), data, more=more)

    def send_binary(self, data: Sendable) -> None:
        """As ``send_text``, for a binary message. ``data`` must not change afterwards."""
        self._send(frame_header(Opcode.BINARY, len(data)), data)

    def close(self, code: int, reason: str = "") -> None:
        """Starts the close handshake, unless it has started; returns at once. ``receive`` ends from now on.

        Raises:
            ValueError: ``code`` may not be sent (RFC 6455 section 7.4).
        """
        if self._connection.state is State.OPEN:
            self._connection.close(code, reason)
            self._flush()
            self._closing()
            self._transport.interrupt()

    async def drain(self) -> None:
        """Waits until less than half of ``outbound_queue_bytes`` waits to be sent, or the peer is gone."""
        await self._outbound.below(max(1, self._settings.outbound_queue_bytes // 2))

    # --- the connection's own tasks -------------------------------------------------------------------------------

    async def _write(self) -> None:
        if not await self._outbound.run(self._settings.send_s):
            self._connection.end_of_stream()
            self._closing()
            self._transport.interrupt()

    async def _beat(self, connection_scope: trio.CancelScope) -> None:
        while True:
            beat, at = self._heartbeat.decide(
                trio.current_time(), reading=self._reading, unfinished=self._connection.decoder.unfinished_bytes
            )
            match beat:
                case Beat.WAIT:
                    pass
                case Beat.PING:
                    self._connection.ping()
                    self._flush()
                case Beat.NO_PONG:
                    self.close(CloseCode.PONG_TIMEOUT, "no pong")
                    continue
                case Beat.STALLED:
                    self.close(CloseCode.MESSAGE_STALLED, "message stalled")
                    continue
                case Beat.GIVE_UP:
                    connection_scope.cancel()
            with trio.CancelScope(deadline=at) as self._alarm:
                # As trio.sleep_forever, without its two coroutines: they would be kept for every connection.
                await trio.lowlevel.wait_task_rescheduled(_may_abort)

    async def _finish(self) -> None:
        """After the app: the rest of the close handshake. Bounded by the heartbeat's GIVE_UP."""
        self.close(CloseCode.NORMAL)
        self._closing()
        connection = self._connection
        await self._outbound.below(1)
        while connection.state is State.CLOSING and not self._outbound.broken:
            connection.next_message()
            if connection.state is State.CLOSING:
                await self._fill()
        if connection.state in (State.FAILED, State.CLOSED):
            # The server ends TCP first (RFC 6455 section 7.1.1). Closing it with bytes unread would be a reset, which
            # could take our close frame with it: so end our half, and throw away what comes until the peer has ended.
            told = await self._transport.send_eof()
            with trio.move_on_after(math.inf if told else _BLIND_LINGER_S):
                while await self._discard():
                    pass

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _fill(self) -> TextMessage | BinaryMessage | None:
        """Waits for bytes and gives them to the decoder; one that came alone and whole is returned at once."""
        connection = self._connection
        decoder = connection.decoder
        heartbeat = self._heartbeat
        target = decoder.target()
        if target is None:
            decoder.keep()
        if decoder.unfinished_bytes is None:
            heartbeat.began_at = None
        elif heartbeat.began_at is None:
            self._ask_by(heartbeat.begin(trio.current_time()))
        self._reading = True
        try:
            got = await self._transport.receive(target)
        except trio.ClosedResourceError:
            if connection.state is State.OPEN:
                connection.end_of_stream()
            return None
        finally:
            self._reading = False
        self._given = 0
        heartbeat.heard_at = trio.current_time()
        if heartbeat.pinged_at is not None and self._alarm is not None:
            self._alarm.deadline = max(self._alarm.deadline, heartbeat.pong())
        if isinstance(got, int):
            if got:
                connection.filled(got)
            else:
                connection.end_of_stream()
        elif not got:
            connection.end_of_stream()
        elif connection.state is not State.OPEN:
            decoder.feed(got)
        else:
            message = decoder.only_message(got)
            if message is not None:
                return message
            decoder.feed(got)
        return None

    async def _discard(self) -> bool:
        await take_turn()  # what was refused may be megabytes, of hundreds at once
        try:
            return bool(await self._transport.receive(None))
        except trio.ClosedResourceError:
            return False

    def _send(self, head: bytes, data: Sendable, *, more: bool = False) -> None:
        if self._connection.state is not State.OPEN:
            return
        bound = self._settings.outbound_queue_bytes
        # What is held must never look like a peer that does not read.
        self._outbound.put(head, data, more=more and self._outbound.size + len(head) + len(data) <= bound)
        if self._outbound.size > bound:
            self._outbound.drop_unsent()
            self.close(CloseCode.SLOW_READER, "too slow a reader")

    def _flush(self) -> None:
        output, self._connection.output = self._connection.output, b""
        self._outbound.put(output, b"")
        if self._connection.state is State.OPEN and self._outbound.size > self._settings.outbound_queue_bytes:
            self._outbound.drop_unsent()
            self.close(CloseCode.SLOW_READER, "too slow a reader")

    def _closing(self) -> None:
        """From now on the clock of the close handshake runs."""
        if self._heartbeat.closing_at is None:
            self._heartbeat.closing_at = trio.current_time()
            self._ask_by(self._heartbeat.closing_at + self._settings.close_s)

    def _ask_by(self, at: float) -> None:
        """The heartbeat is to wake no later than ``at``."""
        if self._alarm is not None and self._alarm.deadline > at:
            self._alarm.deadline = at

    def _release(self) -> CloseInfo:
        self._connection.end_of_stream()
        self._outbound.abandon()
        self._transport.detach()
        assert self._connection.close_info is not None
        return self._connection.close_info


async def serve_websocket(
    stream: trio.abc.Stream,
    handshake: Handshake,
    app: App,
    *,
    subprotocol: str | None = None,
    settings: WebSocketSettings,
    budget: ReceiveBudget,
    initial: bytes = b"",
    peer: str = "",
) -> CloseInfo:
    """Accepts ``handshake`` on ``stream`` and runs ``app`` until it returns or the connection ends.

    Owns the stream: it is closed on every way out, cancellation included. When ``app`` returns, the connection is
    closed with 1000 if it has not closed; ``app`` may let ``WebSocketClosed`` pass. It is cancelled if it still runs
    ``close_s`` seconds after the connection began to close.

    Args:
        initial: bytes that came behind the request's head.

    Raises:
        ValueError: ``subprotocol`` was not offered.
        Exception: whatever else ``app`` raised, after a close with 1011.
    """
    failure: Exception | None = None
    ws: WebSocket | None = None
    try:
        response = accept_response(handshake, subprotocol)
        with trio.move_on_after(settings.send_s) as sending:
            await stream.send_all(response)
        if sending.cancelled_caught:
            return CloseInfo(1006, "", by_peer=True)
        ws = WebSocket(transport_of(stream), settings, budget, subprotocol, peer)
        if initial:
            ws._connection.decoder.feed(memoryview(initial))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws._write)
            nursery.start_soon(ws._beat, nursery.cancel_scope)
            try:
                await app(ws)
            except WebSocketClosed:
                pass
            except Exception as error:
                if not _is_only_closed(error):
                    failure = error
                    ws.close(CloseCode.INTERNAL_ERROR)
            await ws._finish()
            nursery.cancel_scope.cancel()
    except trio.BrokenResourceError:
        return CloseInfo(1006, "", by_peer=True)
    finally:
        info = ws._release() if ws is not None else CloseInfo(1006, "", by_peer=True)
        with trio.move_on_after(settings.close_s), contextlib.suppress(trio.BrokenResourceError):
            await stream.aclose()
    if failure is not None:
        raise failure
    return info
