"""What was seen in a picture, as the result picture shows it."""

import msgspec

from csgate.events import Language, Tag

Corner = tuple[float, float]


class Line(msgspec.Struct, frozen=True):
    """A line of text that was read. ``box``: its four corners, clockwise, as fractions of width and height (0 to 1)."""

    text: str
    score: float
    box: tuple[Corner, Corner, Corner, Corner]


class Shown(msgspec.Struct, frozen=True):
    """``kind``: "photo", "sticker", "screenshot" or None where that is not known."""

    tags: tuple[Tag, ...] = ()
    kind: str | None = None
    lines: tuple[Line, ...] = ()
    language: Language = "en"
