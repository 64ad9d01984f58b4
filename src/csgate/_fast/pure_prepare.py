"""The reference of tensor preparation, in NumPy: the same fixed point and the same float operations as the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from csgate._fast.placement import place

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_SIDE: Final = 1 << 20  # pixels
WEIGHT_BITS: Final = 22
_HALF: Final = 1 << (WEIGHT_BITS - 1)
_DTYPES: Final = ("float32", "float16", "uint8")

_Levels = npt.NDArray[np.int32]


def prepare(
    src: Buffer | npt.NDArray[Any],
    dst: Buffer | npt.NDArray[Any],
    *,
    layout: str = "NCHW",
    mode: str = "crop",
    filter: str = "bilinear",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    scale: float = 1 / 255,
    fill: Sequence[int] = (0, 0, 0),
    alpha: bool = True,
) -> None:
    """Turns a decoded picture into a model's input, in its row of a batch buffer.

    The picture is resized as Pillow does it, with antialiasing, width first, to the same levels.

    Args:
        src: uint8[H, W, 3] or uint8[H, W, 4], C-contiguous, sides of 1 to 2**20.
        dst: float32, float16 or uint8, C-contiguous and writable: [3, h, w] for NCHW, [h, w, 3] for NHWC; every value
            is written. It belongs to the caller and is only borrowed.
        layout: ``NCHW`` or ``NHWC``.
        mode: how proportions are kept: ``crop``, ``letterbox`` or ``stretch``; see ``placement.place``.
        filter: ``bilinear`` or ``area`` (Pillow's BOX).
        mean: of the three channels, after scaling. Floats become ``(level * scale - mean) / std``.
        std: of the three channels, after scaling.
        scale: of a level. A uint8 row takes levels as they are, so that mean, std and scale do not apply.
        fill: the colour, three levels, around a letter-boxed picture and behind a transparent one.
        alpha: the fourth channel of ``src`` is alpha, not premultiplied. False: it is ignored.

    Raises:
        BufferError: a buffer is not C-contiguous, or ``dst`` is read-only.
        ValueError: a shape, type or option is none of these.
    """
    _check(layout in ("NCHW", "NHWC"), f"layout is {layout!r}; it may be NCHW or NHWC")
    _check(filter in ("area", "bilinear"), f"filter is {filter!r}; it may be area or bilinear")
    _check(len(mean) == 3 and len(std) == 3, "mean and std have three values")
    _check(all(std), "std has a zero")
    _check(len(fill) == 3 and all(0 <= level <= 255 for level in fill), "fill is three values of 0 to 255")
    pixels = _array(src, ("uint8",), writable=False)
    _check(pixels.ndim == 3 and pixels.shape[2] in (3, 4), "pixels are uint8[height, width, 3 or 4]")
    _check(all(0 < side <= MAX_SIDE for side in pixels.shape[:2]), f"pixels have sides of 1 to {MAX_SIDE}")
    row = _array(dst, _DTYPES, writable=True)
    _check(
        row.ndim == 3 and row.shape[0 if layout == "NCHW" else 2] == 3,
        f"a row is {'[3, height, width]' if layout == 'NCHW' else '[height, width, 3]'} for {layout}",
    )
    planes: npt.NDArray[Any] = row if layout == "NCHW" else row.transpose(2, 0, 1)
    _, into_height, into_width = planes.shape
    _check(0 < into_height <= MAX_SIDE and 0 < into_width <= MAX_SIDE, f"a row has sides of 1 to {MAX_SIDE}")
    _check(
        row.dtype != np.uint8 or (not any(mean) and all(s == 1 for s in std)),
        "a uint8 row takes levels; mean and std are for floats",
    )

    box, (left, upper, width, height) = place(pixels.shape[1], pixels.shape[0], into_width, into_height, mode)
    opaque = _composed(pixels, fill) if alpha and pixels.shape[2] == 4 else pixels[:, :, :3]
    levels = np.empty((3, into_height, into_width), np.int32)
    levels[:] = np.array(fill, np.int32)[:, None, None]
    levels[:, upper : upper + height, left : left + width] = _resized(opaque, box, width, height, filter)
    if row.dtype == np.uint8:
        planes[:] = levels
        return
    mul = np.array([scale / s for s in std], np.float32)
    add = np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)
    with np.errstate(over="ignore"):  # beyond float16's range is infinity, as in the kernel
        planes[:] = levels.astype(np.float32) * mul[:, None, None] + add[:, None, None]


def _check(right: bool, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)


def _array(buffer: Buffer | npt.NDArray[Any], dtypes: tuple[str, ...], *, writable: bool) -> npt.NDArray[Any]:
    view = memoryview(cast("Buffer", buffer))
    if not view.c_contiguous:
        raise BufferError("the buffer is not C-contiguous")
    if writable and view.readonly:
        raise BufferError("the buffer is read-only")
    array = np.asarray(view)
    _check(array.dtype.name in dtypes, f"the type is {array.dtype.name}; it may be {', '.join(dtypes)}")
    return array


def _composed(rgba: npt.NDArray[np.uint8], fill: Sequence[int]) -> npt.NDArray[np.uint8]:
    opacity = rgba[:, :, 3:].astype(np.uint32)
    mixed = rgba[:, :, :3] * opacity + np.array(fill, np.uint32) * (255 - opacity) + 128
    # Exact division by 255, rounded.
    opaque: npt.NDArray[np.uint8] = ((mixed + (mixed >> 8)) >> 8).astype(np.uint8)
    return opaque


def _resized(
    pixels: npt.NDArray[np.uint8], box: tuple[float, float, float, float], width: int, height: int, filter: str
) -> _Levels:
    """Levels, int32[3, height, width], from uint8[H, W, 3]; rounded after each pass, as Pillow does."""
    source = pixels.transpose(2, 0, 1).astype(np.int32)
    rows = np.empty((3, source.shape[1], width), np.int32)
    for x, (first, weights) in enumerate(_axis(box[0], box[2], source.shape[2], width, filter)):
        total = source[:, :, first : first + len(weights)] @ weights
        rows[:, :, x] = (total + _HALF) >> WEIGHT_BITS
    levels = np.empty((3, height, width), np.int32)
    for y, (first, weights) in enumerate(_axis(box[1], box[3], source.shape[1], height, filter)):
        total = np.einsum("cyx,y->cx", rows[:, first : first + len(weights)], weights)
        levels[:, y] = (total + _HALF) >> WEIGHT_BITS
    return levels


def _axis(low: float, high: float, inputs: int, outputs: int, filter: str) -> list[tuple[int, _Levels]]:
    """For each output: its first input and the weights, with WEIGHT_BITS fractional bits, of the inputs from there on.

    As Pillow computes them (``precompute_coeffs`` and ``normalize_coeffs_8bpc`` of its Resample.c).
    """
    scale = float(np.float32(high) - np.float32(low)) / outputs
    stretch = max(scale, 1.0)
    support = (0.5 if filter == "area" else 1.0) * stretch
    inverse = 1.0 / stretch
    axis = []
    for output in range(outputs):
        centre = low + (output + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        behind = min(inputs, int(centre + support + 0.5))
        distance = (np.arange(behind - first) + first - centre + 0.5) * inverse
        if filter == "area":
            share = ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
        else:
            share = np.maximum(1.0 - np.abs(distance), 0.0)
        total = np.cumsum(share)[-1]  # one after the other, as C adds
        weights = (share / total * (1 << WEIGHT_BITS) + 0.5).astype(np.int32)
        used = np.flatnonzero(weights)
        axis.append((first + int(used[0]), weights[used[0] : used[-1] + 1]))
    return axis
