"""Cutting out of picture files what is not the picture, without touching the picture itself."""

from dataclasses import dataclass

from csgate.pictures.decoding import Format
from csgate.pictures.stripping.gif import strip_gif
from csgate.pictures.stripping.jpeg import strip_jpeg
from csgate.pictures.stripping.pieces import Odd
from csgate.pictures.stripping.png import strip_png
from csgate.pictures.stripping.webp import strip_webp


@dataclass(frozen=True, slots=True)
class Stripped:
    """``data``: the file without what was cut out; ``frames`` of it, 1 for a picture that does not move."""

    data: bytes
    frames: int


def strip(data: bytes, format: Format, max_frames: int) -> Stripped | None:
    """The file without comments, EXIF, XMP, text, thumbnails, large colour profiles and whatever follows its end.

    Of a moving one, what is behind frame ``max_frames`` is cut as well. The pixels stay as they are. None where the
    file has not the structure that browsers expect, though it may be a picture: it is to be encoded again.

    Raises:
        BadImage: it is made of so many pieces that this alone is an attack.
    """
    try:
        if format == "jpeg":
            return Stripped(strip_jpeg(data), 1)
        if format == "png":
            return Stripped(*strip_png(data, max_frames))
        if format == "webp":
            return Stripped(*strip_webp(data, max_frames))
        return Stripped(*strip_gif(data, max_frames))
    except Odd:
        return None
