"""Which items run next, as pure decisions: no threads, no clock, no awaiting. ``batcher`` carries them out.

    offer ──> class 0 ──> principal a: item item item      take: the most urgent class that has items; in it one item
              class 1 ──> principal b: item                      a principal in turn; expired ones are set aside
                          principal c: item item

Priority is strict between classes; what waits too long in a lower one meets its deadline and is told so.
"""

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from csgate.errors import Overloaded

BATCH_OVERHEAD_S: Final = 0.000_1
"""Processor time that a batch costs beside its run, whatever its size."""

RETURN_S: Final = 0.000_05
"""From a run's end until its callers can have submitted again. The device idles so long if no batch was kept back."""

GOOD_ENOUGH: Final = 0.985
"""Share of the best bucket's items a second at which a smaller one is taken: the items in it wait less."""

GOOD_ENOUGH_PREPARED: Final = 0.95
"""The same where preparing items (decoding a picture) weighs as much as running them: a small batch runs while the
next one is prepared, and answers leave in a stream rather than in bursts."""

PREPARATION_STEP_S: Final = 0.000_1
"""Preparation is told in powers of two of this; half of it or less is nothing."""

LEARNING_RATE: Final = 0.1
"""How much the latest batch's preparation counts against all before it."""


class Entry(Protocol):
    """What the schedule must know of an item. Times are seconds of one clock; ``priority`` 0 is the most urgent."""

    principal: Hashable
    priority: int
    deadline: float
    arrived: float


E = TypeVar("E", bound=Entry)


class BatchPlan:
    """How many waiting items to run at once, from what each bucket was seen to cost.

    On a CPU a batch of 5 padded to 8 costs three items more than it need, so 4 and then 1 are run; on a GPU both
    cost the same and 5 are run. Neither is written down anywhere: the bucket with the most items a second wins.
    """

    def __init__(
        self, buckets: Sequence[int], costs_s: Mapping[int, float] | None = None, prepare_s: float = 0.0
    ) -> None:
        """``costs_s``: seconds a run by bucket; without it a run's time is taken to grow with its rows.

        ``prepare_s``: seconds that preparing one item takes, in the thread that then runs its batch.
        """
        self.buckets: Final = tuple(buckets)
        costs = costs_s or {bucket: bucket * 0.001 for bucket in self.buckets}
        self._costs: Final = costs
        self._prepare_s: Final = prepare_s
        self._seconds = tuple(costs[bucket] + BATCH_OVERHEAD_S for bucket in self.buckets)
        self._sizes = [0, *(self._best(waiting) for waiting in range(1, self.buckets[-1] + 2))]
        self.most: Final = self._sizes[-1]
        """The size that is taken however many wait."""

    def _best(self, waiting: int) -> int:
        ways: list[tuple[float, int]] = []
        for bucket, seconds in zip(self.buckets, self._seconds, strict=True):
            size = min(bucket, waiting)
            busy = seconds + size * self._prepare_s
            ways.append((size / (busy + (RETURN_S if size == waiting else 0.0)), size))
        enough = max(ways)[0] * (GOOD_ENOUGH_PREPARED if self._prepare_s else GOOD_ENOUGH)
        return next(size for rate, size in ways if rate >= enough)

    def prepared_in(self, prepare_s: float) -> "BatchPlan":
        """The same plan for items that take ``prepare_s`` seconds each to prepare."""
        return BatchPlan(self.buckets, self._costs, prepare_s)

    def size(self, waiting: int) -> int:
        """How many of ``waiting`` items to put into the next batch."""
        return self._sizes[min(waiting, len(self._sizes) - 1)]

    def bucket(self, rows: int) -> int:
        """The smallest bucket that holds ``rows``."""
        return self.buckets[bisect_left(self.buckets, rows)]

    def seconds(self, waiting: int) -> float:
        """About how long ``waiting`` items take to run, one batch after the other."""
        batches = waiting / self.most
        return batches * self._seconds[bisect_left(self.buckets, self.most)]


@dataclass(frozen=True, slots=True)
class Decision(Generic[E]):
    """``batch`` runs now; ``expired`` are to be told; with neither, look again at ``wait_until`` (None: when woken)."""

    batch: list[E]
    expired: list[E]
    wait_until: float | None = None


class Schedule(Generic[E]):
    """The bounded queue of one model."""

    def __init__(
        self, plan: BatchPlan, *, max_items: int, max_delay_s: float = 0.0, workers: int = 1, parallel: bool = False
    ) -> None:
        """``parallel``: the workers' runs go side by side (CPU), so waiting items are shared out among free workers."""
        self.plan = plan
        self._plans = {0.0: plan}
        self._prepare_s = 0.0
        self._max_items = max_items
        self._max_delay_s = max_delay_s
        self._free = workers
        self._parallel = parallel
        self._classes: dict[int, OrderedDict[Hashable, OrderedDict[E, None]]] = {}
        self._arrivals: OrderedDict[E, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._arrivals)

    def offer(self, item: E) -> None:
        """Queues ``item``.

        Raises:
            Overloaded: the queue is full; ``retry_after`` says when about half of it will have run.
        """
        if len(self._arrivals) >= self._max_items:
            raise Overloaded(
                f"{self._max_items} items wait already",
                retry_after=max(0.1, round(self.plan.seconds(self._max_items) / 2, 1)),
            )
        principals = self._classes.get(item.priority)
        if principals is None:
            principals = self._classes[item.priority] = OrderedDict()
        items = principals.get(item.principal)
        if items is None:
            items = principals[item.principal] = OrderedDict()
        items[item] = None
        self._arrivals[item] = None

    def discard(self, item: E) -> bool:
        """Forgets an item whose caller has gone; False if it is no longer queued."""
        if item not in self._arrivals:
            return False
        del self._arrivals[item]
        principals = self._classes[item.priority]
        items = principals[item.principal]
        del items[item]
        if not items:
            del principals[item.principal]
            if not principals:
                del self._classes[item.priority]
        return True

    def take(self, now: float) -> Decision[E]:
        """The next batch for a worker that is free. After it ran, call ``release``."""
        waiting = len(self._arrivals)
        if not waiting:
            return Decision([], [])
        if self._max_delay_s and waiting < self.plan.most:
            due = next(iter(self._arrivals)).arrived + self._max_delay_s
            if now < due:
                return Decision([], [], due)
        share = math.ceil(waiting / self._free) if self._parallel and self._free > 1 else waiting
        wanted = self.plan.size(share)
        batch: list[E] = []
        expired: list[E] = []
        while len(batch) < wanted and self._classes:
            urgent = min(self._classes)
            principals = self._classes[urgent]
            while principals and len(batch) < wanted:
                principal, items = principals.popitem(last=False)
                item, _ = items.popitem(last=False)
                if items:
                    principals[principal] = items  # to the end: the others come first
                del self._arrivals[item]
                (batch if now < item.deadline else expired).append(item)
            if not principals:
                del self._classes[urgent]
        if batch:
            self._free -= 1
        return Decision(batch, expired)

    def release(self, prepared: int = 0, prepare_s: float = 0.0) -> None:
        """A worker has finished the batch it took; preparing its ``prepared`` items took ``prepare_s`` seconds in all.

        What preparation costs is learned from this, and the plan is chosen by it.
        """
        self._free += 1
        if prepared:
            self._prepare_s += (prepare_s / prepared - self._prepare_s) * LEARNING_RATE
            step = _preparation_step(self._prepare_s)
            if step not in self._plans:
                self._plans[step] = self._plans[0.0].prepared_in(step)
            self.plan = self._plans[step]

    def drain(self) -> list[E]:
        """Empties the queue; what was in it."""
        items = list(self._arrivals)
        self._arrivals.clear()
        self._classes.clear()
        return items


def _preparation_step(prepare_s: float) -> float:
    """``prepare_s`` to the nearest power of two of ``PREPARATION_STEP_S``; few steps make few plans."""
    steps = prepare_s / PREPARATION_STEP_S
    return 0.0 if steps <= 0.5 else PREPARATION_STEP_S * 2.0 ** round(math.log2(steps))
