"""Bytes to and from one peer, behind one interface: a plain TCP socket (fast), or any Trio stream (TLS, memory).

Closing is not the transport's business: the stream stays its opener's.
"""

import contextlib
import socket
from typing import Final, Protocol

import trio

from csgate import _fast
from csgate.gateway.pace import take_turn

RECEIVE_BYTES: Final = 64 * 1024
"""The scratch buffer that all connections of an event loop read small things into, and one read of a stream."""

_HEADER_READ_BYTES: Final = 8 * 1024
"""Between large frames: enough for the header, and little to be copied to its place."""

_SEND_STEP_BYTES: Final = 64 * 1024
_JOIN_BYTES: Final = 16 * 1024
"""Up to here, copying header and payload together is cheaper than a gathering send."""
_STREAK_BYTES: Final = 512 * 1024
"""What one connection may read without giving the others a turn."""

Sendable = bytes | bytearray | memoryview

_scratch: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("csgate_receive_scratch")


def scratch_buffer() -> memoryview:
    """This event loop's scratch buffer, uint8[RECEIVE_BYTES]. What is in it is lost at the next checkpoint."""
    try:
        return _scratch.get()
    except LookupError:
        view = memoryview(bytearray(RECEIVE_BYTES))
        _scratch.set(view)
        return view


class Transport(Protocol):
    """What a WebSocket needs of a byte stream. One task receives, one sends."""

    async def receive(self, target: memoryview | None) -> memoryview | int:
        """Waits for bytes. Into ``target``: their number. Without one: a view of them, good until the next checkpoint.

        Nothing (0, or an empty view) is the end of the stream, however it came about. Executes a checkpoint when it had
        to wait, and otherwise every so often.
        """
        ...

    def interrupt(self) -> None:
        """Wakes a ``receive`` that waits: it raises ``trio.ClosedResourceError``, once."""
        ...

    def try_send(self, head: bytes, data: Sendable) -> int:
        """Sends what can be sent at once of ``head`` and then ``data``: the number of bytes, maybe 0.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        ...

    async def send_some(self, data: Sendable) -> int:
        """Waits until at least one byte was sent: the number of bytes.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        ...

    async def send_eof(self) -> bool:
        """Says that nothing more will come; ``False`` where the stream cannot say so."""
        ...

    def detach(self) -> None:
        """Lets go of the stream, which stays open."""
        ...


class SocketTransport:
    """A TCP socket: tried without waiting first, both ways.

    It works on a second socket object over the stream's own descriptor, since Trio's takes a checkpoint for every
    call; ``detach`` has to be called before the stream is closed.
    """

    __slots__ = ("_bulk", "_likely", "_scratch", "_socket", "_streak", "_waiting")

    def __init__(self, stream: trio.SocketStream) -> None:
        own = stream.socket
        self._socket = socket.socket(own.family, own.type, own.proto, fileno=own.fileno())
        self._socket.setblocking(False)
        self._scratch = scratch_buffer()
        self._bulk = False
        """Reads went straight to the place of a large frame: probably only a header is due before the next can."""
        self._likely = True
        """More bytes are probably there already: the last read filled all the room that it had."""
        self._streak = 0
        """Bytes read since the last checkpoint."""
        self._waiting = False

    async def receive(self, target: memoryview | None) -> memoryview | int:
        if target is None:
            into = self._scratch[:_HEADER_READ_BYTES] if self._bulk else self._scratch
            self._bulk = False
        else:
            into = target[:_STREAK_BYTES]
            self._bulk = self._bulk or len(target) > RECEIVE_BYTES
        wait = not self._likely or self._streak >= _STREAK_BYTES
        while True:
            if wait:
                self._streak = 0
                self._waiting = True
                try:
                    await trio.lowlevel.wait_readable(self._socket)
                finally:
                    self._waiting = False
            if target is not None and self._bulk:
                await take_turn()
            try:
                size = _fast.receive_now(self._socket, into)
            except OSError:
                size = 0
            if size >= 0:
                break
            wait = True
        self._streak += size
        # A small rest that had to be waited for is the last of its message, and its sender wants our answer first.
        self._likely = size == len(into) and (target is None or self._bulk or not wait)
        return size if target is not None else into[:size]

    def interrupt(self) -> None:
        if self._waiting:
            trio.lowlevel.notify_closing(self._socket)

    def try_send(self, head: bytes, data: Sendable) -> int:
        try:
            if len(data) <= _JOIN_BYTES:
                return max(0, _fast.send_now(self._socket, head + data))
            return self._socket.sendmsg((head, data))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError("the peer is gone") from error

    async def send_some(self, data: Sendable) -> int:
        while True:
            sent = self.try_send(b"", data)
            if sent:
                return sent
            # ClosedResourceError: `interrupt` wakes both directions, and did not mean this one.
            with contextlib.suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_writable(self._socket)

    async def send_eof(self) -> bool:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return True

    def detach(self) -> None:
        self._socket.detach()


class StreamTransport:
    """Any Trio stream, by its own methods alone."""

    __slots__ = ("_scope", "_stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._scope: trio.CancelScope | None = None

    async def receive(self, target: memoryview | None) -> memoryview | int:
        room = RECEIVE_BYTES if target is None else min(len(target), RECEIVE_BYTES)
        data: bytes | bytearray = b""
        with trio.CancelScope() as self._scope, contextlib.suppress(trio.BrokenResourceError):
            data = await self._stream.receive_some(room)
        interrupted = self._scope.cancelled_caught
        self._scope = None
        if interrupted:
            raise trio.ClosedResourceError("interrupted")
        if target is None:
            return memoryview(data)
        target[: len(data)] = data
        return len(data)

    def interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def try_send(self, head: bytes, data: Sendable) -> int:
        return 0

    async def send_some(self, data: Sendable) -> int:
        # In pieces, so that a deadline on each one measures progress.
        piece = data[:_SEND_STEP_BYTES]
        try:
            await self._stream.send_all(piece)
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError("the stream was closed") from error
        return len(piece)

    async def send_eof(self) -> bool:
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return False
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()
        return True

    def detach(self) -> None:
        pass


def transport_of(stream: trio.abc.Stream) -> Transport:
    """The fastest transport for ``stream``, which stays the caller's to close, after ``detach``."""
    return SocketTransport(stream) if isinstance(stream, trio.SocketStream) else StreamTransport(stream)
