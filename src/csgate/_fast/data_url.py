"""``data:`` URLs (RFC 2397), as pages send pictures: what stands before the Base64 text."""

from typing import Final

_SCHEME: Final = b"data:"
MAX_HEADER_BYTES: Final = 256
"""Longest text before the comma that is looked at: a media type and its parameters are far shorter."""


def strip_data_url(data: bytes | bytearray | memoryview) -> tuple[memoryview, str | None]:
    """Splits ``data:image/png;base64,iVBOR…`` into the Base64 text and the media type.

    Args:
        data: uint8[N], C-contiguous; text that may or may not be a data: URL.

    Returns:
        A view of ``data`` (which it keeps alive) behind the comma, and the media type in lower case without
        parameters (RFC 2397: ``text/plain`` where none is given). Other text comes back whole, with None.

    Raises:
        ValueError: a data: URL without ``;base64``, or without a comma in its first 256 bytes.
    """
    view = memoryview(data).cast("B")
    if bytes(view[: len(_SCHEME)]).lower() != _SCHEME:
        return view, None
    head = bytes(view[:MAX_HEADER_BYTES])
    comma = head.find(b",")
    if comma < 0:
        raise ValueError(f"data: URL without a comma in its first {MAX_HEADER_BYTES} bytes")
    media, *parameters = head[len(_SCHEME) : comma].split(b";")
    if not parameters or parameters[-1].strip().lower() != b"base64":
        raise ValueError("data: URL that is not Base64")
    return view[comma + 1 :], media.strip().lower().decode("latin-1") or "text/plain"
