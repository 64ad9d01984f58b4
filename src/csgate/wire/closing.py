"""Close codes and close payloads (RFC 6455 sections 5.5.1, 7.1.5 and 7.4)."""

import struct
from typing import Final

import msgspec

from csgate.wire.violation import InvalidPayload, ProtocolViolation

NO_STATUS: Final = 1005
"""What an empty close frame means (section 7.1.5); never sent."""
ABNORMAL: Final = 1006
"""The connection ended without a close frame (section 7.1.5); never sent."""
MAX_REASON_BYTES: Final = 123

_REGISTERED: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class CloseInfo(msgspec.Struct, frozen=True):
    """How a connection ended. ``by_peer``: the peer sent its close frame, or vanished, first."""

    code: int
    reason: str
    by_peer: bool


def may_be_sent(code: int) -> bool:
    """Whether ``code`` may stand in a close frame: the registry's, and 3000-4999 (section 7.4.2)."""
    return code in _REGISTERED or 3000 <= code <= 4999


def read_close(payload: bytes | bytearray | memoryview) -> tuple[int, str]:
    """Code and reason of an unmasked close payload; an empty one is 1005.

    Raises:
        ProtocolViolation: one byte long, or a code that may not be sent.
        InvalidPayload: the reason is not UTF-8.
    """
    size = len(payload)
    if size == 0:
        return NO_STATUS, ""
    if size == 1:
        raise ProtocolViolation("close payload of one byte")
    (code,) = struct.unpack_from("!H", payload)
    if not may_be_sent(code):
        raise ProtocolViolation("close code not allowed")
    try:
        reason = str(bytes(payload[2:]), "utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload("close reason is not UTF-8") from None
    return code, reason


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a close frame. A reason of more than 123 bytes is cut at a character.

    Raises:
        ValueError: ``code`` may not be sent.
    """
    if code == NO_STATUS:
        return b""
    if not may_be_sent(code):
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode()
    if len(text) > MAX_REASON_BYTES:
        text = text[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
    return struct.pack("!H", code) + text
