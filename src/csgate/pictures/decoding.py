"""Pictures from strangers: Base64 to bytes, sniffed format, header checked, decoded no larger than is needed.

Four formats pass, known by their first bytes and opened by Pillow as that format and no other. The pixel count is
read from the header before anything of that size is allocated (for WebP by ourselves: its decoder allocates the
canvas on opening). A JPEG is decoded at the smallest DCT scale that still covers the size asked for. Whatever Pillow
raises on damaged data becomes ``BadImage``: its decoders raise nearly any exception class.

Safe from any thread; nothing is shared but Pillow's format registry, which is filled on import.
"""

import io
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from csgate import _fast
from csgate.errors import BadBase64, BadImage, CsgateError, ImageTooLarge, UnsupportedImage
from csgate.events import Picture
from csgate.pictures import plain_jpeg
from csgate.pictures.plain_jpeg import ORIENTATION_TAG, decode_plain_jpeg, read_plain_jpeg

Format = Literal["jpeg", "png", "webp", "gif"]
Pixels = NDArray[np.uint8]

MAX_JPEG_SCANS: Final = 100
"""A progressive JPEG has about ten; each one costs a pass over every block of the picture."""
MAX_READS: Final = 200_000
"""Pillow reads a file's structure marker by marker and chunk by chunk, in Python. A GIF of 8 MB takes about 70,000."""
UNSCALED_SHARE: Final = 4
"""PNG, WebP and GIF may have a fourth of a JPEG's pixels: they cannot be decoded at a lower scale."""
MAX_COEFFICIENT_BYTES: Final = 160 * 1024 * 1024
"""What a JPEG of several scans takes in memory at whatever scale: all of its coefficients, two bytes each."""
MOVING_SHARE: Final = 8
"""An animated WebP may have an eighth of a JPEG's pixels: its decoder holds several canvases."""
ALONE_PIXELS: Final = 8_000_000
"""What has more and cannot be decoded at a lower scale takes its turn, as two or three copies of it are in memory."""
MAX_SCANNED_PIXELS: Final = 1_000_000_000
"""Scans times pixels: the largest picture that is taken may have some twenty scans."""

_PLUGINS: Final[dict[Format, Callable[[io.BytesIO], Image.Image]]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
}
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ANIMATION_FLAG: Final = 0x02
_one_large: Final = threading.Lock()
_JPEG: Final = b"\xff\xd8\xff"
_SCAN_MARKER: Final = 0xDAFF  # FF DA, read as a little-endian number

# Strangers' files must not fill standard error with Pillow's remarks on them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class _PictureFile(io.BytesIO):
    """A picture's bytes; refuses to be read in ever so many tiny pieces."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError(f"more than {MAX_READS} reads")
        return super().read(size)


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """``pixels``: uint8[H, W, 3 | 4], perhaps at a reduced scale; ``width`` and ``height``: as the picture is shown.

    ``alpha``: a fourth channel is alpha; otherwise it is the padding that Pillow keeps, without meaning.
    """

    pixels: Pixels
    format: Format
    width: int
    height: int
    animated: bool
    alpha: bool


def file_bytes(picture: Picture) -> bytes:
    """The picture's file, decoded from Base64 if that is how it came.

    Raises:
        BadBase64: with the first wrong position in the public sentence (counted from the start of the field).
    """
    if picture.encoding == "binary":
        return bytes(picture.data)
    whole = memoryview(picture.data).cast("B")
    try:
        view, _ = _fast.strip_data_url(whole)
    except ValueError as error:
        raise _bad_base64(str(error), 0) from None
    try:
        return _fast.base64_bytes(view)
    except _fast.Base64Error as error:
        raise _bad_base64(str(error), len(whole) - len(view) + error.position) from None


def sniff(data: bytes) -> Format:
    """The format, by the first bytes.

    Raises:
        UnsupportedImage: none of the four.
    """
    if data.startswith(_JPEG):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise UnsupportedImage(f"unknown first bytes {data[:12]!r}")


def decode(data: bytes, *, max_pixels: int, cover: tuple[int, int] | None = None) -> DecodedPicture:
    """Decodes a picture file, the first frame of an animated one.

    ``cover``: (height, width) that is needed; a JPEG may come back smaller than it is, but not than that.

    Raises:
        UnsupportedImage: not JPEG, PNG, WebP or GIF.
        ImageTooLarge: more than ``max_pixels`` pixels by its header, or where it is not a JPEG, a quarter of that.
        BadImage: damaged, truncated or hostile.
    """
    if cover is not None and plain_jpeg.AVAILABLE and data.startswith(_JPEG):
        decoded = _decode_plain(data, max_pixels, cover)
        if decoded is not None:
            return decoded
    with open_picture(data, max_pixels=max_pixels) as (image, format):
        return _read(image, format, cover)


def _decode_plain(data: bytes, max_pixels: int, cover: tuple[int, int]) -> DecodedPicture | None:
    plain = read_plain_jpeg(data)
    if plain is None:
        return None
    _check_pixels(plain.width, plain.height, max_pixels)
    pixels = decode_plain_jpeg(data, plain, cover)
    if pixels is None:
        return None
    width, height = plain.width, plain.height
    if plain.turn in _TURNS:
        pixels = _fast.borrow_pixels(upright(Image.fromarray(pixels), plain.turn))
        if plain.turn >= 5:
            width, height = height, width
    return DecodedPicture(pixels, "jpeg", width, height, animated=False, alpha=False)


@contextmanager
def open_picture(data: bytes, *, max_pixels: int) -> Iterator[tuple[Image.Image, Format]]:
    """Opens a picture file as far as its header, which says that it is not too much. Nothing is decoded yet.

    What Pillow raises inside the block, on damaged data, comes out of it as ``BadImage``. Blocks are not to be nested:
    of very large pictures only one is open at a time.

    Raises:
        UnsupportedImage, ImageTooLarge, BadImage: as :func:`decode`.
    """
    if not data:
        raise BadImage("the picture is empty")
    format = sniff(data)
    if format == "webp":
        moving = data[12:16] == b"VP8X" and data[20] & _ANIMATION_FLAG
        _check_pixels(*_webp_canvas(data), max_pixels // (MOVING_SHARE if moving else UNSCALED_SHARE))
    scans = _scans(data) if format == "jpeg" else 1
    if scans > MAX_JPEG_SCANS:
        raise BadImage(f"more than {MAX_JPEG_SCANS} scans")
    try:
        with _open(data, format) as image:
            _check_pixels(*image.size, max_pixels)
            if format != "jpeg":
                # Only JPEG can be decoded at a fraction of its size; these cost their every pixel in time and memory.
                _check_pixels(*image.size, max_pixels // UNSCALED_SHARE)
            if isinstance(image, JpegImagePlugin.JpegImageFile):
                _check_coefficients(image, data)
            if scans * image.width * image.height > MAX_SCANNED_PIXELS:
                raise BadImage(f"{scans} scans of {image.width} x {image.height} pixels")
            large = format != "jpeg" and image.width * image.height > ALONE_PIXELS
            with _one_large if large else nullcontext():
                yield image, format
    except CsgateError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(f"{error}", max_pixels) from None
    except Exception as error:
        raise BadImage(f"{format}: {error!r}") from error


def _scans(data: bytes) -> int:
    # At even and at odd places. bytes.count() stumbles over every FF, of which a JPEG is full: ten times as long.
    pairs = (np.frombuffer(data, "<u2", (len(data) - offset) // 2, offset) for offset in (0, 1))
    return sum(int(np.count_nonzero(words == _SCAN_MARKER)) for words in pairs)


def _check_coefficients(image: JpegImagePlugin.JpegImageFile, data: bytes) -> None:
    """Refuses a JPEG whose coefficients would fill the memory (ITU T.81 section A.1.1 for the sizes)."""
    parts: list[tuple[int, int, int, int]] = image.layer
    read = image.fp.tell() if image.fp else 0
    if not image.info.get("progressive") and not _first_scan_is_partial(data, read, len(parts)):
        return  # a single scan, which is decoded as it is read
    columns, rows = max(part[1] for part in parts), max(part[2] for part in parts)
    share = sum(part[1] * part[2] for part in parts) / (columns * rows)
    coefficients = 2 * share * image.width * image.height
    if coefficients > MAX_COEFFICIENT_BYTES:
        raise ImageTooLarge(f"{coefficients:.3g} bytes of coefficients")


def _first_scan_is_partial(data: bytes, end: int, parts: int) -> bool:
    """Whether the scan's head that ends at ``end`` is of some of the picture's components only."""
    return any(
        data.startswith(struct.pack(">BBHB", 0xFF, 0xDA, 6 + 2 * count, count), end - 8 - 2 * count)
        for count in range(1, parts)
    )


def _open(data: bytes, format: Format) -> Image.Image:
    # Image.open() would warn about large pictures through the process-wide warning filters; the plugin's own class
    # does not, and the limit is checked right after the header.
    image = _PLUGINS[format](_PictureFile(data))
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.decodermaxblock = len(data)  # it is all here already: no joining of pieces of 64 KiB
    return image


def _read(image: Image.Image, format: Format, cover: tuple[int, int] | None) -> DecodedPicture:
    width, height = image.size
    if format == "jpeg" and cover is not None:
        image.draft(None, (cover[1], cover[0]))
    image.load()
    turn = orientation(image)
    shown = upright(plain(image), turn)
    if turn >= 5:
        width, height = height, width
    pixels = _fast.borrow_pixels(shown)
    # Last, because a GIF looks at its second frame to answer this, and forgets the first.
    return DecodedPicture(pixels, format, width, height, _animated(image), shown.mode == "RGBA")


def _animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:
        return False  # the second frame is damaged; the first one is all that is wanted


def orientation(image: Image.Image) -> int:
    """How the picture has to be turned, 1 to 8 (Exif 2.32, tag 0x0112); 1 where that is not known: not at all.

    Load the picture first, unless it is a JPEG: a PNG loads itself to answer this, and damage goes unnoticed.
    """
    try:
        turn = int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:
        return 1  # a damaged EXIF block is no reason to refuse a picture that decodes
    return turn if turn in _TURNS else 1


def shown_size(data: bytes, *, max_pixels: int) -> tuple[int, int]:
    """Width and height of a picture file as it is shown, by its header. A few tenths of a millisecond at most.

    Raises:
        UnsupportedImage, ImageTooLarge, BadImage: as :func:`decode`.
    """
    with open_picture(data, max_pixels=max_pixels) as (image, format):
        # To ask anything but a JPEG would decode it; these are hardly ever turned.
        turn = orientation(image) if format == "jpeg" else 1
        return (image.height, image.width) if turn >= 5 else (image.width, image.height)


def upright(image: Image.Image, turn: int) -> Image.Image:
    """``image`` turned as its :func:`orientation` asks; from 5 on, width and height change places."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def plain(image: Image.Image) -> Image.Image:
    """``image`` as RGB or RGBA."""
    mode = image.mode
    if mode in ("RGB", "RGBA") and "transparency" not in image.info:
        return image
    if mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    transparent = mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk (RFC 9649 sections 2.5 to 2.7)."""
    kind = data[12:16]
    if len(data) >= 30:
        if kind == b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        if kind == b"VP8L" and data[20] == 0x2F:
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
            bits = int.from_bytes(data[26:30], "little")
            return bits & 0x3FFF, bits >> 16 & 0x3FFF
    raise BadImage("webp: no known first chunk")


def _bad_base64(detail: str, position: int) -> BadBase64:
    return BadBase64(
        detail,
        public=f"The picture is not valid Base64: the first wrong character is at position {position}.",
        public_zh=f"图片的 Base64 编码无效：第一个错误字符位于位置 {position}。",
    )


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height} pixels", max_pixels)


def _too_large(detail: str, max_pixels: int) -> ImageTooLarge:
    millions = max_pixels / 1e6
    return ImageTooLarge(
        detail,
        public=f"The picture has too many pixels; at most {millions:g} million are accepted.",
        public_zh=f"图片的像素过多，最多接受 {millions * 100:g} 万像素。",
    )
