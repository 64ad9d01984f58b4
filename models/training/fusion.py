"""Train the head that joins a text's sentiment with what its sticker shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from fusion_data import SEED, StickerViews, made_pairs, posed_pairs, reddit_pairs
from sentiment_data import read_remarks
from sticker_images import Emoji
from sticker_moods import emoji_numbers
from torch import Tensor, nn

HIDDEN: Final = 64
PEAK_RATE: Final = 2e-3
# Rows of a step: real ones, remarks given a sticker, sentences of ours.
SHARES: Final = (96, 64, 64)
TextLogits = Callable[[list[str]], np.ndarray]


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


def train_fusion(
    data: Path, emoji: list[Emoji], text: TextLogits, views: StickerViews, steps: int = 3000
) -> FusionHead:
    """Train; a minute, so there is no checkpoint.

    None of the texts was learned from by the text model, which is surer of its own training rows than it will ever be
    again.
    """
    numbers = emoji_numbers(emoji)
    real = reddit_pairs(read_remarks(data, "train"), numbers)
    parts = [real, posed_pairs(data, real, numbers, 6_000), made_pairs(data, numbers, 6_000)]
    return fit_head(parts, [text([one.text for one in part]) for part in parts], views, steps)


def fit_head(parts, logits, views, steps=3000, shares=SHARES, drop=0.2, wd=0.02, noise=0.3, smooth=0.05, hidden=64):
    torch.manual_seed(SEED)
    chance = np.random.default_rng(SEED)
    head = FusionHead(views.width)
    optimizer = torch.optim.AdamW(head.parameters(), lr=PEAK_RATE, weight_decay=wd)
    for step in range(steps):
        rows = [chance.integers(len(part), size=count) for part, count in zip(parts, shares, strict=True)]
        chosen = [part[row] for part, several in zip(parts, rows, strict=True) for row in several]
        read = np.concatenate([part[several] for part, several in zip(logits, rows, strict=True)])
        read = read * chance.uniform(0.7, 1.1, (len(read), 1)) + chance.normal(0, noise, read.shape)
        seen = np.stack([views.draw(one.emoji, chance) for one in chosen])
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * (1 - step / steps) + 1e-5
        scores = head(torch.from_numpy(read.astype(np.float32)), torch.from_numpy(seen.astype(np.float32)))
        loss = F.cross_entropy(scores, torch.tensor([one.mood for one in chosen]), label_smoothing=smooth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()
