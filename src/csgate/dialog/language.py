"""Which language to answer in: the message's own, else the conversation's, else the reader's, else the pack's."""

import re
from collections.abc import Sequence
from typing import Final

from csgate.events import Language, LogEvent, MessageEvent, ReplyEvent

# A Chinese word is about this many characters long; an English one counts once.
_HAN_PER_WORD: Final = 1.6
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
_CHUNK: Final = re.compile(
    "[^\\s\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0002fa1f]+"
)
_LATIN: Final = re.compile("[A-Za-z\u00c0-\u024f']+")


def detect_language(text: str) -> Language | None:
    """The language that ``text`` is written in, or None where it has no words (digits, emoji, an address).

    Han characters are weighed against Latin words. A chunk with a digit, an ``@``, a slash or an underscore is a
    number, an address or a link and says nothing about who wrote it. Linear in ``len(text)``; the first word decides
    where there is no Han.
    """
    if text.isascii():
        return "en" if any(map(_words, text.split())) else None
    if _HAN.search(text) is None:
        return "en" if any(_words(match.group()) for match in _CHUNK.finditer(text)) else None
    han = len(_HAN.findall(text))
    return "zh" if han / _HAN_PER_WORD >= sum(map(_words, _CHUNK.findall(text))) else "en"


def _words(chunk: str) -> int:
    """How many Latin words a chunk without spaces has."""
    if chunk.isascii() and chunk.isalpha():
        return 1
    if "@" in chunk or "/" in chunk or "_" in chunk or any(map(str.isdigit, chunk)):
        return 0
    return len(_LATIN.findall(chunk))


def language_of_locale(locale: str | None) -> Language | None:
    """``zh-CN``, ``zh_TW``, ``en`` …: the language of a BCP 47 or POSIX locale, or None for another one."""
    match re.split("[-_.]", (locale or "").strip().lower(), maxsplit=1)[0]:
        case "zh" | "yue" | "cmn":
            return "zh"
        case "en":
            return "en"
        case _:
            return None


def language_of_history(history: Sequence[LogEvent]) -> Language | None:
    """The language of the customer's latest message that has words, or of the latest reply."""
    for event in reversed(history):
        match event:
            case MessageEvent(author="customer", text=text) | ReplyEvent(text=text):
                found = detect_language(text)
                if found is not None:
                    return found
            case _:
                pass
    return None


def choose_language(
    text: str, history: Sequence[LogEvent], locale: str | None, default: Language, offered: Sequence[Language]
) -> Language:
    """The first of message, history, locale and ``default`` that the pack ``offered``."""
    own = detect_language(text)
    if own is not None and own in offered:
        return own
    for found in (language_of_history(history), language_of_locale(locale), default):
        if found is not None and found in offered:
            return found
    return offered[0]
