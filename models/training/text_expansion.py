"""From seeds to messages: grammar, slots, the words around a wish, and the ways people mistype it."""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHOICE: Final = re.compile(r"\(([^()]*)\)")
SLOT: Final = re.compile(r"\{(\w+)\}")

SLOTS: Final[dict[str, dict[str, str]]] = tomllib.loads(
    (Path(__file__).parent / "data" / "slots.toml").read_text(encoding="utf-8")
)
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
            return chance.choice(SLOTS["products"][language].split("|"))
        case "city":
            return chance.choice(SLOTS["cities"][language].split("|"))
        case "when":
            return chance.choice(SLOTS["when"][language].split("|"))
        case "month":
            return chance.choice(SLOTS["months"][language].split("|"))
        case "n" | "days":
            return str(chance.choice((2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 20, 30, 38, 40, 42, 100, 404)))
        case "amount":
            number = chance.choice((str(chance.randint(5, 900)), f"{chance.randint(1, 300)}.{chance.randint(10, 99)}"))
            return chance.choice(
                (f"${number}", f"{number} euros", number) if language == "en" else (f"{number}元", f"{number}块")
            )
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
    words = list(re.finditer(r"[A-Za-z]{4,}", text))
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
