"""Smooth shapes for result pictures: Pillow draws without anti-aliasing, so masks are drawn larger and reduced."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Area = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two are outside."""

_FINER: Final = 4
_FINER_LINES: Final = 2
_FRAME_CORNER: Final = 4
_SHADOW_SCALE: Final = 4


@lru_cache(maxsize=32)
def _disc(radius: int) -> Image.Image:
    """A filled circle, L[2 * radius, 2 * radius]; never drawn on."""
    side = 2 * radius * _FINER
    large = Image.new("L", (side, side))
    ImageDraw.Draw(large).ellipse((0, 0, side - 1, side - 1), fill=255)
    return large.reduce(_FINER)


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """The mask of a rectangle with round corners: L[size]."""
    width, height = size
    radius = min(radius, width // 2, height // 2)
    mask = Image.new("L", size, 255)
    if radius > 0:
        disc = _disc(radius)
        for right in (0, 1):
            for bottom in (0, 1):
                corner = disc.crop((right * radius, bottom * radius, (right + 1) * radius, (bottom + 1) * radius))
                mask.paste(corner, (right * (width - radius), bottom * (height - radius)))
    return mask


def fill(canvas: Image.Image, area: Area, radius: int, colour: Colour) -> None:
    """Fills a rectangle with round corners."""
    canvas.paste(colour, area, rounded((area[2] - area[0], area[3] - area[1]), radius))


def round_off(canvas: Image.Image, area: Area, radius: int, colour: Colour) -> None:
    """Gives a rectangle round corners by painting what lies beyond them; cheaper than a mask for a large one."""
    disc = ImageChops.invert(_disc(radius))
    for right in (0, 1):
        for bottom in (0, 1):
            corner = disc.crop((right * radius, bottom * radius, (right + 1) * radius, (bottom + 1) * radius))
            left, top = area[2] - radius if right else area[0], area[3] - radius if bottom else area[1]
            canvas.paste(colour, (left, top, left + radius, top + radius), corner)


def shadow(canvas: Image.Image, area: Area, blur: int, colour: Colour, strength: float) -> None:
    """A soft shadow of a rectangle, blurred at a fourth of the size, where nobody sees a difference."""
    reach = 2 * blur
    left, top, right, bottom = area[0] - reach, area[1] - reach, area[2] + reach, area[3] + reach
    small = Image.new("L", (max((right - left) // _SHADOW_SCALE, 1), max((bottom - top) // _SHADOW_SCALE, 1)))
    inset = reach // _SHADOW_SCALE
    small.paste(round(255 * strength), (inset, inset, small.width - inset, small.height - inset))
    soft = small.filter(ImageFilter.BoxBlur(blur / _SHADOW_SCALE / 2)).filter(
        ImageFilter.BoxBlur(blur / _SHADOW_SCALE / 2)
    )
    canvas.paste(colour, (left, top), soft.resize((right - left, bottom - top), Image.Resampling.BILINEAR))


@lru_cache(maxsize=4)
def checker(size: tuple[int, int], side: int, light: Colour, dark: Colour) -> Image.Image:
    """A chequered tile: RGB[size]; never drawn on."""
    tile = Image.new("RGB", size, light)
    draw = ImageDraw.Draw(tile)
    for row in range(math.ceil(size[1] / side)):
        for column in range(row % 2, math.ceil(size[0] / side), 2):
            x, y = column * side, row * side
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill=dark)
    return tile


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a box is drawn: ``line`` pixels of ``colour``, its inside tinted, a ``halo`` around that shows on anything.

    ``strength`` of the line and ``tint`` are opacities from 0 to 255; lengths are pixels.
    """

    colour: Colour
    line: int
    strength: int = 255
    tint: int = 0
    halo: int = 0
    halo_colour: Colour = (255, 255, 255)


def frame(canvas: Image.Image, area: Area, stroke: Stroke) -> None:
    """Draws a box around a rectangle, with round corners."""
    if stroke.halo:
        _ring(canvas, area, (stroke.line + stroke.halo, stroke.line), stroke.halo_colour, (255, 0))
    _ring(canvas, area, (stroke.line, 0), stroke.colour, (stroke.strength, stroke.tint))


def _ring(canvas: Image.Image, area: Area, grown: tuple[int, int], colour: Colour, opacity: tuple[int, int]) -> None:
    masks = []
    for grow, value in zip(grown, opacity, strict=True):
        size = (area[2] - area[0] + 2 * grow, area[3] - area[1] + 2 * grow)
        masks.append((Image.new("L", size, value), rounded(size, _FRAME_CORNER + grow)))
    (border, shape), (inside, inner_shape) = masks
    mask = Image.composite(border, Image.new("L", border.size), shape)
    inset = grown[0] - grown[1]
    mask.paste(inside, (inset, inset), inner_shape)
    canvas.paste(colour, (area[0] - grown[0], area[1] - grown[0]), mask)


def frame_polygon(canvas: Image.Image, corners: Sequence[Point], stroke: Stroke) -> None:
    """Draws a box around a polygon, such as a line of text that is not level."""
    pad = 2 * (stroke.line + stroke.halo)
    left, top = (math.floor(min(at)) - pad for at in zip(*corners, strict=True))
    size = tuple(
        math.ceil(max(at)) + pad - low for at, low in zip(zip(*corners, strict=True), (left, top), strict=True)
    )
    large = (size[0] * _FINER_LINES, size[1] * _FINER_LINES)
    points = [((x - left) * _FINER_LINES, (y - top) * _FINER_LINES) for x, y in corners]
    around = [*points, *points[:2]]
    halo, line = Image.new("L", large), Image.new("L", large)
    draw = ImageDraw.Draw(halo)
    draw.line(around, 255, (stroke.line + 2 * stroke.halo) * _FINER_LINES, joint="curve")
    draw.polygon(points, 0)
    draw = ImageDraw.Draw(line)
    draw.polygon(points, stroke.tint)
    draw.line(around, stroke.strength, stroke.line * _FINER_LINES, joint="curve")
    canvas.paste(stroke.halo_colour, (left, top), halo.reduce(_FINER_LINES))
    canvas.paste(stroke.colour, (left, top), line.reduce(_FINER_LINES))
