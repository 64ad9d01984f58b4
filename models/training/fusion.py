"""Train the head that joins a text's sentiment with what its sticker shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from fusion_data import SEED, Pair, StickerViews, made_pairs, posed_pairs, reddit_pairs
from measures import macro_f1
from sentiment_data import read_remarks
from sticker_images import Emoji
from sticker_moods import emoji_numbers
from torch import Tensor, nn

HIDDEN: Final = 64
PEAK_RATE: Final = 5e-3
BATCH: Final = 384
# Of real rows, remarks given a sticker, sentences of ours: how much the loss of each weighs, drawings of each text.
SHARES: Final = (0.6, 0.15, 0.25)
DRAWINGS: Final = (10, 1, 1)
PRIOR_SHARE: Final = 0.75
NOISE: Final = 0.3
TextLogits = Callable[[list[str]], np.ndarray]


class FusionHead(nn.Module):
    """text_logits float32[N, 3], features float32[N, F] -> logits float32[N, 3].

    Late: the text's own log-probabilities stay; the sticker, and both together, only move them.
    """

    def __init__(self, features: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.trust = nn.Parameter(torch.tensor(0.8))
        self.picture = nn.Linear(features, 3)
        self.first = nn.Linear(features + 6, HIDDEN)
        self.second = nn.Linear(HIDDEN, 3)
        self.dropout = nn.Dropout(0.3)
        for part in (self.picture.weight, self.picture.bias, self.second.weight):
            nn.init.zeros_(part)

    def forward(self, text_logits: Tensor, features: Tensor) -> Tensor:
        kind = self.first.weight.dtype
        text = torch.log_softmax(text_logits / self.temperature, dim=1).to(kind)
        seen = features.to(kind)
        hidden = F.relu(self.first(torch.cat([text, text.exp(), seen], dim=1)))
        moved = self.picture(self.dropout(seen)) + self.second(self.dropout(hidden))
        return (self.trust * text + moved).float()


class _Rows:
    """One kind of pairs as tensors, and how its moods differ in frequency from the real rows'."""

    def __init__(self, pairs: list[Pair], logits: np.ndarray, views: StickerViews, drawings: int) -> None:
        chance = np.random.default_rng(SEED)
        several = [one for one in range(len(pairs)) for _ in range(drawings)]
        self.logits = torch.from_numpy(logits[several].astype(np.float32))
        seen = [views.draw(pairs[one].emoji, chance) for one in several]
        self.features = torch.from_numpy(np.stack(seen).astype(np.float32))
        self.moods = torch.tensor([pairs[one].mood for one in several])
        self.prior = torch.log(torch.bincount(self.moods, minlength=3) / len(self.moods))


def train_fusion(
    data: Path, emoji: list[Emoji], text: TextLogits, temperature: float, views: StickerViews, steps: int = 1000
) -> FusionHead:
    """Train; a minute, so there is no checkpoint.

    None of the texts was learned from by the text model, which is surer of its own training rows than it will ever be
    again.
    """
    numbers = emoji_numbers(emoji)
    real = reddit_pairs(read_remarks(data, "train"), numbers)
    parts = (real, posed_pairs(data, real, numbers, 6_000), made_pairs(data, numbers, 6_000))
    rows = [
        _Rows(part, text([one.text for one in part]), views, drawings)
        for part, drawings in zip(parts, DRAWINGS, strict=True)
    ]
    return fit_head(rows, FusionHead(views.width, temperature), steps)


def fit_head(rows: list[_Rows], head: FusionHead, steps: int) -> FusionHead:
    """Train the head on rows of the three kinds, the real ones first.

    Moods are more evenly spread in what we made than in life, and the head must not learn that: three quarters of the
    difference in log frequency is added to the scores in training (Menon et al. 2021, logit adjustment).
    """
    torch.manual_seed(SEED)
    optimizer = torch.optim.AdamW(head.parameters(), lr=PEAK_RATE, weight_decay=0.05)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * (1 - step / steps) + 1e-5
        loss = torch.zeros(())
        for part, share in zip(rows, SHARES, strict=True):
            chosen = torch.randint(len(part.moods), (int(BATCH * share),))
            read = part.logits[chosen] + NOISE * torch.randn(len(chosen), 3)
            scores = head(read, part.features[chosen]) + PRIOR_SHARE * (part.prior - rows[0].prior)
            loss = loss + share * F.cross_entropy(scores, part.moods[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    head.eval()
    _lift_neutral(head, rows[0])
    return head


@torch.inference_mode()
def _lift_neutral(head: FusionHead, real: _Rows) -> None:
    """Raise or lower neutral so that the three classes come out best on the real rows; the other two keep their gap."""
    scores = head(real.logits, real.features).numpy()
    moods = real.moods.numpy()
    steps = np.arange(-1.0, 1.55, 0.1)
    found = [macro_f1((scores + lift * np.eye(3)[1]).argmax(1), moods, (0, 1, 2)) for lift in steps]
    head.second.bias[1] += float(steps[int(np.argmax(found))])
