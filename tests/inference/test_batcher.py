"""The batcher: real threads, a lane that the test holds and lets go. Nothing sleeps."""

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing

from csgate.errors import BadImage, CsgateError, EngineUnavailable, Internal, Overloaded, TurnTimeout
from csgate.inference.batcher import NICENESS, Batcher, Lane, open_batcher
from csgate.inference.cores import Cores, Seat
from csgate.inference.schedule import BatchPlan
from csgate.telemetry import Telemetry

BUCKETS = (1, 2, 4, 8)
WAIT_S = 5.0


class Panic(BaseException):
    """What a library in Rust raises when it panics is no ``Exception``."""


class FakeLane:
    """Doubles numbers. ``hold()`` makes runs wait for ``go``; ``started`` is released at each run's beginning."""

    def __init__(self) -> None:
        self.rows: list[int] = [0] * BUCKETS[-1]
        self.batches: list[tuple[int, int]] = []
        self.prepared: list[int] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.threads: set[int] = set()

    def hold(self) -> None:
        self.go.clear()

    def prepare(self, row: int, payload: int) -> int | None:
        self.prepared.append(payload)
        self.threads.add(threading.get_ident())
        if payload < -1:
            raise BadImage("below nought")
        if payload == -1:
            raise ZeroDivisionError("a bug")
        if payload == 1000:
            return 2000
        self.rows[row] = payload
        return None

    def run(self, rows: int, bucket: int) -> None:
        self.batches.append((rows, bucket))
        self.started.release()
        if not self.go.wait(WAIT_S):
            raise TimeoutError
        if 13 in self.rows[:rows]:
            raise RuntimeError("the device is gone")

    def results(self, rows: int) -> list[int]:
        return [row * 2 for row in self.rows[:rows]]


Open = Callable[..., AbstractAsyncContextManager[Batcher[int, int]]]


@pytest.fixture
def lane() -> FakeLane:
    return FakeLane()


def opened(telemetry: Telemetry, *lanes: Lane[int, int], **options: Any) -> AbstractAsyncContextManager[Any]:
    return open_batcher("fake", list(lanes), BatchPlan(BUCKETS, dict.fromkeys(BUCKETS, 0.01)), telemetry, **options)


async def holds(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await trio.sleep(WAIT_S / 1000)
    raise TimeoutError


async def until(semaphore: threading.Semaphore) -> None:
    assert await trio.to_thread.run_sync(lambda: semaphore.acquire(timeout=WAIT_S))


def sample(telemetry: Telemetry, name: str) -> float:
    value = telemetry.metrics.registry.get_sample_value(name, {"model": "fake"})
    assert value is not None
    return value


async def test_one_item_comes_back_with_its_timing(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        result, timing = await batcher.submit(21)
    assert result == 42
    assert timing.batch == 1
    assert not timing.cached
    assert timing.total_ms >= timing.run_ms >= 0
    assert lane.batches == [(1, 1)]
    assert threading.get_ident() not in lane.threads
    for stage in ("queue", "prepare", "run", "total"):
        assert sample(telemetry, f"csgate_inference_{stage}_seconds_count") == 1


async def test_what_waits_while_one_runs_becomes_one_padded_batch(telemetry: Telemetry, lane: FakeLane) -> None:
    results: dict[int, Any] = {}

    async def ask(number: int) -> None:
        results[number] = await batcher.submit(number, principal=number)

    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(ask, 0)
        await until(lane.started)
        for number in range(1, 6):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        assert sample(telemetry, "csgate_inference_queue_depth") == 5
        lane.go.set()
    assert {number: result for number, (result, _) in results.items()} == {number: 2 * number for number in range(6)}
    assert lane.batches == [(1, 1), (5, 8)]
    assert results[3][1].batch == 5
    assert sample(telemetry, "csgate_inference_queue_depth") == 0


async def test_one_bad_item_fails_alone(telemetry: Telemetry, lane: FakeLane) -> None:
    found: dict[int, int | CsgateError] = {}

    async def ask(number: int) -> None:
        try:
            found[number], _ = await batcher.submit(number)
        except CsgateError as error:
            found[number] = error

    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(ask, 0)
        await until(lane.started)
        for number in (1, -5, 2, -1, 1000, 3):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        lane.go.set()
    assert isinstance(found.pop(-5), BadImage)
    assert isinstance(found.pop(-1), Internal)
    assert found == {0: 0, 1: 2, 2: 4, 3: 6, 1000: 2000}
    assert lane.batches == [(1, 1), (3, 4)]


async def test_a_result_that_needs_no_run_says_so(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        result, timing = await batcher.submit(1000)
    assert (result, timing.batch, timing.cached, timing.run_ms) == (2000, 0, True, 0.0)
    assert lane.batches == []


async def test_a_failed_run_is_told_and_the_next_one_works(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        with pytest.raises(EngineUnavailable) as caught:
            await batcher.submit(13)
        assert "the device is gone" in caught.value.detail
        assert "device" not in caught.value.text()
        assert (await batcher.submit(4))[0] == 8


@pytest.mark.parametrize(
    ("method", "kind"), [("prepare", Internal), ("run", EngineUnavailable), ("results", EngineUnavailable)]
)
async def test_a_lane_that_panics_is_told_and_the_next_item_works(
    telemetry: Telemetry, lane: FakeLane, monkeypatch: pytest.MonkeyPatch, method: str, kind: type[CsgateError]
) -> None:
    def panics(*_: object) -> None:
        raise Panic("index out of bounds")

    async with opened(telemetry, lane) as batcher:
        with monkeypatch.context() as patched:
            patched.setattr(lane, method, panics)
            with trio.fail_after(WAIT_S), pytest.raises(kind) as caught:
                await batcher.submit(4)
        assert "index out of bounds" in caught.value.detail
        with trio.fail_after(WAIT_S):
            assert (await batcher.submit(4))[0] == 8


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of a thread is Linux's")
async def test_workers_stand_back_behind_the_event_loop(
    telemetry: Telemetry, lane: FakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def niceness(*_: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    monkeypatch.setattr(lane, "prepare", niceness)
    async with opened(telemetry, lane) as batcher:
        assert (await batcher.submit(4))[0] == min(19, own + NICENESS)
    assert niceness() == own


async def test_a_run_with_too_few_results_is_a_failed_run(
    telemetry: Telemetry, lane: FakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(telemetry, lane) as batcher:
        with monkeypatch.context() as patched:
            patched.setattr(lane, "results", lambda rows: [])
            with trio.fail_after(WAIT_S), pytest.raises(EngineUnavailable):
                await batcher.submit(4)
        with trio.fail_after(WAIT_S):
            assert (await batcher.submit(4))[0] == 8


async def test_the_queue_is_bounded(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane, max_items=2) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        nursery.start_soon(batcher.submit, 1)
        nursery.start_soon(batcher.submit, 2)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await batcher.submit(3)
        lane.go.set()
    assert sorted(lane.prepared) == [0, 1, 2]


async def test_a_passed_deadline_is_refused_on_arrival(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        with pytest.raises(TurnTimeout):
            await batcher.submit(1, deadline=trio.current_time())
    assert lane.prepared == []


async def test_a_deadline_in_time_changes_nothing(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        assert (await batcher.submit(1, deadline=trio.current_time() + 60))[0] == 2


async def test_a_deadline_that_passes_in_the_queue_frees_the_place(
    telemetry: Telemetry, lane: FakeLane, mock_clock: trio.testing.MockClock
) -> None:
    async with opened(telemetry, lane, max_items=1) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        deadline = trio.current_time() + 5

        async def late() -> None:
            with pytest.raises(TurnTimeout):
                await batcher.submit(1, deadline=deadline)

        nursery.start_soon(late)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(6)
        await trio.testing.wait_all_tasks_blocked()
        assert sample(telemetry, "csgate_inference_queue_depth") == 0
        lane.go.set()
    assert lane.prepared == [0]


async def test_an_item_found_expired_by_the_worker_is_told(
    telemetry: Telemetry, lane: FakeLane, mock_clock: trio.testing.MockClock
) -> None:
    """The worker may look before Trio's own timeout has fired: it is told all the same, once."""
    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        errors: list[TurnTimeout] = []
        deadline = trio.current_time() + 5

        async def late() -> None:
            try:
                await batcher.submit(1, deadline=deadline)
            except TurnTimeout as error:
                errors.append(error)

        nursery.start_soon(late)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(6)
        lane.go.set()
        # Trio's thread is kept busy here, so the worker sees the expired item first.
        while sample(telemetry, "csgate_inference_queue_depth"):
            threading.Event().wait(0.001)
        while not errors:
            await trio.lowlevel.checkpoint()
    assert len(errors) == 1
    assert lane.prepared == [0]


async def test_a_cancelled_caller_leaves_the_queue(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                for number in range(1, 5):
                    inner.start_soon(batcher.submit, number)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert sample(telemetry, "csgate_inference_queue_depth") == 0
        lane.go.set()
        assert (await batcher.submit(9))[0] == 18
    assert lane.prepared == [0, 9]


async def test_a_caller_cancelled_in_mid_run_hurts_nobody(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher:
        lane.hold()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(batcher.submit, 1)
                await until(lane.started)
                scope.cancel()
        assert scope.cancelled_caught
        lane.go.set()
        assert (await batcher.submit(2))[0] == 4
    assert [rows for rows, _ in lane.batches] == [1, 1]


async def test_an_item_abandoned_in_a_formed_batch_is_not_prepared(telemetry: Telemetry) -> None:
    reached, gate = threading.Semaphore(0), threading.Event()

    class Slow(FakeLane):
        def prepare(self, row: int, payload: int) -> int | None:
            if payload == 7:
                reached.release()
                gate.wait(WAIT_S)
            return super().prepare(row, payload)

    lane = Slow()
    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                nursery.start_soon(batcher.submit, 7)
                await trio.testing.wait_all_tasks_blocked()
                inner.start_soon(batcher.submit, 8)
                await trio.testing.wait_all_tasks_blocked()
                lane.go.set()
                await until(reached)  # the batch of 7 and 8 is formed
                scope.cancel()
        gate.set()
    assert lane.prepared == [0, 7]
    assert lane.batches == [(1, 1), (1, 1)]


async def test_urgent_callers_overtake(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane) as batcher, trio.open_nursery() as nursery:
        lane.hold()
        nursery.start_soon(batcher.submit, 0)
        await until(lane.started)
        for number, priority in ((1, 2), (2, 1), (3, 0)):

            async def ask(number: int = number, priority: int = priority) -> None:
                await batcher.submit(number, priority=priority)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        lane.go.set()
    assert lane.prepared == [0, 3, 2, 1]


async def test_a_second_lane_prepares_while_the_first_runs_and_runs_after_it(telemetry: Telemetry) -> None:
    lanes = [FakeLane(), FakeLane()]
    for lane in lanes:
        lane.hold()
    async with opened(telemetry, *lanes) as batcher, trio.open_nursery() as nursery:
        nursery.start_soon(batcher.submit, 1)
        while not any(lane.batches for lane in lanes):
            await trio.testing.wait_all_tasks_blocked(0.001)
        running, waiting = sorted(lanes, key=lambda lane: -len(lane.batches))
        nursery.start_soon(batcher.submit, 2)
        while not waiting.prepared:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert waiting.batches == []
        running.go.set()
        await until(waiting.started)
        waiting.go.set()
    assert (running.batches, waiting.batches) == ([(1, 1)], [(1, 1)])


async def test_parallel_lanes_run_side_by_side(telemetry: Telemetry) -> None:
    lanes = [FakeLane(), FakeLane()]
    for lane in lanes:
        lane.hold()
    async with opened(telemetry, *lanes, parallel=True) as batcher, trio.open_nursery() as nursery:
        nursery.start_soon(batcher.submit, 1)
        nursery.start_soon(batcher.submit, 2)
        for lane in lanes:
            await until(lane.started)
        for lane in lanes:
            lane.go.set()
    assert [lane.batches for lane in lanes] == [[(1, 1)], [(1, 1)]]


async def test_a_delay_gathers_a_batch(telemetry: Telemetry, lane: FakeLane) -> None:
    async with opened(telemetry, lane, max_delay_s=0.02) as batcher, trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(batcher.submit, number)
    assert lane.batches == [(3, 4)]


async def test_a_full_batch_ends_the_delay(
    telemetry: Telemetry, lane: FakeLane, mock_clock: trio.testing.MockClock
) -> None:
    """An hour's delay on a clock that stands still: only the eighth item can have started the run."""
    async with opened(telemetry, lane, max_delay_s=3600.0) as batcher, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(batcher.submit, number)
    assert lane.batches == [(8, 8)]


async def test_what_was_wrong_with_an_item_whose_caller_has_gone_is_let_go_of(telemetry: Telemetry) -> None:
    """An error's traceback holds the frames that hold the batch, and the collector does not look at items."""

    class Result:
        pass

    class Mixed(FakeLane):
        def prepare(self, row: int, payload: int) -> Any:
            super().prepare(row, 0)
            if len(self.prepared) == 8:  # the callers go while the last one is prepared
                self.started.release()
                self.go.wait(WAIT_S)
            if payload == 1:
                raise BadImage("damaged")
            made = Result()
            results.append(weakref.ref(made))
            return made

    results: list[weakref.ref[Result]] = []
    lane = Mixed()
    lane.hold()
    async with opened(telemetry, lane, max_delay_s=3600.0) as batcher:
        async with trio.open_nursery() as nursery:
            for payload in (0, 1, 0, 1, 0, 1, 0, 1):  # a full batch, which ends the delay
                nursery.start_soon(batcher.submit, payload)
            await until(lane.started)
            nursery.cancel_scope.cancel()
        lane.go.set()
        await holds(lambda: len(batcher._parked) == 1)
        await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    assert len(results) == 4
    assert not any(kept() for kept in results)


async def test_a_nap_ends_by_time_or_by_a_wake_up_however_close_they_come(telemetry: Telemetry) -> None:
    async with opened(telemetry) as batcher:
        seat = Seat(None)
        seat.lock.release()
        batcher._nap(seat, trio.current_time() + 60)  # free: it was woken already
        assert seat.lock.locked()
        batcher._parked.append(seat)
        batcher._nap(seat, trio.current_time())  # the time is over: off the list again
        assert batcher._parked == []
        # The time is over, and somebody has taken it off the list but not yet released it.
        thread = threading.Thread(target=batcher._nap, args=(seat, trio.current_time()))
        thread.start()
        seat.lock.release()
        await trio.to_thread.run_sync(thread.join, WAIT_S)
        assert not thread.is_alive()
        assert seat.lock.locked()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread's cores are Linux's to say")
async def test_each_worker_keeps_to_its_core_and_nobody_else_does(telemetry: Telemetry) -> None:
    cores = sorted(os.sched_getaffinity(0))
    kept: dict[int, set[int]] = {}

    class Where(FakeLane):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def run(self, rows: int, bucket: int) -> None:
            kept[self.number] = os.sched_getaffinity(0)
            super().run(rows, bucket)

    lanes = [Where(number) for number in range(len(cores))]
    for lane in lanes:
        lane.hold()
    async with opened(telemetry, *lanes, cores=Cores(cores), parallel=True) as batcher, trio.open_nursery() as nursery:
        for number in range(len(lanes)):
            nursery.start_soon(batcher.submit, number)
        for lane in lanes:
            await until(lane.started)
        for lane in lanes:
            lane.go.set()
    assert kept == {number: {core} for number, core in enumerate(cores)}
    assert sorted(os.sched_getaffinity(0)) == cores


async def test_an_idle_worker_is_woken_on_the_core_where_nobody_is_awake(telemetry: Telemetry) -> None:
    """Two models, a worker on either core each: what both are asked at once runs on both cores."""
    cores = Cores((0, 1))
    first, second = (FakeLane(), FakeLane()), (FakeLane(), FakeLane())
    async with (
        opened(telemetry, *first, cores=cores, parallel=True) as one,
        opened(telemetry, *second, cores=cores, parallel=True) as other,
    ):
        for _ in range(3):
            await holds(lambda: len(one._parked) == len(other._parked) == 2)
            for lane in (*first, *second):
                lane.batches.clear()
                lane.hold()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.submit, 1)
                nursery.start_soon(other.submit, 2)
                await holds(lambda: sum(len(lane.batches) for lane in (*first, *second)) == 2)
                assert sum(len(lanes[0].batches) for lanes in (first, second)) == 1
                for lane in (*first, *second):
                    lane.go.set()


async def test_closing_tells_what_waits_and_ends_the_threads(telemetry: Telemetry, lane: FakeLane) -> None:
    errors: list[CsgateError] = []
    before = threading.active_count()

    async def ask(number: int) -> None:
        try:
            await batcher.submit(number)
        except EngineUnavailable as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with opened(telemetry, lane) as batcher:
            lane.hold()
            nursery.start_soon(ask, 0)
            await until(lane.started)
            nursery.start_soon(ask, 1)
            nursery.start_soon(ask, 2)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(trio.to_thread.run_sync, lane.go.set)
    assert len(errors) == 2
    with pytest.raises(EngineUnavailable):
        await batcher.submit(3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("csgate-fake")]
    assert threading.active_count() <= before + 2  # Trio keeps worker threads of its own for a while


async def test_a_worker_that_does_not_end_is_reported(
    telemetry: Telemetry, lane: FakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csgate.inference.batcher.JOIN_TIMEOUT_S", 0.0)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery, opened(telemetry, lane) as batcher:
            lane.hold()
            nursery.start_soon(batcher.submit, 0)
            await until(lane.started)
            scope.cancel()
    threads = batcher._threads
    assert any(thread.is_alive() for thread in threads)
    lane.go.set()
    for thread in threads:
        await trio.to_thread.run_sync(thread.join, WAIT_S)


def test_a_worker_outliving_trio_ends_quietly(lane: FakeLane) -> None:
    telemetry = Telemetry()

    async def main() -> Batcher[int, int]:
        batcher: Batcher[int, int] = Batcher(
            "fake", [lane], BatchPlan(BUCKETS), telemetry, max_items=4, max_delay_s=0.0, parallel=False, cores=Cores()
        )
        batcher.start()
        lane.hold()
        with trio.move_on_after(WAIT_S) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(batcher.submit, 1)
                await until(lane.started)
                scope.cancel()
        return batcher

    batcher = trio.run(main)
    lane.go.set()
    assert batcher.join()


async def test_many_callers_get_each_their_own(telemetry: Telemetry) -> None:
    lanes = [FakeLane(), FakeLane()]
    wrong: list[int] = []

    async def ask(start: int) -> None:
        for number in range(start, start + 20):
            result, _ = await batcher.submit(number, principal=start)
            if result != 2 * number:
                wrong.append(number)

    async with opened(telemetry, *lanes, parallel=True) as batcher, trio.open_nursery() as nursery:
        for start in range(2000, 2000 + 64 * 20, 20):
            nursery.start_soon(ask, start)
    assert not wrong
    assert sum(rows for lane in lanes for rows, _ in lane.batches) == 64 * 20
