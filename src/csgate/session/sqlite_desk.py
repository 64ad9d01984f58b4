"""One thread with one connection: tasks hand in jobs, and all that wait when the thread is free are done together.

    task: ask ──> queue (bounded) ──> thread: one transaction for the group, one commit (fsync) if it writes
      ^                                                    │
      └── delivered on Trio's thread, the whole group at once <── run_sync_soon

The threads are the store's own rather than Trio's, as in :mod:`csgate.inference.batcher`: while one group is being
committed the next one gathers, which is all that group commit needs.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import msgspec
import trio

from csgate.errors import CsgateError, StoreUnavailable, raise_error_of
from csgate.session.sqlite_ledger import Ledger
from csgate.telemetry import Telemetry

T = TypeVar("T")

GROUP_JOBS: Final = 256
RETRY_S: Final = 2.0
IDLE_S: Final = 1.0
TIDY_ROWS: Final = 100
TIDY_AFTER_S: Final = 0.05
# Free pages are used again before the file grows: only what is more than an eighth of it, and a megabyte, goes back.
FREE_PAGES: Final = 256
FREE_SHARE: Final = 8
VACUUM_PAGES: Final = 64
PROBE_BYTES: Final = 65_536

# Not the fault of the job at which they come up: all jobs of the group would meet them.
_AILMENTS: Final[dict[int | None, str]] = {
    sqlite3.SQLITE_FULL: "conversations cannot be stored: the disk is full",
    sqlite3.SQLITE_IOERR: "conversations cannot be stored: reading or writing their file fails",
    sqlite3.SQLITE_BUSY: "conversations cannot be stored: another process has their file locked",
    sqlite3.SQLITE_READONLY: "conversations cannot be stored: their file may not be written",
    sqlite3.SQLITE_CANTOPEN: "conversations cannot be stored: their file cannot be opened",
    sqlite3.SQLITE_NOMEM: "conversations cannot be stored: there is no memory left",
}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGE: Final = "the file of the conversations is damaged"
UNFORESEEN: Final = "conversations cannot be stored: something went wrong that nobody foresaw"


class Asks(Protocol):
    """What the store needs of a desk."""

    @property
    def trouble(self) -> str | None: ...

    async def ask(self, run: Callable[[Ledger], T]) -> T: ...


class Writes(Asks, Protocol):
    """And of the one that writes. ``on_erased`` is called with the ids that another process erased."""

    on_erased: Callable[[list[str]], None]

    def litter(self) -> None: ...


class Job(Generic[T]):
    """One operation on its way through. ``task`` is touched on Trio's thread only."""

    __slots__ = ("error", "run", "task", "value")

    def __init__(self, run: Callable[[Ledger], T], task: trio.lowlevel.Task) -> None:
        self.run = run
        self.task: trio.lowlevel.Task | None = task
        self.value: T | None = None
        self.error: Exception | None = None


class Desk:
    """The common part, and a desk for reading: a group sees one state of the file.

    ``trouble`` is a sentence while the last thing tried failed for a reason that others would meet as well. Damage
    that was seen stays until the process ends: what else is damaged, nobody knows.
    """

    begin = "BEGIN"
    # A cancelled reader goes at once; a change that was handed over is done to the end, and its caller waits for it.
    abort = trio.lowlevel.Abort.SUCCEEDED

    def __init__(self, name: str, ledger: Ledger, telemetry: Telemetry, *, max_jobs: int) -> None:
        self.trouble: str | None = None
        self._damaged = False
        self._connection = ledger.connection
        self._ledger = ledger
        self._log = telemetry.log
        self._max_jobs = max_jobs
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._given = 0  # not yet delivered
        self._closing = False
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._work, name=f"csgate-{name}", daemon=True)

    # --- Trio's side ------------------------------------------------------------------------------------------------

    async def ask(self, run: Callable[[Ledger], T]) -> T:
        """Has ``run`` done in the thread, within a transaction, and returns what it returns once that is committed.

        Raises:
            StoreUnavailable: the queue is full, the desk closes, or the file could not be read or written.
            CsgateError: what ``run`` raised.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing:
            raise StoreUnavailable("the store is closed", retry_after=RETRY_S)
        if self._given >= self._max_jobs:
            raise StoreUnavailable("too many wait for the store", retry_after=RETRY_S)
        job = Job(run, trio.lowlevel.current_task())
        self._given += 1
        self._queue.put(job)

        def abort(_: object) -> trio.lowlevel.Abort:
            if self.abort is trio.lowlevel.Abort.SUCCEEDED:
                job.task = None
            return self.abort

        await trio.lowlevel.wait_task_rescheduled(abort)
        raise_error_of(job)
        return cast(T, job.value)

    def _deliver(self, jobs: list[Job[Any]]) -> None:
        self._given -= len(jobs)
        for job in jobs:
            if job.task is not None:
                trio.lowlevel.reschedule(job.task)
                job.task = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """No more jobs; returns when those handed in are done and the connection is closed. Blocks."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    # --- The thread's side ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = self._take()
            if jobs:
                self._group(jobs)
                self._post(self._deliver, jobs)
            try:
                self._between(idle=not jobs)
            except BaseException as error:
                self._survive(error)
        self._end()

    def _take(self) -> tuple[list[Job[Any]], bool]:
        """All that waits, up to ``GROUP_JOBS``; false when there will be no more."""
        jobs: list[Job[Any]] = []
        try:
            job = self._queue.get(timeout=self._patience())
            while job is not None:
                jobs.append(job)
                if len(jobs) == GROUP_JOBS:
                    return jobs, True
                job = self._queue.get_nowait()
        except queue.Empty:
            return jobs, True
        return jobs, False

    def _group(self, jobs: list[Job[Any]]) -> None:
        """Does the jobs in one transaction; one that fails by its own fault fails alone, and the others go again."""
        left = jobs
        try:
            while left:
                culprit: Job[Any] | None = None
                try:
                    with self._transaction():
                        for culprit in left:
                            self._do(culprit)
                        culprit = None
                except BaseException as error:  # also what a library in Rust raises when it panics
                    self._suffer(error)
                    if culprit is None or _reason(error) in _AILMENTS:
                        for job in left:
                            job.error = _told(error)
                        return
                    culprit.error = _told(error)
                    left = [job for job in left if job is not culprit]
                else:
                    left = []  # done, whatever comes now
                    self._recover()
        except BaseException as error:
            self._survive(error, left)

    def _do(self, job: Job[Any]) -> None:
        job.error = None
        try:
            job.value = job.run(self._ledger)
        except CsgateError as error:
            job.error = error

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection, self.begin)

    def _survive(self, error: BaseException, jobs: Sequence[Job[Any]] = ()) -> None:
        """What nobody foresaw came up; ``jobs`` are not done. Without the thread whoever asks would wait for ever."""
        for job in jobs:
            job.error = StoreUnavailable(UNFORESEEN, retry_after=RETRY_S)
        self.trouble = DAMAGE if self._damaged else UNFORESEEN
        with suppress(BaseException):  # it may be the log that fails
            self._log.error("store_in_trouble", reason=self.trouble, exc_info=error)

    def _suffer(self, error: BaseException) -> None:
        reason = _reason(error)
        self._damaged = self._damaged or reason in _DAMAGED or isinstance(error, msgspec.MsgspecError)
        trouble = DAMAGE if self._damaged else _AILMENTS.get(reason)
        if trouble is None:
            self._log.error("store_failed", exc_info=error)
            return
        if trouble != self.trouble:
            self._log.error("store_in_trouble", reason=trouble, detail=str(error))
        self.trouble = trouble

    def _recover(self) -> None:
        if self.trouble is not None and not self._damaged:
            reason, self.trouble = self.trouble, None
            self._log.info("store_recovered", reason=reason)

    def _post(self, function: Callable[[Any], None], value: Any) -> None:
        try:
            self._token.run_sync_soon(function, value)
        except trio.RunFinishedError:
            # Nobody is left to tell: Trio ended without closing us.
            self._closing = True
            self._queue.put(None)

    # --- What the writer does besides -------------------------------------------------------------------------------

    def _patience(self) -> float | None:
        """How long to wait for a job; None for ever."""
        return None

    def _between(self, *, idle: bool) -> None:
        """After each group, or when none came in time."""

    def _end(self) -> None:
        self._connection.close()


class WritingDesk(Desk):
    """The one writer. Between groups it deletes what was forgotten, in small steps, and gives free pages back."""

    begin = "BEGIN IMMEDIATE"
    abort = trio.lowlevel.Abort.FAILED

    def __init__(self, name: str, ledger: Ledger, telemetry: Telemetry, *, max_jobs: int) -> None:
        super().__init__(name, ledger, telemetry, max_jobs=max_jobs)
        self.on_erased: Callable[[list[str]], None] = _nobody
        self._version = self._data_version()
        self._untidy = True
        self._tidied_at = 0.0
        self._failed = False  # the last time: it is not tried again at once

    def litter(self) -> None:
        """Something was forgotten: there is something to delete. Called from any thread."""
        self._untidy = True

    def _patience(self) -> float:
        return 0.0 if self._untidy and self.trouble is None and not self._failed else IDLE_S

    def _between(self, *, idle: bool) -> None:
        try:
            self._notice_erasures()
            if self.trouble is not None and idle:
                self._probe()
            elif self._untidy and (idle or monotonic() >= self._tidied_at + TIDY_AFTER_S):
                self._untidy = self._tidy()
                self._tidied_at = monotonic()
        except Exception as error:
            self._suffer(error)
            self._failed = True
        else:
            self._failed = False

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _notice_erasures(self) -> None:
        version = self._data_version()
        if version == self._version:
            return
        self._version = version
        erased = self._ledger.newly_erased()
        if erased:
            self._untidy = True
            self._post(self.on_erased, erased)

    def _probe(self) -> None:
        """Tries whether more can be written, so that one hears of the recovery although nobody is sent here."""
        with self._transaction():
            self._connection.execute("REPLACE INTO probe VALUES (1, zeroblob(?))", (PROBE_BYTES,))
        with self._transaction():
            self._connection.execute("DELETE FROM probe")
        self._recover()

    def _tidy(self) -> bool:
        """One step; false when nothing is left to do."""
        with self._transaction():
            if self._ledger.tidy(TIDY_ROWS):
                return True
            pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
            free = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free <= max(FREE_PAGES, pages // FREE_SHARE):
                return False
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            return True


class _Transaction:
    """Commits, or rolls back and raises."""

    __slots__ = ("_begin", "_connection")

    def __init__(self, connection: sqlite3.Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin

    def __enter__(self) -> None:
        if self._connection.in_transaction:  # the one before could not be rolled back
            self._connection.execute("ROLLBACK")
        self._connection.execute(self._begin)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            # Also after a commit that failed; SQLite itself rolls back at some errors.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _nobody(_: list[str]) -> None:
    """Nobody wants to know."""


def _reason(error: BaseException) -> int | None:
    """SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _told(error: BaseException) -> StoreUnavailable:
    told = StoreUnavailable(f"{type(error).__name__}: {error}", retry_after=RETRY_S)
    told.__cause__ = error
    return told
