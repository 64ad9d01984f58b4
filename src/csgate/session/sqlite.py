"""The embedded store: one SQLite file, one thread that writes it, one that reads."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Final

import trio

from csgate.config import SessionSettings
from csgate.errors import ConfigError
from csgate.events import LogEvent, MessageEvent, RateEvent, StateEvent
from csgate.session.sqlite_desk import Asks, Desk, Writes, WritingDesk
from csgate.session.sqlite_file import FILE, open_reader, open_writer, sole_owner
from csgate.session.sqlite_ledger import Added, Candidate, Ledger
from csgate.session.sqlite_tails import Tails
from csgate.session.store import Accepted, FinalEvent, Finished, Header, OpenTurn, Page, Record, Reopened, Stored
from csgate.telemetry import Logger, Telemetry

PRUNE_SLICE: Final = 64
CLOSE_S: Final = 10.0


class SqliteStore:
    """A :class:`~csgate.session.store.Store` in a file; made by :func:`open_sqlite_store`.

    Bounded in events a conversation here, in conversations and age by whoever calls :meth:`prune`.
    """

    __slots__ = ("_leaving", "_reader", "_tails", "_writer")

    def __init__(self, writer: Writes, reader: Asks, settings: SessionSettings) -> None:
        self._writer = writer
        self._reader = reader
        self._tails = Tails(settings.cache_bytes, settings.page_events)
        # Being forgotten: nobody may come back to them any more.
        self._leaving: set[str] = set()

    @property
    def memory_bytes(self) -> int:
        return 0

    @property
    def trouble(self) -> str | None:
        return self._writer.trouble or self._reader.trouble

    def listen(self, gone: Callable[[Sequence[str]], None]) -> None:
        def erased(conversations: list[str]) -> None:
            for conversation in conversations:
                self._tails.drop(conversation)
            gone(conversations)

        self._writer.on_erased = erased

    async def load(self, conversation: str) -> Stored | None:
        stored = await self._reader.ask(lambda ledger: ledger.load(conversation))
        # Asked now, in one step with what the caller makes of it: nobody is let in who is about to be put out.
        return None if conversation in self._leaving else stored

    async def read(self, conversation: str, *, after: int = 0, limit: int | None = None) -> Page | None:
        page = self._tails.page(conversation, after, limit)
        if page is not None:
            return page
        if not self._tails.read_begins(conversation):
            return await self._reader.ask(lambda ledger: ledger.read(conversation, after, limit))
        try:
            page = await self._reader.ask(lambda ledger: ledger.read(conversation, after, limit))
        finally:
            self._tails.read_ends(conversation, page)
        return page

    async def recall(self, conversation: str, id: str) -> Record | None:
        return await self._reader.ask(lambda ledger: ledger.recall(conversation, id))

    async def accept(self, header: Header, event: MessageEvent, digest: bytes, turn: OpenTurn | None) -> Accepted:
        accepted, added = await self._writer.ask(lambda ledger: ledger.accept(header, event, digest, turn))
        if added is not None:
            self._added(header, added)
        return accepted

    async def append(self, header: Header, event: StateEvent | RateEvent | MessageEvent) -> LogEvent:
        return self._added(header, await self._writer.ask(lambda ledger: ledger.append(header, event)))

    async def finish(
        self, header: Header, id: str, event: FinalEvent, state: StateEvent | None = None
    ) -> Finished | None:
        added = await self._writer.ask(lambda ledger: ledger.finish(header, id, event, state))
        if not added:
            return None
        final, *changed = [self._added(header, one) for one in added]
        assert isinstance(final, FinalEvent)
        state_event = changed[0] if changed else None
        assert state_event is None or isinstance(state_event, StateEvent)
        return Finished(final, state_event)

    async def reopen(self) -> Sequence[Reopened]:
        return await self._writer.ask(Ledger.reopen)

    async def count(self) -> int:
        return await self._reader.ask(Ledger.count)

    async def prune(self, keep: Container[str], *, now: str, before: str, at_most: int) -> int:
        forgotten, active = 0, 0
        while forgotten < at_most:
            slice = min(PRUNE_SLICE, at_most - forgotten)
            candidates = await self._reader.ask(partial(Ledger.candidates, active_after=active, at_most=slice))
            old = [candidate for candidate in candidates if candidate.touched < before]
            # From here to the end of the change in one step: who is in use now stays, who is not cannot come back.
            kept = [candidate for candidate in old if candidate.id in keep]
            doomed = [candidate for candidate in old if candidate.id not in keep and candidate.id not in self._leaving]
            if kept or doomed:
                forgotten += await self._forget(doomed, kept, now)
            if len(old) < slice:
                break
            active = old[-1].active
        return forgotten

    async def _forget(self, doomed: list[Candidate], kept: list[Candidate], now: str) -> int:
        ids = {candidate.id for candidate in doomed}
        self._leaving |= ids
        try:
            gone = await self._writer.ask(lambda ledger: ledger.forget(doomed, kept, now))
        finally:
            self._leaving -= ids
        for id in gone:
            self._tails.drop(id)
        if gone:
            self._writer.litter()
        return len(gone)

    def _added(self, header: Header, added: Added) -> LogEvent:
        self._tails.add(header.id, added.first, added.event)
        return added.event


@asynccontextmanager
async def open_sqlite_store(
    data_dir: Path, settings: SessionSettings, telemetry: Telemetry
) -> AsyncIterator[SqliteStore]:
    """The store in ``data_dir``, which this process then has to itself; leaving the block finishes what was asked.

    Raises:
        ConfigError: the file cannot be used, or another process serves from it.
    """
    path = data_dir / FILE
    with sole_owner(path):
        writing, reading = await trio.to_thread.run_sync(_open_ledgers, path, settings, telemetry.log)
        writer = WritingDesk("store-writer", writing, telemetry, max_jobs=settings.queue_items)
        reader = Desk("store-reader", reading, telemetry, max_jobs=settings.queue_items)
        writer.start()
        reader.start()
        try:
            yield SqliteStore(writer, reader, settings)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S) as scope:
                await trio.to_thread.run_sync(_close, writer, reader, abandon_on_cancel=True)
            if scope.cancelled_caught:
                telemetry.log.error("store_stuck")


def _open_ledgers(path: Path, settings: SessionSettings, log: Logger) -> tuple[Ledger, Ledger]:
    """One that writes and one that reads."""
    with ExitStack() as opened:
        writing = opened.enter_context(closing(open_writer(path, settings.durability)))
        reading = opened.enter_context(closing(open_reader(path)))
        try:
            # What was erased before this process is nobody's here; those still to be deleted are in ``garbage``.
            writing.execute("DELETE FROM erased")
            ledgers = Ledger(writing, settings.max_events, log), Ledger(reading, settings.max_events, log)
        except sqlite3.Error as error:
            raise ConfigError(f"The conversations in '{path}' cannot be opened: {error}.") from error
        opened.pop_all()
    return ledgers


def _close(writer: Desk, reader: Desk) -> None:
    # The reader first: the last connection to close takes the write-ahead log into the file.
    reader.close()
    writer.close()
