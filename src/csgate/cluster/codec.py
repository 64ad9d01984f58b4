"""How things are written in Redis: MessagePack, with offsets kept outside, as the scripts give them."""

from typing import Final, Literal

import msgspec

from csgate.events import (
    DeltaEvent,
    Language,
    LogEvent,
    Picture,
    Principal,
    ProgressEvent,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.session import Header, OpenTurn

TravelEvent = DeltaEvent | SnapshotEvent | ProgressEvent | TypingEvent
"""The live events that one node tells another."""


class _Turn(msgspec.Struct, frozen=True, array_like=True):
    id: str
    text: str
    picture: bytes | None
    encoding: Literal["base64", "binary"] | None
    principal: Principal
    language: Language
    # Behind what earlier versions wrote, which read this and skip it.
    reference: str | None = None


encode: Final = msgspec.msgpack.Encoder().encode
_decode_event: Final = msgspec.msgpack.Decoder(LogEvent).decode
_decode_turn: Final = msgspec.msgpack.Decoder(_Turn).decode
decode_header: Final = msgspec.msgpack.Decoder(Header).decode
decode_travel: Final = msgspec.msgpack.Decoder(TravelEvent).decode


def decode_event(offset: int, body: bytes) -> LogEvent:
    """An event with its offset."""
    event: LogEvent = msgspec.structs.replace(_decode_event(body), offset=offset)
    return event


def decode_state(text: bytes | None) -> StateEvent | None:
    """What a conversation's ``state`` field says: offset, colon, event."""
    if text is None:
        return None
    offset, _, body = text.partition(b":")
    event = decode_event(int(offset), body)
    assert isinstance(event, StateEvent)
    return event


def encode_turn(turn: OpenTurn) -> bytes:
    """Without the attempt, which the scripts count."""
    picture = turn.picture
    return encode(
        _Turn(
            turn.id,
            turn.text,
            None if picture is None else bytes(picture.data),
            None if picture is None else picture.encoding,
            turn.principal,
            turn.language,
            None if picture is None else picture.reference,
        )
    )


def decode_turn(body: bytes, attempt: int) -> OpenTurn:
    """The reverse."""
    turn = _decode_turn(body)
    picture = None
    if turn.picture is not None and turn.encoding is not None:
        picture = Picture(turn.picture, turn.encoding, turn.reference)
    return OpenTurn(turn.id, turn.text, picture, turn.principal, turn.language, attempt)
