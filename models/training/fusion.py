"""Train the head that joins a text's sentiment with what its sticker shows, and measure it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from intent_data import OWN
from sentiment_data import Remark, SentimentSampler, read_remarks
from sticker_images import TRAIN_VENDORS, Emoji, read_pictures, spoil
from sticker_moods import MODIFIERS, emoji_numbers, read_moods
from text_expansion import Seed, expand, read_seeds
from torch import Tensor, nn
from tqdm import tqdm

SEED: Final = 20264
HIDDEN: Final = 64
VIEWS: Final = 4
TextLogits = Callable[[list[str]], np.ndarray]
Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Pair:
    """A text, the number of the emoji drawn on its sticker, and the mood of both together."""

    text: str
    emoji: int
    mood: int


class FusionHead(nn.Module):
    """text_logits float32[N, 3], features float32[N, F] -> logits float32[N, 3].

    Late: the text's own log-probabilities stay, the sticker and both together only move them.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Linear(features + 3, HIDDEN)
        self.second = nn.Linear(HIDDEN, 3)
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.dropout = nn.Dropout(0.2)

    def forward(self, text_logits: Tensor, features: Tensor) -> Tensor:
        kind = self.first.weight.dtype
        text = torch.log_softmax(text_logits, dim=1).to(kind)
        hidden = F.relu(self.first(torch.cat([text, features.to(kind)], dim=1)))
        return (self.trust * text + self.second(self.dropout(hidden))).float()


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
    """Make pairs of our sentences and stickers.

    A sentence without a mood takes the sticker's; one with a mood keeps it beside a sticker without; the same mood
    twice is that mood. Opposing moods are left out, since nobody but the sender knows.
    """
    chance = random.Random(SEED)
    moods = read_moods(numbers)
    seeds = read_seeds(OWN / "fusion_seeds.txt", "")
    sampler = SentimentSampler(data)
    sampler.chance = chance
    pairs = []
    while len(pairs) < count:
        if chance.random() < 0.5:
            seed = chance.choice(seeds)
            sticker = chance.choice((0, 0, 1, 2, 2))
            pairs.append(Pair(expand(Seed(seed.label, "", seed.text), chance), chance.choice(moods[sticker]), sticker))
        else:
            one = sampler.draw()
            sticker = chance.choice((one.sentiment, 1) if one.sentiment != 1 else (0, 1, 2))
            pairs.append(Pair(one.text, chance.choice(moods[sticker]), one.sentiment if sticker == 1 else sticker))
    return pairs


def sticker_features(data: Path, emoji: list[Emoji], tagger: Features) -> dict[int, np.ndarray]:
    """Return several feature rows of each emoji: every training vendor's drawing, spoiled in several ways."""
    rows: dict[int, list[np.ndarray]] = {}
    generator = torch.Generator().manual_seed(SEED)
    for vendor in tqdm(TRAIN_VENDORS, desc="features"):
        indices, pictures = read_pictures(data, vendor, emoji)
        for _ in range(VIEWS):
            for at in range(0, len(indices), 64):
                found = tagger(spoil(torch.from_numpy(pictures[at : at + 64]), generator).numpy())
                for index, row in zip(indices[at : at + 64], found, strict=True):
                    rows.setdefault(int(index), []).append(row)
    return {index: np.stack(found) for index, found in rows.items()}


def train_fusion(data: Path, emoji: list[Emoji], text: TextLogits, tagger: Features, steps: int = 3000) -> FusionHead:
    """Train on GoEmotions' rows with emoji and on made pairs; half a minute, so there is no checkpoint.

    The text's logits are weakened at random: on its own training rows the text model is surer than it will ever be
    again.
    """
    numbers = emoji_numbers(emoji)
    real = reddit_pairs(read_remarks(data, "train"), numbers)
    made = made_pairs(data, numbers, 12_000)
    views = sticker_features(data, emoji, tagger)
    logits = text([one.text for one in real + made])
    torch.manual_seed(SEED)
    chance = np.random.default_rng(SEED)
    head = FusionHead(next(iter(views.values())).shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.02)
    pairs = real + made
    for step in tqdm(range(steps), desc="fusion", mininterval=5):
        rows = np.concatenate([chance.integers(0, len(real), 128), chance.integers(len(real), len(pairs), 64)])
        weak = logits[rows] * chance.uniform(0.3, 1.0, (len(rows), 1)) + chance.normal(0, 1.0, (len(rows), 3))
        seen = np.stack([views[pairs[row].emoji][chance.integers(len(views[pairs[row].emoji]))] for row in rows])
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        scores = head(torch.from_numpy(weak.astype(np.float32)), torch.from_numpy(seen))
        loss = F.cross_entropy(scores, torch.tensor([pairs[row].mood for row in rows]), label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()


def challenge_pairs(numbers: dict[str, int]) -> dict[str, list[Pair]]:
    """Return, by language, the same sentence with stickers of opposing moods."""
    glad, sorry = "😀👍❤😍🥳👏", "😡😭👎💔😤😢"
    pairs: dict[str, list[Pair]] = {"en": [], "zh": []}
    for at, seed in enumerate(read_seeds(OWN / "fusion_test.txt", "")):
        for shift in (0, 1):
            pairs[seed.label].append(Pair(seed.text, numbers[glad[(at + shift) % 6]], 2))
            pairs[seed.label].append(Pair(seed.text, numbers[sorry[(at + shift) % 6]], 0))
    return pairs
