"""Pictures made ready for keeping."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from csgate.errors import BadImage, ImageTooLarge, UnsupportedImage
from csgate.media.normal import Limits, Normal, normalise, save
from csgate.pictures import decode
from tests.media.hostile import (
    apng_moving,
    gif_frame,
    gif_head,
    gif_moving,
    noisy,
    photo,
    png_of,
    segment,
    webp_moving,
    zeros,
)
from tests.media.hostile import save as encode

LIMITS = Limits(max_pixels=50_000_000, max_width=800, quality=85, max_frames=300)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def ready(data: bytes, limits: Limits = LIMITS) -> Normal:
    made = normalise(data, limits)
    assert made.width <= limits.max_width
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.format == made.format.upper()
        assert image.size == (made.width, made.height)
        assert not image.getexif()
        image.load()
    again = normalise(made.data, limits)
    assert again == replace(made, outcome="as it was")
    return made


def sticker(width: int = 64, height: int = 48) -> Image.Image:
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    image.paste((250, 200, 20, 255), (width // 4, height // 4, width // 2, height // 2))
    return image


def exif(turn: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = turn
    made[0x010F] = "a camera"
    return made


# --- What is right stays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_is_right_stays_as_it_is(format: str) -> None:
    whole = photo(format, 320, 240)
    assert ready(whole) == Normal(whole, format.lower(), 320, 240, False, "as it was")  # type: ignore[arg-type]


def test_metadata_is_cut_without_encoding_again() -> None:
    whole = photo("JPEG", 320, 240)
    extra = segment(0xE1, exif(1).tobytes()) + segment(0xFE, b"a comment")
    made = ready(whole[:20] + extra + whole[20:])
    assert made.outcome == "stripped"
    assert made.data == whole


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_a_sticker_stays_one(format: str) -> None:
    made = ready(encode(sticker(), format))
    assert (made.format, made.sticker) == (format.lower(), True)
    assert decode(made.data, max_pixels=100_000).pixels[0, 0, 3] == 0


@pytest.mark.parametrize("data", [gif_moving(64, 64, 5), webp_moving(64, 64, 5), apng_moving(64, 64, 5)])
def test_a_sticker_that_moves_stays_one(data: bytes) -> None:
    made = ready(data)
    assert made.sticker
    assert made.outcome != "encoded"
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.n_frames == 5  # type: ignore[attr-defined]


def test_a_large_lossless_photo_becomes_a_jpeg() -> None:
    rng = np.random.default_rng(1)
    large = encode(Image.fromarray(rng.integers(0, 256, (400, 600, 3), np.uint8)), "PNG")
    assert len(large) > 256 * 1024
    made = ready(large)
    assert (made.format, made.width, made.height, made.sticker) == ("jpeg", 600, 400, False)
    assert len(made.data) < len(large)


def test_unless_that_is_not_possible() -> None:
    tall = encode(Image.fromarray(np.random.default_rng(2).integers(0, 256, (66_000, 2, 3), np.uint8)), "PNG")
    assert len(tall) > 256 * 1024
    assert ready(tall).format == "png"


def test_a_palette_that_a_jpeg_cannot_beat() -> None:
    dots = np.random.default_rng(3).integers(0, 16, (1000, 800), np.uint8)
    image = Image.fromarray(dots, "P")
    image.putpalette(np.random.default_rng(4).integers(0, 256, 48, np.uint8).tobytes())
    whole = encode(image, "PNG")
    assert len(whole) > 256 * 1024
    assert ready(whole).data == whole


# --- What is not right is encoded again -------------------------------------------------------------------------------


def test_a_wide_photo_becomes_narrow() -> None:
    made = ready(encode(Image.open(io.BytesIO(photo("JPEG", 1600, 1200))), "JPEG", icc_profile=PROFILE, exif=exif(1)))
    assert (made.format, made.width, made.height, made.outcome) == ("jpeg", 800, 600, "encoded")
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.info["icc_profile"] == PROFILE
        assert "comment" not in image.info


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("width", [400, 1600])
def test_orientation_is_applied(turn: int, width: int) -> None:
    image = Image.new("RGB", (width, width // 2), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, width // 2))
    whole = encode(image, "JPEG", exif=exif(turn))
    made = ready(whole)
    expected = decode(whole, max_pixels=10_000_000)
    scale = min(1.0, 800 / expected.width)
    assert (made.width, made.height) == (round(expected.width * scale), round(expected.height * scale))
    kept = Image.fromarray(decode(made.data, max_pixels=10_000_000).pixels[..., :3]).resize((8, 8))
    original = Image.fromarray(expected.pixels[..., :3]).resize((8, 8))
    assert np.abs(np.asarray(kept).astype(int) - np.asarray(original)).max() < 40


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_modes_that_browsers_may_not_show(mode: str) -> None:
    made = ready(encode(Image.open(io.BytesIO(photo("JPEG", 64, 48))).convert(mode), "JPEG"))
    assert made.format == "jpeg"
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.mode == ("L" if mode == "L" else "RGB")


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
def test_a_wide_sticker_keeps_format_and_transparency(format: str) -> None:
    made = ready(encode(sticker(1000, 600), format))
    assert (made.format, made.width, made.height, made.sticker) == (format.lower(), 800, 480, True)
    shown = decode(made.data, max_pixels=10_000_000)
    assert shown.pixels[0, 0, 3] == 0
    assert shown.pixels[180, 250, 3] == 255


def test_a_wide_screenshot_becomes_a_jpeg() -> None:
    made = ready(photo("PNG", 1280, 800))
    assert (made.format, made.width, made.height) == ("jpeg", 800, 500)


@pytest.mark.parametrize(
    ("format", "turned"), [("gif", False), ("webp", False), ("webp", True), ("png", False), ("png", True)]
)
def test_a_wide_sticker_that_moves_keeps_moving(format: str, turned: bool) -> None:
    colours = ((250, 10, 10, 255), (10, 250, 10, 255), (10, 10, 250, 0))
    size = (600, 1000) if turned else (1000, 600)
    frames = [Image.new("RGBA", size, colour) for colour in colours]
    options: dict[str, Any] = {"disposal": 2} if format == "gif" else {"exif": exif(6)} if turned else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], duration=[40, 60, 80], loop=2, **options)
    made = ready(data)
    assert (made.format, made.width, made.height, made.outcome) == (format, 800, 480, "encoded")
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        assert image.info["loop"] == 2
        for index, (colour, duration) in enumerate(zip(colours, (40, 60, 80), strict=True)):
            image.seek(index)
            image.load()
            assert image.info["duration"] == duration
            pixel = image.convert("RGBA").getpixel((400, 240))
            assert isinstance(pixel, tuple)
            assert pixel[3] == colour[3]
            assert colour[3] == 0 or np.abs(np.subtract(pixel[:3], colour[:3])).max() < 20


def test_the_picture_for_those_who_cannot_show_it_moving_is_left_out() -> None:
    frames = [Image.new("RGB", (1000, 10), colour) for colour in ((9, 9, 9), (250, 0, 0), (0, 250, 0))]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    made = ready(data)
    with Image.open(io.BytesIO(made.data)) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
        assert image.convert("RGB").getpixel((5, 2)) == (250, 0, 0)


def test_frames_are_left_out_where_it_would_take_too_long_and_it_plays_as_long_as_before() -> None:
    made = ready(noisy(820, 600, 14, "GIF"))
    with Image.open(io.BytesIO(made.data)) as image:
        frames = image.n_frames  # type: ignore[attr-defined]
        assert 1 < frames < 14
        played = 0
        for index in range(frames):
            image.seek(index)
            played += image.info["duration"]
    assert played == 14 * 40
    flat = [Image.new("RGB", (1600, 1200), (20 * index, 0, 0)) for index in range(12)]
    long = ready(encode(flat[0], "GIF", save_all=True, append_images=flat[1:], duration=40))
    with Image.open(io.BytesIO(long.data)) as image:  # 16 million pixels of them
        assert image.n_frames == 8  # type: ignore[attr-defined]


def test_an_odd_gif_is_shown_by_its_first_frame() -> None:
    made = ready(gif_head(8, 8) + gif_frame(8, 8) + gif_frame(9, 9) + b"\x3b")
    assert (made.format, made.width, made.sticker, made.outcome) == ("jpeg", 8, False, "encoded")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 1700),
    st.integers(1, 300),
    st.sampled_from(["RGB", "RGBA", "L", "P", "1", "LA"]),
    st.sampled_from(["PNG", "WEBP", "GIF"]),
)
def test_any_size_and_mode(width: int, height: int, mode: str, format: str) -> None:
    image = Image.effect_noise((width, height), 60).convert("RGB").convert(mode)
    made = ready(encode(image, format))
    assert made.height == (height if width <= 800 else max(1, round(height * 800 / width)))


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BadImage),
        (b"text", UnsupportedImage),
        (photo("JPEG", 64, 48)[:-300], BadImage),
        (photo("PNG", 64, 48).replace(b"IDAT\x78", b"IDAT\xff"), BadImage),
        (photo("PNG", 900, 48).replace(b"IDAT\x78", b"IDAT\xff"), BadImage),
        (png_of(4_000, 4_000, zeros(10)), ImageTooLarge),
        (webp_moving(2_600, 2_600, 2), ImageTooLarge),
    ],
)
def test_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        normalise(data, LIMITS)


def test_what_a_format_cannot_hold_is_a_bad_image() -> None:
    with pytest.raises(BadImage):
        save(Image.new("RGB", (20_000, 1)), "webp", 85)
