"""The result picture: what a customer sent, and what was seen in it, on one card.

The card is 848 pixels wide, so that pictures of 800, the widest that are kept, show pixel by pixel. Its text is still
12 pixels high where a phone shows the card 320 wide, and sharp where it is shown at 1280. Its colours are its own, as
one file is for light and for dark backgrounds; only its round corners are transparent. The same file and findings give
the same bytes, as long as Pillow stays the same.
"""

import io
import math
from collections.abc import Sequence
from typing import Final

from PIL import Image

from csgate.media.showing_look import BORDER, CARD, CARD_WIDTH, PADDING
from csgate.media.showing_panel import panel
from csgate.media.showing_shapes import round_off, rounded
from csgate.media.showing_stage import STAGE_WIDTH, stage
from csgate.media.showing_text import FIRST_WIDE, clean
from csgate.media.shown import Line, Shown
from csgate.pictures import decode

MAX_TAGS: Final = 5
MAX_LINES: Final = 6
MAX_READ: Final = 200
"""Lines that are looked at."""

_EDGE: Final = 3
_RADIUS: Final = 42
_STAGE_RADIUS: Final = 24
_QUALITY: Final = 84
_EFFORT: Final = 1
"""libwebp's ``method``: 2 takes a third longer for a tenth fewer bytes."""


def draw(file: bytes, shown: Shown, *, max_pixels: int) -> bytes:
    """The annotated picture, a WebP file. Takes tens of milliseconds: for a worker thread.

    ``file`` is any picture that csgate takes; of an animated one the first frame is drawn, and of the tags and lines
    only what has room on a card. Text is drawn character by character, whatever it may hold.

    Raises:
        UnsupportedImage, ImageTooLarge, BadImage: as ``csgate.pictures.decode``.
    """
    picture = decode(file, max_pixels=max_pixels, cover=(STAGE_WIDTH, STAGE_WIDTH))
    tags = [(clean(tag.label) or clean(tag.name), _share(tag.score)) for tag in shown.tags[:MAX_TAGS]]
    read = [(line, text) for line in shown.lines[:MAX_READ] if (text := clean(line.text))]
    listed = _telling(read)
    kind = "animated" if shown.kind == "sticker" and picture.animated else shown.kind or ""
    upper = stage(picture, shown.kind, [line for line, _ in read], listed)
    more = len(read) - len(listed) + max(len(shown.lines) - MAX_READ, 0)
    lower = panel(tags, kind, [read[index][1] for index in listed], more, shown.language)

    canvas = Image.new("RGB", (CARD_WIDTH, PADDING + upper.height + lower.height), BORDER)
    within = (_EDGE, _EDGE, canvas.width - _EDGE, canvas.height - _EDGE)
    canvas.paste(CARD, within)
    round_off(canvas, within, _RADIUS - _EDGE, BORDER)
    round_off(upper, (0, 0, *upper.size), _STAGE_RADIUS, CARD)
    canvas.paste(upper, (PADDING, PADDING))
    words = lower.crop((PADDING, 0, CARD_WIDTH - PADDING, lower.height - PADDING))
    canvas.paste(words, (PADDING, PADDING + upper.height))
    canvas.putalpha(rounded(canvas.size, _RADIUS))
    made = io.BytesIO()
    canvas.save(made, "WEBP", quality=_QUALITY, method=_EFFORT)
    return made.getvalue()


def _telling(read: Sequence[tuple[Line, str]]) -> list[int]:
    """Which lines to list, in their order: long and large ones, as the others are clocks, buttons and the like."""

    def weight(index: int) -> float:
        line, text = read[index]
        rows = [y for _, y in line.box if math.isfinite(y)]
        length = sum(2 if character >= FIRST_WIDE else 1 for character in text)
        return length * math.sqrt(min(max(rows, default=0.0) - min(rows, default=0.0), 1.0))

    heaviest = sorted(range(len(read)), key=lambda index: (-weight(index), index))
    return sorted(heaviest[:MAX_LINES])


def _share(score: float) -> float:
    return min(max(score, 0.0), 1.0) if math.isfinite(score) else 0.0
