"""Write a few small pictures for documentation and tests: stickers, a photograph, a screenshot."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from sticker_images import TEST_VENDOR, Emoji
from sticker_photos import MEASURED, photographs
from sticker_screens import screenshot

SAMPLES: Final = {
    "thumbs-up": "1f44d",
    "pouting-face": "1f621",
    "crying-face": "1f62d",
    "red-heart": "2764-fe0f",
    "package": "1f4e6",
    "folded-hands": "1f64f",
    "party-popper": "1f389",
    "thinking-face": "1f914",
    "broken-heart": "1f494",
}
ATTRIBUTION: Final = """# Sample pictures

The PNG files: drawings of [Noto Emoji](https://github.com/googlefonts/noto-emoji), (c) Google, Apache License 2.0,
64 px, unchanged, by way of the npm package emoji-datasource-google 16.0.0. The sticker model was
trained on this artwork (among others), so these show that it works, not how well.

photo.jpg: Rear Admiral Grace Hopper, official US Navy photograph, public domain, shrunk, by way of matplotlib's sample
data. screenshot.jpg: drawn by models/training/sticker_screens.py (Apache-2.0). The model learned from neither.
"""
SHEET: Final = 64
SHEET_COLUMNS: Final = 8
SHEET_NOTE: Final = """openmoji.png: {count} drawings of OpenMoji 17.0.0 (https://openmoji.org), CC BY-SA 4.0, 64 px,
put together on one sheet, left to right and top to bottom, that nobody chose (every {step}th):

{names}
"""


def write_samples(data: Path, folder: Path) -> None:
    """Copy the samples out of Noto's archive."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(data / "emoji_images_64px" / "google.zip") as archive:
        names = {Path(name).stem: name for name in archive.namelist()}
        for title, stem in SAMPLES.items():
            (folder / f"{title}.png").write_bytes(archive.read(names[stem]))
    (folder / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")
    picture = photographs(MEASURED[2:3])[0].copy()
    picture.thumbnail((160, 160))
    picture.save(folder / "photo.jpg", quality=85)
    screen = screenshot(np.random.default_rng(3), measured=True)
    screen.thumbnail((320, 320))
    screen.save(folder / "screenshot.jpg", quality=85)


def write_sheet(data: Path, emoji: list[Emoji], folder: Path) -> None:
    """Write some of OpenMoji's drawings for the short test of the shipped model: a sheet, and what is on it."""
    step = len(emoji) // SHEET
    chosen = emoji[step // 2 :: step][:SHEET]
    sheet = Image.new("RGBA", (SHEET_COLUMNS * 64, len(chosen) // SHEET_COLUMNS * 64))
    with zipfile.ZipFile(data / "emoji_images_64px" / f"{TEST_VENDOR}.zip") as archive:
        files = {Path(name).stem: name for name in archive.namelist()}
        for place, one in enumerate(chosen):
            with archive.open(files[one.stem]) as file, Image.open(file) as picture:
                sheet.paste(picture.convert("RGBA"), (place % SHEET_COLUMNS * 64, place // SHEET_COLUMNS * 64))
    sheet.save(folder / "openmoji.png", optimize=True)
    names = "\n".join(_line(one) for one in chosen)
    (folder / "openmoji.txt").write_text(SHEET_NOTE.format(count=len(chosen), step=step, names=names), encoding="utf-8")


def _line(one: Emoji) -> str:
    words: Iterable[str] = dict.fromkeys(word.lower() for word in (one.name, *one.keywords))
    return ": ".join((one.characters, ", ".join(words)))
