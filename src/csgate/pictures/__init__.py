"""Strangers' pictures made safe: what ``inference`` understands and ``media`` keeps are decoded by the same code."""

from csgate.pictures.decoding import (
    DecodedPicture,
    Format,
    Pixels,
    decode,
    file_bytes,
    open_picture,
    orientation,
    plain,
    shown_size,
    sniff,
    upright,
)
from csgate.pictures.frames import sample_frames

__all__ = [
    "DecodedPicture",
    "Format",
    "Pixels",
    "decode",
    "file_bytes",
    "open_picture",
    "orientation",
    "plain",
    "sample_frames",
    "shown_size",
    "sniff",
    "upright",
]
