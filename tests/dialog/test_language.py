"""The language to answer in."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog.language import choose_language, detect_language, language_of_history, language_of_locale
from csgate.events import Language, LogEvent, MessageEvent, ReplyEvent, StateEvent

NOW = "2026-11-22T10:00:00Z"


def said(text: str, author: str = "customer") -> MessageEvent:
    return MessageEvent(id="m", offset=1, author=author, text=text, timestamp=NOW)  # type: ignore[arg-type]


def replied(text: str) -> ReplyEvent:
    return ReplyEvent(
        id="m", offset=2, text=text, intent=None, sentiment=None, tags=(), analysis="", source="canned", timestamp=NOW
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order 12345?", "en"),
        ("我的订单12345到哪里了？", "zh"),
        ("我的 order 12345 在哪里", "zh"),
        ("我要 refund", "zh"),
        ("please check 订单", "en"),
        ("邮箱 abc.def@mail.example.com", "zh"),
        ("订单号 ORD-1143", "zh"),
        ("我要退款ABC123def", "zh"),
        ("café très cher", "en"),
        ("訂單到了嗎", "zh"),
        ("12345", None),
        ("❤️👍", None),
        ("", None),
        ("???", None),
        ("me@example.com", None),
        ("http://example.com/order", None),
    ],
)
def test_detect(text: str, language: Language | None) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh-CN", "zh"),
        ("zh_TW.UTF-8", "zh"),
        ("ZH", "zh"),
        ("yue", "zh"),
        ("en-GB", "en"),
        ("de-DE", None),
        (None, None),
    ],
)
def test_locale(locale: str | None, language: Language | None) -> None:
    assert language_of_locale(locale) == language


def test_history_latest_with_words_wins() -> None:
    state = StateEvent(state="bot", offset=9, timestamp=NOW)
    assert language_of_history([said("hello there"), said("你好"), said("123"), state]) == "zh"
    assert language_of_history([said("你好"), replied("Hello!")]) == "en"
    assert language_of_history([said("您好，我是客服", author="human")]) is None
    assert language_of_history([]) is None


@pytest.mark.parametrize(
    ("text", "history", "locale", "offered", "language"),
    [
        ("hello", [said("你好")], "zh-CN", ("en", "zh"), "en"),
        ("", [said("你好")], "en", ("en", "zh"), "zh"),
        ("", [], "zh-CN", ("en", "zh"), "zh"),
        ("", [], "fr", ("en", "zh"), "en"),
        ("你好", [], "zh", ("en",), "en"),
        ("hello", [], "en", ("zh",), "zh"),
    ],
)
def test_choose(
    text: str, history: Sequence[LogEvent], locale: str, offered: tuple[Language, ...], language: Language
) -> None:
    assert choose_language(text, history, locale, "en", offered) == language


@given(st.text(max_size=80))
def test_total(text: str) -> None:
    assert detect_language(text) in ("en", "zh", None)


@given(st.text(alphabet="的一是在不了有和人这", min_size=1, max_size=40))
def test_han_alone_is_chinese(text: str) -> None:
    assert detect_language(text) == "zh"
