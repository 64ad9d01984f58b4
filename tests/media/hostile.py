"""Pictures from people who mean no good, made by code. Every door has to refuse them or make something safe of them.

``CORPUS`` maps a name to a :class:`Hostile`; what has to come out is

- ``refused``: a typed error of the customer's doing
- ``safe``: a picture that Pillow opens, no wider than is kept, without :data:`SCRIPT` in it
- ``either``: one of the two
"""

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

SCRIPT: Final = b"<script>alert(document.cookie)</script>"
FRAMES: Final = 10_000
Outcome = Literal["refused", "safe", "either"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """``type``: what the sender says it is. ``make()`` gives the file, the same each time."""

    make: Callable[[], bytes]
    outcome: Outcome
    type: str


CORPUS: dict[str, Hostile] = {}


def hostile(outcome: Outcome = "refused", type: str = "image/png") -> Callable[[Callable[[], bytes]], None]:
    def register(make: Callable[[], bytes]) -> None:
        CORPUS[make.__name__] = Hostile(make, outcome, type)

    return register


# --- Parts -----------------------------------------------------------------------------------------------------------


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@cache
def photo(format: str = "JPEG", width: int = 640, height: int = 480, **options: Any) -> bytes:
    """A picture with detail everywhere, the same each time."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return save(image, format, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, rows: bytes, *before: bytes, after: bytes = b"", colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + chunk(b"IDAT", rows) + after + chunk(b"IEND", b"")


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\x00" * (len(content) & 1) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


@cache
def zeros(size: int) -> bytes:
    """``size`` zero bytes, deflated, without making them."""
    deflate = zlib.compressobj(9)
    piece = bytes(1 << 20)
    made = b"".join(deflate.compress(piece) for _ in range(size >> 20))
    return made + deflate.compress(bytes(size & ((1 << 20) - 1))) + deflate.flush()


def gif_head(width: int, height: int) -> bytes:
    table = b"\x00\x00\x00\xff\x00\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + table


@cache
def gif_frame(width: int, height: int) -> bytes:
    """A frame of one colour, with its head: one that says more than it has, where it is a large one."""
    control = b"\x21\xf9\x04\x04\x05\x00\x00\x00"
    head = control + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0)
    if width * height > 4_000_000:
        return head + b"\x02\x02\x44\x01\x00"
    whole = save(Image.new("1", (width, height)), "GIF")
    return control + whole[whole.index(b"\x2c" + struct.pack("<HHHH", 0, 0, width, height)) : -1]


LOOP: Final = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def webp_bitmap(width: int, height: int) -> bytes:
    """The chunk of a one-coloured picture, with its head."""
    return save(Image.new("RGB", (width, height), (200, 30, 60)), "WEBP")[12:]


def webp_moving(width: int, height: int, frames: int) -> bytes:
    bitmap = webp_bitmap(width, height)
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    frame = bytes(6) + size + b"\x64\x00\x00" + b"\x00" + bitmap
    canvas = b"\x02\x00\x00\x00" + size
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


def apng_moving(width: int, height: int, frames: int) -> bytes:
    rows = zeros((width * 3 + 1) * height)
    sequence = iter(range(2 * frames))

    def control() -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", next(sequence), width, height, 0, 0, 1, 20, 0, 0))

    before = (chunk(b"acTL", struct.pack(">II", frames, 0)), control())
    after = b"".join(control() + chunk(b"fdAT", struct.pack(">I", next(sequence)) + rows) for _ in range(frames - 1))
    return png_of(width, height, rows, *before, after=after)


def gif_moving(width: int, height: int, frames: int) -> bytes:
    return gif_head(width, height) + LOOP + gif_frame(width, height) * frames + b"\x3b"


# --- Bombs -----------------------------------------------------------------------------------------------------------


@hostile()
def png_of_four_thousand_million_pixels() -> bytes:
    return png_of(65_535, 65_535, zeros(10_000_000))


@hostile("either")
def png_as_large_as_may_be() -> bytes:
    return png_of(3_535, 3_535, zeros((3_535 * 4 + 1) * 3_535), colour=6)


@hostile()
def png_just_too_large() -> bytes:
    return png_of(3_536, 3_536, zeros((3_536 * 3 + 1) * 3_536))


@hostile("either")
def png_far_more_rows_than_it_says() -> bytes:
    return png_of(8, 8, zeros(1 << 30))


@hostile()
def png_without_any_rows() -> bytes:
    return png_of(8, 8, b"")


@hostile("either")
def png_text_that_unpacks_to_a_gigabyte() -> bytes:
    return png_of(8, 8, zlib.compress(bytes(8 * 25)), chunk(b"zTXt", b"Comment\x00\x00" + zeros(1 << 30)))


@hostile("either")
def png_profile_that_unpacks_to_a_gigabyte() -> bytes:
    return png_of(8, 8, zlib.compress(bytes(8 * 25)), chunk(b"iCCP", b"sRGB\x00\x00" + zeros(1 << 30)))


@hostile(type="image/gif")
def gif_of_four_thousand_million_pixels() -> bytes:
    return gif_head(65_535, 65_535) + gif_frame(65_535, 65_535) + b"\x3b"


@hostile("either", type="image/gif")
def gif_whose_frames_are_larger_than_itself() -> bytes:
    return gif_head(900, 8) + LOOP + gif_frame(900, 8) + gif_frame(13_000, 13_000) * 20 + b"\x3b"


@hostile(type="image/gif")
def gif_whose_first_frame_is_larger_than_itself() -> bytes:
    return gif_head(8, 8) + gif_frame(13_000, 13_000) + b"\x3b"


@hostile(type="image/webp")
def webp_canvas_of_sixteen_million_squared() -> bytes:
    canvas = b"\x02\x00\x00\x00" + b"\xff\xff\xff" + b"\xff\xff\xff"
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", bytes(16) + webp_bitmap(8, 8)))


@hostile("either", type="image/webp")
def webp_as_large_as_may_be() -> bytes:
    return save(Image.new("RGB", (3_535, 3_535), (9, 99, 9)), "WEBP", method=0)


@hostile("either", type="image/webp")
def webp_moving_as_large_as_may_be() -> bytes:
    return webp_moving(3_535, 3_535, 100)


@hostile(type="image/jpeg")
def jpeg_of_four_thousand_million_pixels() -> bytes:
    data = photo()
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", 65_500, 65_500) + data[at + 9 :]


@hostile("either", type="image/jpeg")
def jpeg_as_large_as_may_be() -> bytes:
    return save(Image.new("RGB", (7_071, 7_071), (200, 150, 90)), "JPEG")


@hostile("either", type="image/jpeg")
def jpeg_progressive_as_large_as_may_be() -> bytes:
    return save(Image.new("RGB", (7_071, 7_071), (200, 150, 90)), "JPEG", progressive=True, subsampling=0)


@hostile(type="image/jpeg")
def jpeg_of_thousands_of_scans() -> bytes:
    data = photo("JPEG", 320, 240, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 5_000 + b"\xff\xd9"


@hostile("either", type="image/jpeg")
def jpeg_of_one_by_many() -> bytes:
    return save(Image.new("RGB", (65_500, 1), (200, 150, 90)), "JPEG")


# --- Cut off, and nothing at all -------------------------------------------------------------------------------------


@hostile()
def nothing() -> bytes:
    return b""


@hostile()
def one_byte() -> bytes:
    return b"\x89"


@hostile(type="image/jpeg")
def jpeg_first_bytes_only() -> bytes:
    return b"\xff\xd8\xff"


@hostile()
def png_first_bytes_only() -> bytes:
    return b"\x89PNG\r\n\x1a\n"


@hostile(type="image/gif")
def gif_first_bytes_only() -> bytes:
    return b"GIF89a"


@hostile(type="image/webp")
def webp_first_bytes_only() -> bytes:
    return b"RIFF\x04\x00\x00\x00WEBP"


@hostile(type="image/jpeg")
def jpeg_cut_off() -> bytes:
    return photo()[:-3000]


@hostile()
def png_cut_off() -> bytes:
    return photo("PNG")[:-3000]


@hostile("either", type="image/gif")
def gif_cut_off() -> bytes:
    return gif_moving(64, 64, 10)[:-20]


@hostile(type="image/webp")
def webp_cut_off() -> bytes:
    return photo("WEBP")[:-1000]


@hostile(type="image/jpeg")
def jpeg_of_noise() -> bytes:
    return photo()[:700] + random.Random(1).randbytes(200_000)


@hostile("either")
def png_of_noise() -> bytes:
    return photo("PNG")[:60] + random.Random(2).randbytes(200_000)


@hostile("either", type="image/gif")
def gif_of_noise() -> bytes:
    return gif_head(64, 64) + random.Random(3).randbytes(200_000)


@hostile(type="image/webp")
def webp_of_noise() -> bytes:
    return riff((b"VP8L", b"\x2f" + random.Random(4).randbytes(200_000)))


@hostile()
def png_of_no_size() -> bytes:
    return png_of(0, 0, zlib.compress(b""))


# --- Two things in one -----------------------------------------------------------------------------------------------


@hostile("safe", type="image/jpeg")
def jpeg_with_a_page_in_its_comment_and_behind_it() -> bytes:
    data = photo()
    page = b"<html><body>" + SCRIPT + b"</body></html>"
    return data[:2] + segment(0xFE, page) + segment(0xE1, b"Exif\x00\x00" + SCRIPT) + data[2:] + page


@hostile("either", type="image/gif")
def gif_that_is_a_script() -> bytes:
    # "GIF89a/*" … "*/=1;": the width is what begins the comment.
    return b"GIF89a/*" + struct.pack("<HBBB", 8, 0x80, 0, 0) + bytes(6) + gif_frame(8, 8) + b"\x3b*/=1;" + SCRIPT


@hostile("safe", type="image/gif")
def gif_with_a_script_in_its_comment() -> bytes:
    extension = b"\x21\xfe" + bytes([len(SCRIPT)]) + SCRIPT + b"\x00"
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SCRIPT)]) + SCRIPT + b"\x00"
    return gif_head(8, 8) + extension + xmp + gif_frame(8, 8) + extension + gif_frame(8, 8) + b"\x3b" + SCRIPT


@hostile("safe")
def png_with_an_archive_behind_it() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("index.html", SCRIPT)
    return photo("PNG", 64, 64) + archive.getvalue()


@hostile("safe")
def png_with_a_script_in_its_text() -> bytes:
    rows = zlib.compress(bytes(8 * 25))
    text = (chunk(b"tEXt", b"Comment\x00" + SCRIPT), chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + SCRIPT))
    return png_of(8, 8, rows, *text, chunk(b"prVt", SCRIPT), after=chunk(b"eXIf", b"MM\x00\x2a" + SCRIPT))


@hostile("safe", type="image/webp")
def webp_with_a_script_in_its_metadata() -> bytes:
    canvas = b"\x0c\x00\x00\x00" + b"\x07\x00\x00" + b"\x07\x00\x00"
    bitmap = webp_bitmap(8, 8)
    content = (bitmap[:4], bitmap[8 : 8 + int.from_bytes(bitmap[4:8], "little")])
    return riff((b"VP8X", canvas), content, (b"EXIF", SCRIPT), (b"XMP ", SCRIPT), (b"evil", SCRIPT)) + SCRIPT


@hostile("safe", type="image/jpeg")
def jpeg_with_a_document_behind_it() -> bytes:
    return photo() + b"%PDF-1.7\n" + SCRIPT


# --- Something else --------------------------------------------------------------------------------------------------


@hostile(type="image/jpeg")
def page_that_says_it_is_a_jpeg() -> bytes:
    return b"<!doctype html>" + SCRIPT


@hostile("either", type="image/jpeg")
def png_that_says_it_is_a_jpeg() -> bytes:
    return photo("PNG", 64, 64)


@hostile(type="image/svg+xml")
def svg_with_a_script() -> bytes:
    return b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">' + SCRIPT + b"</svg>"


@hostile()
def svg_that_says_it_is_a_png() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>"


@hostile()
def svg_compressed() -> bytes:
    return gzip.compress(b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>")


@hostile(type="image/heic")
def heic_like() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + random.Random(6).randbytes(5_000)


@hostile(type="image/avif")
def avif_like() -> bytes:
    return struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"mif1avif" + random.Random(7).randbytes(5_000)


@hostile(type="image/bmp")
def bmp() -> bytes:
    return photo("BMP", 64, 64)


@hostile(type="image/tiff")
def tiff() -> bytes:
    return photo("TIFF", 64, 64)


@hostile()
def icon() -> bytes:
    return photo("ICO", 64, 64)


@hostile()
def postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) run\n"


@hostile()
def program() -> bytes:
    return b"\x7fELF" + random.Random(8).randbytes(5_000)


# --- Far too much of something ---------------------------------------------------------------------------------------


@hostile("safe", type="image/jpeg")
def jpeg_with_a_profile_of_four_megabytes() -> bytes:
    data = photo()
    noise = random.Random(9).randbytes(65_500)
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\x00" + bytes([i + 1, 64]) + noise) for i in range(64))
    return data[:2] + profile + data[2:]


@hostile("either")
def png_with_a_profile_of_eight_megabytes() -> bytes:
    noise = zlib.compress(random.Random(10).randbytes(8 << 20), 1)
    return png_of(8, 8, zlib.compress(bytes(8 * 25)), chunk(b"iCCP", b"p\x00\x00" + noise))


@hostile("safe", type="image/webp")
def webp_with_a_profile_of_eight_megabytes() -> bytes:
    canvas = b"\x20\x00\x00\x00" + b"\x07\x00\x00" + b"\x07\x00\x00"
    bitmap = webp_bitmap(8, 8)
    content = (bitmap[:4], bitmap[8 : 8 + int.from_bytes(bitmap[4:8], "little")])
    return riff((b"VP8X", canvas), (b"ICCP", random.Random(11).randbytes(8 << 20)), content)


@hostile("safe", type="image/gif")
def gif_of_ten_thousand_frames() -> bytes:
    return gif_moving(64, 64, FRAMES)


@hostile("safe", type="image/webp")
def webp_of_ten_thousand_frames() -> bytes:
    return webp_moving(64, 64, FRAMES)


@hostile("safe")
def apng_of_ten_thousand_frames() -> bytes:
    return apng_moving(64, 64, FRAMES)


@hostile("safe", type="image/gif")
def gif_of_thousands_of_wide_frames() -> bytes:
    return gif_moving(1_600, 1_200, 2_000)


@hostile("safe", type="image/webp")
def webp_of_thousands_of_wide_frames() -> bytes:
    return webp_moving(1_600, 1_200, 2_000)


@hostile("safe")
def apng_of_thousands_of_wide_frames() -> bytes:
    return apng_moving(1_600, 1_200, 1_000)


@hostile("safe", type="image/gif")
def gif_of_ten_thousand_tiny_but_wide_frames() -> bytes:
    return gif_moving(1_000, 1, FRAMES)


def noisy(width: int, height: int, frames: int, format: str, **options: Any) -> bytes:
    rng = np.random.default_rng(13)
    made = [
        Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 4), np.uint8)).resize((width, height))
        for _ in range(frames)
    ]
    return save(made[0], format, save_all=True, append_images=made[1:], duration=40, loop=0, **options)


@hostile("safe", type="image/gif")
def gif_of_wide_noisy_frames() -> bytes:
    return noisy(820, 600, 24, "GIF")


@hostile("safe", type="image/webp")
def webp_of_wide_noisy_frames() -> bytes:
    return noisy(820, 600, 16, "WEBP", method=0, quality=30, kmax=1)


@hostile("safe")
def apng_of_wide_noisy_frames() -> bytes:
    return noisy(820, 600, 12, "PNG", compress_level=1)


@hostile("either", type="image/jpeg")
def jpeg_of_two_million_segments() -> bytes:
    data = photo("JPEG", 64, 64)
    return data[:2] + b"\xff\xfe\x00\x02" * 2_000_000 + data[2:]


@hostile("either", type="image/jpeg")
def jpeg_of_eight_million_fill_bytes() -> bytes:
    data = photo("JPEG", 64, 64)
    return data[:2] + b"\xff" * 8_000_000 + data[2:]


@hostile("either", type="image/jpeg")
def jpeg_of_four_million_restarts() -> bytes:
    return photo("JPEG", 64, 64)[:-2] + b"\xff\xd0" * 4_000_000 + b"\xff\xd9"


@hostile("either")
def png_of_hundreds_of_thousands_of_chunks() -> bytes:
    return png_of(8, 8, zlib.compress(bytes(8 * 25)), chunk(b"prVt", b"") * 700_000)


@hostile("either")
def png_of_a_million_pieces_of_data() -> bytes:
    rows = zlib.compress(random.Random(12).randbytes(8 * 25))
    pieces = b"".join(chunk(b"IDAT", rows[i : i + 1]) for i in range(len(rows)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") * 700_000 + pieces + chunk(b"IEND", b"")


@hostile("either", type="image/gif")
def gif_of_millions_of_comments() -> bytes:
    return gif_head(8, 8) + b"\x21\xfe\x00" * 2_700_000 + gif_frame(8, 8) + b"\x3b"


@hostile("either", type="image/gif")
def gif_of_millions_of_blocks() -> bytes:
    return gif_head(8, 8) + b"\x21\xfe" + b"\x01x" * 4_000_000 + b"\x00" + gif_frame(8, 8) + b"\x3b"


@hostile("either", type="image/webp")
def webp_of_a_million_chunks() -> bytes:
    canvas = b"\x00\x00\x00\x00" + b"\x07\x00\x00" + b"\x07\x00\x00"
    bitmap = webp_bitmap(8, 8)
    content = (bitmap[:4], bitmap[8 : 8 + int.from_bytes(bitmap[4:8], "little")])
    return riff((b"VP8X", canvas), content, *[(b"junk", b"")] * 1_000_000)
