"""How a peer can break RFC 6455, each with the close code that answers it. Fatal for its connection, for no other."""

from csgate.errors import CloseCode, PeerError


class WireViolation(PeerError):
    """The connection is failed (section 7.1.7) with ``fail_code``; ``reason`` is ASCII and safe to send."""

    fail_code: CloseCode = CloseCode.PROTOCOL_ERROR

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProtocolViolation(WireViolation):
    """A frame that section 5 does not allow."""


class InvalidPayload(WireViolation):
    """Text, or a close reason, that is not UTF-8 (section 8.1)."""

    fail_code = CloseCode.INVALID_PAYLOAD


class FrameTooLarge(WireViolation):
    """A message of more than ``max_frame_bytes`` (section 7.4.1, code 1009)."""

    fail_code = CloseCode.TOO_BIG


class BudgetExceeded(WireViolation):
    """All connections together hold as many unfinished bytes as they may (code 1013)."""

    fail_code = CloseCode.TRY_AGAIN_LATER
