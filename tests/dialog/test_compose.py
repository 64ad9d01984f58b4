"""Replies in words: openings, escaping, analysis, quick replies, timing."""

import pytest

from csgate.dialog import load_pack
from csgate.dialog.compose import compose
from csgate.dialog.decide import Answer, Ask, Clarify, Decision, HandOver, PictureReply
from csgate.dialog.recollection import Recollection
from csgate.dialog.slots import Slot
from csgate.dialog.understand import Stages, Understanding
from csgate.events import Draft, Intent, Language, Sentiment, Tag
from csgate.inference.results import PictureKind

SHOP = load_pack("shop")
TRACK = Answer(Intent("track_order", 0.95), {"order_number": "12345"})
ORDER = Slot("order_number", "12345", 0, 5)
HEART = Tag("heart", "red heart", 0.9)


def understood(
    language: Language = "en",
    *,
    id: str = "m1",
    score: float | None = 0.0,
    picture: bool = False,
    kind: PictureKind | None = None,
    tags: tuple[Tag, ...] = (),
    lacking: frozenset[str] = frozenset(),
    slots: tuple[Slot, ...] = (),
) -> Understanding:
    return Understanding(
        id=id,
        text="",
        language=language,
        ranking=(),
        sentiment=None if score is None else Sentiment("neutral", score),
        picture=picture,
        kind=kind,
        tags=tags,
        slots={slot.name: slot for slot in slots},
        wordless=False,
        words_beside=0,
        wants_person=False,
        recollection=Recollection(slots={}),
        lacking=lacking,  # type: ignore[arg-type]
        stages=Stages(1.23456, 2, 3, 4),
    )


def composed(decision: Decision, understanding: Understanding | None = None) -> Draft:
    return compose(decision, understanding or understood(), SHOP, 5.0)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_where_is_my_order(language: Language) -> None:
    for index in range(8):
        draft = composed(TRACK, understood(language, id=f"m{index}"))
        assert "**12345**" in draft.text
        assert draft.source == "canned"
        assert draft.intent == Intent("track_order", 0.95)
        assert not draft.hand_over
        assert "shipped" not in draft.text
        assert "已发货" not in draft.text


@pytest.mark.parametrize(
    ("language", "score", "phrase"),
    [
        ("en", -0.9, "opening_negative"),
        ("zh", -0.9, "opening_negative"),
        ("en", 0.9, "opening_positive"),
        ("en", 0.1, None),
        ("en", -0.39, None),
        ("en", None, None),
    ],
)
def test_the_mood_colours_the_opening(language: Language, score: float | None, phrase: str | None) -> None:
    text = composed(TRACK, understood(language, score=score)).text
    opened = {
        name
        for name in ("opening_negative", "opening_positive")
        for template in SHOP.phrases[name].texts[language]
        if text.startswith(template.render({}))
    }
    assert opened == ({phrase} if phrase else set())


def test_some_intents_have_an_opening_of_their_own() -> None:
    calm = composed(Answer(Intent("complaint", 0.9), {}))
    assert composed(Answer(Intent("complaint", 0.9), {}), understood(score=-0.9)).text == calm.text


def test_slots_cannot_inject() -> None:
    evil = Answer(Intent("track_order", 0.9), {"order_number": "<img src=x>[a](http://b)**"})
    text = composed(evil).text
    assert "<img" not in text
    assert "[a]" not in text
    assert "\\[a\\]" in text


def test_the_same_message_gets_the_same_words() -> None:
    assert composed(TRACK, understood(id="a")) == composed(TRACK, understood(id="a"))
    assert len({composed(TRACK, understood(id=f"m{index}")).text for index in range(20)}) == 2


def test_ask() -> None:
    first = composed(Ask(Intent("get_refund", 0.9), "order_number", again=False))
    assert first.source == "ask"
    assert "order number" in first.text
    assert first.quick_replies == ()
    again = composed(Ask(Intent("get_refund", 0.9), "order_number", again=True))
    assert again.text != first.text
    assert again.quick_replies == ("Talk to a person",)


def test_clarify_names_both() -> None:
    decision = Clarify((Intent("get_refund", 0.5), Intent("track_refund", 0.4)))
    draft = composed(decision)
    assert draft.source == "clarify"
    assert draft.intent is None
    assert "**getting a refund**" in draft.text
    assert "**the status of a refund**" in draft.text
    assert draft.quick_replies == ("I want a refund", "Where is my refund?", "Talk to a person")
    assert "getting a refund (50%) or the status of a refund (40%)" in draft.analysis
    chinese = composed(decision, understood("zh"))
    assert "**申请退款**" in chinese.text
    assert chinese.quick_replies == ("我要申请退款", "我的退款到哪了？", "转人工客服")
    assert "“申请退款”（50%）或“查询退款进度”（40%）" in chinese.analysis


def test_clarify_names_one_or_none() -> None:
    one = composed(Clarify((Intent("get_refund", 0.5),)))
    assert "**getting a refund**" in one.text
    assert one.quick_replies == ("I want a refund", "Talk to a person")
    none = composed(Clarify(()))
    assert len(none.quick_replies) > 2
    assert "could not tell" in none.analysis
    assert "没能看出" in composed(Clarify(()), understood("zh")).analysis


def test_a_quick_reply_is_not_offered_twice() -> None:
    draft = composed(Clarify((Intent("contact_human_agent", 0.5), Intent("get_refund", 0.4))))
    assert draft.quick_replies == ("Talk to a person", "I want a refund")


@pytest.mark.parametrize(
    ("decision", "english", "chinese"),
    [
        (HandOver("asked", Intent("contact_human_agent", 1.0)), "You asked for a person.", "您希望由人工客服来处理。"),
        (HandOver("unclear", None), "I could not make out what you need, so", "我没能弄清您的需要"),
        (HandOver("unhappy", None), "I read your messages as unhappy", "您消息里多次流露出不满"),
        (
            HandOver("complaint", Intent("complaint", 0.9)),
            "I read your messages about a complaint as unhappy",
            "您关于“投诉”的消息里多次流露出不满",
        ),
    ],
)
def test_hand_over(decision: HandOver, english: str, chinese: str) -> None:
    draft = composed(decision)
    assert draft.hand_over
    assert draft.source == "hand_over"
    assert draft.intent == decision.intent
    assert draft.analysis.startswith(english)
    assert composed(decision, understood("zh")).analysis.startswith(chinese)
    assert composed(decision).text in {
        template.render({}) for template in SHOP.phrases[f"hand_over_{decision.reason}"].texts["en"]
    }


def test_pictures() -> None:
    draft = composed(PictureReply("love"), understood(picture=True, tags=(HEART,)))
    assert draft.source == "picture"
    assert draft.intent is None
    assert draft.tags == (HEART,)
    assert draft.analysis == "You sent a picture without words. The picture looks like: red heart."
    other = composed(PictureReply("other"), understood(picture=True, tags=(Tag("x", "a <b> ship", 0.8),)))
    assert "a &lt;b&gt; ship" in other.text
    chinese = composed(PictureReply("other"), understood("zh", picture=True, tags=(Tag("x", "船", 0.8),) * 5))
    assert "船、船、船" in chinese.text
    assert chinese.analysis == "您发来了一张没有文字的图片。图片看起来像：船、船、船。"


@pytest.mark.parametrize(
    ("language", "kind", "tags", "analysis"),
    [
        ("en", "sticker", (HEART,), "The picture seems to be a sticker, and looks like: red heart."),
        ("en", "photo", (), "The picture seems to be a photo; I cannot say for certain what it shows."),
        ("en", "screenshot", (), "The picture seems to be a screenshot; I cannot say for certain what it shows."),
        ("zh", "sticker", (Tag("heart", "爱心", 0.9),), "图片应该是一张表情贴纸，看起来像：爱心。"),
        ("zh", "photo", (), "图片应该是一张照片，我不能确定其中的内容。"),
        ("zh", "screenshot", (), "图片应该是一张截图，我不能确定其中的内容。"),
    ],
)
def test_the_kind_of_a_picture_is_said(
    language: Language, kind: PictureKind, tags: tuple[Tag, ...], analysis: str
) -> None:
    understanding = understood(language, picture=True, kind=kind, tags=tags)
    assert composed(PictureReply("unclear"), understanding).analysis.endswith(analysis)


@pytest.mark.parametrize(
    ("understanding", "analysis"),
    [
        (understood(), "I read your message as being about tracking an order (95% sure)."),
        (
            understood(slots=(ORDER,), score=-0.9),
            "I read your message as being about tracking an order (95% sure), with order number 12345, in low spirits.",
        ),
        (
            understood(score=0.9, picture=True),
            "I read your message as being about tracking an order (95% sure), in good spirits. "
            "I cannot say for certain what the picture shows.",
        ),
        (
            understood(picture=True, score=None, lacking=frozenset(("sentiment", "tagger"))),
            "I read your message as being about tracking an order (95% sure); its mood was not judged. "
            "I could not look at the picture.",
        ),
        (understood("zh"), "我理解您的消息是关于“查询订单物流”（把握 95%）。"),
        (
            understood("zh", slots=(ORDER,), score=-0.9),
            "我理解您的消息是关于“查询订单物流”（把握 95%），提到订单号 12345，情绪低落。",
        ),
        (
            understood("zh", score=0.9, picture=True),
            "我理解您的消息是关于“查询订单物流”（把握 95%），情绪不错。我不能确定图片的内容。",
        ),
        (
            understood("zh", picture=True, score=None, lacking=frozenset(("sentiment", "tagger"))),
            "我理解您的消息是关于“查询订单物流”（把握 95%），未判断情绪。我没能查看图片。",
        ),
    ],
)
def test_analysis(understanding: Understanding, analysis: str) -> None:
    assert composed(TRACK, understanding).analysis == analysis


def test_what_a_rule_decided_has_no_figure() -> None:
    assert "sure" not in composed(Answer(Intent("greeting", 1.0), {})).analysis
    assert "把握" not in composed(Answer(Intent("greeting", 1.0), {}), understood("zh")).analysis
    assert "(99% sure)" in composed(Answer(Intent("greeting", 0.999), {})).analysis


def test_timing() -> None:
    assert composed(TRACK).timing == {"queue": 1.235, "prepare": 2, "run": 3, "understand": 4, "total": 5.0}
