"""The shared bound on unfinished bytes."""

import pytest

from csgate.errors import Internal
from csgate.wire import ReceiveBudget


def test_reserves_up_to_the_limit_and_no_further() -> None:
    budget = ReceiveBudget(10)
    assert budget.reserve(10)
    assert not budget.reserve(1)
    assert budget.used == 10
    budget.release(4)
    assert budget.reserve(4)
    assert budget.peak == 10


def test_a_refused_reservation_takes_nothing() -> None:
    budget = ReceiveBudget(10)
    assert not budget.reserve(11)
    assert (budget.used, budget.peak) == (0, 0)
    assert budget.reserve(10)


def test_more_back_than_taken_is_a_bug() -> None:
    budget = ReceiveBudget(10)
    budget.reserve(3)
    with pytest.raises(Internal):
        budget.release(4)
    assert budget.used == 3
