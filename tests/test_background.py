"""Threads that stand back."""

import gc
import os
import sys
import threading
import weakref

import pytest
import trio

from csgate.background import _do, _Job, open_background, stand_back
from csgate.errors import Overloaded


async def test_work_comes_back_from_another_thread() -> None:
    with open_background("test", 1, back=0) as threads:
        assert await threads.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)


async def test_as_many_at_once_as_there_are_threads() -> None:
    meeting = threading.Barrier(2)
    with open_background("test", 2, back=0) as threads:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(threads.run, lambda: meeting.wait(10))


@pytest.mark.skipif(sys.platform != "linux", reason="niceness of a thread is Linux's")
async def test_the_threads_stand_back_and_nobody_else_does() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    with open_background("test", 1, back=3) as threads:
        assert await threads.run(niceness) == min(19, own + 3)
    assert niceness() == own
    assert await trio.to_thread.run_sync(niceness) == own


async def test_who_is_cancelled_does_not_wait_and_what_waits_for_him_is_not_begun() -> None:
    gate = threading.Event()
    begun: list[int] = []
    with open_background("test", 1, back=0) as threads:

        def first() -> None:
            begun.append(1)
            gate.wait(10)

        async def given_up() -> None:
            with trio.move_on_after(0.05) as scope:
                await threads.run(first)
            assert scope.cancelled_caught

        async with trio.open_nursery() as nursery:
            nursery.start_soon(given_up)
            await trio.sleep(0.01)
            with trio.move_on_after(0.02) as scope:
                await threads.run(lambda: begun.append(2))
            assert scope.cancelled_caught
        gate.set()
        await threads.run(lambda: begun.append(3))
    assert begun == [1, 3]


async def test_what_a_failed_piece_of_work_held_is_let_go_of_at_once() -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def fail() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise ValueError("no")

    with open_background("test", 1, back=0) as threads:
        gc.disable()
        try:
            with pytest.raises(ValueError, match="no"):
                await threads.run(fail)
            await threads.run(int)  # the thread itself holds the last piece of work until there is another
            assert held[0]() is None
        finally:
            gc.enable()


def test_work_that_ends_when_nobody_is_left_to_tell_harms_nobody() -> None:
    async def main() -> tuple[trio.lowlevel.TrioToken, _Job[int]]:
        return trio.lowlevel.current_trio_token(), _Job(int, trio.lowlevel.current_task())

    token, job = trio.run(main)
    _do(job, token)
    assert job.value == 0


def test_standing_back_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(os, "getpriority", lambda *_: 15)
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, niceness: given.append(niceness))
    stand_back(10)
    monkeypatch.setattr("sys.platform", "darwin")
    stand_back(10)
    assert given == [19]


async def test_a_thread_that_cannot_be_started_is_a_refusal_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    with open_background("test", 1, back=0) as threads:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(Overloaded):
                await threads.run(lambda: done.append(1))
        await threads.run(lambda: done.append(2))
    assert done == [2]


async def test_a_panic_is_an_error_of_the_one_who_asked() -> None:
    class Panic(BaseException):
        """As Rust libraries raise it."""

    def panic() -> None:
        raise Panic("a lock was poisoned")

    with open_background("test", 1, back=0) as threads:
        with pytest.raises(RuntimeError, match="poisoned"):
            await threads.run(panic)
        assert await threads.run(lambda: 1) == 1


async def test_a_sandbox_that_forbids_standing_back_costs_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbid)
    with open_background("test", 1, back=3) as threads:
        assert await threads.run(lambda: 1) == 1
