"""The short way of plain JPEGs: with Pillow's pixels, and whatever is not plain is left to Pillow."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from csgate.errors import BadImage, CsgateError, ImageTooLarge
from csgate.pictures import decoding, plain_jpeg
from csgate.pictures.decoding import DecodedPicture, decode
from csgate.pictures.plain_jpeg import MOST_SEGMENTS, PlainJpeg, decode_plain_jpeg, read_plain_jpeg

MAX_PIXELS = 1_000_000
COVER = (48, 48)


def photo(size: tuple[int, int] = (150, 110), mode: str = "RGB", seed: int = 1) -> Image.Image:
    """Smooth fields of colour, and something to be turned by."""
    random = np.random.default_rng(seed)
    fields = Image.fromarray(random.integers(0, 255, (5, 7, 3), np.uint8))
    return fields.resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image | None = None, turn: int = 0, **options: Any) -> bytes:
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    stream = io.BytesIO()
    (image or photo()).save(stream, "JPEG", **({"exif": exif} if turn else {}), **options)
    return stream.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(content)) + content


def with_segment(marker: int, content: bytes, data: bytes | None = None) -> bytes:
    whole = data or jpeg()
    return whole[:2] + segment(marker, content) + whole[2:]


def by_pillow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> DecodedPicture:
    with monkeypatch.context() as patch:
        patch.setattr(plain_jpeg, "AVAILABLE", False)
        return decode(data, max_pixels=MAX_PIXELS, cover=COVER)


def test_it_is_installed_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain_jpeg.AVAILABLE
    monkeypatch.setattr(decoding, "open_picture", None)
    assert decode(jpeg(), max_pixels=MAX_PIXELS, cover=COVER).pixels.shape == (55, 75, 3)


@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_pixels_and_sizes_are_pillows(turn: int, mode: str, subsampling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ((150, 110), (47, 301), (640, 480), (1, 1)):
        data = jpeg(photo(size, mode), turn, quality=70, subsampling=subsampling)
        assert read_plain_jpeg(data) is not None
        quick, slow = decode(data, max_pixels=MAX_PIXELS, cover=COVER), by_pillow(data, monkeypatch)
        assert (quick.width, quick.height, quick.format, quick.alpha) == (slow.width, slow.height, "jpeg", False)
        assert np.array_equal(quick.pixels[:, :, :3], slow.pixels[:, :, :3])


def test_what_the_markers_say() -> None:
    assert read_plain_jpeg(jpeg()) == PlainJpeg(150, 110, 1)
    assert read_plain_jpeg(jpeg(turn=6)) == PlainJpeg(150, 110, 6)
    assert read_plain_jpeg(with_segment(0xFE, b"a remark")) == PlainJpeg(150, 110, 1)
    assert read_plain_jpeg(with_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")) == PlainJpeg(150, 110, 1)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(progressive=True),
        jpeg(photo(mode="CMYK")),
        with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"),
        with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>"),
        with_segment(0xE1, b"Exif\0\0", jpeg(turn=6)),
        with_segment(0xC9, b"\x08\x00\x10\x00\x10\x01\x01\x11\x00"),
        jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        b"\xff\xd8\xff\xd8" + jpeg()[2:],
        b"\xff\xd8" + segment(0xFE, b"") * MOST_SEGMENTS + jpeg()[2:],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x01",
        jpeg()[:100],
    ],
    ids=[
        "progressive", "CMYK", "Adobe", "XMP that turns", "two EXIF blocks", "arithmetic", "12 bits", "no marker",
        "ever so many segments", "nothing", "a length of 1", "cut off",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_pillow(data: bytes) -> None:
    assert read_plain_jpeg(data) is None


def test_a_scan_of_some_components_is_not_plain() -> None:
    data = jpeg()
    at = data.index(b"\xff\xda")
    assert read_plain_jpeg(data[:at] + segment(0xDA, b"\1\1\0\0\x3f\0") + data[at + 14 :]) is None
    assert read_plain_jpeg(data[:2] + data[at:]) is None  # no frame before it
    assert read_plain_jpeg(data[:at] + b"\xff\xda\x00\x02") is None  # a scan that ends where it begins
    with pytest.raises(BadImage):
        decode(data[:at] + b"\xff\xda\x00\x02", max_pixels=MAX_PIXELS, cover=COVER)


def test_what_libjpeg_remarks_on_is_left_to_pillow() -> None:
    data = jpeg(photo((640, 480)))
    cut = data[: len(data) // 2]
    plain = read_plain_jpeg(cut)
    assert plain is not None
    assert decode_plain_jpeg(cut, plain, COVER) is None
    with pytest.raises(BadImage, match="truncated"):
        decode(cut, max_pixels=MAX_PIXELS, cover=COVER)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "decode_plain_jpeg", None)
    with pytest.raises(ImageTooLarge):
        decode(jpeg(photo((1200, 1000))), max_pixels=MAX_PIXELS, cover=COVER)


def test_large_ones_are_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(photo((640, 480)))
    plain = read_plain_jpeg(data)
    assert plain is not None
    assert decode_plain_jpeg(data, plain, COVER) is not None
    monkeypatch.setattr(plain_jpeg, "MOST_PIXELS", 80 * 60 - 1)
    assert decode_plain_jpeg(data, plain, COVER) is None


def test_without_the_library_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_jpeg, "AVAILABLE", False)
    monkeypatch.setattr(decoding, "read_plain_jpeg", None)
    assert decode(jpeg(), max_pixels=MAX_PIXELS, cover=COVER).pixels.shape[:2] == (55, 75)


@given(st.data())
@example(None)
def test_damage_does_the_same_on_both_ways(data: Any) -> None:
    whole = bytearray(jpeg(photo((90, 70))))
    if data is not None:
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(3, len(whole) - 1))] = data.draw(st.integers(0, 255))
    patch = pytest.MonkeyPatch()
    found: list[Any] = []
    for way in (decode, lambda data, **options: by_pillow(data, patch)):
        try:
            picture = way(bytes(whole), max_pixels=MAX_PIXELS, cover=COVER)
            found.append((picture.width, picture.height, picture.pixels[:, :, :3].tolist()))
        except CsgateError as error:
            found.append(type(error))
    assert found[0] == found[1]
