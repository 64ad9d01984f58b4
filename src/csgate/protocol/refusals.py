"""Why an envelope is refused: short sentences, in both languages, that name the field and never echo its content."""

import re
from typing import Final

from csgate.errors import BadEnvelope, TooLarge, UnknownType
from csgate.protocol.client import (
    MAX_COMMENT_CHARS,
    MAX_ID_CHARS,
    MAX_LOCALE_CHARS,
    MAX_REASON_CHARS,
    MAX_TOKEN_CHARS,
)

_NAME_EN: Final = f"a string of 1 to {MAX_ID_CHARS} printable characters"
_NAME_ZH: Final = f"1 至 {MAX_ID_CHARS} 个可打印字符的字符串"

_EXPECTED: Final[dict[str, tuple[str, str]]] = {
    "type": ("a string", "字符串"),
    "id": (_NAME_EN, _NAME_ZH),
    "conversation": (_NAME_EN, _NAME_ZH),
    "epoch": (_NAME_EN, _NAME_ZH),
    "reply": (_NAME_EN, _NAME_ZH),
    "text": ("a string", "字符串"),
    "image": ("a string of Base64", "Base64 字符串"),
    "upload": ("what an upload was answered with", "上传接口返回的名称"),
    "token": (f"a string of 1 to {MAX_TOKEN_CHARS} characters", f"1 至 {MAX_TOKEN_CHARS} 个字符的字符串"),
    "offset": ("a whole number, 0 or more", "不小于 0 的整数"),
    "locale": (
        f"a language tag of 1 to {MAX_LOCALE_CHARS} characters",
        f"1 至 {MAX_LOCALE_CHARS} 个字符的语言标签",
    ),
    "on": ("true or false", "true 或 false"),
    "score": ("a whole number from 1 to 5", "1 至 5 的整数"),
    "comment": (f"a string of at most {MAX_COMMENT_CHARS} characters", f"至多 {MAX_COMMENT_CHARS} 个字符的字符串"),
    "reason": (f"a string of at most {MAX_REASON_CHARS} characters", f"至多 {MAX_REASON_CHARS} 个字符的字符串"),
    "t": (
        f"a number, or a string of at most {MAX_ID_CHARS} characters",
        f"数字，或至多 {MAX_ID_CHARS} 个字符的字符串",
    ),
}
"""What each field must be. The names are ours, so that nothing a client wrote can get into a sentence."""

# msgspec names the field as "... - at `$.id`", or as "Object missing required field `id`".
_FIELD: Final = re.compile(r"(?:`\$\.|missing required field `)([a-z]+)`$")


def field(name: str, detail: str = "") -> BadEnvelope:
    """Field ``name``, one of the protocol's own, is missing or not what it must be."""
    expected_en, expected_zh = _EXPECTED[name]
    return BadEnvelope(
        detail,
        public=f"Field '{name}' must be {expected_en}.",
        public_zh=f"字段 '{name}' 必须是{expected_zh}。",
    )


def wrong_field(complaint: str) -> BadEnvelope:
    """From msgspec's complaint, which goes to the log and no farther."""
    found = _FIELD.search(complaint)
    if found and found[1] in _EXPECTED:
        return field(found[1], complaint)
    return BadEnvelope(complaint, public="The message must be one JSON object.", public_zh="消息必须是一个 JSON 对象。")


def too_deep() -> BadEnvelope:
    return BadEnvelope(public="The message is nested too deeply.", public_zh="消息的嵌套层数过多。")


def text_too_long(max_text_chars: int) -> TooLarge:
    return TooLarge(
        public=f"The text is longer than {max_text_chars} characters.",
        public_zh=f"文本超过 {max_text_chars} 个字符。",
    )


def rest_too_large() -> TooLarge:
    return TooLarge(public="The fields other than the picture are too large.", public_zh="图片以外的字段过大。")


def nothing_said() -> BadEnvelope:
    return BadEnvelope(
        public="A message needs 'text', 'image' or 'upload'.", public_zh="消息必须包含 'text'、'image' 或 'upload'。"
    )


def two_pictures() -> BadEnvelope:
    return BadEnvelope(
        public="A message takes one picture: in 'image', behind the header, or named by 'upload'.",
        public_zh="一条消息只能带一张图片：放在 'image' 中、紧随头部之后，或由 'upload' 指明。",
    )


def no_uploads() -> BadEnvelope:
    return BadEnvelope(
        public="Uploads are not available; send the picture in the message.",
        public_zh="暂不支持上传，请在消息中直接发送图片。",
    )


def simple_takes_messages() -> UnknownType:
    return UnknownType(public="Simple mode takes messages only.", public_zh="简单模式只接受消息。")


def no_binary() -> BadEnvelope:
    return BadEnvelope(public="Simple mode takes text frames only.", public_zh="简单模式只接受文本帧。")


def no_header() -> BadEnvelope:
    return BadEnvelope(
        public="A binary frame begins with the length of its header in four bytes.",
        public_zh="二进制帧必须以四字节的头部长度开始。",
    )


def header_beyond_end() -> BadEnvelope:
    return BadEnvelope(
        public="The header of the binary frame is longer than the frame.",
        public_zh="二进制帧的头部长度超过了帧的长度。",
    )


def image_in_header() -> BadEnvelope:
    return BadEnvelope(
        public="The header of a binary frame takes no 'image': the picture follows it.",
        public_zh="二进制帧的头部不能包含 'image'：图片紧随其后。",
    )


def picture_without_message() -> BadEnvelope:
    return BadEnvelope(public="Only a message carries a picture.", public_zh="只有消息可以携带图片。")
