"""More emoji artwork than the data folder has: six sets under clear licences, as npm packages pinned by digest.

They are fetched by npm once, drawn at 64 px and kept in the cache folder. Drawings are matched to emoji by code point
or by name. Two sets are line drawings in one colour; what their lines enclose is filled, with white or with the colour
that the emoji mostly has at another vendor, since that is what a coloured drawing with pen lines looks like.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import resvg_py
from PIL import Image
from scipy import ndimage
from sticker_images import SOURCE_PX, Emoji, read_pictures

COLOURED_BY: Final = "twitter"
# Not learned from: what is chosen after the training (the temperature, say) is chosen on it.
CHOOSING_SET: Final = "fxemoji"


@dataclass(frozen=True, slots=True)
class Artwork:
    """An npm package of Iconify's: drawings by name (CLDR's, mostly); `chars.json` may give code points."""

    name: str
    version: str
    sha512: str
    licence: str
    author: str
    lines: bool = False

    @property
    def file(self) -> str:
        return f"iconify-json-{self.name}-{self.version}.tgz"


ARTWORK: Final = (
    Artwork(
        "noto-v1",
        "1.2.5",
        "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
        "Apache-2.0",
        "Google",
    ),
    Artwork(
        "fxemoji",
        "1.2.2",
        "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
        "Apache-2.0",
        "Mozilla",
    ),
    Artwork(
        "emojione",
        "1.2.3",
        "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
        "CC BY 4.0",
        "Emoji One, by way of EmojiTwo",
    ),
    Artwork(
        "emojione-monotone",
        "1.2.1",
        "cZSNcPsuiAD6HCzCh/2dYKGh3pNI0jJlxBxQWfC33cQsPtqYZqulGBvlkThXYNvDl8VxgVHT9u+izyX/yeEIkA==",
        "CC BY 4.0",
        "Emoji One, by way of EmojiTwo",
        lines=True,
    ),
    Artwork(
        "streamline-emojis",
        "1.2.4",
        "iNr9T9XuZVTyQPJO8ZlLxBzPkpi7qMl+z1l0C31vpEMqhPMelth3n7CeWQYtixdetDPdI81yeG4ROqjWpYJE6A==",
        "CC BY 4.0",
        "Streamline",
    ),
    Artwork(
        "fluent-emoji-high-contrast",
        "1.2.6",
        "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
        "MIT",
        "Microsoft",
        lines=True,
    ),
)


# What CLDR called them when the sets were drawn.
OLD_NAMES: Final = {
    "pouting-face": "enraged face",
    "pouting-cat-face": "pouting cat",
    "hugging-face": "smiling face with open hands",
    "dizzy-face": "face with crossed-out eyes",
    "direct-hit": "bullseye",
    "laptop-computer": "laptop",
    "pistol": "water pistol",
    "exclamation-mark": "red exclamation mark",
    "question-mark": "red question mark",
    "white-heavy-check-mark": "check mark button",
    "heavy-check-mark": "check mark",
    "ballot-box-with-check": "check box with check",
    "heavy-heart-exclamation": "heart exclamation",
    "heavy-large-circle": "hollow red circle",
    "heavy-plus-sign": "plus",
    "heavy-minus-sign": "minus",
    "heavy-division-sign": "divide",
    "heavy-multiplication-x": "multiply",
    "man-in-suit-levitating": "person in suit levitating",
    "man-with-chinese-cap": "person with skullcap",
    "two-men-holding-hands": "men holding hands",
    "two-women-holding-hands": "women holding hands",
    "man-and-woman-holding-hands": "woman and man holding hands",
}


def _fetch(one: Artwork, cache: Path) -> Path:
    """Return the package's archive, fetched by npm if it is not in the cache yet."""
    path = cache / one.file
    if not path.exists():
        subprocess.run(["npm", "pack", "--silent", f"@iconify-json/{one.name}@{one.version}"], cwd=cache, check=True)
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if digest != one.sha512:
        raise SystemExit(f"{path} is not the package that this was written for: its SHA-512 is {digest}")
    return path


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with tarfile.open(path) as archive:
        files = [archive.extractfile(f"package/{name}.json") for name in ("icons", "chars")]
        icons, characters = [json.load(one) for one in files if one is not None]
    return icons, characters


def _folded(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower().replace("&", "and"))


def _matches(icons: dict[str, Any], characters: dict[str, str], emoji: list[Emoji]) -> list[tuple[int, str]]:
    """Return (index into `emoji`, name of the drawing), by code point where the package has them, else by name."""
    if characters:
        places = {one.stem.replace("-fe0f", ""): index for index, one in enumerate(emoji)}
        codes = ((places.get(code.lower().replace("-fe0f", "")), name) for code, name in sorted(characters.items()))
        return [(index, name) for index, name in codes if index is not None]
    by_name = {_folded(one.name): index for index, one in enumerate(emoji)}
    names = sorted([*icons["icons"], *icons.get("aliases", {})])
    found = []
    for name in names:
        plain = re.sub(r"-[1-9]$", "", name)
        plain = OLD_NAMES.get(plain, plain)
        ways = (plain, plain.removesuffix("-face"), plain.replace("cat-face", "cat"))
        index = next((by_name[_folded(way)] for way in ways if _folded(way) in by_name), None)
        if index is not None:
            found.append((index, name))
    return found


def _draw(icons: dict[str, Any], name: str) -> np.ndarray:
    """uint8[64, 64, 4], RGBA."""
    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    left, top, width, height = (
        icon.get(key, icons.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    body = icon["body"].replace("currentColor", "#000")
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{SOURCE_PX}" height="{SOURCE_PX}">{body}</svg>'
    )
    drawn = bytes(resvg_py.svg_to_bytes(svg_string=text, width=SOURCE_PX, height=SOURCE_PX, skip_system_fonts=True))
    with Image.open(io.BytesIO(drawn)) as picture:
        return np.asarray(picture.convert("RGBA").resize((SOURCE_PX, SOURCE_PX)))


def _main_colour(picture: np.ndarray) -> np.ndarray:
    """The most frequent opaque colour of uint8[4, H, W], in steps of 32, as uint8[3]."""
    opaque = picture[:3, picture[3] > 200]
    if not opaque.size:
        return np.full(3, 255, np.uint8)
    steps, counts = np.unique(opaque.T // 32, axis=0, return_counts=True)
    return np.asarray(np.minimum(steps[counts.argmax()] * 32 + 16, 255), np.uint8)


def _filled(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Fill what the lines of uint8[64, 64, 4] enclose."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    inside = ndimage.binary_fill_holes(alpha[..., 0] > 0.4)[..., None].astype(np.float32)
    under = np.maximum(inside, alpha)
    mixed = picture[..., :3] * alpha + colour * (under - alpha)
    result = np.concatenate([mixed / np.maximum(under, 1e-3), under * 255], axis=2)
    return np.asarray(np.clip(result, 0, 255), np.uint8)


def read_artwork(data: Path, cache: Path, emoji: list[Emoji]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read all sets, fetching and drawing them where the cache has them not.

    Returns:
        (indices int64[N] into `emoji`, pictures uint8[N, 4, 64, 64] RGBA, sets int64[N] into `ARTWORK`).
    """
    kept = cache / "artwork.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return arrays["indices"], arrays["pictures"], arrays["sets"]
    coloured = dict(zip(*read_pictures(data, COLOURED_BY, emoji), strict=True))
    indices, pictures, sets = [], [], []
    for number, one in enumerate(ARTWORK):
        icons, characters = _read(_fetch(one, cache))
        for index, name in _matches(icons, characters, emoji):
            drawn = _draw(icons, name)
            variants = [drawn]
            if one.lines:
                own = _main_colour(coloured[index]) if index in coloured else np.full(3, 255, np.uint8)
                variants = [_filled(drawn, np.full(3, 255, np.uint8)), _filled(drawn, own)]
            for variant in variants:
                indices.append(index)
                pictures.append(variant.transpose(2, 0, 1))
                sets.append(number)
    result = np.array(indices), np.stack(pictures), np.array(sets)
    np.savez(kept, indices=result[0], pictures=result[1], sets=result[2])
    return result
