"""What the decoder hands out: messages and control frames."""

import msgspec


class TextMessage(msgspec.Struct, frozen=True):
    """A whole text message. ``data`` is valid UTF-8; it is the receiver's alone, the decoder keeps no part of it."""

    data: bytearray | memoryview


class BinaryMessage(msgspec.Struct, frozen=True):
    """A whole binary message. ``data`` is the receiver's alone, the decoder keeps no part of it."""

    data: bytearray | memoryview


class TooLargeMessage(msgspec.Struct, frozen=True):
    """A message of ``size`` bytes, above ``max_message_bytes``, that was read to its end and dropped."""

    size: int


class PingFrame(msgspec.Struct, frozen=True):
    """Section 5.5.2. To be answered with a pong of the same data."""

    data: bytes


class PongFrame(msgspec.Struct, frozen=True):
    """Section 5.5.3; may come unasked."""

    data: bytes


class CloseFrame(msgspec.Struct, frozen=True):
    """Section 5.5.1. ``code`` is 1005 where the frame was empty."""

    code: int
    reason: str


Message = TextMessage | BinaryMessage | TooLargeMessage
WireEvent = TextMessage | BinaryMessage | TooLargeMessage | PingFrame | PongFrame | CloseFrame
