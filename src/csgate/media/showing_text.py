"""Lettering of result pictures: fonts that csgate ships, and strangers' text made fit to be drawn.

The fonts are made by ``models/training/label_font.py``. Text is laid out from left to right, one glyph a character,
by FreeType alone: the same on every machine, whether or not it has a shaping library, and nothing in a text can turn
its direction. A character without a glyph shows as the font's ``.notdef``, a light frame.
"""

import io
import lzma
import unicodedata
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

from PIL import ImageDraw, ImageFont

Weight = Literal["regular", "bold"]

MAX_CHARACTERS: Final = 120
"""More than fits on a line of the picture; what is longer is cut before anything looks at it."""
FIRST_WIDE: Final = "\u2e80"
"""Ideographs begin here. Their ellipsis floats at half their height: beside Latin letters it would look wrong."""

_FILES: Final[dict[Weight, str]] = {"regular": "label.otf.xz", "bold": "label-bold.otf.xz"}
_MARKS_EACH: Final = 4
_CAPITALS_MIDDLE: Final = 0.37
"""How far above the line the middle of a capital is, and nearly that of an ideograph, in ems."""
_ASCII: Final = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F) if chr(wide).isalnum()}
"""Full-width letters and digits, which the font leaves out, to what they stand for."""


@lru_cache(maxsize=2)
def _file(weight: Weight) -> bytes:
    return lzma.decompress((files("csgate.media") / "fonts" / _FILES[weight]).read_bytes())


@lru_cache(maxsize=16)
def font(weight: Weight, size: int) -> ImageFont.FreeTypeFont:
    """The font at ``size`` pixels an em. Pillow holds the interpreter's lock while it draws: threads may share one."""
    return ImageFont.truetype(io.BytesIO(_file(weight)), size, layout_engine=ImageFont.Layout.BASIC)


def clean(text: str) -> str:
    """``text`` on one line: no control or formatting characters, no loose marks, at most ``MAX_CHARACTERS``."""
    cut = len(text) > MAX_CHARACTERS * _MARKS_EACH
    composed = unicodedata.normalize("NFC", text[: MAX_CHARACTERS * _MARKS_EACH]).translate(_ASCII)
    kept = "".join(map(_fit, composed)).split()
    line = " ".join(kept)
    if cut or len(line) > MAX_CHARACTERS:
        return with_ellipsis(line[: MAX_CHARACTERS - 3])
    return line


def _fit(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category[0] == "Z":
        return " "
    return "" if category[0] in "CM" else character


def with_ellipsis(text: str) -> str:
    """``text`` with the ellipsis that suits its last character."""
    text = text.rstrip()
    return text + ("…" if text[-1:] >= FIRST_WIDE else "...")


def put(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    weight: Weight,
    size: int,
    colour: tuple[int, int, int],
    side: Literal["l", "m", "r"] = "l",
) -> None:
    """Writes ``text`` with capitals and ideographs centred on the height of ``place``, and ``side`` of it there."""
    x, middle = place
    draw.text((x, round(middle + _CAPITALS_MIDDLE * size)), text, colour, font(weight, size), anchor=f"{side}s")


def fitted(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """``text`` cut with an ellipsis so that it is at most ``width`` pixels wide."""
    if letters.getlength(text) <= width:
        return text
    fits, beyond = 0, len(text)
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if letters.getlength(with_ellipsis(text[:middle])) <= width:
            fits = middle
        else:
            beyond = middle
    return with_ellipsis(text[:fits])
