"""Borrowing pixels from Pillow."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from csgate import _fast
from csgate._fast.native import ArrowPixels


def noise(height: int, width: int, mode: str) -> tuple[Image.Image, np.ndarray]:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels), pixels


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pixels_are_borrowed_and_kept_alive(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(_fast, "IMPLEMENTATION", "native")
    image, expected = noise(31, 47, mode)
    pixels = _fast.borrow_pixels(image)
    del image
    gc.collect()
    assert pixels.shape == (31, 47, 4)
    assert not pixels.flags.writeable
    assert not pixels.flags.owndata
    assert np.array_equal(pixels[:, :, : len(mode)], expected)


def test_memory_in_several_blocks_is_copied() -> None:
    image = Image.new("RGB", (2100, 2100), (1, 2, 3))  # above 16 MiB
    assert _fast.borrow_pixels(image).shape == (2100, 2100, 3)


def test_the_reference_and_older_pillows_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    image, expected = noise(5, 7, "RGB")
    older = SimpleNamespace(mode="RGB", size=image.size, __array_interface__=image.__array_interface__)
    assert np.array_equal(_fast.borrow_pixels(older), expected)
    monkeypatch.setattr(_fast, "IMPLEMENTATION", "pure")
    assert np.array_equal(_fast.borrow_pixels(image), expected)


def test_what_is_no_picture_is_refused() -> None:
    rgb, _ = noise(4, 6, "RGB")
    for image, height, width in ((rgb, 4, 5), (rgb, 0, 0), (Image.new("L", (6, 4)), 4, 6)):
        with pytest.raises(ValueError, match="pixels"):
            ArrowPixels(*image.__arrow_c_array__(), height, width)
    with pytest.raises(ValueError, match="PyCapsule"):
        ArrowPixels(object(), object(), 4, 6)


def test_nobody_writes_into_a_borrowed_picture() -> None:
    image, _ = noise(4, 6, "RGB")
    pixels = ArrowPixels(*image.__arrow_c_array__(), 4, 6)
    with pytest.raises(BufferError):
        _fast.unmask(pixels, b"abcd")
