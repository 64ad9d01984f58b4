"""Which part of a picture goes where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import native
from csgate._fast.placement import MODES, place

SIDES = st.integers(1, 1 << 20) | st.integers(1, 300)


def test_same_proportions_are_shown_whole() -> None:
    for mode in ("crop", "letterbox", "stretch"):
        assert place(64, 48, 32, 24, mode) == ((0, 0, 64, 48), (0, 0, 32, 24))


@pytest.mark.parametrize(
    ("size", "mode", "box", "window"),
    [
        ((200, 100), "crop", (50, 0, 150, 100), (0, 0, 50, 50)),
        ((100, 200), "crop", (0, 50, 100, 150), (0, 0, 50, 50)),
        ((200, 100), "letterbox", (0, 0, 200, 100), (0, 12, 50, 25)),
        ((100, 200), "letterbox", (0, 0, 100, 200), (12, 0, 25, 50)),
        ((200, 100), "stretch", (0, 0, 200, 100), (0, 0, 50, 50)),
        ((10_000, 1), "letterbox", (0, 0, 10_000, 1), (0, 24, 50, 1)),  # never nothing
        ((1, 10_000), "letterbox", (0, 0, 1, 10_000), (24, 0, 1, 50)),
    ],
)
def test_into_a_square(size: tuple[int, int], mode: str, box: tuple[float, ...], window: tuple[int, ...]) -> None:
    assert place(*size, 50, 50, mode) == (box, window)


def test_a_box_never_leaves_the_picture() -> None:
    for width in range(1, 60):
        for height in range(1, 60):
            left, upper, right, lower = place(width, height, 7, 13, "crop").box
            assert 0 <= left < right <= width
            assert 0 <= upper < lower <= height


def test_unknown_modes_are_named() -> None:
    for size in ((10, 10), (10, 20)):
        for placing in (place, native.place):
            with pytest.raises(ValueError, match="crop, letterbox, stretch"):
                placing(*size, 5, 5, "fit")


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(MODES))
def test_native_equals_pure(width: int, height: int, into_width: int, into_height: int, mode: str) -> None:
    assert native.place(width, height, into_width, into_height, mode) == place(
        width, height, into_width, into_height, mode
    )
