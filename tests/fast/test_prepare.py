"""Tensor preparation: native equals the reference to the last bit, and both are within one level of Pillow."""

import itertools
import random
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from csgate._fast import native, pure_prepare

FILL = (250, 7, 128)
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX}


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed + 1000 * height + width)
    return noise.integers(0, 256, (height, width, channels), dtype=np.uint8)


def row(height: int, width: int, layout: str = "NCHW", dtype: str = "float32") -> npt.NDArray[Any]:
    shape = (3, height, width) if layout == "NCHW" else (height, width, 3)
    return np.full(shape, 77, dtype)


def with_pillow(pixels: npt.NDArray[np.uint8], height: int, width: int, mode: str, filter: str) -> npt.NDArray[Any]:
    image, size = Image.fromarray(pixels), (width, height)
    if mode == "crop":
        shown = ImageOps.fit(image, size, PILLOW[filter])
    elif mode == "letterbox":
        shown = ImageOps.pad(image, size, PILLOW[filter], color=FILL)
    else:
        shown = image.resize(size, PILLOW[filter])
    return np.asarray(shown)


SOURCES = [(24, 32), (48, 64), (10, 10), (7, 60), (60, 7), (1, 1), (2, 3), (17, 130)]
TARGETS = [(24, 24), (9, 20), (40, 13)]


@pytest.mark.parametrize("filter", ["bilinear", "area"])
@pytest.mark.parametrize("mode", ["crop", "letterbox", "stretch"])
def test_within_one_level_of_pillow(fast: Any, mode: str, filter: str) -> None:
    for (height, width), (into_height, into_width) in itertools.product(SOURCES, TARGETS):
        pixels = picture(height, width)
        expected = with_pillow(pixels, into_height, into_width, mode, filter).astype(int)
        levels = row(into_height, into_width, "NHWC", "uint8")
        fast.prepare(pixels, levels, layout="NHWC", mode=mode, filter=filter, fill=FILL)
        assert np.abs(levels - expected).max() <= 1
        floats = row(into_height, into_width)
        fast.prepare(pixels, floats, mode=mode, filter=filter, fill=FILL)
        assert np.abs(floats.transpose(1, 2, 0) - levels / 255).max() <= 1e-6


@pytest.mark.parametrize("filter", ["bilinear", "area"])
def test_exactly_pillow_width_first(fast: Any, filter: str) -> None:
    # Pillow 13 shrinks some pictures in height first; one axis at a time, the order is the same in all versions.
    for (height, width), (into_height, into_width) in itertools.product(SOURCES, TARGETS):
        pixels = picture(height, width)
        narrow = Image.fromarray(pixels).resize((into_width, height), PILLOW[filter])
        expected = np.asarray(narrow.resize((into_width, into_height), PILLOW[filter]))
        levels = row(into_height, into_width, "NHWC", "uint8")
        fast.prepare(pixels, levels, layout="NHWC", mode="stretch", filter=filter)
        assert np.array_equal(levels, expected)


@pytest.mark.parametrize("filter", ["bilinear", "area"])
def test_exactly_pillow_for_photographs(native_level: Any, filter: str) -> None:
    for size in ((480, 639), (240, 320), (225, 300)):
        pixels = picture(*size)
        levels = row(224, 224, "NHWC", "uint8")
        native_level.prepare(pixels, levels, layout="NHWC", filter=filter)
        assert np.array_equal(levels, with_pillow(pixels, 224, 224, "crop", filter))


def draw_call(dice: random.Random) -> tuple[npt.NDArray[np.uint8], tuple[int, int, str, str], dict[str, Any]]:
    """A picture, a row (height, width, layout, dtype) and options."""
    most = dice.choice([8, 40, 120])
    height, width = dice.randint(1, most), dice.randint(1, most)
    into = (dice.randint(1, 40), dice.randint(1, 40))
    if dice.random() < 0.2:
        into = (height, width)  # nothing to resize
    dtype = dice.choice(["float32", "float16", "uint8"])
    options: dict[str, Any] = {
        "mode": dice.choice(["crop", "letterbox", "stretch"]),
        "filter": dice.choice(["bilinear", "area"]),
        "fill": tuple(dice.randrange(256) for _ in range(3)),
        "alpha": dice.random() < 0.7,
    }
    layout = options["layout"] = dice.choice(["NCHW", "NHWC"])
    if dtype != "uint8":
        options["mean"] = tuple(dice.random() for _ in range(3))
        options["std"] = tuple(dice.choice([dice.random() + 0.01, 1e-6, 1e3]) for _ in range(3))
        options["scale"] = dice.choice([1 / 255, 1.0, 1 / 127.5])
    return picture(height, width, dice.choice([3, 4]), dice.randrange(1000)), (*into, layout, dtype), options


def test_native_equals_the_reference_to_the_last_bit(native_level: Any) -> None:
    dice = random.Random(11)
    for _ in range(150):
        pixels, shape, options = draw_call(dice)
        expected, got = row(*shape), row(*shape)
        pure_prepare.prepare(pixels, expected, **options)
        native_level.prepare(pixels, got, **options)
        assert np.array_equal(got.view(np.uint8), expected.view(np.uint8)), (pixels.shape, shape, options)


def test_every_width_up_to_300(native_level: Any) -> None:
    for width in range(1, 301):
        pixels = picture(2, width, 3 + width % 2)
        for into in (17, 224 if width % 10 == 0 else 8):
            expected, got = row(1, into), row(1, into)
            pure_prepare.prepare(pixels, expected, mode="stretch")
            native_level.prepare(pixels, got, mode="stretch")
            assert np.array_equal(got, expected), width


@given(st.integers(0, 2**32))
def test_levels_agree(seed: int) -> None:
    pixels, shape, options = draw_call(random.Random(seed))
    before = native.simd()
    rows = []
    for level in native.simd_levels():
        native.select_simd(level)
        rows.append(row(*shape))
        native.prepare(pixels, rows[-1], **options)
    native.select_simd(before)
    assert all(np.array_equal(rows[0].view(np.uint8), other.view(np.uint8)) for other in rows[1:])


def test_source_at_any_address(fast: Any) -> None:
    flat = np.frombuffer(random.Random(1).randbytes(20 * 30 * 3 + 8), np.uint8)
    expected, got = row(9, 9), row(9, 9)
    for offset in range(8):
        pixels = flat[offset : offset + 20 * 30 * 3].reshape(20, 30, 3)
        fast.prepare(pixels, got)
        fast.prepare(pixels.copy(), expected)
        assert np.array_equal(got, expected)


def test_values_are_scaled_then_normalised(fast: Any) -> None:
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    floats = row(1, 1)
    fast.prepare(pixels, floats, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 2.0))
    assert np.allclose(floats.ravel(), [-1.0, (0.2 - 0.5) / 0.25, 0.25], atol=1e-6)
    fast.prepare(pixels, floats, scale=1.0)
    assert floats.ravel().tolist() == [0.0, 51.0, 255.0]


def test_a_flat_colour_stays_what_it_was(fast: Any) -> None:
    for size in (1, 5, 37, 200):
        pixels = np.full((size, size, 3), (3, 128, 255), np.uint8)
        for filter in ("bilinear", "area"):
            levels = row(24, 24, "NHWC")
            fast.prepare(pixels, levels, layout="NHWC", filter=filter, scale=1.0)
            assert (levels == np.array([3, 128, 255], np.float32)).all()


def test_halves_round_to_even_and_overflow_to_infinity(fast: Any) -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    for scale in (1 / 255, 1e-8, 3e-5, 257.0, 1e-5, 7.77e-7):
        got = row(1, 256, dtype="float16")
        fast.prepare(pixels, got, scale=scale, mode="stretch")
        with np.errstate(over="ignore"):
            expected = (pixels[:, :, 0].astype(np.float32) * np.float32(scale)).astype(np.float16)
        assert np.array_equal(got[0], expected)


def test_transparent_pixels_show_the_fill(fast: Any) -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, :4] = (200, 100, 0, 255)
    pixels[:, 4:] = (200, 100, 0, 0)
    levels = row(4, 8, "NHWC", "uint8")
    fast.prepare(pixels, levels, layout="NHWC", fill=FILL)
    assert (levels[:, :4] == (200, 100, 0)).all()
    assert (levels[:, 4:] == FILL).all()
    fast.prepare(pixels, levels, layout="NHWC", fill=FILL, alpha=False)
    assert (levels == (200, 100, 0)).all()


def test_alpha_is_composed_as_pillow_does(fast: Any) -> None:
    pixels = picture(30, 40, 4)
    image = Image.fromarray(pixels)
    ground = Image.new("RGBA", image.size, FILL)
    expected = np.asarray(Image.alpha_composite(ground, image).convert("RGB")).astype(int)
    levels = row(30, 40, "NHWC", "uint8")
    fast.prepare(pixels, levels, layout="NHWC", fill=FILL)
    assert np.abs(levels - expected).max() <= 1


def test_only_its_row_of_the_batch_is_written(fast: Any) -> None:
    batch = np.full((3, 3, 8, 8), np.nan, np.float32)
    fast.prepare(picture(20, 30), batch[1])
    assert np.isnan(batch[0]).all()
    assert np.isnan(batch[2]).all()
    assert not np.isnan(batch[1]).any()


def test_threads_prepare_side_by_side(native_level: Any) -> None:
    pixels, batch = picture(300, 400), np.zeros((4, 3, 64, 64), np.float32)
    threads = [threading.Thread(target=native_level.prepare, args=(pixels, batch[i])) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(batch[0], other) for other in batch[1:])


GOOD = picture(4, 4)


@pytest.mark.parametrize(
    ("src", "dst", "options", "message"),
    [
        (GOOD[:, :, 0].copy(), row(4, 4), {}, "pixels are uint8"),
        (picture(4, 4, 2), row(4, 4), {}, "pixels are uint8"),
        (np.zeros((0, 4, 3), np.uint8), row(4, 4), {}, "sides"),
        (GOOD.astype(np.uint16), row(4, 4), {}, "uint8"),
        (GOOD.astype(np.int8), row(4, 4), {}, "uint8"),
        (GOOD, row(4, 4, dtype="float64"), {}, "float32"),
        (GOOD, row(4, 4, dtype="int32"), {}, "float32"),
        (GOOD, row(4, 4)[0], {}, r"\[3, height, width\]"),
        (GOOD, row(4, 4, "NHWC"), {}, r"\[3, height, width\]"),
        (GOOD, row(4, 4), {"layout": "NHWC"}, r"\[height, width, 3\]"),
        (GOOD, row(0, 4), {}, "sides"),
        (GOOD, row(4, 4), {"layout": "CHWN"}, "layout is 'CHWN'"),
        (GOOD, row(4, 4), {"mode": "fit"}, "mode is 'fit'"),
        (GOOD, row(4, 4), {"filter": "cubic"}, "filter is 'cubic'"),
        (GOOD, row(4, 4), {"mean": (0.5, 0.5)}, "three values"),
        (GOOD, row(4, 4), {"std": (1.0, 1.0, 0.0)}, "zero"),
        (GOOD, row(4, 4), {"fill": (0, 0)}, "three values"),
        (GOOD, row(4, 4), {"fill": (0, 0, 256)}, "0 to 255"),
        (GOOD, row(4, 4, dtype="uint8"), {"std": (0.5, 1.0, 1.0)}, "for floats"),
    ],
)
def test_wrong_arguments_are_named(fast: Any, src: Any, dst: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fast.prepare(src, dst, **options)


def test_buffers_of_the_wrong_kind_are_refused(fast: Any) -> None:
    frozen = row(4, 4)
    frozen.setflags(write=False)
    scattered = row(4, 8)[:, :, ::2]
    for src, dst in ((GOOD, frozen), (GOOD, scattered), (picture(8, 8)[::2], row(4, 4))):
        with pytest.raises(BufferError):
            fast.prepare(src, dst)
    with pytest.raises(TypeError):
        fast.prepare("pixels", row(4, 4))
