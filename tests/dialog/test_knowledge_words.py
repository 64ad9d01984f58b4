"""What a search sees of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog.knowledge_words import Vocabulary, looks_like_question, stem

PLAIN = Vocabulary()


@pytest.mark.parametrize(
    "family",
    [
        ("return", "returns", "returned", "returning"),
        ("delivery", "deliveries"),
        ("box", "boxes"),
        ("ship", "shipped", "shipping", "ships"),
        ("charge", "charged", "charges", "charging"),
        ("pay", "pays", "paying", "payment", "payments"),
        ("cancel", "cancels", "canceled"),
    ],
)
def test_a_family_has_one_stem(family: tuple[str, ...]) -> None:
    assert len(set(map(stem, family))) == 1


@pytest.mark.parametrize("word", ["gas", "us", "bus", "is", "2fa", "straße", "ring", "sky", "glass"])
def test_words_left_alone(word: str) -> None:
    assert stem(word) == word


def test_english_words() -> None:
    assert PLAIN.words("Could you please tell me the customers' 2FA codes?") == ["customer", "2fa", "cod"]


def test_chinese_pairs() -> None:
    assert PLAIN.words("请问退货运费") == ["退货", "货运", "运费"]
    assert PLAIN.words("票，的") == ["票"]
    assert PLAIN.words("我们的鞋") == ["鞋"]


def test_both_in_one_text() -> None:
    assert PLAIN.words("PayPal付款ＯＫ吗") == ["付款", "paypal", "ok"]


def test_traditional_characters_are_simplified() -> None:
    assert PLAIN.words("發貨時間") == PLAIN.words("发货时间")


def test_synonyms() -> None:
    vocabulary = Vocabulary([("refund", "money back", "reimbursements"), ("退款", "退钱"), ("card", "visa")])
    assert vocabulary.words("refunded") == vocabulary.words("reimbursement") == ["=0"]
    # A phrase adds its group and keeps its words.
    assert vocabulary.words("the money back") == ["=0", "money", "back"]
    assert vocabulary.words("想退钱了") == vocabulary.words("退款") == ["=1"]
    assert vocabulary.words("visa退款") == ["=1", "=2"]


def test_a_word_in_several_groups() -> None:
    assert Vocabulary([("gift", "present"), ("gift", "voucher")]).words("gift") == ["=0", "=1"]


def test_phrases_that_overlap_all_count() -> None:
    vocabulary = Vocabulary([("能退", "可退"), ("退差价", "差价"), ("退", "退货")])
    assert vocabulary.words("能退差价") == ["=0", "=1"]
    assert vocabulary.words("天能退") == ["天", "=0"]


@pytest.mark.parametrize(
    "text",
    [
        "how long does it take",
        "Hi, can I pay later",
        "do u ship abroad",
        "I'd like to know the price",
        "free delivery?",
        "几天能到",
        "能退吗",
        "运费多少",
        "可以退不",
    ],
)
def test_questions(text: str) -> None:
    assert looks_like_question(text)


@pytest.mark.parametrize("text", ["", "I want my money back", "cancel my order", "谢谢", "我要退货", "thanks a lot"])
def test_no_questions(text: str) -> None:
    assert not looks_like_question(text)


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    vocabulary = Vocabulary([("refund", "money back"), ("退款", "退钱")])
    assert all(vocabulary.words(text))
    looks_like_question(text)
