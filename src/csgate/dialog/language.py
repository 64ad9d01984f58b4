"""Which language to answer in: the message's own, else the conversation's, else the reader's, else the pack's."""

import re
from collections.abc import Iterable, Sequence
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
    number, an address or a link and says nothing about who wrote it. Linear in ``len(text)``.
    """
    han = sum(1 for _ in _HAN.finditer(text))
    words = 0
    for match in _CHUNK.finditer(text):
        chunk = match.group()
        if not any(sign in chunk for sign in "@/_") and not any(map(str.isdigit, chunk)):
            words += sum(1 for _ in _LATIN.finditer(chunk))
    if not han and not words:
        return None
    return "zh" if han / _HAN_PER_WORD >= words else "en"


def language_of_locale(locale: str | None) -> Language | None:
    """``zh-CN``, ``zh_TW``, ``en`` …: the language of a BCP 47 or POSIX locale, or None for another one."""
    match re.split("[-_.]", (locale or "").strip().lower(), maxsplit=1)[0]:
        case "zh" | "yue" | "cmn":
            return "zh"
        case "en":
            return "en"
        case _:
            return None


def language_of_history(history: Iterable[LogEvent]) -> Language | None:
    """The language of the customer's latest message that has words, or of the latest reply."""
    for event in reversed(tuple(history)):
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
    for found in (own, language_of_history(history), language_of_locale(locale), default):
        if found is not None and found in offered:
            return found
    return offered[0]
