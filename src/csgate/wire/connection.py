"""One server connection: messages in, bytes out, and the close handshake (RFC 6455 section 7) as a table."""

from enum import Enum, auto
from typing import Final

from csgate.wire.budget import ReceiveBudget
from csgate.wire.closing import ABNORMAL, NO_STATUS, CloseInfo, close_payload
from csgate.wire.decoder import Decoder
from csgate.wire.frame import Opcode, frame_header
from csgate.wire.message import BinaryMessage, CloseFrame, Message, PingFrame, PongFrame, TextMessage
from csgate.wire.violation import WireViolation


class State(Enum):
    """Where the close handshake stands."""

    OPEN = auto()
    CLOSING = auto()
    """Our close frame is out, the peer's has not come."""
    CLOSED = auto()
    """Both close frames have gone: the transport may be closed at once."""
    FAILED = auto()
    """The peer broke the protocol; our close frame is out. What it still sends is to be thrown away for a moment."""
    LOST = auto()
    """The transport ended without a close frame of the peer."""


class _Step(Enum):
    CLOSE_SENT = auto()
    CLOSE_RECEIVED = auto()
    VIOLATION = auto()
    END_OF_STREAM = auto()


_NEXT: Final[dict[tuple[State, _Step], State]] = {
    (State.OPEN, _Step.CLOSE_SENT): State.CLOSING,
    (State.OPEN, _Step.CLOSE_RECEIVED): State.CLOSED,
    (State.OPEN, _Step.VIOLATION): State.FAILED,
    (State.OPEN, _Step.END_OF_STREAM): State.LOST,
    (State.CLOSING, _Step.CLOSE_RECEIVED): State.CLOSED,
    (State.CLOSING, _Step.VIOLATION): State.FAILED,
    (State.CLOSING, _Step.END_OF_STREAM): State.LOST,
}
"""Steps that are not in the table change nothing."""


class Connection:
    """What the shell drives: ``decoder`` takes the bytes, ``next_message`` gives messages, ``output`` is to be sent.

    ``close_info`` is set by the first of: our close, the peer's close, a violation, the end of the stream.
    """

    __slots__ = ("close_info", "decoder", "output", "state")

    def __init__(self, *, max_message_bytes: int, max_frame_bytes: int, budget: ReceiveBudget) -> None:
        self.decoder = Decoder(max_message_bytes=max_message_bytes, max_frame_bytes=max_frame_bytes, budget=budget)
        self.state = State.OPEN
        self.close_info: CloseInfo | None = None
        self.output = b""
        """Whole frames that the protocol itself wants sent. The shell takes them and sets this to ``b""``."""

    def next_message(self) -> Message | None:
        """The next message, control frames on the way answered in ``output``; ``None``: feed more, or not OPEN.

        Never raises for what a peer does: a violation becomes a close frame in ``output`` and ``FAILED``. Messages that
        come after our own close frame are dropped (section 1.4).
        """
        decoder = self.decoder
        while True:
            try:
                event = decoder.next_event()
            except WireViolation as violation:
                self.fail(violation)
                return None
            kind = type(event)
            if kind is TextMessage or kind is BinaryMessage:
                if self.state is State.OPEN:
                    return event  # type: ignore[return-value]
                continue
            if event is None:
                return None
            match event:
                case PingFrame(data):
                    if self.state is State.OPEN:
                        self.output += frame_header(Opcode.PONG, len(data)) + data
                case PongFrame():
                    pass
                case CloseFrame(code, reason):
                    self._peer_closed(code, reason)
                    return None
                case _:
                    if self.state is State.OPEN:
                        return event

    def filled(self, size: int) -> None:
        """``Decoder.filled``, with a violation handled as ``next_message`` does."""
        try:
            self.decoder.filled(size)
        except WireViolation as violation:
            self.fail(violation)

    def ping(self, data: bytes = b"") -> None:
        """Puts a ping into ``output``, while OPEN."""
        if self.state is State.OPEN:
            self.output += frame_header(Opcode.PING, len(data)) + data

    def close(self, code: int, reason: str = "") -> None:
        """Starts the close handshake, while OPEN; afterwards does nothing.

        Raises:
            ValueError: ``code`` may not be sent (section 7.4).
        """
        if self.state is State.OPEN:
            self._send_close(code, reason)
            self.close_info = CloseInfo(code, reason, by_peer=False)
            self._step(_Step.CLOSE_SENT)

    def fail(self, violation: WireViolation) -> None:
        """Section 7.1.7: our close frame, unless one is out, and nothing more is decoded."""
        self.decoder.abandon()
        if self.state is State.OPEN:
            self._send_close(violation.fail_code, violation.reason)
            self.close_info = CloseInfo(int(violation.fail_code), violation.reason, by_peer=False)
        self._step(_Step.VIOLATION)

    def end_of_stream(self) -> None:
        """The peer's side of the transport has ended, or broke."""
        self.decoder.abandon()
        if self.close_info is None:
            self.close_info = CloseInfo(ABNORMAL, "", by_peer=True)
        self._step(_Step.END_OF_STREAM)

    def _peer_closed(self, code: int, reason: str) -> None:
        if self.state is State.OPEN:
            # Section 5.5.1: the same code back. An empty close gets an empty one.
            self._send_close(code, "")
            self.close_info = CloseInfo(code, reason, by_peer=True)
        self._step(_Step.CLOSE_RECEIVED)

    def _send_close(self, code: int, reason: str) -> None:
        payload = b"" if code == NO_STATUS else close_payload(code, reason)
        self.output += frame_header(Opcode.CLOSE, len(payload)) + payload

    def _step(self, step: _Step) -> None:
        self.state = _NEXT.get((self.state, step), self.state)
