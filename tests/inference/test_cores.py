"""Who is woken, and where."""

import os

import pytest

from csgate.inference.cores import SLOW, Cores, Seat, cores_of_process, cores_to_keep


def parked(cores: Cores, workers: int) -> list[Seat]:
    seats = [cores.seat(number) for number in range(workers)]
    for seat in seats:
        cores.parked(seat)
    return seats


def test_workers_are_dealt_out_over_the_cores() -> None:
    assert [Cores((4, 6)).seat(number).core for number in range(5)] == [4, 6, 4, 6, 4]
    assert Cores().seat(3).core is None


def test_the_last_that_was_parked_is_woken_first_where_cores_are_alike() -> None:
    cores = Cores((0, 1))
    waiting = parked(cores, 2)
    last = waiting[1]
    assert cores.take(waiting) is last
    assert [seat.core for seat in waiting] == [0]


@pytest.mark.parametrize("busy", [0, 1])
def test_the_core_with_the_fewest_awake_is_taken(busy: int) -> None:
    cores = Cores((0, 1))
    cores.seat(busy)  # of another model, and awake
    waiting = parked(cores, 2)
    assert cores.take(waiting).core == 1 - busy


def test_who_was_woken_counts_before_his_thread_runs() -> None:
    cores = Cores((0, 1))
    one, other = parked(cores, 2), parked(cores, 2)
    assert {cores.take(one).core, cores.take(other).core} == {0, 1}


def test_a_worker_whose_core_somebody_else_keeps_busy_is_woken_last_until_he_is_the_quicker_one() -> None:
    cores = Cores((0, 1))
    waiting = parked(cores, 2)
    slow, quick = waiting[1], waiting[0]
    for _ in range(60):
        slow.ran(SLOW * 1.5, 1.0)
    assert cores.take(list(waiting)) is quick
    cores.parked(quick)
    for _ in range(60):
        quick.ran(SLOW * 4, 1.0)
    assert cores.take(list(waiting)) is slow


def test_the_slow_one_is_woken_all_the_same_when_he_is_the_only_one() -> None:
    cores = Cores((0, 1))
    [seat] = parked(cores, 1)
    seat.ran(1000, 1)
    assert cores.take([seat]) is seat


def test_without_cores_it_is_a_stack() -> None:
    cores = Cores()
    waiting = parked(cores, 3)
    seats = list(waiting)
    waiting[2].ran(1000, 1)
    assert [cores.take(waiting) for _ in range(3)] == seats[::-1]


def test_what_is_long_or_short_says_nothing_of_the_core() -> None:
    cores = Cores((0, 1))
    waiting = parked(cores, 2)
    waiting[1].ran(5.0, 5.0)  # a long text
    waiting[0].ran(0.000_001, 0.0)  # less than is measured
    last = waiting[1]
    assert cores.take(waiting) is last


@pytest.mark.parametrize(
    ("workers", "kept"), [(1, 0), (2, 0), (3, 3), (4, 0), (5, 0), (6, 3)], ids=lambda number: f"{number}"
)
def test_cores_are_kept_where_each_gets_as_many_workers(
    monkeypatch: pytest.MonkeyPatch, workers: int, kept: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 9}, raising=False)
    assert len(cores_to_keep(workers)) == kept
    assert set(cores_to_keep(workers)) <= {5, 2, 9}


def test_another_process_begins_with_another_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 9}, raising=False)
    found = set()
    for process in range(300, 303):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        found.add(cores_to_keep(3))
    assert found == {(2, 5, 9), (5, 9, 2), (9, 2, 5)}


def test_one_core_or_a_system_that_cannot_tell_leaves_it_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores_to_keep(2) == ()
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores_of_process() == []
    assert cores_to_keep(2) == ()


def test_a_core_that_has_gone_is_no_matter() -> None:
    Seat(100_000).sit()
