"""What is cut out of files, and that nothing else is: random metadata in, none out, the same pixels."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from csgate.errors import BadImage
from csgate.pictures import Format
from csgate.pictures.stripping import strip
from tests.media.hostile import LOOP, chunk, gif_frame, gif_head, gif_moving, photo, riff, save, segment

SECRET = b"51.5072N,0.1276W"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

metadata = st.lists(
    st.tuples(st.integers(0, 5), st.binary(max_size=40).map(lambda raw: raw + SECRET)), min_size=1, max_size=6
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pixels(data: bytes) -> Any:
    frames = []
    with Image.open(io.BytesIO(data)) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGBA")))
    return np.stack(frames)


def stripped(data: bytes, format: Format, max_frames: int = 300) -> tuple[bytes, int]:
    made = strip(data, format, max_frames)
    assert made is not None
    again = strip(made.data, format, max_frames)
    assert again == made  # nothing is left to be cut
    return made.data, made.frames


# --- Metadata goes, pixels stay ---------------------------------------------------------------------------------------


@quick
@given(metadata, st.sampled_from([False, True]), st.binary(max_size=50))
def test_jpeg(pieces: list[tuple[int, bytes]], progressive: bool, behind: bytes) -> None:
    whole = photo("JPEG", 64, 48, progressive=progressive, icc_profile=PROFILE)
    markers = [0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE]
    extra = b"".join(segment(markers[kind], body) for kind, body in pieces)
    at = whole.index(b"\xff\xdb")
    made, frames = stripped(whole[:2] + extra + whole[2:at] + extra + whole[at:] + behind + SECRET, "jpeg")
    assert SECRET not in made
    assert frames == 1
    assert np.array_equal(pixels(made), pixels(whole))
    with Image.open(io.BytesIO(made)) as image:
        assert image.info["icc_profile"] == PROFILE
        assert not image.getexif()
    assert strip(whole, "jpeg", 1) is not None


@quick
@given(metadata, st.booleans(), st.binary(max_size=50))
def test_png(pieces: list[tuple[int, bytes]], moving: bool, behind: bytes) -> None:
    whole = save_moving("PNG") if moving else photo("PNG", 64, 48, icc_profile=PROFILE)
    kinds = [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"prVt"]
    extra = b"".join(chunk(kinds[kind], body) for kind, body in pieces)
    made, frames = stripped(whole[:33] + extra + whole[33:-12] + extra + whole[-12:] + behind + SECRET, "png")
    assert SECRET not in made
    assert frames == (3 if moving else 1)
    assert np.array_equal(pixels(made), pixels(whole))
    assert made == strip(whole, "png", 300).data  # type: ignore[union-attr]


@quick
@given(metadata, st.sampled_from(["still", "moving", "transparent"]), st.binary(max_size=50))
def test_webp(pieces: list[tuple[int, bytes]], kind: str, behind: bytes) -> None:
    if kind == "moving":
        whole = save_moving("WEBP", icc_profile=PROFILE)
    elif kind == "transparent":
        whole = save(Image.new("RGBA", (64, 48), (9, 200, 30, 120)), "WEBP", exif=b"Exif\x00\x00" + SECRET)
    else:
        whole = photo("WEBP", 64, 48)
    kinds = [b"EXIF", b"XMP ", b"evil", b"JUNK", b"XMP\x00", b"    "]
    extra = b"".join(piece[12:] for piece in (riff((kinds[number], body)) for number, body in pieces))
    body = whole[12:] + extra
    made, frames = stripped(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body + behind + SECRET, "webp")
    assert SECRET not in made
    assert frames == (3 if kind == "moving" else 1)
    assert np.array_equal(pixels(made), pixels(whole))
    with Image.open(io.BytesIO(made)) as image:
        assert image.info.get("icc_profile") == (PROFILE if kind == "moving" else None)
        assert not {"exif", "xmp"} & set(image.info)


@quick
@given(metadata, st.binary(max_size=50))
def test_gif(pieces: list[tuple[int, bytes]], behind: bytes) -> None:
    whole = save_moving("GIF", loop=3)
    heads = [b"\xfe", b"\x01", b"\xff\x0bXMP DataXMP", b"\xff\x0bICCRGBG1012", b"\xce", b"\xff\x0bNETSCAPE3.0"]
    extra = b"".join(b"\x21" + heads[kind] + bytes([len(body)]) + body + b"\x00" for kind, body in pieces)
    at = whole.index(b"\x21\xf9")
    made, frames = stripped(whole[:at] + extra + whole[at:-1] + extra + b"\x3b" + behind + SECRET, "gif")
    assert SECRET not in made
    assert frames == 3
    assert np.array_equal(pixels(made), pixels(whole))
    with Image.open(io.BytesIO(made)) as image:
        assert image.info["loop"] == 3
        assert image.info["duration"] == 70


def save_moving(format: str, **options: Any) -> bytes:
    colours = ((250, 10, 10, 255), (10, 250, 10, 128), (10, 10, 250, 0))
    frames = [Image.new("RGBA", (32, 24), colour) for colour in colours]
    return save(frames[0], format, save_all=True, append_images=frames[1:], duration=70, **options)


def test_a_clean_file_stays_as_it_is() -> None:
    for format in ("PNG", "WEBP"):
        clean = photo(format, 64, 48)
        assert stripped(clean, format.lower()) == (clean, 1)  # type: ignore[arg-type]
    once, _ = stripped(photo("JPEG", 64, 48), "jpeg")
    assert once == photo("JPEG", 64, 48)


# --- Each thing that is kept or cut -----------------------------------------------------------------------------------


def test_a_jpeg_keeps_its_heads_but_not_its_thumbnail() -> None:
    whole = photo("JPEG", 64, 48)
    thumbnail = segment(0xE0, b"JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x02\x02" + SECRET[:12])
    extended = segment(0xE0, b"JFXX\x00\x10" + SECRET)
    adobe = segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01" + SECRET)
    made, _ = stripped(whole[:2] + thumbnail + extended + adobe + whole[20:], "jpeg")
    assert made[2:20] == segment(0xE0, b"JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00")
    assert made[20:36] == segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01")
    assert SECRET[:12] not in made


def test_a_large_profile_goes() -> None:
    whole = photo("JPEG", 64, 48)
    pieces = b"".join(segment(0xE2, b"ICC_PROFILE\x00" + bytes([i, 2]) + bytes(40_000)) for i in (1, 2))
    assert stripped(whole[:20] + pieces + whole[20:], "jpeg")[0] == whole
    png = photo("PNG", 64, 48)
    assert stripped(png[:33] + chunk(b"iCCP", bytes(70_000)) + png[33:], "png")[0] == png
    webp = save(Image.new("RGB", (8, 8)), "WEBP", icc_profile=bytes(70_000))
    with Image.open(io.BytesIO(stripped(webp, "webp")[0])) as image:
        assert "icc_profile" not in image.info


def test_a_jpeg_without_the_head_jfif_has_its_profile_first() -> None:
    whole = photo("JPEG", 64, 48)
    profile = segment(0xE2, b"ICC_PROFILE\x00\x01\x01" + PROFILE)
    assert stripped(whole[:2] + whole[20:-2] + b"\xff\xd9", "jpeg")[0][2:4] == b"\xff\xdb"
    assert stripped(whole[:2] + profile + whole[20:], "jpeg")[0].startswith(whole[:2] + profile)


def test_fill_bytes_between_the_segments_of_a_jpeg() -> None:
    whole = photo("JPEG", 64, 48)
    assert stripped(whole[:2] + b"\xff\xff\xff" + whole[2:-2] + b"\xff\xff" + whole[-2:], "jpeg")[0] == whole


@pytest.mark.parametrize(
    ("format", "make"),
    [("png", lambda: save_moving("PNG")), ("webp", lambda: save_moving("WEBP")), ("gif", lambda: save_moving("GIF"))],
)
@pytest.mark.parametrize("most", [1, 2, 3])
def test_frames_beyond_the_limit_are_cut(format: Format, make: Callable[[], bytes], most: int) -> None:
    whole = make()
    made, frames = stripped(whole, format, most)
    assert frames == most
    with Image.open(io.BytesIO(made)) as image:
        assert getattr(image, "n_frames", 1) == most
    assert np.array_equal(pixels(made), pixels(whole)[:most])


def test_a_gif_that_is_cut_off_ends_before_the_broken_frame() -> None:
    whole = gif_moving(64, 64, 3)
    assert stripped(whole[:-5], "gif") == (gif_moving(64, 64, 2), 2)
    assert stripped(whole[: len(gif_head(64, 64) + LOOP + gif_frame(64, 64)) + 14], "gif")[1] == 1
    comment_cut_off = whole[:-1] + b"\x21\xfe\x09"
    assert stripped(comment_cut_off, "gif")[1] == 3


def test_a_gif_loops_as_it_did() -> None:
    assert LOOP in stripped(gif_moving(8, 8, 2), "gif")[0]
    twice = gif_head(8, 8) + LOOP + LOOP + gif_frame(8, 8) + b"\x3b"
    assert stripped(twice, "gif")[0].count(LOOP) == 1


# --- What is odd is told so, what is absurd refused -------------------------------------------------------------------

JPEG, PNG, WEBP, GIF = photo("JPEG", 64, 48), photo("PNG", 64, 48), photo("WEBP", 64, 48), gif_moving(8, 8, 2)
CANVAS = b"\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00"
ODD: list[tuple[Format, bytes]] = [
    ("jpeg", JPEG[:10]),
    ("jpeg", JPEG[:2] + b"\xff"),
    ("jpeg", JPEG[:2] + b"\xff\xfe\x00\x01" + JPEG[2:]),  # a length that does not hold itself
    ("jpeg", JPEG[:2] + b"\x00\x00" + JPEG[2:]),
    ("jpeg", JPEG[:-2]),  # no end
    ("jpeg", JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1)),  # arithmetic coding: no browser shows it
    ("png", PNG[:40]),
    ("png", PNG[:-12]),
    ("png", PNG[:33] + chunk(b"NEWC", b"") + PNG[33:]),  # critical and unknown
    ("png", PNG[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + PNG[33:]),  # frames, but none there
    ("webp", WEBP[:60]),
    ("webp", riff((b"VP8X", CANVAS))),
    ("webp", riff((b"VP8X", CANVAS), (b"VP8X", CANVAS))),
    ("webp", riff((b"VP8X", b"short"))),
    ("webp", riff((b"VP8 ", b""), (b"VP8L", b""))),
    ("webp", WEBP[:4] + struct.pack("<I", 17) + WEBP[8:]),
    ("webp", WEBP[:4] + struct.pack("<I", 24) + WEBP[8:]),
    ("gif", GIF[:10]),
    ("gif", gif_head(8, 8) + b"\x3b"),
    ("gif", gif_head(8, 8) + b"\x2c\x00"),
    ("gif", gif_head(8, 8) + gif_frame(8, 8) + b"?"),
    ("gif", gif_head(8, 8) + gif_frame(9, 8) + b"\x3b"),
]


@pytest.mark.parametrize(("format", "data"), ODD)
def test_what_browsers_may_not_show_is_odd(format: Format, data: bytes) -> None:
    assert strip(data, format, 10) is None


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("jpeg", JPEG[:2] + b"\xff\xfe\x00\x02" * 30_000 + JPEG[2:]),
        ("jpeg", JPEG[:2] + b"\xff" * 30_000 + JPEG[2:]),
        ("png", PNG[:33] + chunk(b"prVt", b"") * 60_000 + PNG[33:]),
        ("webp", riff(*[(b"junk", b"")] * 110_000)),
        ("gif", gif_head(8, 8) + b"\x21\xfe" + b"\x01x" * 110_000 + b"\x00" + gif_frame(8, 8)),
    ],
)
def test_ever_so_many_pieces_are_refused(format: Format, data: bytes) -> None:
    with pytest.raises(BadImage):
        strip(data, format, 10)


@quick
@given(
    st.sampled_from([("jpeg", JPEG), ("png", PNG), ("webp", WEBP), ("gif", GIF)]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 3000),
)
def test_damage_never_surprises(whole: tuple[Format, bytes], changes: list[tuple[int, int]], cut: int) -> None:
    format, data = whole
    damaged = bytearray(data)
    for at, value in changes:
        damaged[12 + at % (len(damaged) - 12)] = value
    made = strip(bytes(damaged[: len(damaged) - cut % 200]), format, 10)
    assert made is None or strip(made.data, format, 10) == made
