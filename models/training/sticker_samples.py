"""Write a few small stickers for documentation and tests, from Noto Emoji's artwork (Apache-2.0)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

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
ATTRIBUTION: Final = """# Sample stickers

Drawings of [Noto Emoji](https://github.com/googlefonts/noto-emoji), (c) Google, Apache License 2.0, 64 px, unchanged,
by way of the npm package emoji-datasource-google 16.0.0. The sticker model was
trained on this artwork (among others), so these show that it works, not how well.
"""


def write_samples(data: Path, folder: Path) -> None:
    """Copy the samples out of Noto's archive."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(data / "emoji_images_64px" / "google.zip") as archive:
        names = {Path(name).stem: name for name in archive.namelist()}
        for title, stem in SAMPLES.items():
            (folder / f"{title}.png").write_bytes(archive.read(names[stem]))
    (folder / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")
