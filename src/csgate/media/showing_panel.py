"""The lower part of a result picture: what was seen, in words."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from PIL import Image, ImageDraw

from csgate.events import Language
from csgate.media.showing_look import ACCENT, CARD, CARD_WIDTH, CHIP, CHIP_INK, INK, MUTED, TRACK
from csgate.media.showing_shapes import fill
from csgate.media.showing_stage import BADGE_RADIUS, badge
from csgate.media.showing_text import fitted, font, put

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "tags": "What it shows",
        "lines": "Text in the picture",
        "more": "and {count} more",
        "nothing": "Nothing recognised",
        "sticker": "Sticker",
        "animated": "Animated sticker",
        "photo": "Photo",
        "screenshot": "Screenshot",
    },
    "zh": {
        "tags": "图片内容",
        "lines": "图中文字",
        "more": "另有 {count} 行",
        "nothing": "没有认出内容",
        "sticker": "表情贴纸",
        "animated": "动态贴纸",
        "photo": "照片",
        "screenshot": "截图",
    },
}

_LEFT: Final = 45
_RIGHT: Final = CARD_WIDTH - _LEFT
_ABOVE: Final = 30
_BETWEEN: Final = 22
_BELOW: Final = 28
_HEADING_ROW: Final = 58
_HEADING: Final = 29
_ROW: Final = 54
_TEXT: Final = 32
_CHIP_HEIGHT: Final = 46
_CHIP_PAD: Final = 22
_CHIP_TEXT: Final = 28
_BAR: Final = 14
_LABEL_LEAST: Final = 130
_LABEL_MOST: Final = 345
_PERCENT: Final = 94
_GAP: Final = 26
_INDENT: Final = 2 * BADGE_RADIUS + 18

Paint = Callable[[Image.Image, int], None]


def panel(
    tags: Sequence[tuple[str, float]], kind: str, lines: Sequence[str], more: int, language: Language
) -> Image.Image:
    """A panel ``CARD_WIDTH`` wide, RGB. ``kind`` is a key of ``WORDS`` or nothing; all texts are clean already.

    ``tags``: labels with scores from 0 to 1. ``lines``: what was read, listed with numbers; ``more``: how many are not.
    """
    words = WORDS[language]
    chip = words.get(kind, "")
    rows: list[tuple[int, Paint]] = []
    if tags or not lines:
        rows.append((_HEADING_ROW, _heading_row(words["tags"] if tags else words["nothing"], chip)))
        width = _label_width(tags)
        rows += [(_ROW, _tag_row(label, score, width)) for label, score in tags]
    if lines:
        if tags:
            rows.append((_BETWEEN, _nothing))
        rows.append((_HEADING_ROW, _heading_row(words["lines"], "" if tags else chip)))
        rows += [(_ROW, _line_row(count, line)) for count, line in enumerate(lines, 1)]
        if more:
            rows.append((_ROW, _more_row(words["more"].format(count=more))))
    canvas = Image.new("RGB", (CARD_WIDTH, _ABOVE + sum(height for height, _ in rows) + _BELOW), CARD)
    y = _ABOVE
    for height, paint in rows:
        paint(canvas, y)
        y += height
    return canvas


def _nothing(canvas: Image.Image, y: int) -> None:
    """A gap."""


def _heading_row(text: str, chip: str) -> Paint:
    def paint(canvas: Image.Image, y: int) -> None:
        draw, middle = ImageDraw.Draw(canvas), y + _CHIP_HEIGHT // 2
        put(draw, (_LEFT, middle), text, "bold", _HEADING, MUTED)
        if chip:
            width = math.ceil(font("bold", _CHIP_TEXT).getlength(chip)) + 2 * _CHIP_PAD
            fill(canvas, (_RIGHT - width, y, _RIGHT, y + _CHIP_HEIGHT), _CHIP_HEIGHT // 2, CHIP)
            put(draw, (_RIGHT - width / 2, middle), chip, "bold", _CHIP_TEXT, CHIP_INK, "m")

    return paint


def _label_width(tags: Sequence[tuple[str, float]]) -> int:
    widest = max((font("regular", _TEXT).getlength(label) for label, _ in tags), default=0.0)
    return min(max(math.ceil(widest), _LABEL_LEAST), _LABEL_MOST)


def _tag_row(label: str, score: float, width: int) -> Paint:
    def paint(canvas: Image.Image, y: int) -> None:
        draw, middle = ImageDraw.Draw(canvas), y + _ROW // 2
        put(draw, (_LEFT, middle), fitted(label, font("regular", _TEXT), width), "regular", _TEXT, INK)
        put(draw, (_RIGHT, middle), f"{round(score * 100)}%", "bold", _TEXT, INK, "r")
        left, right, top = _LEFT + width + _GAP, _RIGHT - _PERCENT - _GAP // 2, middle - _BAR // 2
        fill(canvas, (left, top, right, top + _BAR), _BAR // 2, TRACK)
        if score > 0:
            reach = left + max(round((right - left) * score), _BAR)
            fill(canvas, (left, top, reach, top + _BAR), _BAR // 2, ACCENT)

    return paint


def _line_row(count: int, text: str) -> Paint:
    def paint(canvas: Image.Image, y: int) -> None:
        left, middle = _LEFT + _INDENT, y + _ROW // 2
        badge(canvas, (_LEFT + BADGE_RADIUS, middle), count)
        shown = fitted(text, font("regular", _TEXT), _RIGHT - left)
        put(ImageDraw.Draw(canvas), (left, middle), shown, "regular", _TEXT, INK)

    return paint


def _more_row(text: str) -> Paint:
    def paint(canvas: Image.Image, y: int) -> None:
        put(ImageDraw.Draw(canvas), (_LEFT + _INDENT, y + _ROW // 2 - 4), text, "regular", _HEADING, MUTED)

    return paint
