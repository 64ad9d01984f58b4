"""Pictures from strangers: the formats that pass, every way to be wrong, and how each one is refused."""

import contextlib
import io
import struct
import threading
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csgate.errors import BadBase64, BadImage, ImageTooLarge, UnsupportedImage
from csgate.events import Picture
from csgate.pictures.decoding import MAX_JPEG_SCANS, decode, file_bytes, open_picture, sniff
from tests.inference.conftest import in_base64, picture_file

MAX_PIXELS = 1_000_000


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (32, 16)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image.convert(mode)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, extra: bytes = b"", rows: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read(data: bytes, **options: Any) -> Any:
    picture = decode(data, max_pixels=MAX_PIXELS, **options)
    # Without alpha the fourth channel is padding of no meaning.
    return picture if picture.alpha else replace(picture, pixels=picture.pixels[:, :, :3])


# --- Base64 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,", b"DATA:;base64,"])
def test_base64_with_or_without_a_data_url(prefix: bytes) -> None:
    content = picture_file()
    assert file_bytes(Picture(memoryview(prefix + in_base64(content).data), "base64")) == content


def test_binary_is_taken_as_it_is() -> None:
    assert file_bytes(Picture(memoryview(bytearray(b"abc")), "binary")) == b"abc"


@pytest.mark.parametrize(
    ("text", "position"), [(b"AA*A", 2), (b"AAA", 3), (b"data:image/png;base64,AAAA!AAA", 26), (b"data:nothing", 0)]
)
def test_wrong_base64_names_the_position_in_both_languages(text: bytes, position: int) -> None:
    with pytest.raises(BadBase64) as caught:
        file_bytes(Picture(text, "base64"))
    assert f"position {position}." in caught.value.text("en")
    assert f"位置 {position}。" in caught.value.text("zh")


# --- What passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif"])
def test_the_four_formats(format: str) -> None:
    picture = read(save(halves(), format))
    assert (picture.format, picture.width, picture.height, picture.animated) == (format, 32, 16, False)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[:2] == (16, 32)
    assert np.abs(picture.pixels[8, 4, :3].astype(int) - [255, 0, 0]).max() < 12
    assert np.abs(picture.pixels[8, 28, :3].astype(int) - [0, 0, 255]).max() < 12


@pytest.mark.parametrize(
    ("mode", "format", "channels"),
    [
        ("1", "png", 3),
        ("L", "png", 3),
        ("LA", "png", 4),
        ("P", "png", 3),
        ("RGBA", "png", 4),
        ("RGBA", "webp", 4),
        ("L", "jpeg", 3),
        ("CMYK", "jpeg", 3),
        ("L", "gif", 3),
    ],
)
def test_every_mode_becomes_rgb_or_rgba(mode: str, format: str, channels: int) -> None:
    grey = 255 if mode == "1" else 200
    image = Image.new("RGB", (4, 4), (grey, grey, grey)).convert(mode)
    if mode == "RGBA":
        image.putalpha(128)
    pixels = read(save(image, format)).pixels
    assert pixels.shape == (4, 4, channels)
    assert np.abs(pixels[..., :3].astype(int) - grey).max() <= 6
    assert channels == 3 or (pixels[..., 3] == image.getpixel((0, 0))[-1]).all()


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((4, 4), 0x4080, np.uint16))
    assert read(save(image, "png")).pixels.tolist() == np.full((4, 4, 3), 0x40).tolist()


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_becomes_alpha(mode: str) -> None:
    image = Image.new(mode, (4, 4), 0)
    transparent: Any = (0, 0, 0) if mode == "RGB" else 0
    pixels = read(save(image, "png", transparency=transparent)).pixels
    assert pixels.shape == (4, 4, 4)
    assert not pixels[..., 3].any()


@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    picture = read(save(frames[0], format, save_all=True, append_images=frames[1:]))
    assert picture.animated
    assert np.abs(picture.pixels[4, 4, :3].astype(int) - [255, 0, 0]).max() < 6


def test_a_gif_whose_second_frame_is_damaged_still_gives_its_first() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    whole = save(frames[0], "gif", save_all=True, append_images=frames[1:])
    second = whole.rindex(b",")
    picture = read(whole[: second + 3])
    assert np.abs(picture.pixels[4, 4, :3].astype(int) - [255, 0, 0]).max() < 6
    assert not picture.animated


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = halves()
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = upright if stored is None else upright.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read(save(image, "png", exif=exif))
    assert (picture.width, picture.height) == (32, 16)
    assert np.array_equal(picture.pixels, np.asarray(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_exif_block_is_passed_over() -> None:
    data = save(halves(), "jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert read(data).width == 32


def test_an_orientation_that_is_no_number_is_passed_over() -> None:
    exif = b"II*\x00" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 2, b"x", 0)
    assert read(save(halves(), "png", exif=exif)).width == 32


def test_a_jpeg_is_decoded_no_larger_than_needed() -> None:
    data = save(halves(size=(640, 480)), "jpeg")
    picture = read(data, cover=(48, 48))
    assert picture.pixels.shape == (60, 80, 3)
    assert (picture.width, picture.height) == (640, 480)
    assert read(data).pixels.shape == (480, 640, 3)


# --- What does not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"Dear shop, here is no picture at all.",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        save(halves(), "bmp"),
        save(halves(), "tiff"),
        save(halves(), "ico"),
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"%PDF-1.7",
        b"\x00",
    ],
)
def test_other_kinds_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        read(data)


def test_an_empty_picture_is_damaged() -> None:
    with pytest.raises(BadImage):
        read(b"")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_pictures_are_damaged(format: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))
    data = save(noise, format)
    with pytest.raises(BadImage):
        read(data[: int(len(data) * share)])


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif"])
def test_a_signature_alone_is_damaged(format: str) -> None:
    head = save(halves(), format)[:12]
    assert sniff(head) == format
    with pytest.raises(BadImage):
        read(head)


def test_the_pixel_limit_is_checked_from_the_header() -> None:
    with pytest.raises(ImageTooLarge) as caught:
        decode(png(50_000, 50_000), max_pixels=50_000_000)
    assert "50 million" in caught.value.text("en")
    assert "5000 万" in caught.value.text("zh")
    with pytest.raises(ImageTooLarge):
        decode(png(2**31 - 1, 2**31 - 1), max_pixels=50_000_000)


def test_the_limit_itself_passes() -> None:
    data = save(Image.new("RGB", (100, 100)), "jpeg")
    assert decode(data, max_pixels=10_000).width == 100
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=9_999)


@pytest.mark.parametrize("format", ["png", "gif", "webp"])
def test_what_cannot_be_decoded_smaller_has_a_lower_limit(format: str) -> None:
    data = save(Image.new("RGB", (100, 100)), format)
    assert decode(data, max_pixels=40_000).width == 100
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=39_999)


def test_a_header_that_promises_more_than_there_is() -> None:
    with pytest.raises(BadImage):
        read(png(500, 500, rows=b"\x00" * 10))


def test_a_gif_frame_larger_than_its_screen_is_held_to_the_limit() -> None:
    data = bytearray(save(halves(), "gif"))
    at = data.rindex(b",")
    data[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(ImageTooLarge):
        read(bytes(data))


def test_a_gif_far_larger_than_its_screen_is_held_to_pillows_limit_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    frames = [halves(), Image.new("RGB", (32, 16), (0, 255, 0))]
    data = save(frames[0], "gif", save_all=True, append_images=frames[1:], disposal=2)
    with pytest.raises(ImageTooLarge):
        read(data)


def webp_chunk(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        webp_chunk(b"VP8X", b"\x00" * 4 + b"\xff\x3f\x00" * 2 + b"\x00" * 8),
        webp_chunk(b"VP8L", b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + b"\x00" * 16),
        webp_chunk(b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF) + b"\x00" * 16),
    ],
)
def test_a_webp_canvas_is_measured_before_its_decoder_allocates_it(data: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        read(data)


@pytest.mark.parametrize("data", [webp_chunk(b"ALPH", b"\x00" * 32), webp_chunk(b"VP8L", b"\x00" * 32)])
def test_a_webp_without_a_known_first_chunk_is_damaged(data: bytes) -> None:
    with pytest.raises(BadImage):
        read(data)


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_sizes_by_our_reading_are_pillows(lossless: bool) -> None:
    data = save(halves(size=(50, 31)), "webp", lossless=lossless)
    assert decode(data, max_pixels=4 * 50 * 31).width == 50
    with pytest.raises(ImageTooLarge):
        decode(data, max_pixels=4 * 50 * 31 - 1)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_compressed_text_bomb_in_a_png_does_not_unfold(kind: bytes) -> None:
    bomb = chunk(kind, b"name\x00\x00" + zlib.compress(b"\x00" * 50_000_000, 9))
    rows = b"".join(b"\x00" + b"\x07" * 12 for _ in range(4))
    assert read(png(4, 4, b"", rows)).pixels[0, 0, 0] == 7
    with pytest.raises(BadImage):
        read(png(4, 4, bomb, rows))


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    data = save(halves(), "jpeg", progressive=True)
    read(data)
    with pytest.raises(BadImage):
        read(data + b"\xff\xda" * MAX_JPEG_SCANS)


def test_a_large_jpeg_may_have_few_scans_only() -> None:
    data = save(Image.new("RGB", (7000, 7000)), "jpeg", progressive=True)
    assert decode(data, max_pixels=50_000_000, cover=(48, 48)).width == 7000
    with pytest.raises(BadImage):
        decode(data + b"\xff\xda" * 20, max_pixels=50_000_000, cover=(48, 48))


@pytest.mark.parametrize(
    ("format", "place", "piece"),
    [
        ("jpeg", 2, b"\xff\xe1\x00\x02"),
        ("jpeg", 2, b"\xff"),
        ("png", 33, chunk(b"abCd", b"")),
        ("gif", 13, b"!\xfe\x01a\x00"),
    ],
)
def test_a_file_of_ever_so_many_tiny_pieces_is_refused(format: str, place: int, piece: bytes) -> None:
    data = save(halves("P" if format == "gif" else "RGB"), format)
    if format == "gif":
        place += 3 * 2 ** ((data[10] & 7) + 1)  # behind the palette
    read(data[:place] + piece * 1000 + data[place:])
    with pytest.raises(BadImage):
        read(data[:place] + piece * 250_000 + data[place:])


SAMPLES = {format: save(halves(size=(24, 24)), format) for format in ("jpeg", "png", "webp", "gif")}


@given(
    format=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 10_000),
)
def test_whatever_is_damaged_only_a_typed_refusal_comes_out(
    format: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(SAMPLES[format])
    for where, value in changes:
        data[where % len(data)] = value
    data = data[: len(data) - (cut % len(data)) // 2]
    with contextlib.suppress(BadImage, UnsupportedImage, ImageTooLarge):
        assert read(bytes(data), cover=(8, 8)).pixels.ndim == 3


def test_threads_decode_side_by_side() -> None:
    wrong: list[Any] = []

    def work(format: str) -> None:
        for _ in range(20):
            picture = read(SAMPLES[format])
            if picture.format != format or picture.width != 24:
                wrong.append(picture)

    threads = [threading.Thread(target=work, args=(format,)) for format in SAMPLES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_of_very_large_pictures_one_is_open_at_a_time() -> None:
    """Each holds tens of megabytes; two at once would be more than one stranger may take."""
    large = io.BytesIO()
    Image.new("L", (3_000, 3_000)).save(large, "PNG", compress_level=1)
    small = io.BytesIO()
    Image.new("L", (30, 30)).save(small, "PNG")
    opened = threading.Event()

    def second() -> None:
        with open_picture(large.getvalue(), max_pixels=50_000_000):
            opened.set()

    thread = threading.Thread(target=second)
    with open_picture(large.getvalue(), max_pixels=50_000_000):
        thread.start()
        decode(small.getvalue(), max_pixels=50_000_000)  # waits for nobody
        assert not opened.wait(0.05)
    assert opened.wait(30)
    thread.join()
