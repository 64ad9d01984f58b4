"""What the fusion head learns from: texts with stickers, real and made, and features of many drawings of a sticker."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from fusion import SEED, Judgement, Rows
from intent_data import OWN
from measures import softmax
from sentiment_data import SENTIMENTS, Remark, SentimentSampler, read_remarks
from sticker_artwork import ARTWORK, CHOOSING_SET, read_artwork
from sticker_export import compress_tags
from sticker_images import TEST_VENDOR, TRAIN_VENDORS, Emoji, present, read_emoji, read_pictures, spoil
from sticker_moods import MODIFIERS, emoji_numbers, read_moods
from sticker_tags import build_tags
from text_expansion import Seed, expand, read_seeds, roughen
from tqdm import tqdm

VIEWS: Final = 2
NO_STICKER: Final = -1
# Faces, hands and hearts stand first in the file of moods; what follows them says less.
PLAINEST: Final = 110
MADE: Final = 3_000
PARTS: Final = ("train", "dev", "test")  # what is learned from first
Features = Callable[[np.ndarray], np.ndarray]
TextLogits = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Pair:
    """A text, the number of the emoji drawn on its sticker (or a picture of nothing known), and the mood of both."""

    text: str
    emoji: int
    mood: int


def _pattern(numbers: dict[str, int]) -> re.Pattern[str]:
    drawn = [one for one in numbers if not one.isascii() and one not in "©®™"]
    return re.compile("|".join(re.escape(one) for one in sorted(drawn, key=len, reverse=True)))


def reddit_pairs(remarks: list[Remark], numbers: dict[str, int]) -> list[Pair]:
    """Return remarks that bear an emoji: taken out of the text, the first of them on the sticker."""
    pattern = _pattern(numbers)
    pairs = []
    for one in remarks:
        plain = MODIFIERS.sub("", one.text)
        found = pattern.search(plain)
        if found:
            pairs.append(Pair(" ".join(pattern.sub(" ", plain).split()), numbers[found.group()], one.sentiment))
    return pairs


def made_pairs(data: Path, numbers: dict[str, int], count: int) -> list[Pair]:
    """Make pairs of our sentences and stickers, of sentences that the text model has not learned from.

    A sentence without a mood takes the sticker's; one with a mood keeps it beside a sticker without; the same mood
    twice is that mood. Opposing moods are left out, since nobody but the sender knows.
    """
    chance = random.Random(SEED)
    moods = read_moods(numbers)
    seeds = read_seeds(OWN / "fusion_seeds.txt", "")
    held = SentimentSampler(data).held
    by_mood = [[one for one in held if one.label == label] for label in SENTIMENTS]

    def sticker_of(mood: int) -> int:
        if mood == 1 and chance.random() < 0.4:
            return NO_STICKER
        return chance.choice(moods[mood][:PLAINEST] if chance.random() < 0.8 else moods[mood])

    pairs = []
    while len(pairs) < count:
        if chance.random() < 0.5:
            seed, mood = chance.choice(seeds), 1
            sticker = chance.choice((0, 0, 0, 1, 2, 2, 2))
            language = seed.label
        else:
            mood = chance.randrange(3)
            seed = chance.choice(by_mood[mood])
            sticker = chance.choice((mood, 1)) if mood != 1 else chance.choice((0, 1, 1, 2))
            language = seed.language
        text = roughen(expand(Seed(language, "", seed.text), chance), language, chance)
        pairs.append(Pair(text, sticker_of(sticker), mood if sticker == 1 else sticker))
    return pairs


class StickerViews:
    """Features of many drawings of each emoji: `draw` takes one of an emoji, or of a picture of nothing known.

    Half of them are of a set of drawings that the tagger has not learned from, and so as unsure as it is in use.
    """

    def __init__(self, data: Path, cache: Path, emoji: list[Emoji], tagger: Features) -> None:
        self._learned: dict[int, list[np.ndarray]] = {}
        self._fresh: dict[int, list[np.ndarray]] = {}
        generator = torch.Generator().manual_seed(SEED)
        for vendor in tqdm(TRAIN_VENDORS, desc="features"):
            indices, pictures = read_pictures(data, vendor, emoji)
            for _ in range(VIEWS):
                self._add(self._learned, indices, tagger(spoil(torch.from_numpy(pictures), generator).numpy()))
        indices, pictures, sets = read_artwork(data, cache, emoji)
        chosen = sets == next(number for number, one in enumerate(ARTWORK) if one.name == CHOOSING_SET)
        indices, pictures = indices[chosen], pictures[chosen]
        self._add(self._fresh, indices, tagger(present(pictures)))
        for _ in range(VIEWS):
            self._add(self._fresh, indices, tagger(spoil(torch.from_numpy(pictures), generator).numpy()))
        self._all = np.concatenate([np.stack(rows) for rows in self._learned.values()])

    @staticmethod
    def _add(rows: dict[int, list[np.ndarray]], indices: np.ndarray, found: np.ndarray) -> None:
        for index, row in zip(indices, found, strict=True):
            rows.setdefault(int(index), []).append(row)

    def draw(self, emoji: int, chance: np.random.Generator) -> np.ndarray:
        """Return one row, float32[F]; now and then blended with another emoji's, as of an unsure tagger."""
        if emoji == NO_STICKER:
            several = self._all[chance.integers(len(self._all), size=chance.integers(2, 12))]
            blended: np.ndarray = several.mean(0)
            return blended
        fresh = emoji in self._fresh and chance.random() < 0.5
        rows = self._fresh[emoji] if fresh else self._learned[emoji]
        row: np.ndarray = rows[chance.integers(len(rows))]
        if chance.random() < 0.3:
            share = chance.uniform(0.4, 1.0)
            row = share * row + (1 - share) * self._all[chance.integers(len(self._all))]
        return row


def challenge_pairs(numbers: dict[str, int]) -> dict[str, list[Pair]]:
    """Return, by language, the same sentence with stickers of opposing moods."""
    glad, sorry = "😀👍❤😍🥳👏", "😡😭👎💔😤😢"
    pairs: dict[str, list[Pair]] = {"en": [], "zh": []}
    for at, seed in enumerate(read_seeds(OWN / "fusion_test.txt", "")):
        for shift in (0, 1):
            pairs[seed.label].append(Pair(seed.text, numbers[glad[(at + shift) % 6]], 2))
            pairs[seed.label].append(Pair(seed.text, numbers[sorry[(at + shift) % 6]], 0))
    return pairs


@dataclass(frozen=True, slots=True)
class FusionData:
    """What the head is fitted to and measured on.

    `learned` are the rows of GoEmotions' train part that bear an emoji, `every` those of all three parts, `made` ours;
    `drawn` float32[emoji, F] are the features of OpenMoji's drawings (zero where it has none).
    """

    learned: Rows
    every: Rows
    made: Rows
    drawn: np.ndarray
    judgement: Judgement
    challenge: dict[str, Rows]


def read_fusion(data: Path, cache: Path, text: TextLogits, temperature: float, tagger: Features) -> FusionData:
    """Read and make the rows, and look at their stickers.

    Args:
        data: the public data.
        cache: where the stickers' artwork is.
        text: the sentiment model's logits.
        temperature: what they are divided by.
        tagger: the tagger's features of pictures.
    """
    emoji = read_emoji(data)
    numbers = emoji_numbers(emoji)
    moods = read_moods(numbers)
    views = StickerViews(data, cache, emoji, tagger)
    chance = np.random.default_rng(SEED)
    indices, pictures = read_pictures(data, TEST_VENDOR, emoji)
    features = tagger(present(pictures))
    drawn = np.zeros((len(emoji), features.shape[1]), np.float32)
    drawn[indices] = features

    def rows(pairs: list[Pair], views: StickerViews | None) -> Rows:
        stickers = np.array([one.emoji for one in pairs])
        seen = drawn[stickers] if views is None else np.stack([views.draw(one, chance) for one in stickers])
        texts = softmax(text([one.text for one in pairs]), temperature)
        return Rows(texts, stickers, np.array([one.mood for one in pairs]), seen)

    remarks = {part: read_remarks(data, part) for part in PARTS}
    kinds = np.full(len(emoji), len(moods))
    for kind, members in enumerate(moods):
        kinds[members] = kind
    counts = np.bincount([one.sentiment for one in remarks["train"]], minlength=len(SENTIMENTS))
    table = compress_tags(build_tags(emoji).likeness, moods)
    pairs = [reddit_pairs(remarks[part], numbers) for part in PARTS]
    every = rows([one for part in pairs for one in part], views)
    return FusionData(
        learned=every.take(np.arange(len(pairs[0]))),
        every=every,
        made=rows(made_pairs(data, numbers, MADE), views),
        drawn=drawn,
        judgement=Judgement(kinds, table, counts / counts.sum()),
        challenge={name: rows(pairs, None) for name, pairs in challenge_pairs(numbers).items()},
    )
