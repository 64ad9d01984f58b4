"""The reference of the byte kernels, in Python: what the native core must equal, and what runs where none was built.

Buffers belong to the caller and are borrowed for the length of one call. Where a buffer is refused (not contiguous,
read-only where it is written to) both implementations raise ``BufferError``.
"""

from __future__ import annotations

import binascii
import codecs
import re
from typing import TYPE_CHECKING, Final

from csgate._fast.errors import Base64Error

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CHUNK_BYTES: Final = 65536  # long integers grow costly, short ones pay Python's overhead
_ALPHABETS: Final = {
    False: re.compile(rb"[A-Za-z0-9+/]*+"),
    True: re.compile(rb"[A-Za-z0-9_-]*+"),
}
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_URLSAFE_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_VALUES: Final = {
    char: value
    for alphabet in (
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    )
    for value, char in enumerate(alphabet)
}


def _borrow(data: Buffer, *, writable: bool = False) -> memoryview:
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    if writable and view.readonly:
        raise BufferError("the buffer is read-only")
    if view.nbytes == 0:  # cast() refuses shapes with a zero
        return memoryview(bytearray() if writable else b"")
    return view.cast("B")


def unmask(data: Buffer, key: Buffer, phase: int = 0) -> int:
    """Removes (or puts on) the mask of a WebSocket payload in place: RFC 6455 section 5.3.

    Args:
        data: uint8[N], writable, C-contiguous, at any address; changed in place.
        key: the 4 bytes of the masking key.
        phase: how many payload bytes came before ``data``, modulo 4 or not.

    Returns:
        The phase of the byte behind ``data``, 0 to 3, to go on with.

    Raises:
        BufferError: ``data`` is read-only or not contiguous.
        ValueError: ``key`` does not have 4 bytes.
    """
    mask = bytes(_borrow(key))
    if len(mask) != 4:
        raise ValueError("a masking key has 4 bytes")
    view = _borrow(data, writable=True)
    phase %= 4
    repeated = (mask[phase:] + mask[:phase]) * (min(len(view), _CHUNK_BYTES) // 4 + 1)
    for start in range(0, len(view), _CHUNK_BYTES):
        chunk = view[start : start + _CHUNK_BYTES]
        size = len(chunk)
        turned = int.from_bytes(chunk, "little") ^ int.from_bytes(repeated[:size], "little")
        chunk[:] = turned.to_bytes(size, "little")
    return (phase + len(view)) % 4


def long_string(data: Buffer, least: int) -> tuple[int, int] | None:
    """Where the first long string of a JSON text is (RFC 8259 section 7).

    Args:
        data: uint8[N].
        least: bytes that it must have.

    Returns:
        (begin, end) of what is between its quotation marks; None where there is none, where it has escapes, or where
        what comes before it is no JSON.
    """
    text = data if isinstance(data, bytes | bytearray) else bytes(_borrow(data))
    at = 0
    while begin := text.find(b'"', at) + 1:
        if text.find(b"\\", at, begin) >= 0:
            return None
        end = text.find(b'"', begin)
        escapes = text.find(b"\\", begin, len(text) if end < 0 else end) >= 0
        if escapes:
            whole = _STRING.match(text, begin - 1)
            end = whole.end() - 1 if whole else -1
        if end < 0:
            return None
        if end - begin >= least:
            return None if escapes else (begin, end)
        at = end + 1
    return None


def utf8_valid(data: Buffer) -> bool:
    """Whether ``data``, uint8[N], is a whole UTF-8 text (RFC 3629: no surrogates, no overlong forms)."""
    validator = Utf8Validator()
    return validator.feed(data) and validator.complete


class Utf8Validator:
    """Checks a UTF-8 text that comes in pieces, and fails at the first byte that no valid text can have there.

    RFC 6455 section 8.1 wants a connection failed for invalid UTF-8; failing at the first wrong byte, not at the end
    of the message, spares receiving the rest.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Starts a new text."""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether the text may end here: nothing was wrong and no character is open."""
        return not self._failed and not self._decoder.getstate()[0]

    def feed(self, data: Buffer) -> bool:
        """Takes the next piece, uint8[N]; False as soon as the text cannot become valid, and ever after."""
        view = _borrow(data)
        if not self._failed:
            try:
                self._decoder.decode(view)
            except UnicodeDecodeError:
                self._failed = True
            else:
                # Python's decoder waits for the third byte of a surrogate, lest an error handler wants it.
                waiting = self._decoder.getstate()[0]
                self._failed = waiting[:1] == b"\xed" and waiting[1:2] >= b"\xa0"
        return not self._failed


def base64_decoded_size(src: Buffer) -> int:
    """Exact number of bytes that ``src``, uint8[N], decodes to if it is valid; an upper bound if it is not."""
    text = _borrow(src)
    size = len(text) // 4 * 3
    if len(text) >= 4 and len(text) % 4 == 0 and text[-1] == ord("="):
        size -= 2 if text[-2] == ord("=") else 1
    return size


def base64_decode(src: Buffer, dst: Buffer, *, urlsafe: bool = False) -> int:
    """Decodes strict Base64 (RFC 4648 section 4) into a buffer of the caller's.

    Padding is required, white space refused, and bits left over by the padding must be zero.

    Args:
        src: uint8[N] of ASCII text, C-contiguous; may be a view into a message.
        dst: uint8[M], writable, not overlapping ``src``, M at least ``base64_decoded_size(src)``. What lies behind
            the decoded bytes, and all of it after an error, has no defined value.
        urlsafe: take the alphabet of section 5 (``-`` and ``_``) instead of the standard one.

    Returns:
        How many bytes were written.

    Raises:
        Base64Error: ``src`` is not strict Base64; ``position`` is the first character that no valid text can have.
        BufferError: a buffer is not contiguous, or ``dst`` is read-only.
        ValueError: ``dst`` is too small.
    """
    text = _borrow(src)
    out = _borrow(dst, writable=True)
    size = base64_decoded_size(text)
    if size > len(out):
        raise ValueError(f"{size} bytes do not fit into a buffer of {len(out)}")
    out[:size] = base64_bytes(text, urlsafe=urlsafe)
    return size


def base64_bytes(src: Buffer, *, urlsafe: bool = False) -> bytes:
    """Decodes strict Base64 into a new bytes object; rules and errors as in :func:`base64_decode`."""
    text = bytes(_borrow(src))
    _check_base64(text, urlsafe)
    return binascii.a2b_base64(text.translate(_URLSAFE_TO_STANDARD) if urlsafe else text)


def _check_base64(text: bytes, urlsafe: bool) -> None:
    run = _ALPHABETS[urlsafe].match(text)
    at = run.end() if run else 0
    count = len(text)
    if at == count:
        if count % 4:
            raise Base64Error(count)
        return
    have = at % 4
    spare_bits = {2: 0x0F, 3: 0x03}.get(have)
    if text[at : at + 1] != b"=" or spare_bits is None or _VALUES[text[at - 1]] & spare_bits:
        raise Base64Error(at)
    padding = 4 - have
    for position in range(at, at + padding):
        if text[position : position + 1] != b"=":
            raise Base64Error(position)
    if count != at + padding:
        raise Base64Error(at + padding)
