"""Answers from the pack's pages: the index, the folder, when they have a say, and what is then said."""

import io
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import trio

from csgate.config import DialogSettings
from csgate.dialog import Dialog, Pack, load_pack
from csgate.dialog.compose import compose
from csgate.dialog.decide import Answer, Ask, Clarify, HandOver, Knowledge, consults, decide
from csgate.dialog.knowledge import MAX_INLINE_CHARS, Hit, KnowledgeIndex, load_knowledge
from csgate.dialog.knowledge_pages import Passage
from csgate.dialog.knowledge_words import Vocabulary
from csgate.dialog.lookup import Lookup
from csgate.dialog.pack import SHIPPED
from csgate.dialog.recollection import Recollection
from csgate.dialog.understand import Understanding
from csgate.errors import EngineUnavailable, PackError
from csgate.events import Draft, Intent, Language, Principal, Sentiment
from csgate.inference.results import EngineInfo, IntentResult, ModelInfo, SentimentResult, Timing
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry, open_logger

SHOP = load_pack("shop")
LIMITS = Passage("returns", "en", ("Returns", "Time limits"), "Within **30 days**.", intents=("check_refund_policy",))
COSTS = Passage("returns", "en", ("Returns", "Costs"), "The label is free.")
CARE = Passage("care", "en", ("Care",), "Wash the wool by hand.", also="laundry")
LABELS = ("check_refund_policy", "product_inquiry", "out_of_scope")


def index(*passages: Passage) -> KnowledgeIndex:
    return KnowledgeIndex(passages or (LIMITS, COSTS, CARE), Vocabulary([("wool", "cashmere")]))


def understood(*ranking: tuple[str, float], **more: Any) -> Understanding:
    return Understanding(
        **{
            "id": "m1",
            "text": "how long may I keep it?",
            "language": "en",
            "ranking": tuple(Intent(name, confidence) for name, confidence in ranking),
            "sentiment": None,
            "picture": False,
            "tags": (),
            "slots": {},
            "wordless": False,
            "words_beside": 30,
            "wants_person": False,
            "recollection": Recollection(slots={}),
        }
        | more
    )


# --- the index -----------------------------------------------------------------------------------------------------


def test_the_best_passage_comes_first() -> None:
    hits = index().search("what is the time limit for a return?")
    assert hits[0].passage is LIMITS
    assert 1 >= hits[0].score > hits[1].score >= 0
    assert hits[0].lead > 0 > hits[1].lead
    assert [hit.passage for hit in hits] == [LIMITS, COSTS]
    assert len(index().search("time limit for a return", count=1)) == 1


@pytest.mark.parametrize("question", ["", "?!", "what is it", "zebra crossing", "斑马"])
def test_nothing_is_found(question: str) -> None:
    assert index().search(question) == ()


def test_synonyms_and_other_words_are_searched() -> None:
    assert index().search("cashmere")[0].passage is CARE
    assert index().search("laundry")[0].passage is CARE


def test_words_that_no_passage_has_make_it_less_likely() -> None:
    sure, unsure = index().search("wash wool")[0], index().search("wash wool in a zebra xylophone quartz")[0]
    assert unsure.passage is sure.passage
    assert unsure.score < sure.score


def test_parts_of_one_heading_are_no_rivals() -> None:
    twin = Passage("care", "en", ("Care",), "Wash the wool by hand.")
    alone, twice = index(LIMITS, CARE), index(LIMITS, CARE, twin)
    assert twice.search("wash wool")[0].lead == pytest.approx(alone.search("wash wool")[0].lead, abs=0.3)
    assert twice.search("wash wool")[1].lead > 0


def test_vectors_decide_between_equals() -> None:
    one = Passage("a", "en", ("A",), "Parcel.")
    two = Passage("b", "en", ("B",), "Parcel.")
    plain = index(one, two)
    assert plain.search("parcel", np.array([0, 1], np.float32))[0].passage is one
    seen = plain.with_vectors(np.eye(2, dtype=np.float32))
    assert seen.search("parcel", np.array([0, 1], np.float32))[0].passage is two
    assert seen.search("parcel")[0].passage is one
    # The index that it was made from stays as it was.
    assert plain.search("parcel", np.array([0, 1], np.float32))[0].passage is one


def test_what_an_index_refuses() -> None:
    with pytest.raises(ValueError, match="no passages"):
        KnowledgeIndex((), Vocabulary())
    with pytest.raises(ValueError, match="for 3 passages"):
        index().with_vectors(np.zeros((2, 4), np.float32))


def test_a_passage_without_words() -> None:
    assert index(LIMITS, Passage("x", "en", ("—",), "—")).search("time limits")[0].passage is LIMITS


def test_long_questions_leave_the_event_loop() -> None:
    assert index().is_quick("x" * MAX_INLINE_CHARS)
    assert not index().is_quick("x" * (MAX_INLINE_CHARS + 1))


# --- the folder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "care.md").write_text("# Care\nWash the wool by hand.", encoding="utf-8")
    (tmp_path / "synonyms.toml").write_text('en = [["wool", "cashmere"]]', encoding="utf-8")
    return tmp_path


def test_a_folder_is_read(folder: Path) -> None:
    (folder / "zh").mkdir()
    found = load_knowledge(folder, ("en", "zh"))
    assert set(found) == {"en"}
    (folder / "zh").rmdir()
    assert found["en"].search("cashmere")[0].passage == Passage("care", "en", ("Care",), "Wash the wool by hand.")
    assert load_knowledge(folder / "none", ("en",)) == {}
    (folder / "synonyms.toml").unlink()
    assert load_knowledge(folder, ("en",))["en"].search("cashmere") == ()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("fr/page.md", "# A\nx", "has 'fr'; it may have synonyms.toml and folders of the pack's languages"),
        ("page.md", "# A\nx", "has 'page.md'"),
        ("en/page.md", "x", "has text before its first heading"),
        ("synonyms.toml", "en = [[", "is not valid TOML"),
        ("synonyms.toml", 'en = [["one"]]', "key 'en.0' is wrong"),
        ("synonyms.toml", 'fr = [["un", "une"]]', "key 'fr' is wrong"),
    ],
)
def test_wrong_folders(folder: Path, name: str, text: str, sentence: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(PackError) as caught:
        load_knowledge(folder, ("en",))
    assert sentence in str(caught.value)


def test_too_many_passages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csgate.dialog.knowledge.MAX_PASSAGES", 0)
    with pytest.raises(PackError, match="has 1 passages; at most 0"):
        load_knowledge(folder, ("en",))


def test_a_page_names_intents_of_the_pack(tmp_path: Path) -> None:
    copied = shutil.copytree(SHIPPED / "shop", tmp_path / "shop")
    (copied / "knowledge" / "en" / "new.md").write_text("# A\n<!-- intents: fly -->\nx", encoding="utf-8")
    with pytest.raises(PackError, match=r"new\.md: key 'intents' names the unknown intent 'fly'"):
        load_pack(copied)


def test_the_shops_pages() -> None:
    pages: Mapping[Language, KnowledgeIndex] = SHOP.pages
    names = {language: {passage.page for passage in pages[language].passages} for language in SHOP.languages}
    assert len(names["en"]) >= 12
    assert names["en"] == names["zh"]
    assert SHOP.knowledge.sample
    for language in SHOP.languages:
        for page in (SHIPPED / "shop" / "knowledge" / language).glob("*.md"):
            # Whoever opens a page must see that it is no more than a sample.
            assert page.read_text(encoding="utf-8").startswith("<!-- ")
        assert not any("<!--" in passage.text for passage in pages[language].passages)


# --- when, and what is said ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranking", "more", "whether"),
    [
        ([("check_refund_policy", 0.9)], {}, True),
        ([("check_refund_policy", 0.9)], {"text": "returns and refunds"}, True),
        ([("get_refund", 0.9)], {}, False),
        ([("get_refund", 0.5), ("track_refund", 0.4)], {}, True),
        ([("get_refund", 0.5), ("track_refund", 0.4)], {"text": "my money back"}, False),
        ([("out_of_scope", 0.9)], {}, True),
        ([("out_of_scope", 0.9)], {"text": "blah blah"}, False),
        ([("check_refund_policy", 1.0)], {}, False),
        # Not by a button, but by a classifier whose number was rounded.
        ([("check_refund_policy", 1.0), ("get_refund", 0.0)], {}, True),
        ([("check_refund_policy", 0.9)], {"wants_person": True}, False),
        ([("check_refund_policy", 0.9)], {"wordless": True}, False),
        ([], {}, False),
    ],
)
def test_when_the_pages_have_a_say(ranking: list[tuple[str, float]], more: dict[str, Any], whether: bool) -> None:
    assert consults(understood(*ranking, **more), SHOP) is whether


SURE = (Hit(LIMITS, 0.9, 0.2),)


def test_a_sure_passage_answers() -> None:
    clear = understood(("check_refund_policy", 0.9), knowledge=SURE)
    assert decide(clear, SHOP) == Knowledge(Intent("check_refund_policy", 0.9), LIMITS, 0.9)
    vague = understood(("check_refund_policy", 0.5), ("get_refund", 0.4), knowledge=SURE)
    assert decide(vague, SHOP) == Knowledge(Intent("check_refund_policy", 0.5), LIMITS, 0.9)
    unknown = understood(("get_refund", 0.5), ("track_refund", 0.4), knowledge=SURE)
    assert decide(unknown, SHOP) == Knowledge(None, LIMITS, 0.9)
    outside = understood(("out_of_scope", 0.95), knowledge=SURE)
    assert decide(outside, SHOP) == Knowledge(None, LIMITS, 0.9)


@pytest.mark.parametrize("hit", [Hit(LIMITS, 0.69, 0.2), Hit(LIMITS, 0.9, 0.01)])
def test_an_unsure_one_does_not(hit: Hit) -> None:
    clear = understood(("check_refund_policy", 0.9), knowledge=(hit,))
    assert isinstance(decide(clear, SHOP), Answer)
    vague = understood(("get_refund", 0.5), ("track_refund", 0.4), knowledge=(hit,))
    assert isinstance(decide(vague, SHOP), Clarify)


def test_what_comes_before_the_pages() -> None:
    asked = Recollection(slots={}, asked=("get_refund", 1))
    assert isinstance(decide(understood(("review", 0.4), knowledge=SURE, recollection=asked), SHOP), Ask)
    assert isinstance(decide(understood(("review", 0.9), knowledge=SURE, wants_person=True), SHOP), HandOver)
    # A question that the pages answer is no failed one.
    often = Recollection(slots={}, clarified=2)
    assert isinstance(decide(understood(("review", 0.4), knowledge=SURE, recollection=often), SHOP), Knowledge)


def said(passage: Passage, language: Language = "en", intent: str | None = "check_refund_policy", **more: Any) -> Draft:
    about = Intent(intent, 0.9) if intent else None
    ranking = [(intent, 0.9)] if intent else []
    return compose(Knowledge(about, passage, 0.9), understood(*ranking, language=language, **more), SHOP, 1.0)


def test_the_reply() -> None:
    draft = said(LIMITS)
    assert draft.text == "Within **30 days**.\n\n*Source: Returns › Time limits*"
    assert draft.source == "knowledge"
    assert draft.intent == Intent("check_refund_policy", 0.9)
    assert draft.quick_replies == ("I want a refund", "Exchange an item", "Where is my refund?")
    assert draft.analysis == (
        "I read your message as a question about the refund policy; the page “Returns › Time limits” answers it."
    )
    assert not draft.hand_over


def test_the_reply_in_chinese_without_an_intent() -> None:
    passage = Passage("returns", "zh", ("退货", "期限"), "三十天内。")
    draft = said(passage, "zh", None)
    assert draft.text == "三十天内。\n\n*来源：退货 › 期限*"
    assert draft.intent is None
    assert draft.quick_replies == ("转人工客服",)
    assert draft.analysis == "我理解您在问问题，页面“退货 › 期限”里有答案。"
    assert said(passage, "zh").analysis == "我理解您在问关于“了解退款政策”的问题，页面“退货 › 期限”里有答案。"
    assert said(LIMITS, "en", None).analysis.startswith("I read your message as a question; the page")


def test_a_heading_is_no_markup() -> None:
    passage = Passage("x", "en", ("A*b", "<i>"), "Text.")
    assert said(passage).text == "Text.\n\n*Source: A\\*b › &lt;i&gt;*"


def test_an_opening_stands_on_its_own() -> None:
    table = Passage("x", "en", ("A",), "| a |\n|---|\n| 1 |")
    text = said(table, sentiment=Sentiment("negative", -0.9)).text
    opening, body, _ = text.split("\n\n")
    assert "sorry" in opening.lower()
    assert body == table.text
    assert said(table, intent="contact_human_agent", sentiment=Sentiment("negative", -0.9)).text.startswith("|")


def test_nothing_of_the_question_is_in_the_reply() -> None:
    nasty = "<script>alert(1)</script> how long [x](http://evil)?"
    draft = said(LIMITS, text=nasty)
    assert "script" not in draft.text + draft.analysis
    assert "evil" not in draft.text + draft.analysis


# --- with an engine ------------------------------------------------------------------------------------------------


class Classify(Protocol):
    def __call__(self, text: str) -> Sequence[float]: ...


class FakeEngine:
    """Ranks ``LABELS`` by a function of the text."""

    def __init__(self, classify: Classify, *, labels: tuple[str, ...] = LABELS, fail: bool = False) -> None:
        info = ModelInfo("fake", "1", "intent", "fp32", "Fake", "", labels)
        self.info = EngineInfo(provider="Fake", precision="fp32", models={"intent": info} if labels else {})
        self.classify = classify
        self.fail = fail
        self.texts: list[str] = []
        self.at_once = self.most = 0

    async def classify_intent(self, text: str, **how: Any) -> IntentResult:
        self.texts.append(text)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await trio.lowlevel.checkpoint()
        self.at_once -= 1
        if self.fail:
            raise EngineUnavailable("gone")
        ranked = sorted(zip(LABELS, self.classify(text), strict=True), key=lambda pair: -pair[1])
        return IntentResult(tuple(Intent(name, chance) for name, chance in ranked), Timing())

    async def judge_sentiment(self, text: str, tags: Any = None, **how: Any) -> SentimentResult:
        raise AssertionError

    async def tag_picture(self, picture: Any, **how: Any) -> Any:
        raise AssertionError


def policy(text: str) -> Sequence[float]:
    return (0.8, 0.15, 0.05)


def telemetry(log: io.StringIO | None = None) -> Telemetry:
    return Telemetry(log=open_logger("debug", stream=log or io.StringIO()))


def turn(text: str) -> Turn:
    return Turn(
        conversation="c",
        id="m1",
        text=text,
        picture=None,
        principal=Principal(subject="anna", tenant="acme", tier=1),
        deadline=math.inf,
        language="en",
        history=(),
        on_progress=lambda _: None,
    )


async def answered(text: str, engine: FakeEngine, pack: Pack = SHOP, log: io.StringIO | None = None) -> Draft:
    dialog = Dialog(pack, engine, DialogSettings(), telemetry(log))
    await dialog.prepare()
    return await dialog.answer(turn(text))


async def test_a_question_is_answered_from_the_pages() -> None:
    log = io.StringIO()
    engine = FakeEngine(policy)
    draft = await answered("which items cannot be returned, engraved ones?", engine, log=log)
    assert draft.source == "knowledge"
    assert "made or engraved to your wishes" in draft.text
    assert draft.text.endswith("*Source: Returns › What cannot be returned*")
    assert "knowledge_is_a_sample" in log.getvalue()
    # Every passage was read twice, a batch's fill at a time.
    passages = sum(len(pages.passages) for pages in SHOP.pages.values())
    assert len(engine.texts) == 2 * passages + 1
    assert 1 < engine.most <= 32


async def test_a_long_question_too() -> None:
    text = "hello, " * 40 + "which items cannot be returned, engraved ones?"
    assert (await answered(text, FakeEngine(policy))).source == "knowledge"


async def test_unsure_ones_keep_the_packs_words() -> None:
    assert (await answered("what about zebras and xylophones", FakeEngine(policy))).source == "canned"


async def test_without_the_encoder_words_decide() -> None:
    log = io.StringIO()
    engine = FakeEngine(policy, fail=True)
    dialog = Dialog(SHOP, engine, DialogSettings(), telemetry(log))
    await dialog.prepare()
    assert "knowledge_not_encoded" in log.getvalue()
    engine.fail = False
    assert (await dialog.answer(turn("which items cannot be returned, engraved ones?"))).source == "knowledge"


async def test_without_an_intent_model_nothing_is_encoded() -> None:
    engine = FakeEngine(policy, labels=())
    lookup = Lookup(SHOP, engine, telemetry())
    await lookup.prepare()
    assert engine.texts == []
    assert (await lookup.search("which items cannot be returned, engraved ones?", "en"))[0].passage.page == "returns"


async def test_a_language_without_pages(tmp_path: Path) -> None:
    copied = shutil.copytree(SHIPPED / "shop", tmp_path / "shop")
    shutil.rmtree(copied / "knowledge" / "en")
    pack = load_pack(copied)
    assert (
        await answered("which items cannot be returned, engraved ones?", FakeEngine(policy), pack)
    ).source == "canned"
    shutil.rmtree(copied / "knowledge")
    log = io.StringIO()
    assert (await answered("can it go back?", FakeEngine(policy), load_pack(copied), log)).source == "canned"
    assert "knowledge_is_a_sample" not in log.getvalue()


async def test_the_intents_of_a_page_count() -> None:
    lookup = Lookup(SHOP, FakeEngine(lambda text: (1 / 3, 1 / 3, 1 / 3)), telemetry())
    await lookup.prepare()
    question = "what about the size of a return"
    as_policy = await lookup.search(question, "en", (Intent("check_refund_policy", 1.0),))
    as_product = await lookup.search(question, "en", (Intent("product_inquiry", 1.0), Intent("stranger", 0.0)))

    def best(hits: tuple[Hit, ...], page: str) -> float:
        return max((hit.score for hit in hits if hit.passage.page == page), default=0.0)

    assert best(as_policy, "returns") > best(as_product, "returns")
