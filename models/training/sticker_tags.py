"""The tags of the tagger: a vocabulary in English and Chinese, and which emoji bears which tag how strongly."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from sticker_images import Emoji

WORDS: Final = Path(__file__).parent / "data" / "tag_words.txt"
NAME_WEIGHT: Final = 1.0
KEYWORD_WEIGHT: Final = 0.97
# emojilib's words are looser than CLDR's: a score should say so (0.5 did better than 0.8 on Twemoji, held back), while
# for telling which emoji are alike they count nearly as much.
LIBRARY_WEIGHT: Final = 0.5
LIBRARY_LIKENESS: Final = 0.8
# Keywords of the sources that say something about the drawing's frame or are slang that nobody reads as a tag.
NOISE: Final = re.compile(
    r"[^a-z0-9 +\-’'!?]|square$|^(143|ily|cjk|unified|bae|xoxo|kanji|ideograph|unspecified|not|one|two|three|for|out|"
    r"over|meaning|flags|heavy|five|good-bye|head|o'?clock|oclock|haired|facing|rightwards|leftwards|upwards|downwards|"
    r"cat face|gay|lesbian|lgbt)$"
)

# Keywords that say the opposite of what is drawn, because the source split a phrase ("no good").
WRONG: Final = frozenset(
    {("thumbs down", "good"), ("red heart", "black"), ("package", "gift"), ("package", "communication")}
)


@dataclass(frozen=True, slots=True)
class TagTable:
    """Tags by column; `matrix` float32[emoji, tags] in 0..1, how well it fits; `likeness` for comparing emoji."""

    names: tuple[str, ...]
    chinese: tuple[str, ...]
    matrix: np.ndarray
    likeness: np.ndarray


def english_words(one: Emoji) -> dict[str, float]:
    """Return the English tags of an emoji with their weights; its own name weighs most."""
    words: dict[str, float] = {}
    for word in one.library_words:
        words[word.replace("_", " ").lower().strip()] = LIBRARY_WEIGHT
    for word in one.keywords:
        words[word.lower().strip()] = KEYWORD_WEIGHT
    words = {word: weight for word, weight in words.items() if not NOISE.search(word) and (one.name, word) not in WRONG}
    words[one.name.lower().replace("“", "").replace("”", "")] = NAME_WEIGHT
    return words


def _written_words() -> dict[str, str]:
    pairs = {}
    for line in WORDS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            english, chinese = line.split(" = ")
            pairs[english] = chinese
    return pairs


def _aligned(holders: set[int], chinese: dict[str, set[int]]) -> tuple[float, str]:
    """Return the Chinese keyword borne by most nearly the same emoji (F1), with its score."""
    scored = [
        (2 * len(holders & others) / (len(holders) + len(others)), word)
        for word, others in chinese.items()
        if holders & others
    ]
    return max(scored, default=(0.0, ""))


def build_tags(emoji: list[Emoji]) -> TagTable:
    """Choose the tags.

    A tag is an emoji's own name; or a keyword for which we wrote the Chinese; or one that three emoji and more bear and
    whose bearers are nearly those of one Chinese keyword. Other keywords are dropped: a wrong Chinese label
    is worse than none.
    """
    words = [english_words(one) for one in emoji]
    holders: dict[str, set[int]] = defaultdict(set)
    chinese_holders: dict[str, set[int]] = defaultdict(set)
    for index, one in enumerate(emoji):
        for word in words[index]:
            holders[word].add(index)
        for word in one.keywords_zh:
            chinese_holders[word].add(index)
    written = _written_words()
    own_names = {next(reversed(words[index])): one.name_zh for index, one in enumerate(emoji)}
    labels: dict[str, str] = {}
    for word in sorted(holders, key=lambda word: (-len(holders[word]), word)):
        if word in written:
            labels[word] = written[word]
        elif word in own_names:
            labels[word] = own_names[word]
        elif len(holders[word]) >= 3:
            score, chinese = _aligned(holders[word], chinese_holders)
            if score >= 0.75 and re.search("[\u4e00-\u9fff]", chinese):
                labels[word] = chinese
    names = tuple(labels)
    column = {name: at for at, name in enumerate(names)}
    matrix = np.zeros((len(emoji), len(names)), np.float32)
    for index, own in enumerate(words):
        for word, weight in own.items():
            if word in column:
                matrix[index, column[word]] = weight
    likeness = np.where(matrix == np.float32(LIBRARY_WEIGHT), np.float32(LIBRARY_LIKENESS), matrix)
    return TagTable(names, tuple(labels.values()), matrix, likeness)
