"""The newest events of conversations in use, kept so that a turn reads nothing from the disk. Bounded; no I/O."""

from collections import OrderedDict

from csgate.events import LogEvent
from csgate.session.footprint import CONVERSATION_BYTES, event_bytes
from csgate.session.store import Page


class _Tail:
    """The newest events of a log without a gap: at least all after ``start``. ``first`` is the log's."""

    __slots__ = ("bytes", "events", "first", "start")

    def __init__(self, first: int, start: int, events: list[LogEvent]) -> None:
        self.first = first
        self.start = start
        self.events = events
        self.bytes = CONVERSATION_BYTES + sum(map(event_bytes, events))

    @property
    def last(self) -> int:
        return self.start + len(self.events)


class Tails:
    """At most ``max_bytes``, estimated; the conversation that was used longest ago goes first.

    A tail is what its conversation's log is as long as every change of the log comes here in order, so a page that
    was read while one was on its way is not kept.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_events", "_reading", "_tails")

    def __init__(self, max_bytes: int, max_events: int) -> None:
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._bytes = 0
        self._tails: OrderedDict[str, _Tail] = OrderedDict()
        # Conversations being read, and whether they have changed since.
        self._reading: dict[str, bool] = {}

    @property
    def bytes(self) -> int:
        return self._bytes

    def page(self, conversation: str, after: int, limit: int | None) -> Page | None:
        """What a read would give, or None where it takes one."""
        tail = self._tails.get(conversation)
        if tail is None:
            return None
        last = tail.last
        start = max(after, tail.first - 1)
        if limit is not None:
            start = max(start, last - limit)
        if start < tail.start:
            return None
        self._tails.move_to_end(conversation)
        return Page(tail.first, last, tuple(tail.events[start - tail.start :]))

    def add(self, conversation: str, first: int, event: LogEvent) -> None:
        """Takes an event that was logged; ``first`` is what the log retains now."""
        if conversation in self._reading:
            self._reading[conversation] = True
        tail = self._tails.get(conversation)
        if tail is None:
            if event.offset == 1:
                self._put(conversation, _Tail(first, 0, [event]))
            return
        if event.offset <= tail.last:
            return  # committed when the page was read, and told only now
        tail.first = first
        tail.events.append(event)
        size = event_bytes(event)
        surplus = len(tail.events) - self._max_events
        if surplus > 0:
            size -= sum(map(event_bytes, tail.events[:surplus]))
            del tail.events[:surplus]
            tail.start += surplus
        tail.bytes += size
        self._bytes += size
        self._tails.move_to_end(conversation)
        self._shrink()

    def read_begins(self, conversation: str) -> bool:
        """True for whoever may hand the page to :meth:`read_ends`: one reader at a time."""
        if conversation in self._reading:
            return False
        self._reading[conversation] = False
        return True

    def read_ends(self, conversation: str, page: Page | None) -> None:
        """Keeps ``page``, which reaches to the end of the log, unless that has changed meanwhile. None: no page."""
        changed = self._reading.pop(conversation)
        if page is None or changed or conversation in self._tails:
            return
        events = list(page.events[-self._max_events :])
        if events:
            self._put(conversation, _Tail(page.first, page.last - len(events), events))

    def drop(self, conversation: str) -> None:
        """The log is gone."""
        tail = self._tails.pop(conversation, None)
        if tail is not None:
            self._bytes -= tail.bytes
        if conversation in self._reading:
            self._reading[conversation] = True

    def _put(self, conversation: str, tail: _Tail) -> None:
        self._tails[conversation] = tail
        self._bytes += tail.bytes
        self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            _, tail = self._tails.popitem(last=False)
            self._bytes -= tail.bytes
