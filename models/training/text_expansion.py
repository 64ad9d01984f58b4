"""From seeds to messages: grammar, slots, the words around a wish, and the ways people mistype it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHOICE: Final = re.compile(r"\(([^()]*)\)")
SLOT: Final = re.compile(r"\{(\w+)\}")

PRODUCTS: Final = {
    "en": (
        "headphones|phone case|running shoes|jacket|t-shirt|laptop|blender|coffee machine|desk lamp|backpack|sofa|dress|watch|"
        "tablet|camera|keyboard|mouse|rug|mattress|air fryer|vacuum cleaner|jeans|sneakers|perfume|toy car|tent|bike|monitor|"
        "water bottle|book|curtains|office chair|hair dryer|router|charger|winter coat|boots|necklace|printer|toaster|kettle|"
        "smart watch|speaker|pillow|frying pan|lego set|yoga mat|sunglasses|wallet|hoodie|dining table|bookshelf"
    ).split("|"),
    "zh": (
        "耳机|手机壳|跑鞋|外套|T恤|笔记本电脑|榨汁机|咖啡机|台灯|书包|沙发|连衣裙|手表|平板|相机|键盘|鼠标|地毯|床垫|空气炸锅|吸尘器|"
        "牛仔裤|运动鞋|香水|玩具车|帐篷|自行车|显示器|水杯|书|窗帘|办公椅|吹风机|路由器|充电器|羽绒服|靴子|项链|打印机|面包机|水壶|"
        "音箱|枕头|平底锅|积木|瑜伽垫|墨镜|钱包|卫衣|餐桌|书架|面霜|口红|电饭煲|行李箱|裙子|手机|洗发水"
    ).split("|"),
}
CITIES: Final = {
    "en": "London|Berlin|New York|Chicago|Manchester|Toronto|Sydney|Paris|Texas|Dubai|Mumbai|Rome|Seattle|Lagos".split("|"),
    "zh": "北京|上海|广州|深圳|成都|杭州|武汉|西安|南京|重庆|新疆|海南|长沙|青岛|哈尔滨|香港".split("|"),
}
WHEN: Final = {
    "en": (
        "yesterday|last week|on monday|two days ago|this morning|last month|on friday|a week ago|tomorrow|"
        "next week|an hour ago|3 days ago|on the 5th|march 3"
    ).split("|"),
    "zh": "昨天|上周|周一|前天|今天早上|上个月|周五|一个星期前|三天前|刚才|5号|3月8日|双十一".split("|"),
}
MONTHS: Final = {
    "en": "january|march|may|june|august|october|december|last month".split("|"),
    "zh": "一月|三月|5月|六月|8月|十月|去年12月|上个月".split("|"),
}
SHORT_FORMS: Final = {
    "please": ("pls", "plz"),
    "you": ("u",),
    "your": ("ur",),
    "are": ("r",),
    "to": ("2",),
    "for": ("4",),
    "want to": ("wanna",),
    "going to": ("gonna",),
    "because": ("cuz",),
    "and": ("n", "&"),
    "order": ("ordr", "oder"),
    "password": ("pw", "pasword"),
    "account": ("acc", "acct", "acount"),
    "address": ("adress", "addr"),
    "delivery": ("delivry", "dlvry"),
    "number": ("nr", "no.", "num"),
    "package": ("pkg", "packge"),
    "receive": ("recieve",),
    "cannot": ("cant",),
    "thanks": ("thx",),
    "i am": ("im",),
    "what is": ("whats",),
}
NEIGHBOURS: Final = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioioasdfghjkjlzxcvbn", strict=False))


@dataclass(frozen=True, slots=True)
class Seed:
    """One written line: language, label, and the text with its grammar."""

    language: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Opening:
    """Words put before or after a wish."""

    tone: str
    before: bool
    text: str


def read_seeds(path: Path, language: str) -> list[Seed]:
    """Read `[label]` headings with a line a seed; `#` at the start of a line is a comment."""
    seeds: list[Seed] = []
    label = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            label = line[1:-1]
        elif line and not line.startswith("#"):
            seeds.append(Seed(language, label, line))
    return seeds


def read_openings(path: Path) -> dict[str, list[Opening]]:
    """Read openings by language: `language tone place text`."""
    openings: dict[str, list[Opening]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            language, tone, place, text = re.split(" ", line, maxsplit=3)
            if place == "before" and language == "en":
                text = text.rstrip() + " "
            elif place == "after":
                text = re.sub(r"^\s+", "" if language == "zh" else " ", text)
            openings.setdefault(language, []).append(Opening(tone, place == "before", text))
    return openings


def order_number(chance: random.Random) -> str:
    """An order number in one of the shapes that shops use."""

    def digits(count: int) -> str:
        return "".join(chance.choice("0123456789") for _ in range(count))

    letter = chance.choice("ABCDEFGHKMNPRSTUXZ")
    shapes = (
        digits(chance.randint(4, 8)),
        digits(chance.randint(4, 8)),
        "#" + digits(chance.randint(3, 7)),
        digits(chance.randint(9, 16)),
        "ORD-" + digits(5),
        "ORD" + digits(chance.randint(4, 6)),
        f"{letter}-{digits(4)}",
        f"{letter}{digits(6)}",
        f"{digits(3)}-{digits(7)}-{digits(7)}",
        f"{digits(4)}-{digits(2)}",
        f"no. {digits(5)}",
        f"{letter}{digits(2)}-{digits(4)}{letter.lower()}",
    )
    return chance.choice(shapes)


def _fill(slot: str, language: str, chance: random.Random) -> str:
    match slot:
        case "order":
            return order_number(chance)
        case "product":
            return chance.choice(PRODUCTS[language])
        case "city":
            return chance.choice(CITIES[language])
        case "when":
            return chance.choice(WHEN[language])
        case "month":
            return chance.choice(MONTHS[language])
        case "n" | "days":
            return str(chance.choice((2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 20, 30, 38, 40, 42, 100, 404)))
        case "amount":
            number = chance.choice((str(chance.randint(5, 900)), f"{chance.randint(1, 300)}.{chance.randint(10, 99)}"))
            return chance.choice((f"${number}", f"{number} euros", number) if language == "en" else (f"{number}元", f"{number}块"))
        case "email":
            name = chance.choice(("anna", "john.doe", "wang.li", "mike88", "s.kim", "zhang"))
            return f"{name}@{chance.choice(('mail.com', 'gmail.com', 'qq.com', '163.com', 'example.org'))}"
        case _:
            raise KeyError(slot)


def expand(seed: Seed, chance: random.Random) -> str:
    """Choose among the alternatives of a seed, innermost first, and fill its slots."""
    text = seed.text
    while CHOICE.search(text):
        text = CHOICE.sub(lambda found: chance.choice(found.group(1).split("|")), text)
    return SLOT.sub(lambda found: _fill(found.group(1), seed.language, chance), text).strip()


def surround(text: str, openings: list[Opening], chance: random.Random, rate: float, tones: tuple[str, ...]) -> str:
    """Put words before the text, after it, or both."""
    for before in (True, False):
        if chance.random() < rate:
            opening = chance.choice([one for one in openings if one.before is before and one.tone in tones])
            filled = SLOT.sub(lambda found: _fill(found.group(1), "en", chance), opening.text)
            text = filled + text if before else text.rstrip("?!.。？！") + filled
    return text


def _mistype(text: str, chance: random.Random) -> str:
    """Swap, drop, double or miss one letter inside a word of four letters or more."""
    words = [found for found in re.finditer(r"[A-Za-z]{4,}", text)]
    if not words:
        return text
    word = chance.choice(words)
    at = chance.randrange(word.start() + 1, word.end() - 1)
    match chance.randrange(4):
        case 0:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return text[:at] + text[at] + text[at:]
        case _:
            return text[:at] + NEIGHBOURS.get(text[at].lower(), "e") + text[at + 1 :]


def _mistype_chinese(text: str, chance: random.Random) -> str:
    """Lose one character, or split the line with a space, as a phone keyboard does."""
    if len(text) < 6:
        return text
    at = chance.randrange(1, len(text) - 1)
    return text[:at] + (" " + text[at:] if chance.random() < 0.5 else text[at + 1 :])


def roughen(text: str, language: str, chance: random.Random) -> str:
    """Write a clean message as people do: case, punctuation, short forms, slips of the finger."""
    if language == "zh":
        if chance.random() < 0.4:
            text = text.rstrip("。？！?!~，")
        if chance.random() < 0.15:
            text = re.sub("[，。！？]", lambda found: chance.choice((" ", "", ",")), text)
        return _mistype_chinese(text, chance) if chance.random() < 0.1 else text
    style = chance.random()
    if style < 0.4:
        text = text.lower()
    elif style < 0.45:
        text = text.upper()
    elif style < 0.7:
        text = text[:1].upper() + text[1:]
    if chance.random() < 0.4:
        text = text.rstrip("?.!")
    elif chance.random() < 0.15 and text[-1:].isalnum():
        text += chance.choice((".", "?", "!", "!!", "..."))
    if chance.random() < 0.3:
        text = text.replace("'", "")
    if chance.random() < 0.15:
        long, shorts = chance.choice(list(SHORT_FORMS.items()))
        text = re.sub(rf"\b{long}\b", chance.choice(shorts), text)
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2))):
        text = _mistype(text, chance)
    return text
