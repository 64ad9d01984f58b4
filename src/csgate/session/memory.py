"""The store that dies with the process. Nothing in it blocks or yields; "durable" means: as long as the process."""

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence

import msgspec

from csgate.errors import DuplicateMismatch
from csgate.events import ErrorEvent, LogEvent, MessageEvent, RateEvent, StateEvent
from csgate.session.footprint import event_bytes, log_bytes
from csgate.session.store import (
    Accepted,
    FinalEvent,
    Finished,
    Header,
    OpenTurn,
    Page,
    PromptStore,
    Record,
    Reopened,
    Stored,
)


class _Log:
    """One conversation. ``events[i]`` has the offset ``first + i``."""

    __slots__ = ("bytes", "events", "first", "header", "records", "state_event", "touched")

    def __init__(self, header: Header) -> None:
        self.header = header
        self.state_event: StateEvent | None = None
        self.events: list[LogEvent] = []
        self.first = 1
        self.records: dict[str, Record] = {}
        self.touched = ""
        self.bytes = log_bytes(header)

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1

    def add(self, event: LogEvent, max_events: int) -> LogEvent:
        event = msgspec.structs.replace(event, offset=self.last + 1)
        self.events.append(event)
        self.bytes += event_bytes(event)
        if isinstance(event, StateEvent):
            self.state_event = event
        if len(self.events) > max_events:
            surplus = len(self.events) - max_events
            self.bytes -= sum(map(event_bytes, self.events[:surplus]))
            del self.events[:surplus]
            self.first += surplus
            self._forget_records()
        self.touched = event.timestamp or self.touched
        return event

    def _forget_records(self) -> None:
        # In insertion order, which is the order of offsets. An id with an open turn outlives its message's event.
        gone = []
        for id, record in self.records.items():
            if record.offset >= self.first or record.outcome == "open":
                break
            gone.append(id)
        for id in gone:
            del self.records[id]


class MemoryStore(PromptStore):
    """A :class:`~csgate.session.store.Store` in a dictionary.

    Bounded in events a conversation here, and in conversations, bytes and age by whoever calls :meth:`prune`. Of an
    open turn only its being open is kept: nobody could run it again after this process.
    """

    __slots__ = ("_bytes", "_logs", "_max_events")

    def __init__(self, max_events: int = 1_000) -> None:
        self._max_events = max_events
        self._bytes = 0
        # By last activity, the oldest first.
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        return self._bytes

    @property
    def trouble(self) -> None:
        return None

    def listen(self, gone: Callable[[Sequence[str]], None]) -> None:
        """No other process can reach this memory."""

    async def load(self, conversation: str) -> Stored | None:
        log = self._logs.get(conversation)
        return None if log is None else Stored(log.header, log.state_event)

    async def read(self, conversation: str, *, after: int = 0, limit: int | None = None) -> Page | None:
        log = self._logs.get(conversation)
        if log is None:
            return None
        start = max(0, after + 1 - log.first)
        if limit is not None:
            start = max(start, len(log.events) - limit)
        return Page(log.first, log.last, tuple(log.events[start:]))

    async def recall(self, conversation: str, id: str) -> Record | None:
        log = self._logs.get(conversation)
        return None if log is None else log.records.get(id)

    async def accept(self, header: Header, event: MessageEvent, digest: bytes, turn: OpenTurn | None) -> Accepted:
        log = self._logs.get(header.id)
        known = None if log is None else log.records.get(event.id)
        if known is not None:
            if known.digest != digest:
                raise DuplicateMismatch
            return Accepted(known.offset, new=False)
        log = self._active(header)
        offset = log.last + 1
        log.records[event.id] = Record(offset, digest, "unanswered" if turn is None else "open")
        self._add(log, event)
        return Accepted(offset, new=True)

    async def append(self, header: Header, event: StateEvent | RateEvent | MessageEvent) -> LogEvent:
        return self._add(self._active(header), event)

    async def finish(
        self, header: Header, id: str, event: FinalEvent, state: StateEvent | None = None
    ) -> Finished | None:
        log = self._logs.get(header.id)
        record = None if log is None else log.records.get(id)
        if record is None or record.outcome != "open":
            return None
        log = self._active(header)
        log.records[id] = record._replace(outcome="error" if isinstance(event, ErrorEvent) else "reply")
        final = self._add(log, event)
        changed = None if state is None else self._add(log, state)
        assert isinstance(final, FinalEvent)
        assert changed is None or isinstance(changed, StateEvent)
        return Finished(final, changed)

    async def reopen(self) -> Sequence[Reopened]:
        return ()

    async def count(self) -> int:
        return len(self._logs)

    async def prune(self, keep: Container[str], *, now: str, before: str, at_most: int) -> int:
        forgotten = 0
        # Bounded: what is kept goes to the end with a fresh time, so that each is met once a call and the next call
        # does not meet it again soon.
        for _ in range(len(self._logs)):
            conversation, log = next(iter(self._logs.items()))
            if forgotten == at_most or log.touched >= before:
                break
            if conversation in keep:
                log.touched = now
                self._logs.move_to_end(conversation)
            else:
                del self._logs[conversation]
                self._bytes -= log.bytes
                forgotten += 1
        return forgotten

    def _add(self, log: _Log, event: LogEvent) -> LogEvent:
        before = log.bytes
        event = log.add(event, self._max_events)
        self._bytes += log.bytes - before
        return event

    def _active(self, header: Header) -> _Log:
        log = self._logs.get(header.id)
        if log is None:
            log = self._logs[header.id] = _Log(header)
            self._bytes += log.bytes
        self._logs.move_to_end(header.id)
        return log
