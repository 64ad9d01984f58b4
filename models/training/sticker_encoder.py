"""The picture encoder: a small residual network, and its training against one prototype an emoji."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from sticker_images import TEST_VENDOR, TRAIN_VENDORS, Emoji, present, read_pictures, spoil
from torch import Tensor, nn
from tqdm import tqdm

WIDTHS: Final = (32, 64, 128, 192)
EMBEDDING: Final = 128
SHARPNESS: Final = 20.0
BATCH: Final = 128
SEED: Final = 20261


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

    def embed(self, pixels: Tensor) -> Tensor:
        """Return unit vectors, float32[N, 128]."""
        hidden: Tensor = self.blocks(self.stem(pixels)).mean((2, 3))
        return F.normalize(self.project(hidden), dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return SHARPNESS * self.embed(pixels) @ F.normalize(self.prototypes, dim=1).T


def _schedule(step: int, steps: int, peak: float) -> float:
    """Rise over the first 5 %, then fall along a cosine to nearly nothing."""
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise)))) + 1e-6


def _save(path: Path, **parts: object) -> None:
    torch.save(parts, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


@torch.inference_mode()
def emoji_scores(model: StickerEncoder, pixels: np.ndarray) -> np.ndarray:
    """Return float32[N, emoji] for float32[N, 3, 48, 48]."""
    model.eval()
    return np.concatenate([model(torch.from_numpy(part)).numpy() for part in np.array_split(pixels, 16)])


def train_encoder(
    data: Path, cache: Path, emoji: list[Emoji], steps: int, checkpoint_s: float = 60.0
) -> StickerEncoder:
    """Train, or go on from the checkpoint in `cache`; returns the average of the weights over the last steps."""
    parts = [read_pictures(data, vendor, emoji) for vendor in TRAIN_VENDORS]
    labels = torch.from_numpy(np.concatenate([part[0] for part in parts]))
    pictures = torch.from_numpy(np.concatenate([part[1] for part in parts]))
    held_labels, held_pictures = read_pictures(data, TEST_VENDOR, emoji)
    held = present(held_pictures)
    torch.manual_seed(SEED)
    model = StickerEncoder(len(emoji)).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    average.use_buffers = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    path = cache / "stickers.pt"
    start = 0
    if path.exists():
        saved = torch.load(path, weights_only=False)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        start = saved["step"]
    saved_at = time.monotonic()
    progress = tqdm(range(start, steps), initial=start, total=steps, desc="stickers", mininterval=5)
    fast_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    smooth_loss = 0.0
    for step in progress:
        generator = torch.Generator().manual_seed(SEED + step)
        rows = torch.randint(len(labels), (BATCH,), generator=generator)
        batch = spoil(pictures[rows], generator)
        for group in optimizer.param_groups:
            group["lr"] = _schedule(step, steps, 3e-3)
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16):
            scores = model(batch.to(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores.float(), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update_parameters(model)
        smooth_loss = 0.98 * smooth_loss + 0.02 * float(loss.detach())
        progress.set_postfix(loss=f"{smooth_loss:.2f}", refresh=False)
        if time.monotonic() - saved_at > checkpoint_s or step + 1 == steps:
            saved_at = time.monotonic()
            _save(
                path,
                model=model.state_dict(),
                average=average.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step + 1,
            )
            right = np.mean(emoji_scores(average.module, held).argmax(1) == held_labels)
            progress.write(f"step {step + 1}: right emoji on {TEST_VENDOR} {right:.3f}")
    result: StickerEncoder = average.module
    return result.eval()
