"""A few frames of what moves."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from csgate.errors import BadImage, ImageTooLarge, UnsupportedImage
from csgate.pictures import sample_frames
from tests.media.hostile import CORPUS, gif_frame, gif_head, photo, save

SHADES = [20 * index for index in range(12)]


def moving(format: str, size: tuple[int, int] = (32, 24), **options: Any) -> bytes:
    frames = [Image.new("RGB", size, (shade, shade, shade)) for shade in SHADES]
    if format == "webp":
        options["lossless"] = True
    return save(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)


def shades(data: bytes, count: int = 4) -> list[int]:
    return [int(frame.pixels[2, 2, 0]) for frame in sample_frames(data, max_pixels=50_000_000, count=count)]


@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_the_first_frame_and_three_more(format: str) -> None:
    assert shades(moving(format)) == [0, 60, 120, 180]
    assert shades(moving(format), 1) == [0]
    assert shades(moving(format), 100) == SHADES
    found = sample_frames(moving(format), max_pixels=50_000_000)
    assert {(frame.width, frame.height, frame.animated, frame.format) for frame in found} == {(32, 24, True, format)}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_that_does_not_move(format: str) -> None:
    found = sample_frames(photo(format, 32, 24), max_pixels=50_000_000)
    assert len(found) == 1
    assert not found[0].animated


def test_the_picture_for_those_who_cannot_show_it_moving_is_no_frame() -> None:
    assert shades(moving("png", default_image=True)) == [20, 60, 120, 180]


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = moving("webp", exif=exif)
    assert [frame.pixels.shape[:2] for frame in sample_frames(data, max_pixels=50_000_000)] == [(24, 32)] * 4


def test_only_so_much_is_decoded() -> None:
    found = shades(moving("gif", (2_000, 2_000)), 100)
    assert found == SHADES[:4]


def test_a_frame_that_is_damaged_ends_it() -> None:
    whole = moving("png")
    places = [at for at in range(len(whole)) if whole.startswith((b"IDAT", b"fdAT"), at)]
    assert len(places) == 12
    broken = bytearray(whole)
    broken[places[5] + 8 : places[5] + 12] = b"\xff\xff\xff\xff"
    assert shades(bytes(broken)) == [0, 60]
    broken[places[0] + 4 : places[0] + 8] = b"\xff\xff\xff\xff"
    with pytest.raises(BadImage):
        shades(bytes(broken))


def test_a_sticker_whose_frames_are_all_damaged_is_its_still_picture() -> None:
    whole = bytearray(moving("png", default_image=True))
    first = whole.index(b"fdAT")
    whole[first + 8 : first + 12] = b"\xff\xff\xff\xff"
    assert shades(bytes(whole)) == [0]


def test_refused() -> None:
    for data, error in ((b"", BadImage), (b"text", UnsupportedImage), (moving("png", (4_000, 4_000)), ImageTooLarge)):
        with pytest.raises(error):
            sample_frames(data, max_pixels=50_000_000)


def test_frames_outside_the_picture_are_not_followed() -> None:
    data = gif_head(8, 8) + gif_frame(8, 8) + gif_frame(13_000, 13_000) * 3 + b"\x3b"
    found = sample_frames(data, max_pixels=50_000_000)
    assert [np.shape(frame.pixels)[:2] for frame in found] == [(8, 8)]


@pytest.mark.parametrize("name", [name for name in CORPUS if "frames" in name])
def test_hostile_ones(name: str) -> None:
    found = sample_frames(CORPUS[name].make(), max_pixels=50_000_000)
    assert 1 <= len(found) <= 4
