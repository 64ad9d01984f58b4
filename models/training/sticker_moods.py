"""What a sticker says about the mood of its sender, as judged in data/emoji_moods.txt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sticker_images import Emoji

MOODS: Final = ("negative", "neutral", "positive")
JUDGED: Final = Path(__file__).parent / "data" / "emoji_moods.txt"
# Variation selectors and skin tones do not change what is drawn.
MODIFIERS: Final = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")

SIGNS_OF_SEX: Final = ("♀", "♂")


def emoji_numbers(emoji: list[Emoji]) -> dict[str, int]:
    """Return the number of each emoji by its characters without modifiers."""
    return {MODIFIERS.sub("", one.characters): index for index, one in enumerate(emoji)}


def read_moods(numbers: dict[str, int]) -> list[list[int]]:
    """Return the emoji of each mood: negative, neutral, positive; most emoji have none."""
    moods: list[list[int]] = [[], [], []]
    for line in JUDGED.read_text(encoding="utf-8").splitlines():
        mood, _, characters = line.partition(" ")
        if mood in MOODS:
            plain = MODIFIERS.sub("", characters)
            moods[MOODS.index(mood)] = [numbers[char] for char in plain if char in numbers]
    # A woman who shrugs means what anybody means who shrugs.
    for characters, number in numbers.items():
        base, _, rest = characters.partition("\u200d")
        for members in moods:
            if rest in SIGNS_OF_SEX and numbers.get(base) in members:
                members.append(number)
    return moods
