"""Threads that help with a handful of jobs and are waited for: less than 0.1 ms there and back.

An executor takes three times as long, with its queue, its futures and their conditions; a step of a small model takes
1 ms.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class _Round(Generic[T]):
    """Jobs that whoever has time takes from; ``finished`` is let go of after the last one."""

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self._jobs = deque(enumerate(jobs))
        self._left = len(jobs)
        self._lock = threading.Lock()
        self.results: dict[int, T] = {}
        self.error: BaseException | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def work(self) -> None:
        while True:
            try:
                number, job = self._jobs.popleft()
            except IndexError:
                return
            try:
                self.results[number] = job()
            except BaseException as error:  # the caller's, who gets it when all are done
                self.error = error
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self.finished.release()


class Crew(Generic[T]):
    """``helpers`` threads beside the one that calls ``run``, which only one thread does."""

    def __init__(self, helpers: int) -> None:
        self._lock = threading.Lock()
        self._parked: list[threading.Lock] = []
        self._closing = False
        self._round: _Round[T] | None = None
        self._threads = [
            threading.Thread(target=self._help, name=f"csgate-crew-{number}", daemon=True) for number in range(helpers)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """The results of ``jobs``, in their order. None of them runs any more afterwards, also not when one fails.

        Raises:
            BaseException: what a job raised.
        """
        if len(jobs) < 2 or not self._threads:
            return [job() for job in jobs]
        round = _Round(jobs)
        with self._lock:
            self._round = round
            woken, self._parked = self._parked[: len(jobs) - 1], self._parked[len(jobs) - 1 :]
        for lock in woken:
            lock.release()
        round.work()
        round.finished.acquire()
        self._round = None
        if round.error is not None:
            raise round.error
        return [round.results[number] for number in range(len(jobs))]

    def close(self) -> None:
        """Ends the threads."""
        with self._lock:
            self._closing = True
            parked, self._parked = self._parked, []
        for lock in parked:
            lock.release()
        for thread in self._threads:
            thread.join()

    def _help(self) -> None:
        park = threading.Lock()
        park.acquire()
        while True:
            round = self._round
            if round is not None:
                round.work()
            with self._lock:
                if self._closing:
                    return
                if self._round is not round:
                    continue  # another one has begun, or this one ended
                self._parked.append(park)
            park.acquire()
