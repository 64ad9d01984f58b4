"""The picture encoder: a small residual network, and its training against one prototype an emoji."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from checkpoint import keep, resume
from sticker_artwork import ARTWORK, CHOOSING_SET, read_artwork
from sticker_images import TRAIN_VENDORS, Emoji, read_pictures, spoil
from sticker_photos import learned_backgrounds
from torch import Tensor, nn
from tqdm import tqdm

WIDTHS: Final = (32, 64, 128, 192)
EMBEDDING: Final = 128
SHARPNESS: Final = 20.0
BATCH: Final = 128
SEED: Final = 20261
NEIGHBOURS: Final = 16
NEIGHBOURS_SHARE: Final = 0.3


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)), inplace=True)
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x), inplace=True)


class StickerEncoder(nn.Module):
    """float32[N, 3, 48, 48] -> cosine with each emoji's prototype, float32[N, emoji], times a sharpness."""

    def __init__(self, emoji_count: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = [Block(WIDTHS[0], WIDTHS[0], 1)]
        blocks += [Block(a, b, 2) for a, b in pairwise(WIDTHS)]
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Linear(WIDTHS[-1], EMBEDDING)
        self.prototypes = nn.Parameter(torch.randn(emoji_count, EMBEDDING) * 0.1)

    def compare(self, hidden: Tensor) -> Tensor:
        """Return the scores of the emoji, float32[N, emoji], for the last layer's means, float32[N, 192]."""
        embedded = F.normalize(self.project(hidden), dim=1)
        return SHARPNESS * embedded @ F.normalize(self.prototypes, dim=1).T

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of the emoji, and means and maxima of every layer, float32[N, 896]."""
        hidden = self.stem(pixels)
        seen = [hidden.mean((2, 3)), hidden.amax((2, 3))]
        for block in self.blocks:
            hidden = block(hidden)
            seen += [hidden.mean((2, 3)), hidden.amax((2, 3))]
        return self.compare(seen[-2]), torch.cat(seen, dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.compare(self.blocks(self.stem(pixels)).mean((2, 3)))


def _schedule(step: int, steps: int, peak: float) -> float:
    """Rise over the first 5 %, then fall along a cosine to nearly nothing."""
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise)))) + 1e-6


@torch.inference_mode()
def emoji_scores(model: StickerEncoder, pixels: np.ndarray) -> np.ndarray:
    """Return float32[N, emoji] for float32[N, 3, 48, 48]."""
    model.eval()
    return np.concatenate([model(torch.from_numpy(part)).numpy() for part in np.array_split(pixels, 16)])


def nearby(matrix: np.ndarray) -> torch.Tensor:
    """What is learned of each emoji, float32[emoji, emoji]: mostly itself, a little of those with nearly its tags.

    A wrong answer then tends to be one whose tags are right.
    """
    rarity = np.log(len(matrix) / (1 + (matrix > 0).sum(0)))
    rows = matrix * rarity
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-8
    alike = (rows @ rows.T) ** 2
    np.fill_diagonal(alike, 0)
    alike[alike < np.sort(alike, axis=1)[:, -NEIGHBOURS, None]] = 0
    shares = alike / np.maximum(alike.sum(1, keepdims=True), 1e-6)
    own = (1 - NEIGHBOURS_SHARE) + NEIGHBOURS_SHARE * (1 - shares.sum(1))
    return torch.from_numpy((NEIGHBOURS_SHARE * shares + np.diag(own)).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Drawings:
    """Artwork to learn from: `labels` int64[N], `pictures` uint8[N, 4, 64, 64] RGBA, `weights` float64[N].

    `photographs` uint8[M, 3, 96, 96] are what it is put on now and then.
    """

    labels: np.ndarray
    pictures: np.ndarray
    weights: np.ndarray
    photographs: np.ndarray


def read_drawings(data: Path, cache: Path, emoji: list[Emoji], held: tuple[str, ...] = (CHOOSING_SET,)) -> Drawings:
    """Read every set that is learned from but those `held` back; emoji weigh alike, many drawings or few (nearly)."""
    parts = [read_pictures(data, vendor, emoji) for vendor in TRAIN_VENDORS if vendor not in held]
    labels, pictures, sets = read_artwork(data, cache, emoji)
    chosen = np.isin(sets, [number for number, one in enumerate(ARTWORK) if one.name not in held])
    share = np.array([0.4 if one.lines else 1.0 for one in ARTWORK])
    weights = np.concatenate([np.ones(sum(len(part[0]) for part in parts)), share[sets[chosen]]])
    labels = np.concatenate([*(part[0] for part in parts), labels[chosen]])
    pictures = np.concatenate([*(part[1] for part in parts), pictures[chosen]])
    weights /= np.sqrt(np.bincount(labels, weights, len(emoji)))[labels]
    return Drawings(labels, pictures, weights / weights.sum(), learned_backgrounds(cache))


class _Batches(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Batch number -> (pixels, labels): the same for the same number, whoever asks, so that training can go on."""

    def __init__(self, drawings: Drawings, steps: int) -> None:
        self.labels = torch.from_numpy(drawings.labels)
        self.pictures = torch.from_numpy(drawings.pictures)
        self.weights = torch.from_numpy(drawings.weights)
        self.photographs = torch.from_numpy(drawings.photographs)
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(SEED + step)
        rows = torch.multinomial(self.weights, BATCH, replacement=True, generator=generator)
        return spoil(self.pictures[rows], generator, self.photographs), self.labels[rows]


def train_encoder(
    path: Path, drawings: Drawings, matrix: np.ndarray, steps: int, checkpoint_s: float = 60.0
) -> StickerEncoder:
    """Train, or go on from the checkpoint at `path`; returns the average of the weights over the last steps."""
    torch.manual_seed(SEED)
    model = StickerEncoder(len(matrix)).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    average.use_buffers = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    start = resume(path, parts)
    # A process of its own makes the batches: on two cores that is nearly the other half of the work.
    loader = torch.utils.data.DataLoader(
        _Batches(drawings, steps), batch_size=None, sampler=range(start, steps), num_workers=1, prefetch_factor=8
    )
    targets = nearby(matrix)
    saved_at = time.monotonic()
    fast_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    smooth_loss = 0.0
    with tqdm(initial=start, total=steps, desc="stickers", mininterval=5) as progress:
        for step, (batch, labels) in enumerate(loader, start):
            for group in optimizer.param_groups:
                group["lr"] = _schedule(step, steps, 3e-3)
            model.train()
            with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16):
                scores = model(batch.to(memory_format=torch.channels_last))
            loss = F.cross_entropy(scores.float(), targets[labels], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update_parameters(model)
            smooth_loss = 0.98 * smooth_loss + 0.02 * float(loss.detach())
            progress.set_postfix(loss=f"{smooth_loss:.2f}", refresh=False)
            progress.update()
            if time.monotonic() - saved_at > checkpoint_s or step + 1 == steps:
                saved_at = time.monotonic()
                keep(path, parts, step + 1)
    result: StickerEncoder = average.module
    return result.eval()
