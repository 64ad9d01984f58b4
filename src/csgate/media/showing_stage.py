"""The upper part of a result picture: the picture itself, and where in it text was read."""

import math
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw

from csgate.media.showing_look import ACCENT, CARD_WIDTH, CHECK, PADDING, SHADOW, STAGE, WHITE
from csgate.media.showing_shapes import Point, Stroke, checker, fill, frame, frame_polygon, rounded, shadow
from csgate.media.showing_text import put
from csgate.media.shown import Line
from csgate.pictures import DecodedPicture

STAGE_WIDTH: Final = CARD_WIDTH - 2 * PADDING
MAX_BOXES: Final = 30

_LEAST_HEIGHT: Final = 264
_GREATEST_HEIGHT: Final = 880
_MARGIN: Final = 36
_ENLARGED: Final = 2.5
_STICKER_SIDE: Final = 340
_STICKER_ENLARGED: Final = 5.0
_PICTURE_RADIUS: Final = 15
_CHECK_SIDE: Final = 24
_SHADOW_BLUR: Final = 16
_NUMBERED: Final = Stroke(ACCENT, line=4, tint=26, halo=2)
_UNNUMBERED: Final = Stroke(ACCENT, line=2, strength=150, tint=26)
_BOX_PAD: Final = 3
_LEVEL: Final = 0.035
"""A line that rises less than this over its length is level: it looks better with a straight box."""
_LEAST_BOX: Final = 3.0
"""A box of fewer pixels is a mistake, and nothing to point at."""
BADGE_RADIUS: Final = 21
_BADGE_EDGE: Final = 3
_BADGE_TEXT: Final = 26


def stage(picture: DecodedPicture, kind: str | None, lines: Sequence[Line], listed: Sequence[int]) -> Image.Image:
    """The picture on a tile ``STAGE_WIDTH`` wide, with a box around each of ``lines``.

    The boxes of the lines at ``listed`` have the numbers 1, 2, …; of the others, so many are drawn that there are at
    most ``MAX_BOXES``.
    """
    image = _image(picture)
    size, height = _measure(picture.width, picture.height, sticker=kind == "sticker")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5)
    left, top = (STAGE_WIDTH - size[0]) // 2, (height - size[1]) // 2
    if image.mode == "RGBA":
        tile = checker((STAGE_WIDTH, height), _CHECK_SIDE, CHECK, STAGE).copy()
        tile.paste(image, (left, top), image)
    else:
        tile = Image.new("RGB", (STAGE_WIDTH, height), STAGE)
        if tile.size == size:
            tile.paste(image)
        else:
            shadow(tile, (left, top, left + size[0], top + size[1]), _SHADOW_BLUR, SHADOW, 0.3)
            tile.paste(image, (left, top), rounded(size, _PICTURE_RADIUS))
    boxes = {index: _box(line, (left, top), size) for index, line in enumerate(lines)}
    _mark(tile, {index: box for index, box in boxes.items() if box}, listed)
    return tile


def badge(canvas: Image.Image, centre: tuple[int, int], count: int, *, edge: bool = False) -> None:
    """A number in a disc, with a white ``edge`` where it lies on a picture."""
    x, y = centre
    for radius, colour in ((BADGE_RADIUS + _BADGE_EDGE, WHITE), (BADGE_RADIUS, ACCENT))[0 if edge else 1 :]:
        fill(canvas, (x - radius, y - radius, x + radius, y + radius), radius, colour)
    put(ImageDraw.Draw(canvas), (x, y), str(count), "bold", _BADGE_TEXT, WHITE, "m")


def _image(picture: DecodedPicture) -> Image.Image:
    """RGBA where something can be seen through it, else RGB."""
    pixels = picture.pixels
    size = (pixels.shape[1], pixels.shape[0])
    raw = "RGBA" if picture.alpha else "RGBX" if pixels.shape[2] == 4 else "RGB"
    image = Image.frombuffer("RGBA" if picture.alpha else "RGB", size, pixels, "raw", raw, 0, 1)
    if picture.alpha and image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB")
    return image


def _measure(width: int, height: int, *, sticker: bool) -> tuple[tuple[int, int], int]:
    """How large the picture is drawn, and how high the tile is. It fills the tile unless too small or too tall."""
    if sticker:
        scale = min(_STICKER_SIDE / max(width, height), _STICKER_ENLARGED)
    else:
        scale = STAGE_WIDTH / width
        if scale <= _ENLARGED and _LEAST_HEIGHT <= height * scale <= _GREATEST_HEIGHT:
            whole = round(height * scale)
            return (STAGE_WIDTH, whole), whole
        room = (STAGE_WIDTH - 2 * _MARGIN, _GREATEST_HEIGHT - 2 * _MARGIN)
        scale = min(room[0] / width, room[1] / height, _ENLARGED)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return size, max(size[1] + 2 * _MARGIN, _LEAST_HEIGHT)


def _box(line: Line, place: tuple[int, int], size: tuple[int, int]) -> list[Point]:
    """The corners on the tile; none where they make no box."""
    if not all(math.isfinite(number) for corner in line.box for number in corner):
        return []
    corners = [
        (place[0] + size[0] * min(max(x, 0.0), 1.0), place[1] + size[1] * min(max(y, 0.0), 1.0)) for x, y in line.box
    ]
    xs, ys = zip(*corners, strict=True)
    return corners if min(max(xs) - min(xs), max(ys) - min(ys)) >= _LEAST_BOX else []


def _mark(tile: Image.Image, boxes: dict[int, list[Point]], listed: Sequence[int]) -> None:
    numbered = {index: count for count, index in enumerate(listed, 1) if index in boxes}
    others = [index for index in boxes if index not in numbered][: MAX_BOXES - len(numbered)]
    for index in (*others, *numbered):
        _outline(tile, boxes[index], _NUMBERED if index in numbered else _UNNUMBERED)
    taken: list[tuple[int, int]] = []
    for index, count in numbered.items():
        taken.append(_free_place(boxes[index], tile.size, taken))
        badge(tile, taken[-1], count, edge=True)


def _outline(tile: Image.Image, box: Sequence[Point], stroke: Stroke) -> None:
    (x0, y0), (x1, y1) = box[:2]
    xs, ys = zip(*box, strict=True)
    if abs(y1 - y0) <= _LEVEL * abs(x1 - x0):
        area = (math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys)))
        frame(tile, (area[0] - _BOX_PAD, area[1] - _BOX_PAD, area[2] + _BOX_PAD, area[3] + _BOX_PAD), stroke)
    else:
        frame_polygon(tile, box, stroke)


def _free_place(box: Sequence[Point], size: tuple[int, int], taken: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Where a badge hides neither the text nor another badge: left of the box, right of it, above, below, on it."""
    reach = BADGE_RADIUS + _BADGE_EDGE + _BOX_PAD
    xs, ys = zip(*box, strict=True)
    middle = (min(ys) + max(ys)) / 2
    wishes = (
        (min(xs) - reach, middle),
        (max(xs) + reach, middle),
        (min(xs), min(ys) - reach),
        (max(xs), min(ys) - reach),
        (min(xs), max(ys) + reach),
        (min(xs), min(ys)),
    )

    def inside(wish: Point) -> tuple[int, int]:
        x, y = (min(max(round(at), reach), side - reach) for at, side in zip(wish, size, strict=True))
        return x, y

    for wish in wishes:
        place = inside(wish)
        apart = min((math.dist(place, other) for other in taken), default=math.inf)
        if math.dist(place, wish) < reach / 2 and apart >= 2 * BADGE_RADIUS - 2:
            return place
    return inside(wishes[-1])
