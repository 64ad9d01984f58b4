"""Bytes of one WebSocket message -> one client struct. Pure: no I/O, no clock, no log.

The common case is one pass: a message whose fields are all known is decoded by a struct that forbids others, so its
nesting is one level by construction and nothing else has to be looked at. Only when that pass refuses are the type
peeked at, the struct chosen from the table, and the depth of the skipped fields measured.

The picture is not decoded here. ``msgspec.Raw`` is a view that pins the received buffer: the Base64 text of a picture
of 1 MB is never copied, unless it holds JSON escapes.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from csgate import _fast
from csgate.errors import BadEnvelope, BadJson, CsgateError, UnknownType
from csgate.events import Picture
from csgate.protocol import refusals
from csgate.protocol.client import (
    MAX_ID_CHARS,
    Cancel,
    ClientEnvelope,
    Handoff,
    Hello,
    Id,
    Message,
    Ping,
    Rate,
    Refresh,
    Typing,
    Upload,
)

Buffer = bytes | bytearray | memoryview

HEADER_LENGTH: Final = struct.Struct(">I")
SPARE_BYTES: Final = 16 * 1024
"""Room for everything in a message that is neither text nor picture: names, ids, a token, fields we do not know."""
_BYTES_A_CHAR: Final = 12  # the longest JSON spelling of one character: a surrogate pair of \\uXXXX escapes

_OWNERS: Final = (bytes, bytearray)
_LIFT_BYTES: Final = 4096
_STAND_IN: Final = b"csgate: a long string stood here"
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")


class SimpleFields(msgspec.Struct, frozen=True):
    """The fields of a message in simple mode. ``Raw | UnsetType``: a field that may be null would be decoded."""

    type: str | UnsetType = UNSET
    text: str | None = None
    image: Raw | UnsetType = UNSET
    upload: Upload | None = None


class StrictSimpleFields(SimpleFields, frozen=True, forbid_unknown_fields=True):
    """The same, and nothing else."""


class MessageFields(SimpleFields, frozen=True):
    """The fields of a message under ``csgate.v1``."""

    id: Id | UnsetType = UNSET


class StrictMessageFields(MessageFields, frozen=True, forbid_unknown_fields=True):
    """The same, and nothing else."""


class _TypeOnly(msgspec.Struct, frozen=True):
    type: str | UnsetType = UNSET


class _IdOnly(msgspec.Struct, frozen=True):
    id: str | UnsetType = UNSET


_STRICT_SIMPLE: Final = msgspec.json.Decoder(StrictSimpleFields)
_SIMPLE: Final = msgspec.json.Decoder(SimpleFields)
_STRICT_MESSAGE: Final = msgspec.json.Decoder(StrictMessageFields)
_MESSAGE: Final = msgspec.json.Decoder(MessageFields)
_TYPE: Final = msgspec.json.Decoder(_TypeOnly)
_ID: Final = msgspec.json.Decoder(_IdOnly)
_TEXT: Final = msgspec.json.Decoder(str)
_OTHERS: Final[dict[str, Callable[[Buffer], ClientEnvelope]]] = {
    "hello": msgspec.json.Decoder(Hello).decode,
    "cancel": msgspec.json.Decoder(Cancel).decode,
    "typing": msgspec.json.Decoder(Typing).decode,
    "rate": msgspec.json.Decoder(Rate).decode,
    "handoff": msgspec.json.Decoder(Handoff).decode,
    "refresh": msgspec.json.Decoder(Refresh).decode,
    "ping": msgspec.json.Decoder(Ping).decode,
}


def decode_text(data: Buffer, *, simple: bool, max_depth: int, max_text_chars: int) -> ClientEnvelope:
    """Decodes the JSON object of a text frame.

    Args:
        data: the whole message, UTF-8. A ``bytearray`` or ``memoryview`` must not be reused while the picture lives.
        simple: simple mode, which takes messages only and ignores their id.
        max_depth: levels of nesting allowed; the object itself is the first.
        max_text_chars: the longest text, in characters.

    Raises:
        BadJson: not JSON (RFC 8259): syntax, NaN, a lone surrogate, not UTF-8.
        BadEnvelope: not an object, a field missing or of the wrong type, nested too deeply.
        UnknownType: no such type, or one that simple mode does not take.
        TooLarge: the text is too long, or the fields other than text and picture are too large.
    """
    lifted = _lift(data)
    if lifted is not None:
        rest, long = lifted
        try:
            envelope = _decode(rest, None, simple, max_depth, max_text_chars)
        except (msgspec.MsgspecError, CsgateError, UnicodeDecodeError, RecursionError):
            pass  # what is wrong is said about the message itself, below
        else:
            if isinstance(envelope, Message) and _is_stand_in(envelope.picture):
                return Message(envelope.id, envelope.text, Picture(long, "base64"), envelope.upload)
    return _decode_guarded(data, None, simple, max_depth, max_text_chars)


def _is_stand_in(picture: Picture | None) -> bool:
    """Whether it is ours: a view, so written like that. One spelt with escapes, which come as bytes, is the peer's."""
    return picture is not None and isinstance(picture.data, memoryview) and bytes(picture.data) == _STAND_IN


def _lift(data: Buffer) -> tuple[bytes, memoryview] | None:
    """Takes the first long string out of a message: the message with a stand-in for it, and its text.

    A JSON parser looks at every byte of a string, ``long_string`` at 128 at a time, so that a picture costs a tenth. Of
    the long string only its end and, of a data: URL, what is before the comma are looked at: bytes that JSON does not
    allow (below 0x20) are not Base64 either, and are refused as that. A long string with escapes is left to the parser.
    """
    if len(data) < 2 * _LIFT_BYTES or not isinstance(data, _OWNERS):
        return None
    found = _fast.long_string(data, _LIFT_BYTES)
    if found is None:
        return None
    begin, end = found
    if data[begin] in b"dD" and data[begin : begin + 5].lower() == b"data:":
        comma = data.find(b",", begin, end)
        if comma < 0 or _CONTROL.search(data, begin, comma):
            return None
    rest = b"".join((data[:begin], _STAND_IN, data[end:]))
    # The peer may have written the stand-in itself.
    return (rest, memoryview(data)[begin:end]) if rest.count(_STAND_IN) == 1 else None


def decode_binary(data: Buffer, *, simple: bool, max_depth: int, max_text_chars: int) -> ClientEnvelope:
    """Decodes a binary frame: ``uint32 big-endian header length | JSON header | picture bytes``.

    The picture of the message is a view into ``data``.

    Raises:
        BadJson, BadEnvelope, UnknownType, TooLarge: as ``decode_text``; also BadEnvelope where the lengths do not fit,
            the header carries an ``image``, picture bytes follow something other than a message, or in simple mode.
    """
    if simple:
        raise refusals.no_binary()
    header, picture = _split(data)
    if len(header) > _largest_rest(max_text_chars):
        raise refusals.rest_too_large()
    text = bytes(header)
    try:
        text.decode("utf-8")  # a text frame was checked by the wire; nobody has looked into this one
    except UnicodeDecodeError as error:
        raise BadJson(str(error)) from None
    return _decode_guarded(text, picture, False, max_depth, max_text_chars)


def readable_id(data: Buffer, *, binary: bool = False) -> str | None:
    """The ``id`` of a message that was refused, if it can be read, so that the error can name it."""
    try:
        found = _ID.decode(_split(data)[0] if binary else data).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadEnvelope):
        return None
    return found if isinstance(found, str) and len(found) <= MAX_ID_CHARS and found.isprintable() and found else None


def _split(data: Buffer) -> tuple[memoryview, memoryview]:
    view = memoryview(data)
    if len(view) < HEADER_LENGTH.size:
        raise refusals.no_header()
    end = HEADER_LENGTH.size + HEADER_LENGTH.unpack_from(view)[0]
    if end > len(view):
        raise refusals.header_beyond_end()
    return view[HEADER_LENGTH.size : end], view[end:]


def _decode_guarded(
    data: Buffer, attached: memoryview | None, simple: bool, max_depth: int, max_text_chars: int
) -> ClientEnvelope:
    try:
        return _decode(data, attached, simple, max_depth, max_text_chars)
    except msgspec.ValidationError as error:
        raise refusals.wrong_field(str(error)) from None
    except RecursionError:
        raise refusals.too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadJson(str(error)) from None


def _decode(
    data: Buffer, attached: memoryview | None, simple: bool, max_depth: int, max_text_chars: int
) -> ClientEnvelope:
    """``attached`` is what followed the header of a binary frame, maybe nothing; None for a text frame."""
    strict: Callable[[Buffer], SimpleFields] = _STRICT_SIMPLE.decode if simple else _STRICT_MESSAGE.decode
    tolerant: Callable[[Buffer], SimpleFields] = _SIMPLE.decode if simple else _MESSAGE.decode
    fields: SimpleFields
    try:
        fields = strict(data)
    except msgspec.ValidationError:
        pass
    else:
        if fields.type is UNSET or fields.type == "message":
            return _message(fields, data, attached, max_text_chars)
    try:
        fields = tolerant(data)
    except msgspec.ValidationError:
        kind = _TYPE.decode(data).type
        if kind is UNSET or kind == "message":
            raise
    else:
        kind = fields.type
        if kind is UNSET or kind == "message":
            picture = fields.image
            _check_rest(data, 0 if picture is UNSET else len(memoryview(picture)), max_depth, max_text_chars)
            return _message(fields, data, attached, max_text_chars)
    return _other(kind, data, attached, simple, max_depth, max_text_chars)


def _other(
    kind: str, data: Buffer, attached: memoryview | None, simple: bool, max_depth: int, max_text_chars: int
) -> ClientEnvelope:
    decode = _OTHERS.get(kind)
    if decode is None:
        raise UnknownType
    if simple:
        raise refusals.simple_takes_messages()
    if attached:
        raise refusals.picture_without_message()
    envelope = decode(data)
    _check_rest(data, 0, max_depth, max_text_chars)
    match envelope:
        case Hello():
            _check_name("conversation", envelope.conversation)
            _check_name("epoch", envelope.epoch)
            _check_name("locale", envelope.locale)
        case Cancel():
            _check_name("id", envelope.id)
        case Rate():
            _check_name("reply", envelope.reply)
        case _:
            pass
    return envelope


def _message(fields: SimpleFields, data: Buffer, attached: memoryview | None, max_text_chars: int) -> Message:
    id: str | None = None
    if isinstance(fields, MessageFields):
        if fields.id is UNSET:
            raise refusals.field("id")
        id = fields.id
        _check_name("id", id)
    text = fields.text
    if text is not None:
        if len(text) > max_text_chars:
            raise refusals.text_too_long(max_text_chars)
        if not text or text.isspace():
            text = None
    upload = fields.upload
    _check_name("upload", upload)
    picture = None if fields.image is UNSET else _picture(fields.image, data)
    if attached is not None:
        if picture is not None:
            raise refusals.image_in_header()
        picture = Picture(attached, "binary") if attached else None
    if upload is not None and picture is not None:
        raise refusals.two_pictures()
    if text is None and picture is None and upload is None:
        raise refusals.nothing_said()
    return Message(id, text, picture, upload)


def _picture(image: Raw, data: Buffer) -> Picture | None:
    """The picture in ``image``; None where it is null or empty."""
    quoted = memoryview(image)
    if quoted[0] != 0x22:
        if quoted[0] == 0x6E:  # n of null
            return None
        raise refusals.field("image")
    if len(quoted) == 2:
        return None
    if _has_backslash(data, quoted):
        return Picture(_TEXT.decode(quoted).encode(), "base64")
    return Picture(quoted[1:-1], "base64")


def _has_backslash(data: Buffer, quoted: memoryview) -> bool:
    # Searching bytes is memchr, searching a view is a loop over Python integers. So the whole message is searched
    # first: it hardly ever has a backslash, and only then the image is copied to see whether the backslash is its own.
    whole = data.obj if isinstance(data, memoryview) else data
    if isinstance(whole, bytes | bytearray) and b"\\" not in whole:
        return False
    return b"\\" in bytes(quoted)


def _check_name(name: str, value: str | None) -> None:
    if value is not None and not value.isprintable():
        raise refusals.field(name)


def _largest_rest(max_text_chars: int) -> int:
    return max_text_chars * _BYTES_A_CHAR + SPARE_BYTES


def _check_rest(data: Buffer, picture_bytes: int, max_depth: int, max_text_chars: int) -> None:
    """Bounds what was skipped in valid JSON: its size, which bounds the work here, and its nesting."""
    if len(data) - picture_bytes > _largest_rest(max_text_chars):
        raise refusals.rest_too_large()
    if nested_deeper(bytes(data), max_depth):
        raise refusals.too_deep()


def nested_deeper(data: bytes, max_depth: int) -> bool:
    """Whether ``data``, valid JSON, has more than ``max_depth`` levels of objects and arrays. Linear in its size."""
    if data.count(b"{") + data.count(b"[") <= max_depth:
        return False
    brackets = _STRING.sub(b"", data).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # each round takes off the innermost level
    return bool(brackets)
