import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.errors import Overloaded
from csgate.gateway.admission import Buckets, Places


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(rate=2.0, burst=3, clock=clock)
    assert [buckets.allow("a") for _ in range(4)] == [None, None, None, 0.5]
    clock.now += 0.25
    assert buckets.allow("a") == pytest.approx(0.25)
    clock.now += 0.25
    assert buckets.allow("a") is None
    assert buckets.allow("b") is None


def test_a_cost_above_the_burst_passes_once_and_leaves_a_debt() -> None:
    clock = Clock()
    buckets = Buckets(rate=10.0, burst=100, clock=clock)
    assert buckets.allow("a", 250) is None
    assert buckets.allow("a", 1) == pytest.approx(15.1)
    clock.now += 15.2
    assert buckets.allow("a", 1) is None


def test_keys_are_bounded_and_the_least_recent_goes_first() -> None:
    buckets = Buckets(rate=1.0, burst=1, clock=Clock(), max_keys=2)
    assert [buckets.allow(key) for key in "ab"] == [None, None]
    assert buckets.allow("c") is None  # "a" is forgotten
    assert buckets.allow("b") == 1.0
    assert buckets.allow("a") is None


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 5)), max_size=50))
def test_no_schedule_takes_more_than_burst_plus_rate(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    buckets = Buckets(rate=2.0, burst=5, clock=clock)
    taken = 0.0
    for pause, cost in steps:
        clock.now += pause
        wait = buckets.allow("k", cost)
        if wait is None:
            taken += cost
        else:
            assert wait > 0
    assert taken <= 5 + 2.0 * (clock.now - 100.0) + 1e-6


def test_places_are_counted_and_given_back() -> None:
    places = Places(total=2, per_address=1, per_principal=1)
    with places.connection("a"):
        with pytest.raises(Overloaded, match="this address"), places.connection("a"):
            pass
        with places.connection("b"):
            with pytest.raises(Overloaded, match="full") as caught, places.connection("c"):
                pass
            assert caught.value.retry_after == 5.0
    assert places.count == 0
    with places.connection("a"):
        assert places.count == 1


def test_a_principal_has_its_share() -> None:
    places = Places(total=9, per_address=9, per_principal=2)
    places.take_principal("p")
    places.take_principal("p")
    with pytest.raises(Overloaded, match="this principal"):
        places.take_principal("p")
    places.release_principal("p")
    places.take_principal("p")
