"""Threads that help with a handful of jobs."""

import threading
import time
from functools import partial

import pytest

from csgate.inference.generation.local_crew import Crew


def numbered(number: int, pause: float = 0.0) -> int:
    time.sleep(pause)
    return number


@pytest.mark.parametrize("helpers", [0, 1, 3])
@pytest.mark.parametrize("jobs", [0, 1, 2, 9])
def test_results_come_in_the_order_of_the_jobs(helpers: int, jobs: int) -> None:
    crew: Crew[int] = Crew(helpers)
    for _ in range(200):
        assert crew.run([partial(numbered, number) for number in range(jobs)]) == list(range(jobs))
    assert crew.run([partial(numbered, number, 0.02 / (number + 1)) for number in range(jobs)]) == list(range(jobs))
    crew.close()


def test_jobs_run_side_by_side() -> None:
    crew: Crew[int] = Crew(2)
    together = threading.Barrier(3, timeout=10)
    for _ in range(20):
        time.sleep(0.001)  # helpers come back to where they are woken
        assert sorted(crew.run([together.wait] * 3)) == [0, 1, 2]
    crew.close()


def test_what_a_job_raises_comes_when_all_are_done() -> None:
    crew: Crew[int] = Crew(1)
    done = []

    def broken() -> int:
        raise KeyboardInterrupt("the first")

    def slow() -> int:
        time.sleep(0.1)
        done.append(1)
        return 1

    for _ in range(3):
        time.sleep(0.001)
        with pytest.raises(KeyboardInterrupt, match="the first"):
            crew.run([broken, slow])
    assert done == [1, 1, 1]
    assert crew.run([partial(numbered, 1), partial(numbered, 2)]) == [1, 2]
    crew.close()


def test_closing_ends_the_threads() -> None:
    before = threading.active_count()
    crews: list[Crew[int]] = [Crew(3) for _ in range(20)]
    assert threading.active_count() == before + 60
    for crew in crews:
        crew.run([partial(numbered, 1)] * 3)
        crew.close()  # helpers may be on their way back
    assert threading.active_count() == before
