"""Pictures for tests, good and hostile, made here."""

import base64
import io
import struct
import zlib

from PIL import Image, ImageDraw


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def photo(width: int = 320, height: int = 240) -> Image.Image:
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for i in range(12):
        draw.ellipse((i * 20, i * 9, i * 20 + 60, i * 9 + 60), fill=(i * 20, 255 - i * 20, 128))
    return image


def jpeg(width: int = 320, height: int = 240) -> bytes:
    return encode(photo(width, height), "JPEG", quality=85)


def png() -> bytes:
    return encode(photo(64, 64), "PNG")


def webp() -> bytes:
    return encode(photo(64, 64), "WEBP")


def animated_gif() -> bytes:
    frames = [photo(64, 64).rotate(angle) for angle in (0, 90, 180)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A valid header of ``width`` x ``height`` pixels and little behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(3 * width + 1))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
)


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
