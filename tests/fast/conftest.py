"""Every kernel, once for the pure reference and once for each SIMD level that this machine runs."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from csgate._fast import native, pure, pure_best, pure_prepare

PURE = SimpleNamespace(**vars(pure), prepare=pure_prepare.prepare, top_k=pure_best.top_k)
KERNELS: list[str] = ["pure", *native.simd_levels()]


@pytest.fixture(params=KERNELS)
def fast(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An implementation: the pure reference, or the native core at one level."""
    if request.param == "pure":
        yield PURE
        return
    before = native.simd()
    native.select_simd(request.param)
    yield native
    native.select_simd(before)


@pytest.fixture(params=native.simd_levels())
def native_level(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The native core at one level, to be compared with the reference."""
    before = native.simd()
    native.select_simd(request.param)
    yield native
    native.select_simd(before)
