"""A client's bytes -> messages and control frames. ``feed`` only stores, ``next_event`` only advances.

The caller reads into memory of its own and lends it: ``feed(view)``, then ``next_event()`` until it gives ``None``,
then ``keep()`` before that memory is used again. While a large payload is on its way, ``target()`` gives the place in
the message's own buffer to read into instead, and ``filled(n)`` reports what was read: no byte is copied then.
"""

from csgate import _fast
from csgate.wire.assembly import Assembly
from csgate.wire.budget import ReceiveBudget
from csgate.wire.closing import read_close
from csgate.wire.frame import FrameHeader, Opcode, read_header
from csgate.wire.message import (
    BinaryMessage,
    CloseFrame,
    PingFrame,
    PongFrame,
    TextMessage,
    TooLargeMessage,
    WireEvent,
)
from csgate.wire.violation import ProtocolViolation, WireViolation

_NOTHING = memoryview(b"")


class Decoder:
    """The receiving half of one server connection.

    A message above ``max_message_bytes`` is read to its end and dropped (``TooLargeMessage``; its text is not checked);
    one above ``max_frame_bytes``, all fragments together, is a violation. After a close frame or a violation nothing
    more is decoded.
    """

    __slots__ = (
        "_assembly",
        "_budget",
        "_dropped",
        "_final",
        "_input",
        "_key",
        "_left",
        "_max_frame",
        "_max_message",
        "_phase",
        "_position",
        "ended",
        "has_input",
    )

    def __init__(self, *, max_message_bytes: int, max_frame_bytes: int, budget: ReceiveBudget) -> None:
        self._max_message = max_message_bytes
        self._max_frame = max(max_frame_bytes, max_message_bytes)
        self._budget = budget
        self._input = _NOTHING
        self._position = 0
        self._assembly: Assembly | None = None
        self._dropped: int | None = None
        """Bytes dropped so far of a message that is too large, or ``None``."""
        self._left = 0
        """Payload bytes of the current data frame that have not come."""
        self._final = False
        self._key = b""
        self._phase = 0
        self.has_input = False
        """``next_event`` may have something to give. While this is ``False`` it has not."""
        self.ended = False
        """A close frame or a violation was seen."""

    @property
    def max_message_bytes(self) -> int:
        """The largest message that is kept. May be set, up to ``max_frame_bytes``; counts from the next frame on."""
        return self._max_message

    @max_message_bytes.setter
    def max_message_bytes(self, size: int) -> None:
        self._max_message = min(size, self._max_frame)

    # --- bytes in ---------------------------------------------------------------------------------------------------

    def feed(self, data: memoryview) -> None:
        """Lends ``data`` (uint8[n]) until the next ``keep``. After the end it is not even looked at."""
        if self.ended:
            return
        if self._position < len(self._input):
            data = memoryview(bytes(self._input[self._position :]) + bytes(data))
        self._input = data
        self._position = 0
        self.has_input = True

    def keep(self) -> None:
        """Ends the loan: copies what is not decoded yet, if anything."""
        if self._position < len(self._input):
            self._input = memoryview(bytes(self._input[self._position :]))
        else:
            self._input = _NOTHING
        self._position = 0

    def target(self) -> memoryview | None:
        """Where the coming bytes belong, if they are payload only: uint8[n], n >= 1, at most to the frame's end."""
        if self._left and self._assembly is not None and self._position == len(self._input):
            return self._assembly.tail(self._left)
        return None

    def filled(self, size: int) -> None:
        """Reports that the first ``size`` bytes of ``target()`` were written.

        Raises:
            WireViolation: see ``next_event``.
        """
        assert self._assembly is not None
        try:
            self._phase = self._assembly.accept(size, self._key, self._phase)
        except WireViolation:
            self.abandon()
            raise
        self._left -= size
        self.has_input = not self._left

    def only_message(self, data: memoryview) -> TextMessage | BinaryMessage | None:
        """The short way of nearly every message: ``data`` is one whole frame with one whole message, and nothing was
        waiting. ``None``, and nothing has changed, if it is anything else: then ``feed`` it."""
        if self._assembly is not None or self._dropped is not None or self._input or self.ended:
            return None
        whole = _fast.take_frame(data, 0, self._max_message)
        if whole is None or whole[2] != len(data):
            return None
        return TextMessage(whole[1]) if whole[0] == Opcode.TEXT else BinaryMessage(whole[1])

    # --- events out ---------------------------------------------------------------------------------------------------

    @property
    def unfinished_bytes(self) -> int | None:
        """The size so far known of a message or frame that has begun and not ended, or ``None``."""
        if self._assembly is not None:
            return self._assembly.size + self._left
        if self._dropped is not None:
            return self._dropped + self._left
        rest = len(self._input) - self._position
        return rest or None

    def next_event(self) -> WireEvent | None:
        """The next message or control frame; ``None``: more bytes are needed, or ``ended``.

        Raises:
            WireViolation: the connection has to be failed with its ``fail_code``.
        """
        if self.ended:
            return None
        try:
            event = self._advance()
        except WireViolation:
            self.abandon()
            raise
        self.has_input = event is not None and not self.ended
        return event

    def abandon(self) -> None:
        """Decodes nothing more and gives all memory back. Harmless when repeated."""
        self.ended = True
        self.has_input = False
        self._input = _NOTHING
        self._position = 0
        self._left = 0
        self._dropped = None
        if self._assembly is not None:
            self._assembly.release()
            self._assembly = None

    def _advance(self) -> WireEvent | None:
        while True:
            if self._left:
                self._take_payload()
                if self._left:
                    return None
                event: WireEvent | None = self._end_frame()
            elif self._assembly is not None or self._dropped is not None:
                if self._final:
                    event = self._end_frame()  # completed by `filled`
                else:
                    done, event = self._take_frame()
                    if not done:
                        return None
            else:
                whole = _fast.take_frame(self._input, self._position, self._max_message)
                if whole is not None:
                    opcode, data, size = whole
                    self._position += size
                    return TextMessage(data) if opcode == Opcode.TEXT else BinaryMessage(data)
                done, event = self._take_frame()
                if not done:
                    return None
            if event is not None:
                return event

    def _take_frame(self) -> tuple[bool, WireEvent | None]:
        """Begins the frame at the position. ``False`` first: it needs more bytes."""
        view = self._input[self._position :]
        header = read_header(view, self._max_frame - self._collected())
        if header is None:
            return False, None
        if header.opcode >= Opcode.CLOSE:
            end = header.size + header.length
            if len(view) < end:
                return False, None
            self._position += end
            payload = bytearray(view[header.size : end])
            _fast.unmask(payload, header.key, 0)
            return True, self._control(header.opcode, payload)
        self._position += header.size
        self._begin_data(header)
        return True, None if self._left else self._end_frame()

    def _collected(self) -> int:
        if self._assembly is not None:
            return self._assembly.size
        return self._dropped or 0

    def _begin_data(self, header: FrameHeader) -> None:
        started = self._assembly is not None or self._dropped is not None
        if header.opcode == Opcode.CONTINUATION:
            if not started:
                raise ProtocolViolation("continuation of nothing")
        elif started:
            raise ProtocolViolation("new message inside a fragmented one")
        self._left = header.length
        self._final = header.fin
        self._key = header.key
        self._phase = 0
        if self._dropped is not None:
            return
        if self._collected() + header.length > self._max_message:
            self._dropped = self._collected()
            if self._assembly is not None:
                self._assembly.release()
                self._assembly = None
            return
        if self._assembly is None:
            self._assembly = Assembly(header.opcode, self._budget, self._max_message)
        self._assembly.make_room(header.length, whole=header.fin)

    def _take_payload(self) -> None:
        """Moves what has come of the current frame's payload to where it belongs."""
        take = min(self._left, len(self._input) - self._position)
        if not take:
            return
        chunk = self._input[self._position : self._position + take]
        self._position += take
        self._left -= take
        if self._assembly is None:
            assert self._dropped is not None
            self._dropped += take
            return
        self._assembly.tail(take)[:] = chunk
        self._phase = self._assembly.accept(take, self._key, self._phase)

    def _end_frame(self) -> WireEvent | None:
        if not self._final:
            return None
        self._final = False
        if self._assembly is None:
            size, self._dropped = self._dropped, None
            assert size is not None
            return TooLargeMessage(size)
        message = self._assembly.finish()
        self._assembly = None
        return message

    def _control(self, opcode: int, payload: bytearray) -> WireEvent:
        if opcode == Opcode.PING:
            return PingFrame(bytes(payload))
        if opcode == Opcode.PONG:
            return PongFrame(bytes(payload))
        code, reason = read_close(payload)
        self.abandon()
        return CloseFrame(code, reason)
