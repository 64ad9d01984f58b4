"""The answerer with an engine of our own: what is asked, when, what is missing, what goes wrong."""

import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from csgate.config import DialogSettings
from csgate.dialog import Dialog, load_pack
from csgate.dialog.recollection import MAX_CHARS
from csgate.dialog.slots import find_slots
from csgate.dialog.understand import MAX_INLINE_CHARS
from csgate.errors import BadImage, CsgateError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.events import (
    Draft,
    Intent,
    Language,
    LogEvent,
    MessageEvent,
    Picture,
    Principal,
    ProgressEvent,
    ReplyEvent,
    Sentiment,
    Tag,
)
from csgate.inference.results import (
    EngineInfo,
    IntentResult,
    ModelInfo,
    PictureKind,
    PictureResult,
    ReadText,
    SentimentResult,
    TextLine,
    Timing,
)
from csgate.media import Line, Shown
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry, open_logger

SHOP = load_pack("shop")
NOW = "2026-11-22T10:00:00Z"
STICKER = Picture(b"sticker", "binary")
VECTOR = np.zeros(4, np.float32)
WHO = Principal(subject="anna", tenant="acme", tier=2)


class FakeEngine:
    """Answers from a table, notes what it was asked, and takes the time that it is told to take."""

    def __init__(
        self,
        ranking: Sequence[tuple[str, float]] = (("track_order", 0.95), ("review", 0.05)),
        *,
        sentiment: float = 0.0,
        tags: Sequence[Tag] = (),
        kind: tuple[PictureKind | None, float] = (None, 0.0),
        lacking: Sequence[str] = (),
        errors: dict[str, Exception] | None = None,
        seconds: float = 0.0,
    ) -> None:
        labels = tuple(name for name, _ in ranking)
        self.info = EngineInfo(
            provider="Fake",
            precision="fp32",
            models={
                task: ModelInfo(task, "1", task, "fp32", "Fake", "", labels)
                for task in ("intent", "sentiment", "fusion", "tagger")
                if task not in lacking
            },
        )
        self.ranking = tuple(Intent(name, confidence) for name, confidence in ranking)
        self.sentiment = sentiment
        self.tags = tuple(tags)
        self.kind = kind
        self.errors = errors or {}
        self.seconds = seconds
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []
        self.cancelled: list[str] = []

    async def _work(self, task: str, what: Any, how: dict[str, Any]) -> None:
        self.asked.append((task, what, how))
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.cancelled.append(task)
            raise
        if task in self.errors:
            raise self.errors[task]

    async def classify_intent(self, text: str, **how: Any) -> IntentResult:
        await self._work("intent", text, how)
        return IntentResult(self.ranking, Timing(queue_ms=1, prepare_ms=2, run_ms=30))

    async def judge_sentiment(self, text: str, tags: Any = None, **how: Any) -> SentimentResult:
        await self._work("sentiment", (text, tags), how)
        label = "negative" if self.sentiment < 0 else "positive" if self.sentiment > 0 else "neutral"
        return SentimentResult(Sentiment(label, self.sentiment), Timing(queue_ms=1, prepare_ms=1, run_ms=5))

    async def tag_picture(self, picture: Picture, **how: Any) -> PictureResult:
        await self._work("tagger", picture, how)
        timing = Timing(queue_ms=3, prepare_ms=4, run_ms=6)
        kind, score = self.kind
        return PictureResult(self.tags, VECTOR, 64, 64, "PNG", False, timing, kind=kind, kind_score=score)


def turn(
    text: str = "Where is my order 12345?",
    picture: Picture | None = None,
    *,
    history: Sequence[LogEvent] = (),
    language: Language = "en",
    on_progress: Callable[[ProgressEvent], None] = lambda _: None,
    **more: Any,
) -> Turn:
    return Turn(
        conversation="c",
        id="m1",
        text=text,
        picture=picture,
        principal=WHO,
        deadline=30.0,
        language=language,
        history=history,
        on_progress=on_progress,
        **more,
    )


def dialog(engine: FakeEngine, log: io.StringIO | None = None) -> Dialog:
    telemetry = Telemetry(log=open_logger("debug", stream=log or io.StringIO()))
    return Dialog(SHOP, engine, DialogSettings(), telemetry)


async def answered(engine: FakeEngine, *args: Any, **more: Any) -> Draft:
    return await dialog(engine).answer(turn(*args, **more))


async def failed(answer: Callable[[], Awaitable[Draft]]) -> CsgateError:
    with pytest.raises(CsgateError) as caught:
        await answer()
    return caught.value


def asked_tasks(engine: FakeEngine) -> list[str]:
    return sorted(task for task, _, _ in engine.asked)


async def test_where_is_my_order() -> None:
    engine = FakeEngine()
    draft = await answered(engine)
    assert "**12345**" in draft.text
    assert draft.intent == Intent("track_order", 0.95)
    assert draft.sentiment == Sentiment("neutral", 0.0)
    assert asked_tasks(engine) == ["intent", "sentiment"]


async def test_the_engine_is_told_who_asks_and_until_when() -> None:
    engine = FakeEngine()
    await answered(engine, "hello", STICKER)
    for task, what, how in engine.asked:
        expected: dict[str, Any] = {"share": "acme", "principal": "anna", "priority": 2, "deadline": 30.0}
        if task == "tagger":
            expected["language"] = "en"
            assert what is STICKER
        assert how == expected


async def test_chinese_gets_chinese() -> None:
    draft = await answered(FakeEngine(), "我的订单12345到哪了", STICKER)
    assert "订单 **12345**" in draft.text
    assert draft.analysis.startswith("我理解您的消息")


async def test_text_and_picture_are_understood_side_by_side(autojump_clock: MockClock) -> None:
    engine = FakeEngine(seconds=1.0)
    draft = await answered(engine, "hello there", STICKER)
    # Intent beside tagger, then sentiment, which needs the tagger's vector.
    assert trio.current_time() == pytest.approx(2.0)
    assert [task for task, _, _ in engine.asked][-1] == "sentiment"
    assert engine.asked[-1][1][1] is VECTOR
    assert draft.timing == pytest.approx({"queue": 4, "prepare": 5, "run": 30, "understand": 2000, "total": 2000})


async def test_text_alone_has_no_vector() -> None:
    engine = FakeEngine()
    await answered(engine)
    assert ("Where is my order 12345?", None) in [what for _, what, _ in engine.asked]


async def test_progress() -> None:
    events: list[ProgressEvent] = []
    await answered(FakeEngine(), on_progress=events.append)
    assert [event.stage for event in events] == ["understanding", "answering"]


@pytest.mark.parametrize(
    ("tags", "mood", "words"),
    [
        ([Tag("red heart", "red heart", 0.8)], Sentiment("positive", 0.8), "❤️"),
        ([Tag("angry", "angry", 0.9)], Sentiment("negative", -0.9), "sorry"),
        ([Tag("package", "package", 0.6)], Sentiment("neutral", 0.0), "order number"),
        ([Tag("submarine", "submarine", 0.6)], None, "submarine"),
        ([], None, "picture"),
    ],
)
async def test_a_picture_alone(tags: list[Tag], mood: Sentiment | None, words: str) -> None:
    engine = FakeEngine(tags=tags)
    draft = await answered(engine, "", STICKER)
    assert asked_tasks(engine) == ["tagger"]
    assert draft.source == "picture"
    assert draft.intent is None
    assert draft.sentiment == mood
    assert draft.tags == tuple(tags)
    assert words in draft.text


@pytest.mark.parametrize(
    ("kind", "score", "believed", "said"),
    [
        ("sticker", 0.9, ["heart", "love"], "seems to be a sticker, and looks like: heart, love."),
        ("photo", 0.9, ["heart"], "seems to be a photo, and looks like: heart."),
        ("screenshot", 0.9, ["heart"], "seems to be a screenshot, and looks like: heart."),
        # Not sure of the kind: it is not mentioned, and nothing follows from it.
        ("photo", 0.5, ["heart", "love"], "The picture looks like: heart, love."),
    ],
)
async def test_tags_of_a_picture_that_is_no_sticker_need_a_high_score(
    kind: PictureKind, score: float, believed: list[str], said: str
) -> None:
    engine = FakeEngine(tags=[Tag("heart", "heart", 0.6), Tag("love", "love", 0.45)], kind=(kind, score))
    draft = await answered(engine, "", STICKER)
    assert [tag.name for tag in draft.tags] == believed
    assert draft.analysis.endswith(said)


@pytest.mark.parametrize(
    ("kind", "score", "told"), [("sticker", 0.9, True), ("photo", 0.5, True), ("photo", 0.9, False), (None, 0.0, True)]
)
async def test_the_mood_of_a_text_is_not_that_of_a_photo(kind: PictureKind | None, score: float, told: bool) -> None:
    engine = FakeEngine(kind=(kind, score))
    await answered(engine, "it arrived", STICKER)
    [vector] = [what[1] for task, what, _ in engine.asked if task == "sentiment"]
    assert (vector is VECTOR) == told


async def test_a_picture_alone_speaks_the_conversations_language() -> None:
    before = MessageEvent(id="m0", offset=1, author="customer", text="你好，在吗", timestamp=NOW)
    engine = FakeEngine(tags=[Tag("heart", "爱心", 0.8)])
    draft = await answered(engine, "", STICKER, history=[before])
    assert draft.analysis == "您发来了一张没有文字的图片。图片看起来像：爱心。"
    assert engine.asked[0][2]["language"] == "zh"


async def test_a_quick_reply_needs_no_classifier() -> None:
    engine = FakeEngine()
    draft = await answered(engine, "i forgot my password.")
    assert draft.intent == Intent("recover_password", 1.0)
    assert asked_tasks(engine) == ["sentiment"]


async def test_pointing_at_an_offer() -> None:
    question = ReplyEvent(
        id="m0",
        offset=2,
        text="This or that?",
        intent=None,
        sentiment=None,
        tags=(),
        analysis="",
        source="clarify",
        timestamp=NOW,
        quick_replies=("Leave a review", "Are there any offers?", "Talk to a person"),
    )
    draft = await answered(FakeEngine(), "the second one", history=[question])
    assert draft.intent == Intent("promotions", 1.0)


async def test_an_offer_that_the_pack_no_longer_makes() -> None:
    question = ReplyEvent(
        id="m0",
        offset=2,
        text="This or that?",
        intent=None,
        sentiment=None,
        tags=(),
        analysis="",
        source="clarify",
        timestamp=NOW,
        quick_replies=("Fly me to the moon", "Something"),
    )
    draft = await answered(FakeEngine((("greeting", 0.9),)), "yes", history=[question])
    assert draft.intent == Intent("greeting", 0.9)


async def test_a_person_is_a_phrase_away() -> None:
    engine = FakeEngine()
    draft = await answered(engine, "just let me talk to a human!!")
    assert draft.hand_over
    assert asked_tasks(engine) == ["sentiment"]


async def test_the_number_that_was_asked_for() -> None:
    engine = FakeEngine((("get_refund", 0.9), ("review", 0.01)))
    first = await answered(engine, "I want my money back")
    assert first.source == "ask"
    history: list[LogEvent] = [
        MessageEvent(id="m0", offset=1, author="customer", text="I want my money back", timestamp=NOW),
        ReplyEvent(
            id="m0",
            offset=2,
            text=first.text,
            intent=first.intent,
            sentiment=first.sentiment,
            tags=(),
            analysis=first.analysis,
            source=first.source,
            timestamp=NOW,
        ),
    ]
    unsure = FakeEngine((("out_of_scope", 0.4), ("review", 0.3)))
    draft = await answered(unsure, "it's 98765", history=history)
    assert draft.intent == Intent("get_refund", 1.0)
    assert "**98765**" in draft.text
    without = FakeEngine(lacking=["intent"])
    assert "**98765**" in (await answered(without, "it's 98765", history=history)).text


@pytest.mark.parametrize("words", ["", "x" * (MAX_CHARS + 1)])
async def test_what_was_found_in_a_message_is_known_in_the_next_turn(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    searched: list[str] = []

    def find(text: str) -> Any:
        searched.append(text)
        return find_slots(text)

    monkeypatch.setattr("csgate.dialog.recollection.find_slots", find)
    notes: dict[str, Any] = {}
    text = f"order 55512, please {words}"
    first = await answered(FakeEngine((("review", 0.9),)), text, notes=notes)
    assert "55512" not in first.text
    history = [MessageEvent(id="m0", offset=1, author="customer", text=text, timestamp=NOW)]
    for _ in range(2):
        draft = await answered(FakeEngine(), "Where is it?", history=history, notes=notes)
        assert "**55512**" in draft.text
    # A long one is read again, because only its beginning counts later.
    assert searched == [text, *([text[:MAX_CHARS]] if words else []), "Where is it?", "Where is it?"]


async def test_an_intent_that_the_pack_lacks_is_left_out_and_told() -> None:
    log = io.StringIO()
    engine = FakeEngine((("teleport", 0.9), ("review", 0.1)))
    draft = await dialog(engine, log).answer(turn("beam me up"))
    assert draft.source == "clarify"
    assert "intents_not_in_pack" in log.getvalue()
    assert "teleport" in log.getvalue()


async def test_the_log_has_the_decision_and_never_the_text() -> None:
    log = io.StringIO()
    await dialog(FakeEngine(), log).answer(turn("Where is my order 12345?"))
    assert '"decision": "Answer"' in log.getvalue()
    assert "12345" not in log.getvalue()
    assert "intents_not_in_pack" not in log.getvalue()


async def test_a_long_message_is_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[object] = []

    async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
        threads.append(function)
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    await answered(FakeEngine(), "short order 12345")
    assert not threads
    draft = await answered(FakeEngine(), "order 12345 " + "x" * MAX_INLINE_CHARS)
    assert len(threads) == 1
    assert "**12345**" in draft.text


# --- What the engine cannot do ---------------------------------------------------------------------------------------


async def test_without_a_sentiment_model() -> None:
    draft = await answered(FakeEngine(lacking=["sentiment"]))
    assert draft.sentiment is None
    assert "its mood was not judged" in draft.analysis


async def test_a_sentiment_model_that_fails() -> None:
    draft = await answered(FakeEngine(errors={"sentiment": EngineUnavailable("gone")}))
    assert draft.sentiment is None
    assert draft.intent == Intent("track_order", 0.95)


async def test_without_a_tagger() -> None:
    engine = FakeEngine(lacking=["tagger"])
    draft = await answered(engine, "Where is my order 12345?", STICKER)
    assert "I could not look at the picture." in draft.analysis
    assert draft.tags == ()
    error = await failed(lambda: answered(engine, "", STICKER))
    assert isinstance(error, EngineUnavailable)


async def test_without_an_intent_model() -> None:
    engine = FakeEngine(lacking=["intent"])
    assert isinstance(await failed(lambda: answered(engine, "Where is my order 12345?")), EngineUnavailable)
    assert (await answered(engine, "Hello!")).intent == Intent("greeting", 1.0)
    assert (await answered(engine, "", STICKER)).source == "picture"


# --- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["intent", "sentiment", "tagger"])
@pytest.mark.parametrize("error", [Overloaded(retry_after=1.0), TurnTimeout()])
async def test_a_bound_ends_the_turn(task: str, error: CsgateError) -> None:
    engine = FakeEngine(errors={task: error})
    assert await failed(lambda: answered(engine, "hello there", STICKER)) is error


async def test_a_bad_picture_is_the_turns_error_and_stops_the_rest(autojump_clock: MockClock) -> None:
    bad = BadImage()
    engine = FakeEngine(errors={"tagger": bad}, seconds=1.0)
    slow = engine.classify_intent

    async def classify_intent(text: str, **how: Any) -> IntentResult:
        await trio.lowlevel.checkpoint()
        engine.seconds = 60.0
        return await slow(text, **how)

    engine.classify_intent = classify_intent  # type: ignore[method-assign]
    assert await failed(lambda: answered(engine, "look", STICKER)) is bad
    assert engine.cancelled == ["intent"]
    assert trio.current_time() < 2


async def test_a_bad_picture_goes_before_other_errors() -> None:
    bad = BadImage()

    class Together(FakeEngine):
        async def _work(self, task: str, what: Any, how: dict[str, Any]) -> None:
            # Both have failed by the time that either is heard of.
            raise bad if task == "tagger" else Overloaded()

    assert await failed(lambda: answered(Together(), "look", STICKER)) is bad


async def test_an_unexpected_error_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await answered(FakeEngine(errors={"intent": ZeroDivisionError()}))
    assert caught.group_contains(ZeroDivisionError)


async def test_cancelling_reaches_the_engine(autojump_clock: MockClock) -> None:
    engine = FakeEngine(seconds=60)
    with trio.move_on_after(1) as scope:
        await answered(engine, "hello there", STICKER)
    assert scope.cancelled_caught
    assert sorted(engine.cancelled) == ["intent", "tagger"]


# --- What was seen, shown --------------------------------------------------------------------------------------------


class Easel:
    """Makes the picture of what was seen, after ``seconds``."""

    def __init__(self, reference: str | None = "results/1", seconds: float = 0.0) -> None:
        self.reference = reference
        self.seconds = seconds
        self.asked: list[tuple[str, Picture, Shown]] = []

    async def __call__(self, conversation: str, picture: Picture, seen: Shown) -> str | None:
        self.asked.append((conversation, picture, seen))
        await trio.sleep(self.seconds)
        return self.reference


async def test_what_was_seen_is_shown() -> None:
    engine = FakeEngine(tags=[Tag("cat", "Cat", 0.9)], kind=("photo", 0.9))
    kept = Picture(b"photo", "binary", "pictures/1")
    for reference in ("results/1", None):
        easel = Easel(reference)
        shop = Dialog(SHOP, engine, DialogSettings(), Telemetry(), show=easel)
        assert (await shop.answer(turn("look", kept))).image_url == reference
        ((conversation, picture, seen),) = easel.asked
        assert (conversation, picture) == ("c", kept)
        assert (seen.kind, seen.language, [tag.name for tag in seen.tags]) == ("photo", "en", ["cat"])


async def test_the_text_that_was_read_is_shown_where_it_stands() -> None:
    line = TextLine("error 3051", 0.9, ((0.1, 0.1), (0.9, 0.1), (0.9, 0.2), (0.1, 0.2)))

    class Reading(FakeEngine):
        async def read_picture(self, picture: Picture, **how: Any) -> ReadText:
            return ReadText((line,))

    engine = Reading(kind=("screenshot", 0.9))
    engine.info.models["reader"] = engine.info.models["tagger"]
    easel = Easel()
    shop = Dialog(SHOP, engine, DialogSettings(), Telemetry(), show=easel)
    await shop.answer(turn("look", Picture(b"photo", "binary", "pictures/1")))
    assert easel.asked[0][2].lines == (Line(line.text, line.score, line.box),)


async def test_nothing_is_shown_of_what_is_not_kept() -> None:
    easel = Easel()
    shop = Dialog(SHOP, FakeEngine(), DialogSettings(), Telemetry(), show=easel)
    assert (await shop.answer(turn("look", STICKER))).image_url is None
    assert (await shop.answer(turn("hello"))).image_url is None
    assert not easel.asked
