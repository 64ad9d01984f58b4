"""Who may ask the remote server now: so many at once, the others wait in a bounded, fair queue."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from csgate.errors import Overloaded
from csgate.inference.schedule import BatchPlan, Schedule

LEARNING_RATE: Final = 0.1
FIRST_GUESS_S: Final = 1.0
MIN_RETRY_AFTER_S: Final = 0.1


class _Waiter(msgspec.Struct, eq=False):
    principal: Hashable
    priority: int
    deadline: float
    arrived: float
    task: trio.lowlevel.Task


class Places:
    """``concurrency`` places. The most urgent class first, in it one waiter a principal in turn (see ``Schedule``)."""

    def __init__(self, concurrency: int, queue_items: int) -> None:
        self._concurrency = concurrency
        self._queue_items = queue_items
        self._queue: Schedule[_Waiter] = Schedule(BatchPlan((1,)), max_items=queue_items)
        self._typical_s = FIRST_GUESS_S
        self.taken = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def place(self, principal: Hashable, priority: int, deadline: float) -> AsyncIterator[None]:
        """Holds a place. The caller's own cancel scope ends the wait at ``deadline`` (Trio's clock).

        Raises:
            Overloaded: the queue is full; ``retry_after`` guesses when half of it will have gone.
        """
        if self.taken < self._concurrency:
            self.taken += 1
        else:
            await self._wait(principal, priority, deadline)
        began = trio.current_time()
        try:
            yield
        finally:
            self._typical_s += (trio.current_time() - began - self._typical_s) * LEARNING_RATE
            self._pass_on()

    async def _wait(self, principal: Hashable, priority: int, deadline: float) -> None:
        waiter = _Waiter(principal, priority, deadline, trio.current_time(), trio.lowlevel.current_task())
        try:
            self._queue.offer(waiter)
        except Overloaded:
            half = self._typical_s * self._queue_items / self._concurrency / 2
            raise Overloaded(
                f"{self._queue_items} requests wait for the remote server already",
                retry_after=max(MIN_RETRY_AFTER_S, round(half, 1)),
            ) from None

        def abandon(_: object) -> trio.lowlevel.Abort:
            self._queue.discard(waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)

    def _pass_on(self) -> None:
        """Gives the place to the next waiter. Those that expired are woken by their own deadlines."""
        decision = self._queue.take(trio.current_time())
        if decision.batch:
            self._queue.release()
            trio.lowlevel.reschedule(decision.batch[0].task)
        else:
            self.taken -= 1
