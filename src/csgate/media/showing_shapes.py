"""Smooth shapes for result pictures: Pillow draws without anti-aliasing, so masks are drawn larger and reduced."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Area = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two are outside."""

_FINER: Final = 4
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


def outline(
    canvas: Image.Image, corners: Sequence[Point], *, width: float, colour: Colour, halo: Colour, tint: float
) -> None:
    """A polygon: its inside tinted, a coloured line, and a thin ``halo`` around that, which shows on any picture."""
    pad = math.ceil(2 * width)
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    left, top = math.floor(min(xs)) - pad, math.floor(min(ys)) - pad
    size = (math.ceil(max(xs)) + pad - left, math.ceil(max(ys)) + pad - top)
    scale = 2
    inner = [((x - left) * scale, (y - top) * scale) for x, y in corners]
    around = [*inner, inner[0], inner[1]]

    def line(thickness: float) -> Image.Image:
        large = Image.new("L", (size[0] * scale, size[1] * scale))
        ImageDraw.Draw(large).line(around, fill=255, width=round(thickness * scale), joint="curve")
        return large.reduce(scale)

    inside = Image.new("L", (size[0] * scale, size[1] * scale))
    ImageDraw.Draw(inside).polygon(inner, fill=round(255 * tint))
    canvas.paste(colour, (left, top), inside.reduce(scale))
    thin = line(width)
    ring = ImageChops.subtract(line(width * 1.9), thin)
    canvas.paste(halo, (left, top), ring)
    canvas.paste(colour, (left, top), thin)
