"""Which core each worker thread of an engine runs on, and which of those that are parked is woken.

Threads that wait for the interpreter's lock sleep and wake many times a batch, and the kernel, which puts a thread that
wakes on whatever core is idle at that moment, soon has two workers on one core and the event loop alone on the other:
a tenth of the machine stands idle while work waits. So where a model has a worker for each core, or two, or three,
each stays on one core. With fewer workers the kernel has a choice that is worth having, and two programs that both kept
to the first cores would be in each other's way; with some left over, two would share a core for good.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

SLOW: Final = 1.5
"""A worker whose pace is this many times the quickest one's has a core that somebody else keeps busy."""

LEARNING_RATE: Final = 0.1
"""How much the latest run counts against all before it."""

SHORTEST_S: Final = 0.000_01
"""Runs below this are about what measuring them takes."""


class Seat:
    """A worker thread's place: its core (None: any), and the lock it sleeps on.

    ``pace`` is how long its runs take for each second of processor time that they get: 1 on a core of its own.
    """

    __slots__ = ("core", "lock", "pace")

    def __init__(self, core: int | None) -> None:
        self.core: Final = core
        self.lock: Final = threading.Lock()
        self.lock.acquire()
        self.pace = 1.0

    def sit(self) -> None:
        """Keeps the calling thread, and those that it starts, on the seat's core, where the system lets it."""
        if self.core is not None:
            with suppress(OSError):  # a sandbox may not allow it, or the core has gone
                os.sched_setaffinity(0, {self.core})

    def ran(self, took_s: float, cpu_s: float) -> None:
        """A run took so long, and so much of the thread's processor time."""
        self.pace += (took_s / max(cpu_s, SHORTEST_S) - self.pace) * LEARNING_RATE


class Cores:
    """The cores that the workers of all models of an engine share."""

    def __init__(self, cores: Sequence[int] = ()) -> None:
        """``cores``: their numbers; none leaves the threads to the kernel."""
        self.kept: Final = tuple(cores)
        # By core, the workers that are not parked. Adding to a set and taking from it are steps of the interpreter
        # that no other thread divides.
        self._awake: Final[dict[int, set[Seat]]] = {core: set() for core in self.kept}

    def seat(self, worker: int) -> Seat:
        """The place of a model's worker number ``worker``, who is taken to be awake."""
        seat = Seat(self.kept[worker % len(self.kept)] if self.kept else None)
        self.woken(seat)
        return seat

    def woken(self, seat: Seat) -> None:
        if seat.core is not None:
            self._awake[seat.core].add(seat)

    def parked(self, seat: Seat) -> None:
        if seat.core is not None:
            self._awake[seat.core].discard(seat)

    def take(self, parked: list[Seat]) -> Seat:
        """Takes from ``parked`` (not empty) whom to wake: on the core where the fewest are awake; of several rather one
        that is no slower than the others; of those the last that was parked, whose caches are warm."""
        best = len(parked) - 1
        if self.kept and best:
            enough = min(seat.pace for seat in parked) * SLOW
            best = min(range(best, -1, -1), key=lambda at: (self._load(parked[at]), parked[at].pace > enough))
        seat = parked.pop(best)
        self.woken(seat)
        return seat

    def _load(self, seat: Seat) -> int:
        return len(self._awake[seat.core]) if seat.core is not None else 0


def cores_of_process() -> list[int]:
    """The cores that this process may use; empty where the system can't tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def cores_to_keep(workers: int) -> tuple[int, ...]:
    """The cores for a model's workers if each core gets as many of them; none otherwise.

    They begin with another one in another process: what is asked of an idle model runs on the last of them, and nodes
    that share a machine should not all choose the same.
    """
    cores = cores_of_process()
    if len(cores) < 2 or workers < len(cores) or workers % len(cores):
        return ()
    first = os.getpid() % len(cores)
    return (*cores[first:], *cores[:first])
