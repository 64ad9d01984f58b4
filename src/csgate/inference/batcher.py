"""The batcher of one model: Trio tasks submit, worker threads prepare and run, one wake-up a batch brings it back.

    task: submit ──> Schedule (bounded) ──> worker thread: prepare rows │ run on the device │ read rows
      ^                                                                                          │
      └────────── delivered on Trio's thread, all items of the batch at once <── run_sync_soon ──┘

Each worker owns a lane (its buffers and bindings), so while one lane runs the next one is prepared. The threads are
the batcher's own rather than Trio's: a parked thread is woken by one lock release (0.09 ms there and back, where
``trio.to_thread`` takes 0.20), and a batch is formed at the moment a worker is free, never before.

What is shared between threads is the schedule and the list of parked workers (``cores`` says which of them is woken),
under one lock that nobody holds for longer than it takes to form a batch. An item's ``task`` is touched on Trio's
thread only.
"""

import threading
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter, thread_time
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import trio
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

from csgate.background import stand_back
from csgate.errors import CsgateError, EngineUnavailable, Internal, TurnTimeout, raise_error_of
from csgate.inference.cores import Cores, Seat
from csgate.inference.results import Timing
from csgate.inference.schedule import BatchPlan, Schedule
from csgate.telemetry import Telemetry

P_contra = TypeVar("P_contra", contravariant=True)
P = TypeVar("P")
R = TypeVar("R")

NICENESS: Final = 5
"""How far the workers stand back behind the event loop: it serves everybody, a worker those of one batch."""
JOIN_TIMEOUT_S: Final = 10.0


class Lane(Protocol[P_contra, R]):
    """One worker's buffers and how to use them. Only ever called from that worker's thread."""

    def prepare(self, row: int, payload: P_contra) -> R | None:
        """Writes ``payload`` into ``row`` (rows are filled from 0 on), or returns a result that needs no run.

        Raises:
            CsgateError: this payload is wrong; the row is used for the next one.
        """

    def run(self, rows: int, bucket: int) -> None:
        """Runs the first ``rows`` rows as a batch of ``bucket``."""

    def results(self, rows: int) -> list[R]:
        """The results of the last run, by row; none of them a view into the buffers."""


class Item(msgspec.Struct, Generic[P, R], eq=False, gc=False):
    """One submission on its way through.

    Unknown to the garbage collector, which would otherwise spend a fiftieth of a busy engine's time on these: the
    cycles that an item is part of, through ``task`` and through the frames of its ``error``, end when it is delivered.
    """

    payload: P | None
    principal: Hashable
    priority: int
    deadline: float
    arrived: float
    task: trio.lowlevel.Task | None
    abandoned: bool = False
    result: R | None = None
    error: CsgateError | None = None
    queue_s: float = 0.0
    prepare_s: float = 0.0
    run_s: float = 0.0
    batch: int = 0


class Batcher(Generic[P, R]):
    """Submit payloads, get results. Made by ``open_batcher``."""

    def __init__(
        self,
        name: str,
        lanes: list[Lane[P, R]],
        plan: BatchPlan,
        telemetry: Telemetry,
        *,
        max_items: int,
        max_delay_s: float,
        parallel: bool,
        cores: Cores,
    ) -> None:
        self.name: Final = name
        self._lanes = lanes
        self._plan = plan
        self._log = telemetry.log
        self._schedule: Schedule[Item[P, R]] = Schedule(
            plan, max_items=max_items, max_delay_s=max_delay_s, workers=len(lanes), parallel=parallel
        )
        self._device = threading.Semaphore(len(lanes) if parallel else 1)
        self._lock = threading.Lock()
        self._cores = cores
        self._parked: list[Seat] = []
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._token = trio.lowlevel.current_trio_token()
        # A clock's current_time is plain arithmetic, safe from any thread (also MockClock's).
        self._now = trio.lowlevel.current_clock().current_time
        metrics = telemetry.metrics
        self._queue_seconds = metrics.queue_wait.labels(name)
        self._prepare_seconds = metrics.prepare.labels(name)
        self._run_seconds = metrics.run.labels(name)
        self._total_seconds = metrics.total.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._depth = metrics.queue_depth.labels(name)
        self._depth.set_function(lambda: len(self._schedule))

    # --- Trio's side ------------------------------------------------------------------------------------------------

    async def submit(
        self, payload: P, *, principal: Hashable = "", priority: int = 1, deadline: float = float("inf")
    ) -> tuple[R, Timing]:
        """Queues ``payload`` and waits for its result.

        ``deadline`` is Trio time. A caller that is cancelled leaves the queue at once; if its row is already being
        prepared or run, the result is dropped. ``payload`` may be a view into a buffer: it is let go of as soon as
        its row is written.

        Raises:
            Overloaded: the queue is full.
            TurnTimeout: the deadline passed first.
            EngineUnavailable: the batcher is closing, or the run failed.
            CsgateError: whatever the lane found wrong with this payload.
        """
        now = self._now()
        if now >= deadline:
            raise TurnTimeout(f"the deadline had passed on arrival at {self.name}")
        item: Item[P, R] = Item(payload, principal, priority, deadline, now, current_task())
        self._enqueue(item)
        if deadline == float("inf"):
            await wait_task_rescheduled(partial(self._abandon, item))
        else:
            with trio.move_on_at(deadline) as scope:
                await wait_task_rescheduled(partial(self._abandon, item))
            if scope.cancelled_caught:
                raise TurnTimeout(f"the deadline passed while waiting for {self.name}")
        raise_error_of(item)
        total_s = self._now() - now
        self._total_seconds.observe(total_s)
        timing = Timing(
            queue_ms=item.queue_s * 1e3,
            prepare_ms=item.prepare_s * 1e3,
            run_ms=item.run_s * 1e3,
            total_ms=total_s * 1e3,
            batch=item.batch,
            cached=not item.batch,
        )
        return item.result, timing  # type: ignore[return-value]  # no error: there is a result

    def _enqueue(self, item: Item[P, R]) -> None:
        with self._lock:
            if self._closing:
                raise EngineUnavailable(f"{self.name} is closing")
            self._schedule.offer(item)
            parked = self._cores.take(self._parked) if self._parked else None
        if parked is not None:
            parked.lock.release()

    def _abandon(self, item: Item[P, R], _: object) -> Abort:
        item.task = None
        item.abandoned = True
        with self._lock:
            self._schedule.discard(item)
        return Abort.SUCCEEDED

    def _deliver(self, items: list[Item[P, R]]) -> None:
        for item in items:
            self._queue_seconds.observe(item.queue_s)
            self._prepare_seconds.observe(item.prepare_s)
            if item.task is None:
                item.error = None  # nobody takes it out
            else:
                reschedule(item.task)
                item.task = None

    # --- The workers' side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        for number, lane in enumerate(self._lanes):
            arguments = lane, self._cores.seat(number)
            thread = threading.Thread(
                target=self._work, args=arguments, name=f"csgate-{self.name}-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """No more submissions; what waits is told so, and the workers end after the batch in hand."""
        with self._lock:
            self._closing = True
            waiting = self._schedule.drain()
            parked, self._parked = self._parked, []
            for seat in parked:
                self._cores.woken(seat)
        for seat in parked:
            seat.lock.release()
        for item in waiting:
            item.error = EngineUnavailable(f"{self.name} is closing")
        self._deliver(waiting)

    def join(self) -> bool:
        """Waits for the worker threads, up to ``JOIN_TIMEOUT_S`` in all; False if one still runs."""
        until = perf_counter() + JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, until - perf_counter()))
        self._depth.set_function(lambda: 0)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, lane: Lane[P, R], seat: Seat) -> None:
        stand_back(NICENESS)
        seat.sit()
        try:
            self._serve(lane, seat)
        finally:
            self._cores.parked(seat)

    def _serve(self, lane: Lane[P, R], seat: Seat) -> None:
        done: list[Item[P, R]] = []
        while True:
            with self._lock:
                if done:
                    self._schedule.release(len(done), sum(item.prepare_s for item in done))
                closing = self._closing
                if not closing:
                    decision = self._schedule.take(self._now())
                    if not decision.batch:
                        self._parked.append(seat)
                        self._cores.parked(seat)
            if done:
                # Only now: whoever gets his result may submit again at once, and should find this worker, its caches
                # warm, rather than wake another one.
                self._post(done)
                done = []
            if closing or (self._closing and not decision.batch):
                return
            for item in decision.expired:
                item.error = TurnTimeout(f"the deadline passed in the queue of {self.name}")
            if decision.expired:
                self._post(decision.expired)
            if decision.batch:
                self._process(lane, seat, decision.batch)
                done = decision.batch
            elif decision.wait_until is None:
                seat.lock.acquire()
            else:
                self._nap(seat, decision.wait_until)

    def _nap(self, seat: Seat, until: float) -> None:
        if seat.lock.acquire(timeout=max(0.0, until - self._now())):
            return
        with self._lock:
            if seat in self._parked:
                self._parked.remove(seat)
                self._cores.woken(seat)
                return
        seat.lock.acquire()  # somebody took it off the list: its release is there, or comes within a line

    def _process(self, lane: Lane[P, R], seat: Seat, batch: list[Item[P, R]]) -> None:
        """Prepares and runs one batch. Whatever goes wrong becomes an item's error; nothing escapes.

        Also not what a library in Rust raises when it panics, which is no ``Exception``: it would end this thread.
        """
        began = self._now()
        rows: list[Item[P, R]] = []
        last = perf_counter()
        for item in batch:
            item.queue_s = began - item.arrived
            if not item.abandoned:
                try:
                    result = item.result = lane.prepare(len(rows), item.payload)  # type: ignore[arg-type]  # not None yet
                    if result is None:
                        rows.append(item)
                except CsgateError as error:
                    item.error = error
                except BaseException as error:
                    self._log.error("inference.prepare_failed", model=self.name, exc_info=error)
                    item.error = Internal(f"preparing an item of {self.name} failed: {error!r}")
                now = perf_counter()
                item.prepare_s = now - last
                last = now
            item.payload = None
        if rows:
            self._run(lane, seat, rows)

    def _run(self, lane: Lane[P, R], seat: Seat, rows: list[Item[P, R]]) -> None:
        count = len(rows)
        bucket = self._plan.bucket(count)
        try:
            with self._device:
                began, cpu = perf_counter(), thread_time()
                lane.run(count, bucket)
                took = perf_counter() - began
            seat.ran(took, thread_time() - cpu)
            # Read with the device given back: another lane runs meanwhile.
            results = list(zip(rows, lane.results(count), strict=True))
        except BaseException as error:
            self._log.error("inference.run_failed", model=self.name, rows=count, exc_info=error)
            for item in rows:
                item.error = EngineUnavailable(f"a run of {self.name} failed: {error!r}")
            return
        self._run_seconds.observe(took)
        self._batch_size.observe(count)
        for item, result in results:
            item.result = result
            item.run_s = took
            item.batch = count

    def _post(self, items: list[Item[P, R]]) -> None:
        try:
            self._token.run_sync_soon(self._deliver, items)
        except trio.RunFinishedError:
            # Nobody is left to tell: Trio ended without closing us.
            with self._lock:
                self._closing = True


@asynccontextmanager
async def open_batcher(
    name: str,
    lanes: list[Lane[P, R]],
    plan: BatchPlan,
    telemetry: Telemetry,
    *,
    max_items: int = 1024,
    max_delay_s: float = 0.0,
    parallel: bool = False,
    cores: Cores | None = None,
) -> AsyncIterator[Batcher[P, R]]:
    """A running batcher with one worker thread a lane; leaving it ends the threads.

    ``parallel``: runs of several lanes go side by side; otherwise one runs while the others prepare. ``cores``: those
    that the threads keep to; by default they are left to the kernel.
    """
    batcher = Batcher(
        name,
        lanes,
        plan,
        telemetry,
        max_items=max_items,
        max_delay_s=max_delay_s,
        parallel=parallel,
        cores=cores or Cores(),
    )
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.stop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + JOIN_TIMEOUT_S + 1):
            if not await trio.to_thread.run_sync(batcher.join, abandon_on_cancel=True):
                telemetry.log.error("inference.worker_stuck", model=name)
