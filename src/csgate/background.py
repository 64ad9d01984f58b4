"""Threads for what can wait: they stand back behind those that answer."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

import trio

from csgate.errors import Overloaded, raise_error_of

T = TypeVar("T")

RETRY_S: Final = 2.0


def stand_back(by: int) -> None:
    """Lowers the priority of the calling thread, and of those that it starts, where the system has such a thing.

    Args:
        by: so many steps of niceness, see setpriority(2). What was given away cannot be taken back.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may not allow it
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + by))


class _Job(Generic[T]):
    __slots__ = ("error", "task", "value", "work")

    def __init__(self, work: Callable[[], T], task: trio.lowlevel.Task) -> None:
        self.work: Callable[[], T] | None = work
        self.task: trio.lowlevel.Task | None = task
        self.value: T | None = None
        self.error: Exception | None = None


class BackgroundThreads:
    """Some threads of lower priority, and a line in front of them. Made by ``open_background``."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    async def run(self, work: Callable[[], T]) -> T:
        """``work()`` in one of the threads. Whoever is cancelled does not wait for it, nor is it begun any more.

        Raises:
            Overloaded: the system starts no more threads.
            Exception: what ``work`` raised.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(work, trio.lowlevel.current_task())
        try:
            self._executor.submit(_do, job, trio.lowlevel.current_trio_token())
        except RuntimeError as error:
            # The system starts no more threads. The job waits all the same, and would wake whoever waits by then.
            job.task = job.work = None
            raise Overloaded(f"no thread: {error}", retry_after=RETRY_S) from error

        def abandon(_: object) -> trio.lowlevel.Abort:
            job.task = job.work = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)
        raise_error_of(job)
        return cast(T, job.value)


@contextmanager
def open_background(name: str, threads: int, *, back: int) -> Iterator[BackgroundThreads]:
    """``threads`` that stand back by ``back`` steps; leaving does not wait for what they have begun.

    Unlike Trio's threads, which go from one purpose to the next, they can keep their lower priority.
    """
    executor = ThreadPoolExecutor(threads, name, initializer=partial(stand_back, back))
    try:
        yield BackgroundThreads(executor)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _do(job: _Job[Any], token: trio.lowlevel.TrioToken) -> None:
    work = job.work
    if work is None:
        return
    try:
        job.value = work()
    except Exception as error:
        job.error = error
    except BaseException as error:
        job.error = RuntimeError(repr(error))  # a Rust library's panic, say
    job.work = None
    with suppress(trio.RunFinishedError):  # nobody is left to tell
        token.run_sync_soon(_deliver, job)


def _deliver(job: _Job[Any]) -> None:
    if job.task is not None:
        trio.lowlevel.reschedule(job.task)
        job.task = None
