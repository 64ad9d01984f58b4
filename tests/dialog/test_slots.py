"""Slots by rules: shapes, priorities, bounded time, offsets."""

import re
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgate.dialog import slots as rules
from csgate.dialog.slots import SLOT_NAMES, Slot, best_slots, find_slots, words_beside


def named(text: str, name: str) -> list[str]:
    return [slot.value for slot in find_slots(text) if slot.name == name]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Where is my order 12345?", "12345"),
        ("#12345 please", "12345"),
        ("ORD-1143 hasn't arrived", "ORD-1143"),
        ("ord1143 hasn't arrived", "ord1143"),
        ("order ORD-1143", "ORD-1143"),
        ("order number is 00123842!", "00123842"),
        ("Order No. 9912-33", "9912-33"),
        ("order_id=9912-33", "9912-33"),
        ("purchase 113542617735902", "113542617735902"),
        ("Order: “55512”", "55512"),
        ("my order is #77", "77"),
        ("where's 171-1234567-7654321", "171-1234567-7654321"),
        ("order 20240115", "20240115"),
        ("订单 4111111111111111", "4111111111111111"),
        ("单号：９８７６５４３２１０１２ 到哪了", "987654321012"),
        ("订单12345到哪了？", "12345"),
        ("我的订单号是 AB20240115，查一下", "AB20240115"),
        ("訂單編號 A-12345", "A-12345"),
        ("12345", "12345"),
        ("  1234. ", "1234"),
        ("AB-123456", "AB-123456"),
        ("check 732201349959 for me", "732201349959"),
        ("PO4471 is late", "PO4471"),
        ("4111111111111112", "4111111111111112"),
        ("order 1143 and order 1144", "1143"),
    ],
)
def test_order_number(text: str, value: str) -> None:
    assert named(text, "order_number")[0] == value


@pytest.mark.parametrize(
    "text",
    [
        "order 2 shirts",
        "order 500 pieces",
        "order no. 7",
        "I ordered it 3 days ago",
        "in order to get 10% off",
        "order from 2024-01-15",
        "订单100元",
        "订单300件",
        "my zip code is 90210",
        "邮编 100080",
        "tracking number 1234567890",
        "快递单号 SF1234567890",
        "invoice 00108 please",
        "商品编号 123456",
        "4111 1111 1111 1111",
        "4111111111111111",
        "call 13812345678",
        "paid 12345.50",
        "a@12345.com",
        "&#39; quoted",
        "COVID-2019 RTX-4090",
        "20240115 was the day",
        "WH-1000XM5 price",
        "",
    ],
)
def test_no_order_number(text: str) -> None:
    assert named(text, "order_number") == []


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("order 12345", True),
        ("it is 1234567 I think", False),
        ("AB123456 is late", False),
        ("1234567", True),
    ],
)
def test_sure_where_words_or_shape_say_so(text: str, sure: bool) -> None:
    (slot,) = find_slots(text)
    assert slot.name == "order_number"
    assert slot.sure is sure


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("paid $49.99 yesterday", "$49.99"),
        ("US$ 1,299.00", "US$ 1,299.00"),
        ("EUR 20", "EUR 20"),
        ("49.90 eur", "49.90 eur"),
        ("20 dollars", "20 dollars"),
        ("costs 15€", "15€"),
        ("￥199", "¥199"),
        ("99.5元", "99.5元"),
        ("退款50块钱", "50块钱"),
        ("一百二十元", "一百二十元"),
        ("１００人民币", "100人民币"),
        ("扣了300块", "300块"),
    ],
)
def test_amount(text: str, value: str) -> None:
    assert named(text, "amount") == [value]


@pytest.mark.parametrize("text", ["三元旦", "2块手表", "20 dollarsign", "12 apples", "EURO2024"])
def test_no_amount(text: str) -> None:
    assert named(text, "amount") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("write to a_b.c+d@x.co.uk, please", "a_b.c+d@x.co.uk"),
        ("邮箱是me@例.com不对，是me@example.com。", "me@example.com"),
        ("ME@EXAMPLE.COM", "ME@EXAMPLE.COM"),
        ("me＠example.com", "me@example.com"),
    ],
)
def test_email(text: str, value: str) -> None:
    assert named(text, "email") == [value]


@pytest.mark.parametrize("text", ["me@", "@you", "a@b", "me@localhost", "me @ example.com"])
def test_no_email(text: str) -> None:
    assert named(text, "email") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on 2024-01-15", "2024-01-15"),
        ("since 2024/1/5", "2024/1/5"),
        ("15.01.2024 war", "15.01.2024"),
        ("1/15/24", "1/15/24"),
        ("Jan 5th, 2026", "Jan 5th, 2026"),
        ("on the 3rd of March", "3rd of March"),
        ("15 January 2024", "15 January 2024"),
        ("bought yesterday", "yesterday"),
        ("the day before yesterday", "the day before yesterday"),
        ("last Friday", "last Friday"),
        ("next week", "next week"),
        ("on Monday", "on Monday"),
        ("three days ago", "three days ago"),
        ("a couple of weeks ago", "a couple of weeks ago"),
        ("within 3 days", "within 3 days"),
        ("20240115 was the day", "20240115"),
        ("2024年5月1日下单", "2024年5月1日"),
        ("3月15号买的", "3月15号"),
        ("昨天下的单", "昨天"),
        ("上周五买的", "上周五"),
        ("下个月", "下个月"),
        ("三天前买的", "三天前"),
        ("2个星期以内", "2个星期以内"),
        ("周一送到", "周一"),
    ],
)
def test_date(text: str, value: str) -> None:
    assert named(text, "date") == [value]


@pytest.mark.parametrize("text", ["mayday 5x", "13/32/13", "2024-13-45", "marching", "3.14"])
def test_no_date(text: str) -> None:
    assert named(text, "date") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("call 13812345678", "13812345678"),
        ("电话 +86 138-1234-5678", "+86 138-1234-5678"),
        ("+1 (555) 123-4567", "+1 (555) 123-4567"),
        ("(555) 123-4567", "(555) 123-4567"),
        ("400-810-1234", "400-810-1234"),
        ("010-12345678", "010-12345678"),
    ],
)
def test_phone(text: str, value: str) -> None:
    assert named(text, "phone") == [value]


def test_no_phone_with_too_few_digits() -> None:
    assert named("+1 ()()()() 2", "phone") == []


def test_several_in_order_of_place() -> None:
    text = "order 12345 for $20 on 2024-01-15, mail me@example.com"
    assert [slot.name for slot in find_slots(text)] == ["order_number", "amount", "date", "email"]


def test_best_prefers_the_sure_then_the_first() -> None:
    first, second, third = (
        Slot("order_number", "1", 0, 1, sure=False),
        Slot("order_number", "2", 2, 3),
        Slot("order_number", "3", 4, 5),
    )
    assert best_slots([first, second, third]) == {"order_number": second}
    assert best_slots([first]) == {"order_number": first}


def test_words_beside() -> None:
    text = "it's 12345 ok"
    assert words_beside(text, find_slots(text)) == 5


HOSTILE = [
    "1", "a", " ", "order ", "order #", "1-", "@a.", "a@", "a.", "+1 ", "订单", "1,111", "a.b-", "order - - ",
    "#1", "$1,", "上上", "tracking number is ", "1 ", "ORD-", "a1-", "20240115", "1234 ", "jan 1 ", "2024年1月",
    "一", "(555", "order is was is ", "the day before ", "1.1", "€", "\u3000", "号",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    def cost(chars: int) -> float:
        text = (piece * chars)[:chars]
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            find_slots(text)
            best = min(best, time.perf_counter() - began)
        return best

    # Eight times the text may take about eight times as long; a quadratic rule would take sixty-four.
    assert cost(8000) < max(24 * cost(1000), 0.02)
    assert cost(8000) < 0.5


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789-#@.$元订单号order ORDABab月日前天年/:,+()上周￥５＃"), max_size=60))
def test_slots_lie_apart_inside_the_text(text: str) -> None:
    slots = find_slots(text)
    end = 0
    for slot in slots:
        assert end <= slot.start < slot.end <= len(text)
        assert len(slot.value) == slot.end - slot.start
        assert slot.name in SLOT_NAMES
        end = slot.end
    assert 0 <= words_beside(text, slots) <= len(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    for slot in find_slots(text):
        assert text[slot.start : slot.end]


@settings(max_examples=200, deadline=None)
@given(
    # "order NO12345" and "order ID12345" read as "order no. 12345".
    st.from_regex(r"(?:ORD-|(?!NO|NR|ID)[A-Z]{0,2})[0-9]{5,15}", fullmatch=True),
    st.sampled_from(
        ["Where is my order {}?", "订单号 {} 到哪了", "order #{} please", "Cancel order number {} now", "单号：{}。"]
    ),
)
def test_a_called_order_is_always_found(number: str, sentence: str) -> None:
    assert named(sentence.format(number), "order_number") == [number]


WORDS = """
order ORDER no. number #77 №8 # 12345 ORD-1143 po4471 SO-991 171-1234567-7654321 A-12345
订单 訂單編號 单号 单子 编号 号 me@example.com @ $49.99 US$ 20 € £5 ¥9 usd 30 RMB bucks euros yuan
元 三百块 五元 20块钱 美金 英镑 人民币 2024-01-15 15/01/2024 1.2.24 2024年1月15日 3月 5日
Jan 5 5th of March 2024 May dec. 3rd sept yesterday today tomorrow tonight last next week month
Friday on monday the day before year night 3 days ago in two hours within 5 weeks a few months later couple of
昨天 上周五 下个月底 今晚 三天前 5天内 半小时后 礼拜天 禮拜 20240115 tracking zip code post invoice
4111 1111 1111 1111 4111111111111111 card 邮编 验证码 快递单号 发票号 卡号 优惠码 sku otp model-x1
13800138000 +44 20 7946 0958 (555) 123-4567 400-820-8820 010-12345678 ５６７８９ ＃ ＠ ： - / . : , is (
\u017fept TOMORROW \u212a la\u017ft w\u0130th\u0131n 3 days CO\u0130N to\u0131
"""
PIECES = st.sampled_from(WORDS.split())


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(PIECES, st.sampled_from(["", " ", " "])), max_size=14))
def test_a_pattern_that_is_not_run_would_find_nothing(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + space for piece, space in pieces)
    found = find_slots(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "_has_one", lambda *_: True)
        every = [rule._replace(patterns=[p._replace(digits=0) for p in rule.patterns]) for rule in rules._RULES]
        patch.setattr(rules, "_RULES_BY_TEXT", dict.fromkeys(rules._RULES_BY_TEXT, every))
        patch.setattr(rules, "_ALONE_DIGITS", 0)
        assert find_slots(text) == found


def test_letters_that_patterns_take_for_plain_ones() -> None:
    letters = re.findall("[a-z]", "".join(map(chr, range(128, sys.maxunicode + 1))), re.IGNORECASE)
    assert {ord(letter) for letter in letters} == set(rules._ODD_LETTERS)
