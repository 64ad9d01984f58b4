"""The native core; the functions of ``csgate._fast.pure``, whose docstrings hold here too, and the choice of SIMD."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from typing_extensions import Buffer

def simd() -> str:
    """The level that the kernels use: ``avx512``, ``avx2``, ``ssse3``, ``neon`` or ``scalar``."""

def simd_levels() -> tuple[str, ...]:
    """The levels that this machine can run, ``scalar`` first."""

def select_simd(name: str) -> None:
    """Switches all kernels to a level, process-wide; for tests. ValueError: the machine cannot run it."""

def unmask(data: Buffer, key: Buffer, phase: int = 0) -> int: ...
def utf8_valid(data: Buffer) -> bool: ...

class Utf8Validator:
    def reset(self) -> None: ...
    @property
    def complete(self) -> bool: ...
    def feed(self, data: Buffer) -> bool: ...

def long_string(data: Buffer, least: int) -> tuple[int, int] | None: ...
def base64_decoded_size(src: Buffer) -> int: ...
def base64_decode(src: Buffer, dst: Buffer, *, urlsafe: bool = False) -> int: ...
def base64_bytes(src: Buffer, *, urlsafe: bool = False) -> bytes: ...
def prepare(
    src: Buffer | npt.NDArray[Any],
    dst: Buffer | npt.NDArray[Any],
    *,
    layout: str = "NCHW",
    mode: str = "crop",
    filter: str = "bilinear",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    scale: float = ...,
    fill: Sequence[int] = (0, 0, 0),
    alpha: bool = True,
) -> None: ...
def place(
    width: int, height: int, into_width: int, into_height: int, mode: str
) -> tuple[tuple[float, float, float, float], tuple[int, int, int, int]]:
    """Where ``prepare`` puts a picture: ``csgate._fast.placement.place``, for tests."""

def top_k(rows: Buffer | npt.NDArray[Any], k: int) -> list[tuple[tuple[int, float], ...]]: ...

class ArrowPixels:
    """uint8[height, width, 4], read-only: the memory of an Arrow array of pixels of four bytes, which it keeps alive.

    ValueError: the array holds something else, or another number of pixels.
    """

    def __init__(self, schema: object, array: object, height: int, width: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
