"""The body of ``POST /v1/chat/completions`` -> what is asked, or a refusal that says what and where. Pure.

The shape is OpenAI's (https://platform.openai.com/docs/api-reference/chat/create). A field that csgate cannot honour is
refused rather than passed over, unless its value asks for nothing; so nobody waits for tool calls that never come.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

from csgate.errors import BadJson, PeerError, TooLarge
from csgate.events import Picture
from csgate.inference.generation.request import Speaker, Utterance
from csgate.protocol import nested_deeper

MAX_MESSAGES: Final = 256
MAX_PICTURES: Final = 8
MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 64
TEXTS_A_REQUEST: Final = 16
"""All messages together may have so many times the characters that one may have."""

_MAX_EXTRA_BYTES: Final = 256
_IGNORED: Final = frozenset(
    (
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    )
)
"""They ask for nothing that would show in the answer."""

_EMPTY: Final[tuple[Any, ...]] = (None, False, "", [], {})
_HARMLESS: Final[dict[str, tuple[Any, ...]]] = {
    "n": (None, 1),
    "tool_choice": (*_EMPTY, "auto", "none"),
    "function_call": (*_EMPTY, "auto", "none"),
    "response_format": (*_EMPTY, {"type": "text"}),
    "modalities": (*_EMPTY, ["text"]),
}
_SPEAKERS: Final[dict[str, Speaker]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_WHERE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*?)`)?$", re.DOTALL)
_LINK: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class BadRequest(PeerError):
    """What OpenAI calls an ``invalid_request_error``; ``param`` is the field at fault."""

    code = "invalid_request"

    def __init__(self, public: str, param: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(public, public=public, public_zh=public)
        self.param = param
        self.reason = reason or self.code


class NoSuchModel(BadRequest):
    """Nobody answers by that name."""

    code = "model_not_found"
    http_status = 404


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class RefusalPart(msgspec.Struct, frozen=True, tag="refusal", tag_field="type"):
    refusal: str


class ImageUrl(msgspec.Struct, frozen=True):
    """``detail`` makes no difference: pictures are scaled to what the model takes."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(msgspec.Struct, frozen=True, tag="image_url", tag_field="type"):
    image_url: ImageUrl


class ChatMessage(msgspec.Struct, frozen=True):
    """One message; ``name`` is not used."""

    role: str
    content: str | list[TextPart | ImagePart | RefusalPart] | None = None
    name: str | None = None
    tool_calls: Raw = Raw(b"null")
    function_call: Raw = Raw(b"null")
    audio: Raw = Raw(b"null")


class StreamOptions(msgspec.Struct, frozen=True):
    """``include_obfuscation`` is not honoured: pieces are sent as they are."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Tokens = Annotated[int, Meta(ge=1)] | None


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields that csgate reads."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Tokens = None
    max_completion_tokens: Tokens = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request that makes sense. ``None``: the configuration decides. ``picture_bytes`` is of all pictures."""

    model: str
    utterances: tuple[Utterance, ...]
    stream: bool
    include_usage: bool
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: tuple[str, ...] | None
    picture_bytes: int


_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_REQUEST: Final = msgspec.json.Decoder(ChatRequest)
_KNOWN: Final = frozenset(ChatRequest.__struct_fields__)


def parse_chat_request(body: bytes, *, max_depth: int, max_text_chars: int) -> Asked:
    """Reads a body.

    Args:
        body: JSON, UTF-8.
        max_depth: levels of nesting allowed; the object itself is the first.
        max_text_chars: the longest message, in characters, its stop strings aside.

    Raises:
        BadJson: it is not JSON.
        BadRequest: a field is missing, wrong, or asks for what csgate does not do.
        TooLarge: a text, or all of them together, is too long.
    """
    try:
        fields = _FIELDS.decode(body)
        if nested_deeper(body, max_depth):
            raise BadRequest(f"The request is nested more than {max_depth} levels deep.")
        for name in fields.keys() - _KNOWN - _IGNORED:
            _refuse_unless_harmless(name, fields[name], name)
        request = _REQUEST.decode(body)
        utterances = tuple(_utterance(message, index, max_text_chars) for index, message in enumerate(request.messages))
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadJson(str(error), public="The request is not valid JSON.", public_zh="请求不是有效的 JSON。") from None
    if sum(len(one.text) for one in utterances) > TEXTS_A_REQUEST * max_text_chars:
        raise _too_long("All messages together", TEXTS_A_REQUEST * max_text_chars)
    if utterances[-1].speaker != "user":
        raise BadRequest("The last message must be the user's.", f"messages[{len(utterances) - 1}].role")
    if not utterances[-1].text.strip() and not utterances[-1].pictures:
        raise BadRequest("The last message is empty.", f"messages[{len(utterances) - 1}].content")
    pictures = [picture for one in utterances for picture in one.pictures]
    if len(pictures) > MAX_PICTURES:
        raise BadRequest(f"A request may have at most {MAX_PICTURES} pictures.", "messages")
    limits = [count for count in (request.max_completion_tokens, request.max_tokens) if count is not None]
    return Asked(
        model=request.model,
        utterances=utterances,
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=min(limits) if limits else None,
        seed=request.seed,
        stop=_stops(request.stop),
        picture_bytes=sum(len(picture.data) for picture in pictures),
    )


def _refuse_unless_harmless(name: str, raw: Raw, param: str) -> None:
    if len(memoryview(raw)) <= _MAX_EXTRA_BYTES:
        value = msgspec.json.decode(raw)
        if name in _HARMLESS:
            # 1 is 1.0 and True to Python, which is good enough for n.
            if value in _HARMLESS[name]:
                return
        elif value in _EMPTY:  # 0 is False: penalties of 0, no top_logprobs
            return
    shown = name if len(name) <= 64 and name.isprintable() else "a field"
    if name == "n":
        raise BadRequest("Only n=1 is supported.", "n", reason="unsupported_value")
    raise BadRequest(f"'{shown}' is not supported here; leave it out.", param[:128], reason="unsupported_parameter")


def _wrong(told: str) -> BadRequest:
    match = _WHERE.match(told)
    assert match is not None  # both parts may be empty
    where = (match["where"] or "")[:128] or None
    return BadRequest(f"{match['what'][:300]}{f' in {where}' if where else ''}.", where)


def _utterance(message: ChatMessage, index: int, max_text_chars: int) -> Utterance:
    at = f"messages[{index}]"
    speaker = _SPEAKERS.get(message.role)
    if speaker is None:
        raise BadRequest(
            "The roles here are system, developer, user and assistant; there are no tools.",
            f"{at}.role",
            reason="unsupported_value",
        )
    for name in ("tool_calls", "function_call", "audio"):
        _refuse_unless_harmless(name, getattr(message, name), f"{at}.{name}")
    content = message.content
    if content is None:
        if speaker != "assistant":
            raise BadRequest("A message needs content.", f"{at}.content")
        content = ""
    texts: list[str] = []
    pictures: list[Picture] = []
    for number, part in enumerate([TextPart(content)] if isinstance(content, str) else content):
        match part:
            case TextPart(text=text):
                texts.append(text)
            case RefusalPart(refusal=text):
                texts.append(text)
            case ImagePart(image_url=image):
                where = f"{at}.content[{number}].image_url.url"
                if speaker != "user":
                    raise BadRequest("Only the user's messages may have pictures.", where)
                pictures.append(_picture(image.url, where))
    text = "\n".join(texts)
    if len(text) > max_text_chars:
        raise _too_long("A message", max_text_chars)
    return Utterance(speaker, text, tuple(pictures))


def _picture(url: str, where: str) -> Picture:
    """The picture of a ``data:`` URL. Links are not followed: nobody may send csgate to an address of his choice."""
    if url[:5].lower() != "data:":
        told = (
            "Links to pictures are not followed; send the picture itself as a data: URL (data:image/png;base64,…)."
            if _LINK.match(url)
            else "A picture is a data: URL (data:image/png;base64,…)."
        )
        raise BadRequest(told, where, reason="unsupported_image_url")
    if not url.isascii():
        raise BadRequest("The picture's data: URL is not Base64.", where, reason="bad_base64")
    return Picture(url.encode("ascii"), "base64")


def _stops(stop: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if stop is None:
        return None
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > MAX_STOPS or any(not 0 < len(one) <= MAX_STOP_CHARS for one in stops):
        raise BadRequest(f"stop is up to {MAX_STOPS} strings of 1 to {MAX_STOP_CHARS} characters.", "stop")
    return stops


def _too_long(what: str, most: int) -> TooLarge:
    return TooLarge(
        "text too long", public=f"{what} may have at most {most} characters.", public_zh=f"文本不得超过 {most} 个字符。"
    )
