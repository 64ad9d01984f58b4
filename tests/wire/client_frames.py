"""A client's frames, built by hand: nothing here comes from the code under test."""

import struct

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
KEY = bytes.fromhex("37fa213d")  # the key of RFC 6455 section 5.7


def mask(data: bytes, key: bytes) -> bytes:
    """Section 5.3, on one long integer so that 16 MB are quick."""
    size = len(data)
    long_key = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(long_key, "big")).to_bytes(size, "big")


def length_field(length: int, form: int | None = None, masked: bool = True) -> bytes:
    """The second byte and the extended length; ``form`` 7, 16 or 64 forces a width."""
    bit = 0x80 if masked else 0
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    if form == 7:
        return bytes((bit | length,))
    if form == 16:
        return struct.pack("!BH", bit | 126, length)
    return struct.pack("!BQ", bit | 127, length)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = KEY,
    form: int | None = None,
) -> bytes:
    """One frame of a client; ``key=None`` leaves it unmasked, ``rsv`` is the three bits as a number."""
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,)) + length_field(len(payload), form, key is not None)
    return head + payload if key is None else head + key + mask(payload, key)


def answer(opcode: int, payload: bytes = b"") -> bytes:
    """One whole frame of the server: final, unmasked."""
    return bytes((0x80 | opcode,)) + length_field(len(payload), None, False) + payload


def close(code: int | None = None, reason: str | bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, close_payload(code, reason))


def closed(code: int | None = None, reason: str | bytes = b"") -> bytes:
    """The server's close frame."""
    return answer(CLOSE, close_payload(code, reason))


def close_payload(code: int | None, reason: str | bytes = b"") -> bytes:
    text = reason.encode() if isinstance(reason, str) else reason
    return b"" if code is None else struct.pack("!H", code) + text


def fragments(opcode: int, payload: bytes, size: int) -> list[bytes]:
    """A message in frames of ``size`` bytes each (the last may be shorter)."""
    pieces = [payload[i : i + size] for i in range(0, len(payload), size)] or [b""]
    return [
        frame(opcode if i == 0 else CONTINUATION, piece, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)
    ]
