"""Emoji artwork as arrays, and the ways a sticker gets spoiled before it reaches us.

The artwork of four vendors is trained on; OpenMoji is only ever measured on. Pictures are drawn by the vendors at
64 px with an alpha channel; a training batch is composed from them anew each time: moved, turned, outlined,
recoloured, put on another background, blurred and compressed.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

TRAIN_VENDORS: Final = ("google", "twitter", "fluent_flat", "fluent_modern")
TEST_VENDOR: Final = "openmoji"
SOURCE_PX: Final = 64
INPUT_PX: Final = 48
PHOTOGRAPHS_SHARE: Final = 0.65
MIXED_SHARE: Final = 0.35


@dataclass(frozen=True, slots=True)
class Emoji:
    """One emoji: its characters, the stem of its picture files, and what CLDR and emojilib say about it."""

    characters: str
    stem: str
    name: str
    name_zh: str
    category: str
    keywords: tuple[str, ...]
    keywords_zh: tuple[str, ...]
    library_words: tuple[str, ...]


def read_emoji(data: Path) -> list[Emoji]:
    """Read the emoji that Noto, Twemoji and OpenMoji all draw, in the order of the items file."""
    folder = data / "emoji_images_64px"
    with zipfile.ZipFile(folder / f"{TEST_VENDOR}.zip") as pictures:
        drawn = {Path(name).stem for name in pictures.namelist()}
    items = json.loads((folder / "emoji_items.json").read_text())
    return [
        Emoji(
            characters=item["c"],
            stem=item["u"].lower(),
            name=item["name"],
            name_zh=item["zhname"],
            category=item["cat"],
            keywords=tuple(item["en"]),
            keywords_zh=tuple(item["zh"]),
            library_words=tuple(item["lib"]),
        )
        for item in items
        if item["u"].lower() in drawn
    ]


def read_pictures(data: Path, vendor: str, emoji: list[Emoji]) -> tuple[np.ndarray, np.ndarray]:
    """Read one vendor's pictures.

    Returns:
        (indices int64[N] into `emoji`, pictures uint8[N, 4, 64, 64] RGBA), without emoji that it does not draw.
    """
    indices, pictures = [], []
    with zipfile.ZipFile(data / "emoji_images_64px" / f"{vendor}.zip") as archive:
        names = {Path(name).stem: name for name in archive.namelist()}
        for index, one in enumerate(emoji):
            if one.stem in names:
                with Image.open(io.BytesIO(archive.read(names[one.stem]))) as picture:
                    pictures.append(np.asarray(picture.convert("RGBA")).transpose(2, 0, 1))
                indices.append(index)
    return np.array(indices), np.stack(pictures)


def _backgrounds(count: int, px: int, generator: torch.Generator) -> torch.Tensor:
    """float32[count, 3, px, px] in 0..1: white, one colour, dark, gradients, and smooth noise like an unsharp photo."""

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    flat = rand(count, 3, 1, 1)
    kind = rand(count)
    flat[kind < 0.45] = 1.0
    dark = (kind >= 0.45) & (kind < 0.6)
    flat[dark] *= 0.2
    result = flat.expand(count, 3, px, px).clone()
    gradient = torch.nonzero((kind >= 0.7) & (kind < 0.8))[:, 0]
    noise = torch.nonzero(kind >= 0.8)[:, 0]
    corners = rand(len(gradient), 3, 2, 2)
    result[gradient] = F.interpolate(corners, size=(px, px), mode="bilinear", align_corners=True)
    layers = torch.zeros(len(noise), 3, px, px)
    # The first layer's weight varies, and with it how restless the picture is.
    coarse = 0.3 + 0.6 * rand(len(noise), 1, 1, 1)
    for cells, weight in ((5, coarse), (16, (1 - coarse) * 0.7), (px, (1 - coarse) * 0.3)):
        layers += F.interpolate(rand(len(noise), 3, cells, cells), size=(px, px), mode="bilinear") * weight
    result[noise] = layers
    return result


def _outline(premultiplied: torch.Tensor, dark: torch.Tensor, width: int) -> torch.Tensor:
    """Draw a border of `width` pixels, dark or white, around what is opaque, as die-cut stickers have it."""
    alpha = premultiplied[:, 3:]
    grown = F.max_pool2d(alpha, 2 * width + 1, stride=1, padding=width)
    border = (grown - alpha).clamp(0, 1)
    shade = torch.where(dark, 0.05, 1.0)[:, None, None, None]
    return torch.cat([premultiplied[:, :3] + border * shade, alpha + border], dim=1)


def _draw_inner_edges(colour: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Darken where the colour changes abruptly: the same drawing as one with pen lines."""
    high = F.max_pool2d(colour, 3, stride=1, padding=1)
    low = -F.max_pool2d(-colour, 3, stride=1, padding=1)
    edge = ((high - low).amax(1, keepdim=True) * 2.5 - 0.25).clamp(0, 1)
    return colour * (1 - edge * strength[:, None, None, None])


def _flatten(colour: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Leave few levels of each colour: shading becomes areas of one colour."""
    levels = levels[:, None, None, None]
    return torch.round(F.avg_pool2d(colour, 3, stride=1, padding=1) * levels) / levels


def _dct_basis() -> torch.Tensor:
    k = torch.arange(8.0)
    basis = torch.cos((2 * k[None, :] + 1) * k[:, None] * torch.pi / 16) * 0.5
    basis[0] *= 0.5**0.5
    return basis


_DCT: Final = _dct_basis()


def _compress(colour: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Quantize 8 x 8 blocks of cosine coefficients, as JPEG does; `step` float32[N], coarser for higher frequencies."""
    count, channels, height, width = colour.shape
    blocks = colour.reshape(count, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    coefficients = _DCT @ blocks @ _DCT.T
    frequency = 1 + torch.arange(8.0)[:, None] + torch.arange(8.0)[None, :]
    quantum = step[:, None, None, None, None, None] * frequency
    rounded = torch.round(coefficients / quantum) * quantum
    blocks = _DCT.T @ rounded @ _DCT
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, height, width)


def _recolour(colour: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and the balance of colours, each picture its own way."""
    count = colour.shape[0]

    def around_one(spread: float, *shape: int) -> torch.Tensor:
        return 1 + (torch.rand(*shape, generator=generator) * 2 - 1) * spread

    grey = colour.mean(1, keepdim=True)
    saturation = around_one(0.5, count, 1, 1, 1)
    saturation[torch.rand(count, generator=generator) < 0.06] = 0
    colour = grey + (colour - grey) * saturation
    colour = colour * around_one(0.15, count, 3, 1, 1) * around_one(0.2, count, 1, 1, 1)
    middle = colour.mean((1, 2, 3), keepdim=True)
    return (middle + (colour - middle) * around_one(0.3, count, 1, 1, 1)).clamp(0, 1)


def _moves(count: int, px: int, generator: torch.Generator) -> torch.Tensor:
    """Sampling grids float32[count, px, px, 2]: turned, scaled, stretched, shifted, and bent a little."""

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    angle = (rand(count) * 2 - 1) * 0.3 * (rand(count) < 0.7)
    zoom = torch.exp(rand(count) * 0.7 - 0.12)
    stretch = torch.exp((rand(count) * 2 - 1) * 0.15)
    shift = (rand(count, 2) * 2 - 1) * 0.18
    cosine, sine = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            torch.stack([cosine * zoom * stretch, -sine * zoom, shift[:, 0] * zoom], 1),
            torch.stack([sine * zoom, cosine * zoom / stretch, shift[:, 1] * zoom], 1),
        ],
        1,
    )
    grid = F.affine_grid(matrix, [count, 4, px, px], align_corners=False)
    bends = (rand(count, 2, 4, 4) * 2 - 1) * 0.16 * (rand(count) * (rand(count) < 0.6))[:, None, None, None]
    return grid + F.interpolate(bends, size=(px, px), mode="bicubic").permute(0, 2, 3, 1)


def _behind(photographs: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Parts of photographs float32[count, 3, 48, 48] in 0..1, none like another.

    Cut out anew each time, mirrored, turned or slanted, colours exchanged and changed; some of two photographs that
    meet along a curve. There are few photographs, and what is learned must not be what is on them.
    """

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    def cut() -> torch.Tensor:
        chosen = photographs[torch.randint(len(photographs), (count,), generator=generator)].float() / 255
        angle = (rand(count) * 2 - 1) * 0.6 * (rand(count) < 0.5)
        zoom = torch.exp(-0.9 * rand(count))
        across = torch.where(rand(count) < 0.5, -1.0, 1.0)
        down = torch.where(rand(count) < 0.15, -1.0, 1.0)
        shift = (rand(count, 2) * 2 - 1) * (1 - zoom)[:, None]
        cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        matrix = torch.stack(
            [
                torch.stack([cosine * across, -sine, shift[:, 0]], 1),
                torch.stack([sine * across, cosine * down, shift[:, 1]], 1),
            ],
            1,
        )
        grid = F.affine_grid(matrix, [count, 3, INPUT_PX, INPUT_PX], align_corners=False)
        part = F.grid_sample(chosen, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        order = torch.argsort(rand(count, 3), 1)
        order[rand(count) < 0.6] = torch.arange(3)
        return _recolour(torch.gather(part, 1, order[:, :, None, None].expand_as(part)), generator)

    one, other = cut(), cut()
    border = F.interpolate(rand(count, 1, 3, 3), size=(INPUT_PX, INPUT_PX), mode="bicubic")
    second = ((border - 0.5) * 12).clamp(-1, 1) * 0.5 + 0.5
    second[rand(count) >= MIXED_SHARE] = 0
    return one * (1 - second) + other * second


def spoil(pictures: torch.Tensor, generator: torch.Generator, photographs: torch.Tensor | None = None) -> torch.Tensor:
    """Compose a training batch from artwork.

    Args:
        pictures: uint8[N, 4, 64, 64], RGBA.
        generator: the only source of chance.
        photographs: uint8[M, 3, H, W], larger than 48, on parts of which a share of the pictures is put.

    Returns:
        float32[N, 3, 48, 48] in -1..1.
    """
    count, px = pictures.shape[0], INPUT_PX

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    def some(share: float) -> torch.Tensor:
        return torch.nonzero(rand(count) < share)[:, 0]

    rgba = pictures.float() / 255
    flat = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    grid = _moves(count, px, generator)
    flat = F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    alpha = flat[:, 3:]
    colour = flat[:, :3] / alpha.clamp_min(1e-3)
    rows = some(0.2)
    colour[rows] = _flatten(colour[rows], 2 + torch.floor(rand(len(rows)) * 4))
    rows = some(0.4)
    colour[rows] = _draw_inner_edges(colour[rows], rand(len(rows)).sqrt())
    moved = torch.cat([_recolour(colour, generator) * alpha, alpha], dim=1)
    for width, share in ((1, 0.3), (2, 0.15)):
        rows = some(share)
        moved[rows] = _outline(moved[rows], rand(len(rows)) < 0.65, width)
    behind = _backgrounds(count, px, generator)
    if photographs is not None:
        rows = some(PHOTOGRAPHS_SHARE)
        if len(rows):
            behind[rows] = _behind(photographs, len(rows), generator)
    composed = moved[:, :3] + (1 - moved[:, 3:].clamp(0, 1)) * behind
    rows = some(0.15)
    composed[rows] = F.interpolate(F.avg_pool2d(composed[rows], 2), size=(px, px), mode="bilinear")
    rows = some(0.25)
    composed[rows] = _compress(composed[rows], 0.01 + 0.05 * rand(len(rows)))
    rows = some(0.4)
    noise = torch.randn(len(rows), 3, px, px, generator=generator)
    composed[rows] += noise * 0.04 * rand(len(rows))[:, None, None, None]
    return composed.clamp_(0, 1) * 2 - 1


def present(pictures: np.ndarray, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """Compose as the server does for a plain sticker: on one background, shrunk by area to 48 px, in -1..1.

    Args:
        pictures: uint8[N, 4, H, W], RGBA.
        background: red, green, blue, 0..255.

    Returns:
        float32[N, 3, 48, 48]
    """
    result = np.empty((len(pictures), 3, INPUT_PX, INPUT_PX), np.float32)
    for index, picture in enumerate(pictures):
        source = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), "RGBA")
        canvas = Image.new("RGBA", source.size, (*background, 255))
        canvas.alpha_composite(source)
        small = canvas.convert("RGB").resize((INPUT_PX, INPUT_PX), Image.Resampling.BOX)
        result[index] = np.asarray(small, np.float32).transpose(2, 0, 1) / 127.5 - 1
    return result
