"""Pauses: jitter within its bounds, and Retry-After in both of its forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.inference.generation.remote_retry import BASE_S, MAX_PAUSE_S, MAX_RETRY_AFTER_S, parse_retry_after, pause_s

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 30))
def test_full_jitter(attempt: int, share: float, retry_after_s: float | None) -> None:
    pause = pause_s(attempt, share, retry_after_s)
    least = retry_after_s or 0.0
    assert least <= pause <= least + min(MAX_PAUSE_S, BASE_S * 2.0**attempt)


def test_all_of_the_interval_is_used() -> None:
    assert pause_s(3, 0.0) == 0
    assert pause_s(3, 0.5) == 1.0
    assert pause_s(20, 0.999) == pytest.approx(MAX_PAUSE_S, rel=0.01)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 12 ", 12),
        ("31", MAX_RETRY_AFTER_S),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        ("٣", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10),
        ("Sun Nov  6 08:49:47 1994", 10),
        ("Sun, 06 Nov 1994 08:49:27 GMT", 0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", MAX_RETRY_AFTER_S),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=100))
def test_nothing_upsets_it(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S
