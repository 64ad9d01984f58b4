"""Server structs -> the bytes of one text frame."""

import math
from typing import Final, Literal, assert_never

import msgspec

from csgate.errors import CsgateError
from csgate.events import ErrorEvent, Language, ReplyEvent
from csgate.protocol.server import ServerEnvelope

_ENCODER: Final = msgspec.json.Encoder()

SimpleFormat = Literal["json", "text"]


def encode(envelope: ServerEnvelope) -> bytes:
    """The JSON object, UTF-8. Optional fields that say nothing are left out; NaN and infinity become null."""
    return _ENCODER.encode(envelope)


def encode_simple(event: ReplyEvent | ErrorEvent, format: SimpleFormat = "json") -> bytes:
    """The one frame that simple mode gives back: the JSON struct, or with ``text`` the Markdown alone.

    An error as text reads ``⚠`` and its sentence.
    """
    if format == "json":
        return _ENCODER.encode(event)
    match event:
        case ReplyEvent():
            return event.text.encode()
        case ErrorEvent():
            return f"⚠ {event.message}".encode()
        case _:
            assert_never(event)


def error_event(error: CsgateError, ref: str, id: str | None = None, language: Language = "en") -> ErrorEvent:
    """What a peer is told of ``error``: its code, a safe sentence, and ``ref``, the id of the log line.

    ``retry_after`` is in seconds, rounded up to milliseconds so that a client that obeys it is never early.
    """
    retry_after = error.retry_after
    if retry_after is not None:
        retry_after = math.ceil(max(retry_after, 0.0) * 1000) / 1000 if math.isfinite(retry_after) else None
    return ErrorEvent(
        code=error.code,
        message=error.text(language),
        ref=ref,
        id=id,
        retry_after=retry_after,
        max_bytes=error.max_bytes,
    )
