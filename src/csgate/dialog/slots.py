"""What a message names: order number, amount, e-mail address, date, telephone number; found by rules.

Every pattern is a plain scan: each repetition has an upper bound, none is nested in another that could match the same
characters, and most can only start where a word starts. So the time is linear in the length of the text whatever it
holds. Most are not run at all: a look at the text's digits, words and signs tells that they would find nothing.

A rule claims the characters that it matched, and later rules leave those alone. The order of the rules is therefore
their priority: what can be nothing else comes first, a bare run of digits last.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

import msgspec

SlotName = Literal["order_number", "amount", "email", "date", "phone", "error_code"]
PACK_SLOTS: Final[tuple[SlotName, ...]] = get_args(SlotName)
"""The slots that a pack may name."""
SLOT_NAMES: Final = PACK_SLOTS[:-1]
"""Those that :func:`find_slots` finds."""

MAX_ORDER_CHARS: Final = 40


class Slot(msgspec.Struct, frozen=True):
    """``text[start:end]`` names a ``name``. ``sure`` where the words around it or its shape leave no doubt.

    ``read``: not said, but read in a picture; ``text`` is then what was read there.
    """

    name: SlotName
    value: str
    start: int
    end: int
    sure: bool = True
    read: bool = False


# Full-width forms become ASCII one for one, so that offsets hold.
_NARROW: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: 0x20,
    0xFFE5: 0xA5,
    0xFFE1: 0xA3,
    0x201C: 0x22,
    0x201D: 0x22,
    0x2010: 0x2D,
    0x2011: 0x2D,
    0x2012: 0x2D,
    0x2013: 0x2D,
}

_TOKEN: Final = (
    r"(?=[A-Za-z-]{0,8}[0-9])(?P<value>[A-Za-z0-9](?:[A-Za-z0-9]|[-_](?=[A-Za-z0-9])){1,"
    + str(MAX_ORDER_CHARS - 1)
    + r"})(?![A-Za-z0-9])"
)
_UNIT: Final = (
    r"(?!\s?(?:units?|pieces?|pcs|items?|times|days?|hours?|weeks?|months?|years?|people|dollars?|bucks|euros?|yuan"
    r"|kg|grams?|[%件个個双雙套箱盒瓶天年月日号号小元块塊次人斤克]))"
)

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)

_NUMBER: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,3}|[0-9]{1,9})(?:\.[0-9]{1,2})?(?![0-9])"
_AMOUNT: Final = (
    re.compile(
        r"(?<![A-Za-z0-9])(?:(?:US|HK|NT|CA|AU|[AC])?\$|[€£¥]|(?:USD|EUR|GBP|CNY|RMB|JPY)(?![A-Za-z])) ?" + _NUMBER,
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![A-Za-z0-9.,#-])" + _NUMBER + r" ?"
        r"(?:(?:usd|eur|gbp|cny|rmb|jpy|dollars?|bucks|euros?|yuan)(?![A-Za-z])|[€£]|\$(?! ?[0-9])"
        r"|元|人民币|人民幣|美元|美金|欧元|英镑|[块塊](?:钱|錢)|[块塊](?![手电電板屏表蛋布地石]))",
        re.IGNORECASE,
    ),
    re.compile(r"[一二两三四五六七八九十百千万]{1,9}(?:元|[块塊](?:钱|錢))(?![旦宵])"),
)

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DAY: Final = r"(?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?"
_WEEKDAY: Final = (
    r"(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs(?:day)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
)
_COUNT: Final = r"(?:[0-9]{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|(?:a )?few|(?:a )?couple(?: of)?)"
_COUNT_ZH: Final = r"(?:[0-9]{1,3}|[一二两兩三四五六七八九十半几幾]{1,3})"
_DATE: Final = (
    re.compile(
        r"(?<![0-9A-Za-z./-])(?:19|20)[0-9]{2}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?![0-9/-])"
    ),
    re.compile(
        r"(?<![0-9A-Za-z./-])(?:0?[1-9]|[12][0-9]|3[01])([/.])(?:0?[1-9]|[12][0-9]|3[01])\1(?:19|20)?[0-9]{2}(?![0-9/-])"
    ),
    re.compile(
        r"(?:(?:19|20)[0-9]{2} ?年 ?)?(?<![0-9])(?:0?[1-9]|1[0-2]) ?月 ?(?:0?[1-9]|[12][0-9]|3[01]) ?[日号號]?(?![0-9])"
    ),
    re.compile(
        r"(?<![A-Za-z])" + _MONTH + r"\.? " + _DAY + r"(?:,? (?:19|20)[0-9]{2})?(?![0-9A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![0-9A-Za-z])" + _DAY + r"(?: of)? " + _MONTH + r"(?:,? (?:19|20)[0-9]{2})?(?![0-9A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![A-Za-z])(?:the day (?:before yesterday|after tomorrow)|yesterday|today|tomorrow|tonight"
        r"|(?:last|next|this) (?:week(?:end)?|month|year|night|" + _WEEKDAY + r")|on " + _WEEKDAY + r")(?![A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![0-9A-Za-z])(?:in )?" + _COUNT + r" (?:hours?|days?|weeks?|months?|years?)(?: ago| later)(?![A-Za-z])"
        r"|(?<![A-Za-z])(?:in|within) " + _COUNT + r" (?:hours?|days?|weeks?|months?)(?![A-Za-z])",
        re.IGNORECASE,
    ),
    re.compile(
        r"大前天|大后天|前天|昨天|昨晚|今天|今晚|明天|后天|後天"
        r"|(?:上上|上|这|這|本|下下|下)(?:个|個)?(?:周|週|星期|礼拜|禮拜)(?:[一二三四五六日天末])?|(?:周|週|星期|礼拜)[一二三四五六日天末]"
        r"|(?:上|这|這|本|下)(?:个|個)?月(?:底|初)?"
    ),
    re.compile(_COUNT_ZH + r" ?(?:个|個)?(?:天|日|周|週|星期|礼拜|月|年|小时)(?:以|之)?(?:前|后|後|内|內)"),
)
# "order 20240115" is an order: so compact dates come after the orders that say that they are.
_COMPACT_DATE: Final = re.compile(
    r"(?<![0-9A-Za-z-])20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?![0-9A-Za-z-])"
)

# Numbers that say that they are something else; claimed, so that no later rule takes them for an order.
_OTHER: Final = re.compile(
    r"(?:(?<![A-Za-z])(?:tracking|waybill|zip|post(?:al)?|invoice|card|account|verification|security|model|coupon|promo)"
    r"(?: ?(?:code|number|no\.?|id|#))?|(?<![A-Za-z])(?:postcode|zipcode|sku|otp|pin)"
    r"|(?:快递|快遞|物流|运|運)(?:单号|單號|单|單)|邮编|郵編|邮政编码|验证码|驗證碼|卡号|卡號|发票号码?|(?:商品|产品)(?:编号|号)|货号|型号|优惠码)"
    r"[ :=#是为為]{0,4}(?:is )?" + _TOKEN,
    re.IGNORECASE,
)
_ORDER_LED: Final = (
    re.compile(
        r"(?<![A-Za-z])(?:order|purchase)s?(?![A-Za-z])"
        r"(?:[ _]{0,2}(?:(?:no\.?|nr\.?|num(?:ber)?\.?|id)(?![A-Za-z])"
        r"|(?:code|ref(?:erence)?\.?|is|was|with)(?![A-Za-z0-9])"
        r"|[#№:=('\"-])){0,4}"
        r"[ _]{0,3}" + _TOKEN + _UNIT,
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:订单|訂單)(?:编号|編號|号码|號碼|号|號)?[ :=#是为為叫('\"-]{0,4}" + _TOKEN + _UNIT,
    ),
    re.compile(r"(?:单号|單號|单子|编号|編號)[ :=#是为為叫('\"-]{0,4}" + _TOKEN + _UNIT),
)
_ORDER_HASH: Final = re.compile(r"(?<![A-Za-z0-9&])[#№] ?" + _TOKEN)
_ORDER_SHAPE: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?P<value>(?:ORD(?:ER)?|PO|SO)[-_]?[0-9]{3,20}(?:-[0-9]{1,10})?|[0-9]{3}-[0-9]{7}-[0-9]{7})(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
_ORDER_LETTERS: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?!(?:COVID|ISO|UTF|RTX|GTX|HDMI|USB|MP|IP|SPF|GB|TB)-?[0-9])"
    r"(?P<value>[A-Z]{1,5}-?[0-9]{4,20})(?![A-Za-z0-9_-])"
)
_ORDER_DIGITS: Final = re.compile(r"(?<![A-Za-z0-9.,:/@_+-])(?P<value>[0-9]{5,20})(?![A-Za-z0-9@_]|[.,:/-][0-9])")
_ORDER_ALONE: Final = re.compile(r"[ #№:\"'(]{0,4}(?P<value>[A-Za-z]{0,5}[-_]?[0-9]{4,24})[ .,!?。\"')]{0,4}")

_PHONE: Final = (
    re.compile(r"(?<![0-9A-Za-z])(?:\+?86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}(?![0-9A-Za-z])"),
    re.compile(r"(?<![0-9A-Za-z])\+[1-9][0-9 ()-]{6,20}[0-9](?![0-9A-Za-z])"),
    re.compile(r"(?<![0-9A-Za-z(])(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[.-][0-9]{4}(?![0-9A-Za-z-])"),
    re.compile(r"(?<![0-9A-Za-z-])(?:400-[0-9]{3,4}-[0-9]{3,4}|0[0-9]{2,3}-[0-9]{7,8})(?![0-9A-Za-z-])"),
)
_CARD: Final = re.compile(r"(?<![0-9A-Za-z-])[3-6][0-9]{3}(?:[ -]?[0-9]{4}){3}(?![0-9A-Za-z])")

_Taken = tuple[int, int, str]
_Take = Callable[[re.Match[str]], _Taken | None]


def _whole(match: re.Match[str]) -> _Taken | None:
    return match.start(), match.end(), match.group()


def _value(least_digits: int) -> _Take:
    def take(match: re.Match[str]) -> _Taken | None:
        value = match["value"]
        return (match.start("value"), match.end("value"), value) if _digits(value) >= least_digits else None

    return take


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _luhn(number: str) -> bool:
    """Whether ``number`` has the check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(number))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _card(match: re.Match[str]) -> _Taken | None:
    """Payment cards: claimed and never repeated to anybody."""
    return _whole(match) if _luhn(re.sub("[ -]", "", match.group())) else None


def hide_cards(text: str) -> str:
    """``text`` with dots for the digits of payment cards."""
    return _CARD.sub(lambda match: re.sub("[0-9]", "•", match.group()) if _card(match) else match.group(), text)


def _phone(match: re.Match[str]) -> _Taken | None:
    return _whole(match) if 8 <= _digits(match.group()) <= 15 else None


class _Pattern(NamedTuple):
    """A pattern, and what tells without a scan that it matches nowhere.

    Every text that it matches has at least ``digits`` digits, one of ``signs`` and one of ``also`` (if there are any),
    in lower case.
    """

    regex: re.Pattern[str]
    digits: int
    signs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class _Rule(NamedTuple):
    name: SlotName | None
    sure: bool
    take: _Take
    patterns: tuple[_Pattern, ...]


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CURRENCIES: Final = ("$", "€", "£", "¥", "usd", "eur", "gbp", "cny", "rmb", "jpy")
_RULES: Final[Sequence[_Rule]] = (
    _Rule("email", True, _whole, (_Pattern(_EMAIL, 0, ("@",)),)),
    _Rule(
        "date",
        True,
        _whole,
        (
            _Pattern(_DATE[0], 6, ("-", "/", ".")),
            _Pattern(_DATE[1], 4, ("/", ".")),
            _Pattern(_DATE[2], 2, ("月",)),
            _Pattern(_DATE[3], 1, _MONTHS),
            _Pattern(_DATE[4], 1, _MONTHS),
            _Pattern(_DATE[5], 0, ("day", "week", "month", "year", "night", "tomorrow", *_WEEKDAYS)),
            _Pattern(_DATE[6], 0, ("hour", "day", "week", "month", "year"), (" ago", " later", "in ")),
            _Pattern(_DATE[7], 0, ("天", "晚", "周", "週", "星期", "礼拜", "禮拜", "月")),
            _Pattern(_DATE[8], 0, ("前", "后", "後", "内", "內")),
        ),
    ),
    _Rule(
        "amount",
        True,
        _whole,
        (
            _Pattern(_AMOUNT[0], 1, _CURRENCIES),
            _Pattern(
                _AMOUNT[1],
                1,
                (*_CURRENCIES, "dollar", "buck", "yuan", "元", "人民币", "人民幣", "美金", "英镑", "块", "塊"),
            ),
            _Pattern(_AMOUNT[2], 0, ("元", "块", "塊")),
        ),
    ),
    _Rule(
        None,
        True,
        _value(3),
        (
            _Pattern(
                _OTHER,
                3,
                (
                    *("tracking", "waybill", "zip", "post", "invoice", "card", "account", "verification", "security"),
                    *("model", "coupon", "promo", "sku", "otp", "pin"),
                    *("单", "單", "邮", "郵", "码", "碼", "卡", "票", "编", "号", "號"),
                ),
            ),
        ),
    ),
    _Rule(
        "order_number",
        True,
        _value(3),
        (
            _Pattern(_ORDER_LED[0], 3, ("order", "purchase")),
            _Pattern(_ORDER_LED[1], 3, ("订单", "訂單")),
            _Pattern(_ORDER_LED[2], 3, ("单号", "單號", "单子", "编号", "編號")),
        ),
    ),
    _Rule("order_number", True, _value(2), (_Pattern(_ORDER_HASH, 2, ("#", "№")),)),
    _Rule("order_number", True, _value(3), (_Pattern(_ORDER_SHAPE, 3, ("ord", "po", "so", "-")),)),
    _Rule(None, True, _card, (_Pattern(_CARD, 16),)),
    _Rule(
        "phone",
        True,
        _phone,
        (
            _Pattern(_PHONE[0], 11),
            _Pattern(_PHONE[1], 8, ("+",)),
            _Pattern(_PHONE[2], 10),
            _Pattern(_PHONE[3], 9, ("-",)),
        ),
    ),
    _Rule("date", True, _whole, (_Pattern(_COMPACT_DATE, 8),)),
    _Rule("order_number", False, _value(4), (_Pattern(_ORDER_LETTERS, 4), _Pattern(_ORDER_DIGITS, 5))),
)
_ALONE_DIGITS: Final = 4


def _rules_for(ascii: bool, digits: bool) -> tuple[_Rule, ...]:
    """The rules that can find something in a text with nothing but ASCII in it, or without digits."""
    left = []
    for rule in _RULES:
        patterns = []
        for pattern in rule.patterns:
            signs = tuple(sign for sign in pattern.signs if not ascii or sign.isascii())
            if (digits or not pattern.digits) and (signs or not pattern.signs):
                patterns.append(pattern._replace(signs=signs))
        if patterns:
            left.append(rule._replace(patterns=tuple(patterns)))
    return tuple(left)


_RULES_BY_TEXT: Final = {
    (ascii, digits): _rules_for(ascii, digits) for ascii in (False, True) for digits in (False, True)
}
_DIGIT: Final = re.compile("[0-9]")
# The only letters outside ASCII that a pattern takes for one in it where case does not count.
_ODD_LETTERS: Final = str.maketrans("\u0130\u0131\u017f\u212a", "iisk")


def find_slots(text: str) -> tuple[Slot, ...]:
    """Everything in ``text`` that a rule knows, in order of place, never overlapping.

    ``value`` is the text itself with full-width characters made narrow.
    """
    ascii = text.isascii()
    if ascii:
        narrow, lower = text, text.lower()
    else:
        narrow = text.translate(_NARROW)
        lower = narrow.translate(_ODD_LETTERS).lower()
    digits = len(_DIGIT.findall(narrow))
    alone = _ORDER_ALONE.fullmatch(narrow) if digits >= _ALONE_DIGITS else None
    taken = bytearray(len(narrow))
    found: list[Slot] = []
    for name, sure, take, patterns in _RULES_BY_TEXT[ascii, digits > 0]:
        for pattern in patterns:
            regex, least, signs, also = pattern
            if digits < least or not (_has_one(lower, signs) and _has_one(lower, also)):
                continue
            for match in regex.finditer(narrow):
                claim = take(match)
                if claim is None:
                    continue
                start, end, value = claim
                if not any(taken[start:end]):
                    taken[start:end] = b"\x01" * (end - start)
                    if name is not None:
                        found.append(Slot(name, value, start, end, sure or alone is not None))
    if alone is not None and not any(taken):
        found.append(Slot("order_number", alone["value"], alone.start("value"), alone.end("value")))
    if len(found) > 1:
        found.sort(key=lambda slot: slot.start)
    return tuple(found)


def _has_one(text: str, signs: tuple[str, ...]) -> bool:
    for sign in signs:  # a generator would cost as much as the scan that this saves
        if sign in text:
            return True
    return not signs


def best_slots(slots: Iterable[Slot]) -> Mapping[SlotName, Slot]:
    """One slot a name: the first sure one, or else the first."""
    best: dict[SlotName, Slot] = {}
    for slot in slots:
        if slot.name not in best or (slot.sure and not best[slot.name].sure):
            best[slot.name] = slot
    return best


def words_beside(text: str, slots: Iterable[Slot]) -> int:
    """How many letters ``text`` has outside ``slots``: few, and the message is little more than its slots.

    The slots do not overlap.
    """
    count = sum(map(str.isalpha, text))
    for slot in slots:
        count -= sum(map(str.isalpha, text[slot.start : slot.end]))
    return count
