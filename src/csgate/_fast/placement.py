"""Where a picture goes in a tensor: which part of it is shown, and in which window."""

import struct
from typing import Final, Literal, NamedTuple

Mode = Literal["crop", "letterbox", "stretch"]
MODES: Final = ("crop", "letterbox", "stretch")
_BOX: Final = struct.Struct("4f")


class Placement(NamedTuple):
    """``box`` of the source is shown in ``window`` of the tensor; the rest of the tensor is filled.

    Attributes:
        box: left, upper, right, lower in source pixels, between pixels too.
        window: left, upper, width, height in the tensor's pixels, at least 1 × 1.
    """

    box: tuple[float, float, float, float]
    window: tuple[int, int, int, int]


def place(width: int, height: int, into_width: int, into_height: int, mode: str) -> Placement:
    """Places a picture of ``width`` × ``height`` pixels into a tensor of ``into_width`` × ``into_height``.

    ``crop`` fills the tensor and cuts off what sticks out on both sides alike (Pillow's ``ImageOps.fit``),
    ``letterbox`` shows all of it, centred (``ImageOps.pad``), ``stretch`` lets go of its proportions.

    Raises:
        ValueError: ``mode`` is none of these.
    """
    whole = (0.0, 0.0, float(width), float(height))
    everything = (0, 0, into_width, into_height)
    if mode == "stretch" or (mode in MODES and width * into_height == height * into_width):
        return Placement(whole, everything)
    wider = width * into_height > height * into_width
    if mode == "crop":
        ratio = into_width / into_height
        if wider:
            shown_width = ratio * height
            left = (width - shown_width) * 0.5
            box = (left, 0.0, left + shown_width, float(height))
        else:
            shown_height = width / ratio
            upper = (height - shown_height) * 0.5
            box = (0.0, upper, float(width), upper + shown_height)
        # Pillow keeps a box in single precision; an edge that falls between two pixels is decided by the last bit.
        left, upper, right, lower = _BOX.unpack(_BOX.pack(*box))
        return Placement((left, upper, min(right, float(width)), min(lower, float(height))), everything)
    if mode == "letterbox":
        if wider:
            shown = max(1, round(height / width * into_width))
            return Placement(whole, (0, round((into_height - shown) * 0.5), into_width, shown))
        shown = max(1, round(width / height * into_height))
        return Placement(whole, (round((into_width - shown) * 0.5), 0, shown, into_height))
    raise ValueError(f"mode is {mode!r}; it may be {', '.join(MODES)}")
