"""Packs: the shipped one is whole; a wrong one is refused in a sentence that names file and key."""

import shutil
from itertools import combinations
from pathlib import Path

import pytest

from csgate.dialog import Pack, load_pack
from csgate.dialog.pack import OTHER_PICTURE, UNCLEAR_PICTURE
from csgate.dialog.slots import SLOT_NAMES
from csgate.errors import PackError
from csgate.events import Tag

INTENTS = [
    "cancel_order",
    "change_order",
    "change_shipping_address",
    "set_up_shipping_address",
    "check_cancellation_fee",
    "check_invoice",
    "get_invoice",
    "check_payment_methods",
    "payment_issue",
    "check_refund_policy",
    "get_refund",
    "track_refund",
    "exchange_item",
    "complaint",
    "contact_customer_service",
    "contact_human_agent",
    "create_account",
    "edit_account",
    "delete_account",
    "switch_account",
    "recover_password",
    "registration_problems",
    "delivery_options",
    "delivery_period",
    "track_order",
    "place_order",
    "product_inquiry",
    "promotions",
    "newsletter_subscription",
    "review",
    "greeting",
    "thanks",
    "goodbye",
    "out_of_scope",
]

PACK = """
name = "tiny"
title = "Tiny"
languages = ["en"]
[escalation]
handover_intent = "person"
out_of_scope_intent = "other"
complaint_intents = ["person"]
phrases.en = ["a human"]
"""
INTENT_FILE = """
[person]
hand_over = true
quick_replies = ["other"]
[person.en]
title = "a person"
say = "A person, please"
replies = ["Of course."]
[other]
requires = ["amount"]
[other.en]
title = "something else"
say = "Something else"
replies = ["No idea about {amount}[[ on {date}]]."]
"""
SLOT_FILE = """
[amount.en]
title = "amount"
ask = ["How much?"]
again = ["Once more: how much[[ for order {order_number}]]?"]
"""
PICTURE_FILE = """
[love]
tags = ["Red_Heart"]
mood = "positive"
quick_replies = ["other"]
en.replies = ["Thanks!"]
[other]
en.replies = ["I see {picture}."]
[unclear]
en.replies = ["What is it?"]
"""
PHRASE_FILE = "\n".join(
    f'[{name}]\nquick_replies = ["person"]\nen = ["Well.{place}"]'
    for name, place in {
        "clarify_two": " {first} or {second}?",
        "clarify_one": " {first}?",
        "clarify_none": "",
        "opening_negative": "",
        "opening_positive": "",
        "hand_over_asked": "",
        "hand_over_complaint": "",
        "hand_over_unhappy": "",
        "hand_over_unclear": "",
    }.items()
)
FILES = {
    "pack.toml": PACK,
    "intents.toml": INTENT_FILE,
    "slots.toml": SLOT_FILE,
    "pictures.toml": PICTURE_FILE,
    "phrases.toml": PHRASE_FILE,
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def shop() -> Pack:
    return load_pack("shop")


def test_the_tiny_pack_loads(tiny: Path) -> None:
    pack = load_pack(tiny)
    assert pack.name == "tiny"
    assert set(pack.intents) == {"person", "other"}
    assert pack.intents["person"].hand_over
    assert load_pack(str(tiny)) == pack


def test_intents_may_lie_in_a_folder_too(tiny: Path) -> None:
    (tiny / "intents").mkdir()
    (tiny / "intents" / "more.toml").write_text(
        '[extra.en]\ntitle = "more"\nsay = "More"\nreplies = ["More?"]', encoding="utf-8"
    )
    assert set(load_pack(tiny).intents) == {"person", "other", "extra"}


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("pack.toml", 'title = "Tiny"', "title = ", "is not valid TOML"),
        ("pack.toml", 'title = "Tiny"', 'title = "Tiny"\ncolour = 1', "key 'colour' is not known"),
        ("pack.toml", 'title = "Tiny"', "", "key 'title' is missing"),
        ("pack.toml", '["en"]', '["fr"]', "key 'languages.0' is wrong"),
        ("pack.toml", "[escalation]", "[thresholds]\nconfidence = 7\n[escalation]", "key 'thresholds.confidence'"),
        ("pack.toml", 'phrases.en = ["a human"]', "phrases.fr = []", "key 'escalation.phrases.fr' is wrong"),
        ("pack.toml", '"person"\nout', '"nobody"\nout', "key 'escalation.handover_intent' names the unknown"),
        ("pack.toml", '"other"', '"none"', "key 'escalation.out_of_scope_intent' names the unknown intent 'none'"),
        ("pack.toml", '["person"]', '["nope"]', "key 'escalation.complaint_intents' names the unknown intent 'nope'"),
        ("pack.toml", '["en"]', '["en", "zh"]', "key 'person' has no 'zh'"),
        ("intents.toml", "hand_over = true", "handover = true", "key 'person.handover' is not known"),
        ("intents.toml", "hand_over = true", 'hand_over = "maybe"', "key 'person.hand_over' is wrong"),
        ("intents.toml", 'say = "A person, please"', "", "key 'person.en.say' is missing"),
        ("intents.toml", 'replies = ["Of course."]', "replies = []", "key 'person.en.replies' is wrong"),
        ("intents.toml", '"Of course."', '" "', "a text of 'person.en.replies' is blank"),
        ("intents.toml", '"Of course."', '"Of {course"', "has a brace that is not a {slot}"),
        ("intents.toml", '"Of course."', '"Of {course}."', "uses the unknown slot 'course'"),
        ("intents.toml", '"Of course."', '"Of {date}."', "relies on 'date', which may be missing there"),
        ("intents.toml", '"a person"', '"a {date}"', "a text of 'person.en.title' relies on 'date'"),
        ("intents.toml", '["other"]', '["refund"]', "key 'person.quick_replies' names the unknown intent 'refund'"),
        ("intents.toml", '["amount"]', '["colour"]', "key 'other.requires.0' is wrong"),
        ("intents.toml", '["amount"]', '["amount", "phone"]', "key 'other.requires' names 'phone'"),
        ("intents.toml", '"Something else"', '"a person, please!"', "is also what 'person' says"),
        ("intents.toml", '"Something else"', '"?!"', "key 'other.en.say' has no words"),
        ("intents.toml", "[other]", "[other.zh]\ntitle = 'x'\n[other]", "key 'other.zh' is in a language"),
        ("intents.toml", "[person]", "loose = 1\n[person]", "key 'loose' is not a table"),
        ("slots.toml", "[amount.en]", "[colour.en]", "key 'colour' is not known; slots are order_number"),
        ("slots.toml", "again", "twice", "key 'amount.en.again' is missing"),
        ("slots.toml", '"How much?"', '"How much for {order_number}?"', "'amount.en.ask' relies on 'order_number'"),
        ("pictures.toml", "[unclear]", "[vague]", "key 'unclear' is missing"),
        ("pictures.toml", '"positive"', '"great"', "key 'love.mood' is wrong"),
        ("pictures.toml", '"Thanks!"', '"Thanks for {picture}!"', "'love.en.replies' uses the unknown slot 'picture'"),
        ("pictures.toml", '["other"]', '["sale"]', "key 'love.quick_replies' names the unknown intent 'sale'"),
        ("phrases.toml", "[clarify_one]", "[clarify_three]", "key 'clarify_three' is not known"),
        ("phrases.toml", '[clarify_none]\nquick_replies = ["person"]\nen = ["Well."]', "", "'clarify_none' is missing"),
        ("phrases.toml", "{second}", "{third}", "a text of 'clarify_two.en' uses the unknown slot 'third'"),
        ("phrases.toml", "{second}", "[[{date}]]", "a text of 'clarify_two.en' relies on 'date'"),
        ("phrases.toml", '["person"]', '["robot"]', "key 'clarify_two.quick_replies' names the unknown intent 'robot'"),
    ],
)  # fmt: skip
def test_wrong_packs(tiny: Path, file: str, old: str, new: str, sentence: str) -> None:
    text = FILES[file]
    assert old in text
    (tiny / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PackError) as caught:
        load_pack(tiny)
    told = str(caught.value)
    assert sentence in told
    assert str(tiny) in told
    assert told.endswith(".")
    assert "\n" not in told


@pytest.mark.parametrize("file", ["pack.toml", "slots.toml", "pictures.toml", "phrases.toml"])
def test_missing_file(tiny: Path, file: str) -> None:
    (tiny / file).unlink()
    with pytest.raises(PackError, match=f"Cannot read the pack file .*{file}: No such file"):
        load_pack(tiny)


def test_no_intents(tiny: Path) -> None:
    (tiny / "intents.toml").unlink()
    with pytest.raises(PackError, match="has no intents"):
        load_pack(tiny)


def test_intent_twice(tiny: Path) -> None:
    (tiny / "intents").mkdir()
    shutil.copy(tiny / "intents.toml", tiny / "intents" / "again.toml")
    with pytest.raises(PackError, match=r"again\.toml: intent 'person' is already in .*intents\.toml"):
        load_pack(tiny)


def test_not_utf8(tiny: Path) -> None:
    (tiny / "slots.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PackError, match="is not valid TOML"):
        load_pack(tiny)


def test_too_large(tiny: Path) -> None:
    (tiny / "slots.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PackError, match="larger than"):
        load_pack(tiny)


def test_unknown_pack() -> None:
    with pytest.raises(PackError, match=r"There is no dialog pack 'florist': .*shop"):
        load_pack("florist")


def test_shop_covers_every_intent(shop: Pack) -> None:
    assert sorted(shop.intents) == sorted(INTENTS)
    assert shop.languages == ("en", "zh")
    assert shop.thresholds.confidence == 0.7
    assert shop.thresholds.ambiguity == 0.1


def test_shop_has_two_variants_of_everything(shop: Pack) -> None:
    variants = [intent.replies for intent in shop.intents.values()]
    variants += [picture.replies for picture in shop.pictures.values()]
    variants += [phrase.texts for phrase in shop.phrases.values()]
    variants += [texts for slot in shop.slots.values() for texts in (slot.ask, slot.again)]
    for texts in variants:
        for language in shop.languages:
            assert len(set(texts[language])) >= 2


def test_shop_renders_with_and_without_each_slot(shop: Pack) -> None:
    values = {name: f"<{name}>*x*" for name in SLOT_NAMES} | {"first": "a", "second": "b", "picture": "c"}
    templates = [
        (template, set(intent.requires))
        for intent in shop.intents.values()
        for texts in intent.replies.values()
        for template in texts
    ]
    templates += [
        (template, set())
        for slot in shop.slots.values()
        for variants in (slot.ask, slot.again)
        for texts in variants.values()
        for template in texts
    ]
    templates += [
        (template, {"first", "second", "picture"})
        for entry in (*shop.phrases.values(), *shop.pictures.values())
        for texts in (getattr(entry, "texts", None) or getattr(entry, "replies", {})).values()
        for template in texts
    ]
    assert len(templates) > 200
    for template, given in templates:
        optional = sorted(set(SLOT_NAMES) - given)
        for count in range(len(optional) + 1):
            for some in combinations(optional, count):
                text = template.render({name: values[name] for name in (*given, *some)})
                assert text.strip()
                assert "{" not in text
                assert "[[" not in text
                assert "  " not in text
                assert "<" not in text


def test_shop_speaks_the_right_language(shop: Pack) -> None:
    def han(text: str) -> bool:
        return any("\u4e00" <= sign <= "\u9fff" for sign in text)

    for intent in shop.intents.values():
        assert han(intent.say["zh"])
        assert han(intent.title["zh"])
        assert not han(intent.say["en"])
        for language in shop.languages:
            for template in intent.replies[language]:
                assert all(han(part) == (language == "zh") for _, part in template.parts if len(part) > 20)


def test_quick_replies_are_understood_word_for_word(shop: Pack) -> None:
    for intent in shop.intents.values():
        for line in intent.say.values():
            assert shop.intent_said(f" {line.upper()}! ") == intent.name
    assert shop.intent_said("tell me a joke") is None


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("I want to talk to a human, please!", True),
        ("HUMAN AGENT", True),
        ("转人工！", True),
        ("我要找人工客服", True),
        ("where is my order", False),
        ("inhuman agentry", False),
        ("", False),
    ],
)
def test_asking_for_a_person(shop: Pack, text: str, asks: bool) -> None:
    assert shop.asks_for_person(text) is asks


@pytest.mark.parametrize(
    ("tags", "group"),
    [
        ([("red-heart", 0.9)], "love"),
        ([("Red_Heart", 0.9)], "love"),
        ([("vehicle", 0.9), ("angry", 0.5)], "angry"),
        ([("angry", 0.5), ("crying", 0.8)], "sad"),
        ([("package", 0.4)], "parcel"),
        ([("heart", 0.9), ("broken", 0.9), ("broken heart", 0.8)], "sad"),
        ([("face", 0.9), ("tear", 0.8), ("joy", 0.8), ("laugh", 0.7)], "happy"),
        ([("submarine", 0.9)], OTHER_PICTURE),
        ([("angry", 0.1)], UNCLEAR_PICTURE),
        ([], UNCLEAR_PICTURE),
    ],
)
def test_picture_groups(shop: Pack, tags: list[tuple[str, float]], group: str) -> None:
    assert shop.picture_group(Tag(name, name, score) for name, score in tags).name == group
