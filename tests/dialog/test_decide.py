"""One decision a message: thresholds, missing slots, escalation, pictures."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgate.dialog import load_pack
from csgate.dialog.compose import compose
from csgate.dialog.decide import Answer, Ask, Clarify, HandOver, PictureReply, decide
from csgate.dialog.recollection import Recollection
from csgate.dialog.slots import SLOT_NAMES, Slot
from csgate.dialog.understand import Understanding
from csgate.events import Intent, Sentiment, Tag

SHOP = load_pack("shop")
ORDER = Slot("order_number", "12345", 0, 5)
DOUBTFUL = Slot("order_number", "99999", 0, 5, sure=False)
ANGRY = Sentiment("negative", -0.9)


def understood(*ranking: tuple[str, float], **more: Any) -> Understanding:
    return Understanding(
        **{
            "id": "m1",
            "text": "some words",
            "language": "en",
            "ranking": tuple(Intent(name, confidence) for name, confidence in ranking),
            "sentiment": Sentiment("neutral", 0.0),
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


def recall(**more: Any) -> Recollection:
    return Recollection(**({"slots": {}} | more))


def test_a_clear_intent_is_answered() -> None:
    decision = decide(understood(("greeting", 0.9), ("thanks", 0.05)), SHOP)
    assert decision == Answer(Intent("greeting", 0.9), {})


def test_slots_fill_the_answer() -> None:
    decision = decide(understood(("track_order", 0.9), slots={"order_number": ORDER}), SHOP)
    assert decision == Answer(Intent("track_order", 0.9), {"order_number": "12345"})


@pytest.mark.parametrize(
    ("ranking", "clear"),
    [
        ([("greeting", 0.7)], True),
        ([("greeting", 0.699)], False),
        ([("greeting", 0.75), ("thanks", 0.64)], True),
        ([("greeting", 0.75), ("thanks", 0.66)], False),
    ],
)
def test_thresholds(ranking: list[tuple[str, float]], clear: bool) -> None:
    decision = decide(understood(*ranking), SHOP)
    assert isinstance(decision, Answer if clear else Clarify)


def test_a_question_names_the_two_likeliest() -> None:
    decision = decide(understood(("get_refund", 0.5), ("track_refund", 0.4), ("review", 0.1)), SHOP)
    assert decision == Clarify((Intent("get_refund", 0.5), Intent("track_refund", 0.4)))


def test_a_hopeless_rival_is_not_named() -> None:
    assert decide(understood(("get_refund", 0.6), ("review", 0.04)), SHOP) == Clarify((Intent("get_refund", 0.6),))
    assert decide(understood(("get_refund", 0.04)), SHOP) == Clarify(())
    assert decide(understood(), SHOP) == Clarify(())


def test_out_of_scope() -> None:
    assert decide(understood(("out_of_scope", 0.9)), SHOP) == Answer(Intent("out_of_scope", 0.9), {})
    assert decide(understood(("out_of_scope", 0.5), ("review", 0.09)), SHOP) == Answer(Intent("out_of_scope", 0.5), {})
    assert decide(understood(("out_of_scope", 0.5), ("review", 0.2)), SHOP) == Clarify((Intent("review", 0.2),))
    two = understood(("review", 0.5), ("out_of_scope", 0.3), ("promotions", 0.2))
    assert decide(two, SHOP) == Clarify((Intent("review", 0.5), Intent("promotions", 0.2)))


def test_a_missing_slot_is_asked_for_then_again_then_a_person() -> None:
    clear = ("get_refund", 0.9)
    assert decide(understood(clear), SHOP) == Ask(Intent(*clear), "order_number", again=False)
    once = recall(asked=("get_refund", 1))
    assert decide(understood(clear, recollection=once), SHOP) == Ask(Intent(*clear), "order_number", again=True)
    twice = recall(asked=("get_refund", 2))
    assert decide(understood(clear, recollection=twice), SHOP) == HandOver("unclear", Intent(*clear))


def test_an_order_named_before_carries_over() -> None:
    before = recall(slots={"order_number": ORDER})
    decision = decide(understood(("get_refund", 0.9), recollection=before), SHOP)
    assert decision == Answer(Intent("get_refund", 0.9), {"order_number": "12345"})


def test_the_message_overrules_what_was_said_before() -> None:
    before = recall(slots={"order_number": ORDER})
    needed = understood(("get_refund", 0.9), recollection=before, slots={"order_number": DOUBTFUL})
    assert decide(needed, SHOP) == Answer(Intent("get_refund", 0.9), {"order_number": "99999"})
    idle = understood(("complaint", 0.9), recollection=before, slots={"order_number": DOUBTFUL})
    assert decide(idle, SHOP) == Answer(Intent("complaint", 0.9), {"order_number": "12345"})


def test_a_bare_number_goes_on_with_what_was_asked() -> None:
    asked = recall(asked=("get_refund", 1))
    unsure = understood(("track_order", 0.4), recollection=asked, slots={"order_number": ORDER}, words_beside=4)
    assert decide(unsure, SHOP) == Answer(Intent("get_refund", 1.0), {"order_number": "12345"})
    wrong = understood(("track_order", 0.9), recollection=asked, slots={"order_number": ORDER}, words_beside=4)
    assert decide(wrong, SHOP) == Answer(Intent("get_refund", 1.0), {"order_number": "12345"})
    unserved = understood(recollection=asked, slots={"order_number": ORDER})
    assert decide(unserved, SHOP) == Answer(Intent("get_refund", 1.0), {"order_number": "12345"})


def test_a_new_subject_leaves_what_was_asked() -> None:
    asked = recall(asked=("get_refund", 1))
    decision = decide(understood(("track_order", 0.9), recollection=asked, slots={"order_number": ORDER}), SHOP)
    assert decision == Answer(Intent("track_order", 0.9), {"order_number": "12345"})
    assert isinstance(decide(understood(("greeting", 0.9), recollection=asked), SHOP), Answer)


def test_an_unclear_answer_to_a_question_for_a_slot_is_asked_again() -> None:
    asked = recall(asked=("get_refund", 1))
    decision = decide(understood(("review", 0.3), recollection=asked), SHOP)
    assert decision == Ask(Intent("get_refund", 1.0), "order_number", again=True)


def test_an_intent_that_the_pack_no_longer_has_is_not_resumed() -> None:
    decision = decide(understood(("greeting", 0.9), recollection=recall(asked=("sold", 1))), SHOP)
    assert isinstance(decision, Answer)


def test_asking_for_a_person() -> None:
    assert decide(understood(("contact_human_agent", 0.9)), SHOP) == HandOver(
        "asked", Intent("contact_human_agent", 0.9)
    )
    assert decide(understood(wants_person=True), SHOP) == HandOver("asked", Intent("contact_human_agent", 1.0))
    assert isinstance(decide(understood(("contact_human_agent", 0.5), ("review", 0.1)), SHOP), Clarify)


def test_unhappy_too_often() -> None:
    clear = ("get_refund", 0.9)
    second = understood(clear, sentiment=ANGRY, recollection=recall(negative=1))
    assert isinstance(decide(second, SHOP), Ask)
    third = understood(clear, sentiment=ANGRY, recollection=recall(negative=2))
    assert decide(third, SHOP) == HandOver("unhappy", Intent(*clear))
    calmer = understood(clear, sentiment=Sentiment("negative", -0.3), recollection=recall(negative=2))
    assert isinstance(decide(calmer, SHOP), Ask)
    unknown = understood(clear, sentiment=None, recollection=recall(negative=2))
    assert isinstance(decide(unknown, SHOP), Ask)


def test_complaining_twice() -> None:
    clear = ("complaint", 0.9)
    assert isinstance(decide(understood(clear), SHOP), Answer)
    again = recall(intents=("greeting", "complaint"))
    assert decide(understood(clear, recollection=again), SHOP) == HandOver("complaint", Intent(*clear))
    apart = recall(intents=("complaint", "greeting"))
    assert isinstance(decide(understood(clear, recollection=apart), SHOP), Answer)


def test_questions_that_do_not_help() -> None:
    unclear = (("get_refund", 0.5), ("track_refund", 0.4))
    assert isinstance(decide(understood(*unclear, recollection=recall(clarified=1)), SHOP), Clarify)
    assert decide(understood(*unclear, recollection=recall(clarified=2)), SHOP) == HandOver("unclear", None)


def test_pictures_without_words() -> None:
    heart = (Tag("heart", "heart", 0.9),)
    alone = {"picture": True, "wordless": True, "text": "", "tags": heart}
    assert decide(understood(**alone), SHOP) == PictureReply("love")
    assert decide(understood(**alone | {"tags": ()}), SHOP) == PictureReply("unclear")
    assert isinstance(decide(understood(("greeting", 0.9), **alone | {"wordless": False}), SHOP), Answer)
    furious = alone | {"sentiment": ANGRY, "recollection": recall(negative=2)}
    assert decide(understood(**furious), SHOP) == HandOver("unhappy", None)


NAMES = sorted(SHOP.intents)
ranked = st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), max_size=4, unique_by=lambda pair: pair[0]).map(
    lambda pairs: tuple(sorted(pairs, key=lambda pair: -pair[1]))
)
slot_maps = st.dictionaries(st.sampled_from(SLOT_NAMES), st.text(max_size=20), max_size=5).map(
    lambda found: {name: Slot(name, value, 0, 1) for name, value in found.items()}
)


@settings(max_examples=300, deadline=None)
@given(
    ranking=ranked,
    language=st.sampled_from(["en", "zh"]),
    score=st.none() | st.floats(-1, 1),
    picture=st.booleans(),
    tags=st.lists(st.tuples(st.text(max_size=10), st.floats(0, 1)), max_size=3),
    slots=slot_maps,
    carried=slot_maps,
    wordless=st.booleans(),
    wants_person=st.booleans(),
    clarified=st.integers(0, 3),
    asked=st.none() | st.tuples(st.sampled_from([*NAMES, "gone"]), st.integers(1, 3)),
    negative=st.integers(0, 4),
    lacking=st.frozensets(st.sampled_from(["intent", "sentiment", "tagger"])),
)
def test_every_understanding_is_decided_and_composed(
    ranking: tuple[tuple[str, float], ...],
    language: str,
    score: float | None,
    picture: bool,
    tags: list[tuple[str, float]],
    slots: dict[str, Slot],
    carried: dict[str, Slot],
    wordless: bool,
    wants_person: bool,
    clarified: int,
    asked: tuple[str, int] | None,
    negative: int,
    lacking: frozenset[str],
) -> None:
    understanding = understood(
        *ranking,
        language=language,
        sentiment=None if score is None else Sentiment("negative" if score < 0 else "positive", score),
        picture=picture,
        tags=tuple(Tag(name, name, value) for name, value in tags),
        slots=slots,
        wordless=wordless,
        wants_person=wants_person,
        lacking=lacking,
        recollection=recall(slots=carried, clarified=clarified, asked=asked, negative=negative),
    )
    decision = decide(understanding, SHOP)
    draft = compose(decision, understanding, SHOP, 1.0)
    assert draft.text
    assert draft.analysis
    assert draft.hand_over is isinstance(decision, HandOver)
    assert all(SHOP.intent_said(line) for line in draft.quick_replies)
