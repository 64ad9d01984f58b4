"""Other ways to type the same message: synonyms, traditional characters, homophones, words left out."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Final

_OWN: Final = Path(__file__).parent / "data"
_LANGUAGES: Final = ("en", "zh")


def _read_characters(kind: str) -> dict[str, str]:
    lines = (_OWN / "characters.txt").read_text(encoding="utf-8").splitlines()
    return {pair[0]: pair[1] for line in lines if line.startswith(kind) for pair in line.split()[1:]}


TRADITIONAL: Final = _read_characters("traditional")
HOMOPHONES: Final = _read_characters("homophones")


def _read_groups(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read `language word|word|…` lines into word -> its group, by language."""
    groups: dict[str, dict[str, list[str]]] = {language: {} for language in _LANGUAGES}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            language, words = line.split(" ", 1)
            group = words.split("|")
            groups[language] |= dict.fromkeys(group, group)
    return groups


_GROUPS: Final = _read_groups(_OWN / "synonyms.txt")


def _pattern(language: str) -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in sorted(_GROUPS[language], key=len, reverse=True))
    return re.compile(rf"\b({words})\b" if language == "en" else words, re.IGNORECASE)


_PATTERNS: Final = {language: _pattern(language) for language in _LANGUAGES}


def swap_synonyms(text: str, language: str, chance: random.Random, rate: float) -> str:
    """Replace each known word by one of its group with probability `rate`."""
    groups = _GROUPS[language]

    def swap(found: re.Match[str]) -> str:
        word = found.group(0)
        return chance.choice(groups.get(word.lower(), [word])) if chance.random() < rate else word

    return _PATTERNS[language].sub(swap, text)


def leave_out_words(text: str, language: str, chance: random.Random) -> str:
    """Leave out some words (English) or characters (Chinese) of a message that has enough of them."""
    if language == "zh":
        return "".join(char for char in text if chance.random() > 0.05) if len(text) > 7 else text
    words = text.split(" ")
    kept = [word for word in words if chance.random() > 0.08]
    return " ".join(kept) if len(words) > 4 and len(kept) > 2 else text


def retype_chinese(text: str, chance: random.Random) -> str:
    """Write in traditional characters, or put a homophone for one character, now and then."""
    dice = chance.random()
    if dice < 0.06:
        return "".join(TRADITIONAL.get(char, char) for char in text)
    places = [at for at, char in enumerate(text) if char in HOMOPHONES] if dice < 0.16 else []
    if not places:
        return text
    at = chance.choice(places)
    return text[:at] + HOMOPHONES[text[at]] + text[at + 1 :]
