"""Whether a picture is a sticker, a photograph or a screenshot: a small head on what the encoder's layers see."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sticker_encoder import WIDTHS, Drawings, StickerEncoder
from sticker_images import INPUT_PX, spoil
from sticker_photos import LEARNED, MEASURED, crop, made_photograph, photographs
from sticker_screens import screenshot
from torch import Tensor, nn

KINDS: Final = ("sticker", "photo", "screenshot")
SEEN: Final = 2 * (WIDTHS[0] + sum(WIDTHS))
SEED: Final = 20262
EACH: Final = 4_000
# Photographs differ from one another as the other two do not.
PHOTOGRAPHS: Final = 3 * EACH
STEPS: Final = 3_000


def letterboxed(picture: Image.Image) -> np.ndarray:
    """Prepare as the server does: shrunk by area to fit 48 px, white around it, float32[3, 48, 48] in -1..1."""
    scale = INPUT_PX / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    canvas = Image.new("RGB", (INPUT_PX, INPUT_PX), "white")
    small = picture.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, ((INPUT_PX - width) // 2, (INPUT_PX - height) // 2))
    return np.asarray(canvas, np.float32).transpose(2, 0, 1) / 127.5 - 1


class KindHead(nn.Module):
    """Means and maxima of every layer, float32[N, 896] -> logits float32[N, 3] of `KINDS`."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(SEEN), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(SEEN), requires_grad=False)
        self.inner = nn.Linear(SEEN, 48)
        self.outer = nn.Linear(48, len(KINDS))

    def forward(self, seen: Tensor) -> Tensor:
        hidden = F.relu(self.inner((seen - self.mean) / self.spread))
        result: Tensor = self.outer(F.dropout(hidden, 0.2, self.training))
        return result


@torch.inference_mode()
def looked_at(encoder: StickerEncoder, pixels: np.ndarray | Tensor) -> Tensor:
    """Return what the head takes, float32[N, 896], of float32[N, 3, 48, 48]."""
    parts = torch.as_tensor(pixels).split(256)
    return torch.cat([encoder.look(part)[1] for part in parts])


def _pasted(picture: np.ndarray, background: Image.Image, chance: np.random.Generator) -> Image.Image:
    """A sticker uint8[4, 64, 64] that fills most of a photograph."""
    sticker = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), "RGBA")
    size = int(64 * chance.uniform(1.0, 1.35))
    canvas = background.resize((size, size)).convert("RGBA")
    canvas.alpha_composite(sticker, (int(chance.integers(0, size - 63)), int(chance.integers(0, size - 63))))
    return canvas.convert("RGB")


def _photograph(chance: np.random.Generator, learned: bool) -> Image.Image:
    if learned and chance.random() < 0.45:
        return made_photograph(chance)
    all_of_them = photographs(LEARNED if learned else MEASURED)
    return crop(all_of_them[int(chance.integers(len(all_of_them)))], chance, recolour=learned)


def _spoilt(picture: Image.Image, chance: np.random.Generator) -> np.ndarray:
    """As it goes in, now and then with the noise of strong compression."""
    pixels = letterboxed(picture)
    if chance.random() < 0.3:
        pixels = np.clip(pixels + chance.normal(0, 0.04, pixels.shape), -1, 1).astype(np.float32)
    return pixels


def learned_pictures(drawings: Drawings, cache: Path) -> list[np.ndarray]:
    """Return pictures of each kind to learn from, float16[N, 3, 48, 48]; made once, kept in the cache."""
    kept = cache / f"kinds-{PHOTOGRAPHS}.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return [arrays[kind] for kind in KINDS]
    chance = np.random.default_rng(SEED)
    generator = torch.Generator().manual_seed(SEED)
    chosen = chance.choice(len(drawings.labels), EACH, p=drawings.weights)
    third = EACH // 3
    stickers = [
        spoil(torch.from_numpy(drawings.pictures[rows]), generator).numpy()
        for rows in np.array_split(chosen[third:], 40)
    ]
    for row in chosen[:third]:
        background = _photograph(chance, learned=True)
        stickers.append(_spoilt(_pasted(drawings.pictures[row], background, chance), chance)[None])
    photos = [_spoilt(_photograph(chance, learned=True), chance) for _ in range(PHOTOGRAPHS)]
    screens = [_spoilt(screenshot(chance, measured=False), chance) for _ in range(EACH)]
    result = [np.concatenate(stickers), np.stack(photos), np.stack(screens)]
    result = [part.astype(np.float16) for part in result]
    np.savez(kept, **dict(zip(KINDS, result, strict=True)))
    return result


@functools.cache
def measured_photographs(count: int = 600) -> np.ndarray:
    """Parts of photographs of other packages, float32[N, 3, 48, 48]."""
    chance = np.random.default_rng(SEED + 1)
    return np.stack([letterboxed(_photograph(chance, learned=False)) for _ in range(count)])


@functools.cache
def measured_screenshots(count: int = 400) -> np.ndarray:
    """Screenshots of other layouts in other fonts, float32[N, 3, 48, 48]."""
    chance = np.random.default_rng(SEED + 2)
    return np.stack([letterboxed(screenshot(chance, measured=True)) for _ in range(count)])


def on_photographs(pictures: np.ndarray) -> np.ndarray:
    """Stickers uint8[N, 4, 64, 64] on parts of the photographs that are measured on, float32[N, 3, 48, 48]."""
    chance = np.random.default_rng(SEED + 3)
    return np.stack([letterboxed(_pasted(one, _photograph(chance, learned=False), chance)) for one in pictures])


def train_kinds(encoder: StickerEncoder, drawings: Drawings, cache: Path) -> KindHead:
    """Train the head; the encoder stays as it is."""
    parts = learned_pictures(drawings, cache)
    seen = torch.cat([looked_at(encoder, part.astype(np.float32)) for part in parts])
    labels = torch.cat([torch.full((len(part),), kind) for kind, part in enumerate(parts)])
    torch.manual_seed(SEED)
    head = KindHead()
    head.mean.data = seen.mean(0)
    head.spread.data = seen.std(0) + 1e-3
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (256,))
        loss = F.cross_entropy(head(seen[rows]), labels[rows], label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head.eval()
