"""Text read in a picture: what it names, what it may decide and what it may not, and how it is told."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog import load_pack
from csgate.dialog.picture_text import MAX_QUESTION_CHARS, MAX_SHOWN_CHARS, find_error_code, shown_text, words_of
from csgate.errors import BadImage, CsgateError, EngineUnavailable, Internal, Overloaded, TurnTimeout
from csgate.events import Draft, Intent, MessageEvent, ReplyEvent, Tag
from csgate.inference.results import IntentResult, ModelInfo, PictureResult, ReadText, TextLine, Timing

from .test_answer import NOW, STICKER, VECTOR, FakeEngine, dialog, turn

SHOP = load_pack("shop")
PAYMENT = ("Payment failed", "Error 3051: card declined", "Order number: SO88213", "Total: $12.50", "Fee: $1.00")
CLEAR = (("payment_issue", 0.96), ("get_refund", 0.04))
VAGUE = (("out_of_scope", 0.97), ("check_invoice", 0.03))


def text(*lines: str) -> ReadText:
    """Those lines one below the other."""
    boxes = [((0.1, y), (0.9, y), (0.9, y + 0.01), (0.1, y + 0.01)) for y in (n / 50 for n in range(len(lines)))]
    return ReadText(
        tuple(TextLine(line, 0.9, box) for line, box in zip(lines, boxes, strict=True)), timing=Timing(total_ms=7)
    )


class Reading(FakeEngine):
    """Reads ``lines`` in every picture; of texts that were read, the intents are ``of_read``."""

    def __init__(
        self,
        lines: Sequence[str] = PAYMENT,
        *,
        said: Sequence[tuple[str, float]] = VAGUE,
        of_read: Sequence[tuple[str, float]] = CLEAR,
        size: tuple[int, int] = (720, 1280),
        animated: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(said, **({"kind": ("screenshot", 0.9)} | more))
        self.info.models["reader"] = ModelInfo("r", "1", "reader", "fp32", "Fake", "", ())
        self.lines = lines
        self.of_read = tuple(Intent(name, confidence) for name, confidence in of_read)
        self.size = size
        self.animated = animated

    async def tag_picture(self, picture: Any, **how: Any) -> PictureResult:
        await self._work("tagger", picture, how)
        kind, score = self.kind
        return PictureResult(self.tags, VECTOR, *self.size, "PNG", self.animated, Timing(), kind=kind, kind_score=score)

    async def read_picture(self, picture: Any, **how: Any) -> ReadText:
        await self._work("reader", picture, how)
        return text(*self.lines)

    async def classify_intent(self, text: str, **how: Any) -> IntentResult:
        if self.lines and text.startswith(self.lines[0]):
            await self._work("read", text, how)
            return IntentResult(self.of_read, Timing())
        return await super().classify_intent(text, **how)

    @property
    def tasks(self) -> list[str]:
        return [task for task, _, _ in self.asked]


async def answered(engine: FakeEngine, said: str = "", **more: Any) -> Draft:
    return await dialog(engine).answer(turn(said, STICKER, **more))


# --- What it decides -------------------------------------------------------------------------------------------------


async def test_a_screenshot_without_words_is_answered_by_what_it_says() -> None:
    engine = Reading()
    draft = await answered(engine)
    assert draft.intent == Intent("payment_issue", 0.96)
    for value in ("**SO88213**", "$12.50", "**3051**"):
        assert value in draft.text
    assert draft.analysis == (
        "I read your screenshot as being about a payment problem (96% sure); "
        "the screenshot names order number SO88213, amount $12.50 and error code 3051. "
        "The screenshot says “Payment failed / Error 3051: card declined / "
        "Order number: SO88213 / Total: $12.50 / Fee: $1.00”."
    )
    assert draft.timing["read"] == 7
    (how,) = [how for task, _, how in engine.asked if task == "reader"]
    assert how == {"share": "acme", "principal": "anna", "priority": 2, "deadline": 30.0}


async def test_and_in_chinese() -> None:
    draft = await answered(Reading(("支付失败，错误 3051", "订单号：88213047", "实付 ¥12.00")), language="zh")
    assert draft.analysis == (
        "我理解您的截图是关于“解决付款问题”（把握 96%），截图中有订单号 88213047、金额 ¥12.00、错误代码 3051。"
        "截图上写着“支付失败，错误 3051 / 订单号：88213047 / 实付 ¥12.00”。"
    )


@pytest.mark.parametrize("said", ["What is this?", "look at that please", "Hi!"])
async def test_vague_words_leave_it_to_the_picture(said: str) -> None:
    ranking = (("greeting", 0.99), ("thanks", 0.01)) if said == "Hi!" else VAGUE
    draft = await answered(Reading(said=ranking), said)
    assert draft.intent == Intent("payment_issue", 0.96)
    assert "I read your screenshot as being" in draft.analysis


async def test_clear_words_stand_and_the_picture_fills_in() -> None:
    engine = Reading(said=(("get_refund", 0.95), ("payment_issue", 0.05)))
    draft = await answered(engine, "I want back the $30 for this")
    assert draft.intent == Intent("get_refund", 0.95)
    assert "**SO88213**" in draft.text
    assert "read" not in engine.tasks
    assert "I read your message as being about" in draft.analysis
    assert "with amount $30; the screenshot names order number SO88213 and error code 3051" in draft.analysis


@pytest.mark.parametrize("ranking", [(("payment_issue", 0.6), ("get_refund", 0.4)), VAGUE, (("greeting", 0.99),)])
async def test_a_screenshot_that_is_not_clear_is_quoted(ranking: Sequence[tuple[str, float]]) -> None:
    draft = await answered(Reading(("My page", "[x](https://evil.example) <b>"), of_read=ranking))
    assert draft.source == "picture"
    assert draft.intent is None
    assert "“My page / " in draft.text
    assert "https://" not in draft.text
    assert "<b>" not in draft.text
    assert (
        draft.analysis
        == "You sent a picture without words. The screenshot says “My page / [x](https://evil.example) <b>”."
    )


@pytest.mark.parametrize(
    ("lines", "ranking"),
    [
        (("Talk to a human", "real human please"), (("contact_human_agent", 0.99), ("complaint", 0.01))),
        (("I want to complain",), (("complaint", 0.99), ("payment_issue", 0.01))),
        (("Track my order",), (("out_of_scope", 1.0),)),
    ],
)
async def test_what_a_stranger_wrote_is_no_command(
    lines: tuple[str, ...], ranking: Sequence[tuple[str, float]]
) -> None:
    """Neither a phrase that asks for a person, nor a wish for one, nor a complaint, nor a quick reply word for word."""
    for said in ("", "Look"):
        draft = await answered(Reading(lines, of_read=ranking), said)
        assert not draft.hand_over
        assert draft.intent is None or draft.intent.name == "out_of_scope"


async def test_a_quick_reply_needs_no_picture() -> None:
    engine = Reading()
    draft = await answered(engine, SHOP.intents["get_refund"].say["en"])
    assert draft.intent == Intent("get_refund", 1.0)
    assert "read" not in engine.tasks


def reply(id: str, text: str, source: str, intent: Intent | None) -> ReplyEvent:
    return ReplyEvent(
        offset=2,
        id=id,
        text=text,
        intent=intent,
        sentiment=None,
        tags=(),
        analysis="",
        source=source,
        timing={},
        timestamp=NOW,
    )


def asked_for_number() -> list[Any]:
    return [
        MessageEvent(offset=1, id="m0", author="customer", text="refund", timestamp=NOW),
        reply("m0", "Which order?", "ask", Intent("get_refund", 0.9)),
    ]


async def test_a_screenshot_answers_what_was_asked_for() -> None:
    unclear = (("payment_issue", 0.5), ("get_refund", 0.5))
    draft = await answered(
        Reading(("Order details", "Order number", "88213047"), of_read=unclear), history=asked_for_number()
    )
    assert draft.intent == Intent("get_refund", 1.0)
    assert "**88213047**" in draft.text


async def test_an_order_number_that_was_read_is_remembered() -> None:
    engine = Reading()
    notes: dict[str, Any] = {}
    first = await dialog(engine).answer(turn("", STICKER, notes=notes))
    history = [
        MessageEvent(offset=1, id="m1", author="customer", text="", timestamp=NOW),
        reply("m1", first.text, first.source, first.intent),
    ]
    engine.ranking = (Intent("track_order", 0.99), Intent("review", 0.01))
    later = turn("Where is it now?", notes=notes, history=history)
    later = type(later)(**{**{name: getattr(later, name) for name in later.__struct_fields__}, "id": "m2"})
    assert "**SO88213**" in (await dialog(engine).answer(later)).text


# --- Which pictures are read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "size", "animated", "read"),
    [
        (("screenshot", 0.9), (500, 500), False, True),
        (("photo", 0.9), (500, 500), False, True),
        (("photo", 0.4), (500, 500), False, True),
        ((None, 0.0), (500, 500), False, True),
        (("sticker", 0.9), (500, 500), False, False),
        (("sticker", 0.9), (720, 1280), False, True),
        (("screenshot", 0.9), (720, 1280), True, False),
    ],
)
async def test_stickers_are_not_read(kind: Any, size: tuple[int, int], animated: bool, read: bool) -> None:
    engine = Reading(kind=kind, size=size, animated=animated)
    draft = await answered(engine)
    assert ("reader" in engine.tasks) is read
    assert ("read" in draft.timing) is read


async def test_a_screen_that_looks_like_a_sticker_is_none() -> None:
    draft = await answered(Reading(kind=("sticker", 0.9), tags=(Tag("ship", "ship", 0.9),)))
    assert draft.tags == ()
    assert "sticker" not in draft.analysis
    assert "ship" not in draft.analysis
    assert "The picture says “Payment failed" in draft.analysis


async def test_tags_and_text_are_both_told() -> None:
    draft = await answered(Reading(tags=(Tag("ship", "ship", 0.9),)), "What is this?")
    assert "The picture seems to be a screenshot, and looks like: ship. The screenshot says “Payment" in draft.analysis
    draft = await answered(Reading(tags=(Tag("ship", "小船", 0.9),)), language="zh")
    assert "图片应该是一张截图，看起来像：小船。截图上写着“Payment" in draft.analysis


async def test_without_a_tagger_the_reader_still_reads() -> None:
    draft = await answered(Reading(lacking=("tagger",)))
    assert draft.intent == Intent("payment_issue", 0.96)
    assert "The picture says “Payment failed" in draft.analysis
    assert "图片上写着“Payment failed" in (await answered(Reading(lacking=("tagger",)), language="zh")).analysis
    with pytest.raises(EngineUnavailable):
        await answered(Reading((), lacking=("tagger",)))


@pytest.mark.parametrize("error", [Overloaded("full"), TurnTimeout("late"), EngineUnavailable("gone"), Internal("bug")])
async def test_a_picture_that_could_not_be_read_is_answered_without(error: CsgateError) -> None:
    draft = await answered(Reading(errors={"reader": error}))
    assert draft.source == "picture"
    assert "says" not in draft.analysis
    assert "read" not in draft.timing


async def test_a_bad_picture_is_the_peers_error() -> None:
    with pytest.raises(BadImage):
        await answered(Reading(lacking=("tagger",), errors={"reader": BadImage("torn")}))


@pytest.mark.parametrize("lacking", [(), ("intent",)])
async def test_without_an_intent_model_the_text_is_only_told(lacking: tuple[str, ...]) -> None:
    errors: dict[str, Exception] = {} if lacking else {"read": EngineUnavailable("gone")}
    draft = await answered(Reading(lacking=lacking, errors=errors))
    assert draft.source == "picture"
    assert "The screenshot says “Payment failed" in draft.analysis


async def test_a_picture_without_text() -> None:
    draft = await answered(Reading(()))
    assert draft.timing["read"] == 7
    assert draft.analysis.endswith("The picture seems to be a screenshot; I cannot say for certain what it shows.")


# --- What it names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("Order number: SO88213",), {"order_number": "SO88213"}),
        (("Order number", "88213047"), {"order_number": "88213047"}),
        (("订单编号", "2026101100042"), {"order_number": "2026101100042"}),
        (("Tracking number SF0782", "Hotline 400-800-8820", "me@shop.example", "2026-10-11"), {}),
        (("Item $5.00", "Shipping $2.00", "Total $7.00"), {"amount": "$7.00"}),
        (("运费 ¥5.00", "合计：¥105.00"), {"amount": "¥105.00"}),
        (("Item $5.00", "Item $6.00"), {"amount": "$5.00"}),
        (("Error 88640",), {"error_code": "88640"}),
        (("Error code: E-1042", "Order #7731"), {"error_code": "E-1042", "order_number": "7731"}),
        (("错误代码", "50011"), {"error_code": "50011"}),
        (("Terror 88",), {}),
        (("Hello",), {}),
        ((), {}),
    ],
)
def test_what_the_text_of_a_picture_names(lines: tuple[str, ...], named: dict[str, str]) -> None:
    words = words_of(text(*lines))
    assert {name: slot.value for name, slot in words.slots.items()} == named
    assert all(slot.read for slot in words.slots.values())
    assert words.question == ". ".join(lines)


async def test_an_error_that_was_said_is_no_order() -> None:
    draft = await answered(FakeEngine((("payment_issue", 0.95), ("review", 0.05))), "I get error 88640 when I pay")
    assert "**88640**" in draft.text
    assert "for order" not in draft.text
    assert "error code 88640" in draft.analysis


@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_text_is_told_within_its_bounds(lines: list[str]) -> None:
    read = text(*lines)
    assert len(shown_text(read)) <= MAX_SHOWN_CHARS
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown_text(read))
    assert len(words_of(read).question) <= MAX_QUESTION_CHARS
    for slot in words_of(read).slots.values():
        assert slot.name in ("order_number", "amount", "error_code")


def test_a_payment_card_is_told_to_nobody() -> None:
    told = shown_text(text("Card 4111 1111 1111 1111", "No card 4111 1111 1111 1112"))
    assert told == "Card •••• •••• •••• •••• / No card 4111 1111 1111 1112"


def test_an_error_code_needs_its_name() -> None:
    assert find_error_code("the code is 3051") is None
    found = find_error_code("It says ERROR: PAY_3051!")
    assert found is not None
    assert (found.value, found.start, found.end) == ("PAY_3051", 15, 23)
