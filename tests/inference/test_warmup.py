"""Warm-up: every shape once and more, and whether lanes pay."""

import threading
from itertools import count
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from csgate.inference.warmup import side_by_side, warm_up, worthwhile


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csgate.inference.warmup.cores_of_process", lambda: [0, 1])


class OneCore:
    """Lanes that take turns, as on a single core, for their first ``turns`` runs."""

    def __init__(self, turns: float, seconds: float = 0.002) -> None:
        self._turns = turns
        self._seconds = seconds
        self._core = threading.Lock()
        self.runs = count()

    def run(self, bucket: int, length: int = 0) -> None:
        if next(self.runs) >= self._turns:
            sleep(self._seconds)
        else:
            with self._core:
                sleep(self._seconds)


class Counted:
    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def run(self, bucket: int, length: int = 0) -> None:
        self.runs.append((bucket, length))


def runner(parallel: bool = True, buckets: tuple[int, ...] = (1, 4, 16), lengths: tuple[int, ...] = (0,)) -> Any:
    return SimpleNamespace(parallel=parallel, spec=SimpleNamespace(buckets=buckets, lengths=lengths))


def test_every_bucket_at_every_length_runs() -> None:
    lane = Counted()
    costs = warm_up(runner(lengths=(8, 32)), lane, runs=2)  # type: ignore[arg-type]
    assert sorted(set(lane.runs)) == [(1, 8), (1, 32), (4, 8), (4, 32), (16, 8), (16, 32)]
    assert len(lane.runs) == 12
    assert list(costs) == [1, 4, 16]
    assert all(cost >= 0 for cost in costs.values())


def test_lanes_are_tried_together_on_a_middling_bucket() -> None:
    lanes = [Counted(), Counted()]
    assert side_by_side(runner(lengths=(8, 32)), lanes) in (True, False)  # type: ignore[arg-type]
    assert all(set(lane.runs) == {(4, 32)} for lane in lanes)


def test_a_model_with_large_buckets_only_is_tried_on_the_smallest() -> None:
    lanes = [Counted(), Counted()]
    side_by_side(runner(buckets=(16, 32)), lanes)  # type: ignore[arg-type]
    assert set(lanes[0].runs) == {(16, 0)}


def test_a_load_that_passes_does_not_make_lanes_take_turns_for_good() -> None:
    lanes = OneCore(turns=40)
    assert side_by_side(runner(), [lanes, lanes])  # type: ignore[arg-type]  # runs are all that is asked of them


def test_lanes_that_never_run_at_once_take_turns() -> None:
    lanes = OneCore(turns=float("inf"))
    assert not side_by_side(runner(), [lanes, lanes])  # type: ignore[arg-type]


def test_a_hiccup_while_one_lane_runs_alone_is_no_second_core() -> None:
    core = threading.Lock()
    runs = count()

    class Hiccup:
        def run(self, bucket: int, length: int = 0) -> None:
            with core:
                sleep(0.03 if next(runs) == 6 else 0.001)  # the first run that counts, after each lane's three

    lane = Hiccup()
    assert not side_by_side(runner(), [lane, lane])  # type: ignore[arg-type]


def test_with_one_core_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csgate.inference.warmup.cores_of_process", lambda: [3])
    lanes = [Counted(), Counted()]
    assert not side_by_side(runner(), lanes)  # type: ignore[arg-type]
    assert not lanes[0].runs


def test_slow_runs_are_tried_no_longer_than_a_second_or_three_times() -> None:
    lanes = OneCore(turns=float("inf"), seconds=0.05)
    assert not side_by_side(runner(), [lanes, lanes])  # type: ignore[arg-type]
    assert next(lanes.runs) == 6 + 3 * 9


def test_one_lane_or_a_device_that_takes_turns_is_not_tried() -> None:
    lanes = [Counted(), Counted()]
    assert not side_by_side(runner(parallel=False), lanes)  # type: ignore[arg-type]
    assert not side_by_side(runner(), lanes[:1])  # type: ignore[arg-type]
    assert not lanes[0].runs


@pytest.mark.parametrize(
    ("alone", "together", "lanes", "pays"),
    [(1.0, 1.0, 2, True), (1.0, 1.9, 2, False), (1.0, 1.5, 2, True), (1.0, 4.0, 4, False)],
)
def test_what_pays(alone: float, together: float, lanes: int, pays: bool) -> None:
    assert worthwhile(alone, together, lanes) is pays
