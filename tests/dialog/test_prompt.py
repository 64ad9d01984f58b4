"""What a generator is asked, and placeholders filled back in."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog import load_pack
from csgate.dialog.prompt import (
    MAX_HISTORY_CHARS,
    MAX_MASKED_CHARS,
    Filler,
    Topic,
    build_prompt,
    masked,
    mood,
    presentable,
)
from csgate.dialog.recollection import Recollection
from csgate.dialog.slots import Slot, best_slots, find_slots
from csgate.dialog.understand import Understanding
from csgate.events import Intent, Language, LogEvent, MessageEvent, Picture, ReplyEvent, Sentiment, StateEvent, Tag
from csgate.inference.generation import GeneratorInfo, Utterance

SHOP = load_pack("shop")
NOW = "2026-11-22T10:00:00Z"
CHAT = GeneratorInfo("llama", "local", "chat", "CPU", 1024)
SEEING = GeneratorInfo("vlm", "remote", "chat", "", 1024, pictures=True)
SMALL = GeneratorInfo("shop", "local", "shop", "CPU", 128)
PICTURE = Picture(b"p", "binary")
TRACK = Topic(Intent("track_order", 0.9), {"order_number": "12345"}, "Open the **tracking link**.")


def understood(
    text: str,
    language: Language = "en",
    *,
    score: float | None = 0.0,
    tags: tuple[Tag, ...] = (),
    picture: bool = False,
) -> Understanding:
    return Understanding(
        id="m1",
        text=text,
        language=language,
        ranking=(),
        sentiment=None if score is None else Sentiment("neutral", score),
        picture=picture or bool(tags),
        tags=tags,
        slots=best_slots(find_slots(text)),
        wordless=False,
        words_beside=0,
        wants_person=False,
        recollection=Recollection(slots={}),
    )


def said(offset: int, text: str) -> MessageEvent:
    return MessageEvent(f"m{offset}", offset, "customer", text, NOW)


def replied(offset: int, text: str) -> ReplyEvent:
    return ReplyEvent(f"m{offset - 1}", offset, text, None, None, (), "", "canned", NOW)


# --- Masking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is my order 12345?", "Where is my order {order_number}?"),
        ("订单12345到哪了，3天了", "订单{order_number}到哪了，0天了"),
        ("refund $49.90 to anna@mail.com", "refund {amount} to {email}"),
        ("two\n lines {order_number} 7", "two lines order_number 0"),
        ("", ""),
    ],
)
def test_masked(text: str, expected: str) -> None:
    assert masked(text, best_slots(find_slots(text)).values()) == expected


@given(st.text(max_size=300))
def test_a_masked_text_has_no_number_but_0(text: str) -> None:
    result = masked(text, find_slots(text))
    assert len(result) <= MAX_MASKED_CHARS
    assert not any(char in "123456789" for char in result)
    assert "\n" not in result


# --- The prompt ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "expected"), [(None, "neutral"), (0.3, "neutral"), (-0.8, "negative"), (0.9, "positive")]
)
def test_mood(score: float | None, expected: str) -> None:
    assert mood(understood("x", score=score), SHOP) == expected


def test_a_small_model_is_told_names_and_sees_no_numbers() -> None:
    u = understood("WHERE is order 12345??", score=-0.9)
    prompt = build_prompt(TRACK, u, SHOP, [said(1, "hello"), replied(2, "Hi!")], SMALL, history_turns=6)
    assert prompt == (
        Utterance("system", "en track_order negative order_number"),
        Utterance("user", "WHERE is order {order_number}??"),
    )


def test_a_shop_model_hears_of_nothing_that_it_never_learned() -> None:
    u = understood("It says error 3051, and look")
    read = {
        "order_number": Slot("order_number", "SO88213", 3, 10, read=True),
        "error_code": Slot("error_code", "3051", 14, 18),
    }
    u = msgspec.structs.replace(u, slots=read)
    topic = Topic(Intent("payment_issue", 0.9), {name: slot.value for name, slot in read.items()}, "")
    system, user = build_prompt(topic, u, SHOP, [], SMALL, history_turns=6)
    assert system.text == "en payment_issue neutral order_number"
    assert user.text == "It says error 0, and look"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["tracking an order", "order number 12345", "parcel", "apology", "“Returns › Limits”", "tracking link"]),
        ("zh", ["查询订单物流", "订单号 12345", "包裹", "致歉", "《Returns › Limits》", "tracking link"]),
    ],
)
def test_a_chat_model_is_told_what_is_known(language: Language, words: list[str]) -> None:
    topic = Topic(TRACK.intent, TRACK.slots, TRACK.said, "Within 30 days.", "Returns › Limits")
    label = "parcel" if language == "en" else "包裹"
    u = understood("x", language, score=-0.9, tags=(Tag("parcel", label, 0.9),))
    system, user = build_prompt(topic, u, SHOP, [], CHAT, history_turns=6, picture=PICTURE)
    assert system.speaker == "system"
    assert system.text.startswith(SHOP.system[language])
    for word in words:
        assert word in system.text
    assert user == Utterance("user", "x")


def test_nothing_known_nothing_said() -> None:
    system, user = build_prompt(Topic(None, {}, ""), understood("", score=None), SHOP, [], CHAT, history_turns=6)
    assert system.text == f"{SHOP.system['en']}\nAnswer in English, in at most three sentences, in Markdown."
    assert user.text == "(The customer sent a picture.)"
    system, user = build_prompt(Topic(None, {}, ""), understood("", "zh"), SHOP, [], CHAT, history_turns=6)
    assert system.text.endswith("请用中文回答，最多三句话，使用 Markdown。")
    assert user.text == "（顾客发来一张图片）"


def test_a_picture_goes_to_a_model_that_takes_pictures() -> None:
    u = understood("look", picture=True)
    assert build_prompt(TRACK, u, SHOP, [], SEEING, history_turns=0, picture=PICTURE)[-1].pictures == (PICTURE,)
    assert build_prompt(TRACK, u, SHOP, [], CHAT, history_turns=0, picture=PICTURE)[-1].pictures == ()


def earlier(history: list[LogEvent], turns: int) -> list[tuple[str, str]]:
    prompt = build_prompt(TRACK, understood("now"), SHOP, history, CHAT, history_turns=turns)
    assert prompt[0].speaker == "system"
    assert prompt[-1] == Utterance("user", "now")
    return [(one.speaker, one.text) for one in prompt[1:-1]]


def test_the_last_turns_are_shown() -> None:
    history: list[LogEvent] = [
        said(1, "a"),
        replied(2, "A"),
        StateEvent("human", 3, NOW),
        said(4, "b"),
        said(5, "c"),
        MessageEvent("h", 6, "human", "B", NOW),
        said(7, ""),
    ]
    assert earlier(history, 6) == [("user", "a"), ("assistant", "A"), ("user", "b\nc"), ("assistant", "B")]
    assert earlier(history, 2) == [("user", "b\nc"), ("assistant", "B")]
    assert earlier(history, 3) == [("user", "b\nc"), ("assistant", "B")]
    assert earlier(history, 0) == []


def test_speakers_take_turns() -> None:
    assert earlier([said(1, "a")], 6) == []
    assert earlier([replied(1, "A"), said(2, "b"), replied(3, "B")], 6) == [("user", "b"), ("assistant", "B")]
    long = earlier([said(1, "x" * 5000), said(2, "y" * 700), replied(3, "B")], 6)
    assert len(long[0][1]) == MAX_HISTORY_CHARS
    assert long[0][1].endswith("y")


# --- Filling in ------------------------------------------------------------------------------------------------------

VALUES = {"order_number": "A-1_2", "amount": "$5"}


def filled(pieces: list[str], values: dict[str, str] = VALUES) -> tuple[str, bool]:
    filler = Filler(values)
    text = "".join([filler.feed(piece) for piece in pieces])
    filler.end()
    return text, filler.broken


@given(st.lists(st.integers(0, 60), max_size=8))
def test_values_come_in_however_the_text_is_cut(cuts: list[int]) -> None:
    text = "Order **{order_number}** for {amount}, 好的 {order_number}."
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert filled(pieces) == ("Order **A-1\\_2** for $5, 好的 A-1\\_2.", False)


@pytest.mark.parametrize(
    "text", ["a {phone} b", "a {", "a {order_number", "a {Order}", "a {order_number_that_never_ends_at_all", "a {} b"]
)
def test_what_cannot_be_filled_in_breaks_the_text(text: str) -> None:
    assert filled([text])[1]
    assert filled(list(text))[1]


def test_a_value_cannot_bring_a_placeholder() -> None:
    assert filled(["{amount}"], {"amount": "{order_number}"}) == ("order\\_number", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Fine.\n", "Fine."),
        ("<script>x</script> 1 < 2", "&lt;script>x&lt;/script> 1 < 2"),
        ("![p](http://x/y.png)", "!\\[p](http://x/y.png)"),
        ("a\x00\u202eb\n\nc", "ab\n\nc"),
    ],
)
def test_presentable(text: str, expected: str) -> None:
    assert presentable(text) == expected
