"""Train the head that joins a text's sentiment with what its sticker shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from fusion_data import NO_STICKER, SEED, Pair, StickerViews, made_pairs, reddit_pairs
from measures import macro_f1, softmax
from sentiment_data import read_remarks
from sticker_images import Emoji
from sticker_moods import emoji_numbers, read_moods
from torch import Tensor, nn

HIDDEN: Final = 64
PEAK_RATE: Final = 4e-3
BATCH: Final = 384
STEPS: Final = 1_000
FOLDS: Final = 5
# A judged mood counts as so many rows, of which this share have it.
JUDGED_ROWS: Final = 4.0
JUDGED_SHARE: Final = 0.85
# Of what the picture's part learns from: emoji as often as in real rows, judged emoji, pictures of nothing known.
SOURCES: Final = (0.4, 0.35, 0.25)
LEAST: Final = (0.3,)
MORE: Final = (0.6, 0.8, 1.0, 1.2, 1.5, 1.8)
MADE: Final = 3_000
Scores = tuple[np.ndarray, np.ndarray, np.ndarray]
TextLogits = Callable[[list[str]], np.ndarray]


class FusionHead(nn.Module):
    """text_logits float32[N, 3], features float32[N, F] -> logits float32[N, 3].

    Two opinions that are taken to be independent (naive Bayes): the text's log-probabilities, and by how much the
    picture makes each mood likelier than it is without, times a weight, which is the higher the less the text leans to
    either side. The picture's part is learned from pictures alone, so what few rows there are with both decide nothing
    but the two numbers of the weight.
    """

    def __init__(self, features: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.first = nn.Linear(features, HIDDEN)
        self.second = nn.Linear(HIDDEN, 3)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("least", torch.tensor(0.3))
        self.register_buffer("more", torch.tensor(1.0))
        self.register_buffer("prior", torch.zeros(3))

    def opinion(self, features: Tensor) -> Tensor:
        """By how much the picture alone raises each mood's log-probability, float[N, 3]."""
        seen = features.to(self.first.weight.dtype)
        moods = torch.log_softmax(self.second(self.dropout(F.relu(self.first(seen)))), dim=1)
        return moods - self.prior.to(moods.dtype)

    def forward(self, text_logits: Tensor, features: Tensor) -> Tensor:
        text = torch.log_softmax(text_logits / self.temperature, dim=1)
        shares = text.exp()
        weight = self.least + self.more * (1 - (shares[:, 2:] - shares[:, :1]).abs())
        opinion = self.opinion(features)
        return (text.to(opinion.dtype) + weight.to(opinion.dtype) * opinion).float()


def mood_shares(pairs: list[Pair], moods: list[list[int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely each mood is beside each emoji, float64[emoji, 3], and beside any, float64[3].

    Counted in `pairs`; what was judged of an emoji counts as a few rows more, and without either it is as any.
    """
    counts = np.zeros((count, 3))
    for one in pairs:
        counts[one.emoji, one.mood] += 1
    prior = counts.sum(0) / counts.sum()
    judged = np.tile(prior, (count, 1))
    for mood, members in enumerate(moods):
        judged[members] = (1 - JUDGED_SHARE) * prior + JUDGED_SHARE * np.eye(3)[mood]
    return (counts + JUDGED_ROWS * judged) / (counts.sum(1, keepdims=True) + JUDGED_ROWS), prior


def _fit_picture(
    pairs: list[Pair], moods: list[list[int]], views: StickerViews, temperature: float, count: int, steps: int
) -> FusionHead:
    """Train the picture's part: from features of many drawings to the moods beside the emoji drawn."""
    torch.manual_seed(SEED)
    chance = np.random.default_rng(SEED)
    shares, prior = mood_shares(pairs, moods, count)
    head = FusionHead(views.width, temperature)
    head.prior.copy_(torch.from_numpy(np.log(prior)))
    optimizer = torch.optim.AdamW(head.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    judged = [one for members in moods for one in members]
    seen = [one.emoji for one in pairs]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * (1 - step / steps) + 1e-5
        kinds = chance.choice(3, size=BATCH, p=SOURCES)
        emoji = [
            NO_STICKER if kind == 2 else (seen if kind == 0 else judged)[chance.integers(len((seen, judged)[kind]))]
            for kind in kinds
        ]
        rows = torch.from_numpy(np.stack([views.draw(one, chance) for one in emoji]).astype(np.float32))
        target = np.stack([prior if one == NO_STICKER else shares[one] for one in emoji])
        wanted = torch.from_numpy(target.astype(np.float32))
        found = head.opinion(rows) + head.prior
        loss = -(wanted * found).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()


def _choose_weight(real: list[Scores], made: Scores) -> tuple[float, float]:
    """Return the two numbers of the picture's weight that do best on rows it was not learned from.

    Args:
        real: by fold, rows of life: how well moods are told there, between two and among three.
        made: ambiguous sentences of ours and others: how many moods are told.
    """
    text, opinion, moods = (np.concatenate(parts) for parts in zip(*real, strict=True))
    sided = moods != 1
    best = (-1.0, 0.0, 0.0)
    for least in LEAST:
        for more in MORE:
            joined = joined_scores(text, opinion, least, more)
            two = np.where(joined[:, 2] > joined[:, 0], 2, 0)
            value = macro_f1(two[sided], moods[sided], (0, 2)) + macro_f1(joined.argmax(1), moods, (0, 1, 2))
            value += float(np.mean(joined_scores(*made[:2], least, more).argmax(1) == made[2]))
            best = max(best, (value, -least, -more))
    return -best[1], -best[2]


def joined_scores(text: np.ndarray, opinion: np.ndarray, least: float, more: float) -> np.ndarray:
    """Return what the head computes, from the text's log-probabilities and the picture's opinion."""
    shares = np.exp(text)
    joined: np.ndarray = text + (least + more * (1 - np.abs(shares[:, 2:] - shares[:, :1]))) * opinion
    return joined


def train_fusion(
    data: Path, emoji: list[Emoji], text: TextLogits, temperature: float, views: StickerViews, steps: int = STEPS
) -> FusionHead:
    """Train; a minute or two, so there is no checkpoint.

    None of the texts was learned from by the text model, which is surer of its own training rows than it will ever be
    again. The weight is chosen by cross-validation over them.
    """
    numbers = emoji_numbers(emoji)
    moods = read_moods(numbers)
    real = reddit_pairs(read_remarks(data, "train"), numbers)
    chance = np.random.default_rng(SEED)
    fold_of = chance.permutation(len(real)) % FOLDS

    def scored(head: FusionHead, pairs: list[Pair]) -> Scores:
        rows = torch.from_numpy(np.stack([views.draw(one.emoji, chance) for one in pairs]).astype(np.float32))
        with torch.inference_mode():
            opinion = head.opinion(rows).numpy()
        alone = np.log(softmax(text([one.text for one in pairs]), temperature) + 1e-12)
        return alone, opinion, np.array([one.mood for one in pairs])

    folds = []
    for fold in range(FOLDS):
        rest = [one for one, number in zip(real, fold_of, strict=True) if number != fold]
        held = [one for one, number in zip(real, fold_of, strict=True) if number == fold]
        folds.append(scored(_fit_picture(rest, moods, views, temperature, len(emoji), steps // 2), held))
    head = _fit_picture(real, moods, views, temperature, len(emoji), steps)
    least, more = _choose_weight(folds, scored(head, made_pairs(data, numbers, MADE)))
    head.least.fill_(least)
    head.more.fill_(more)
    print(f"fusion: the picture weighs {least} and up to {more} more")
    return head
