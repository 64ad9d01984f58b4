"""Messages that have no final answer yet, in the order in which they were written."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import trio

from csgate.client.frames import text_frame
from csgate.events import ErrorEvent, ReplyEvent

MAX_OWN: Final = 1024
"""Ids of one's own messages that are remembered after their end, to know them when a log tells of them."""


@dataclass(slots=True)
class Sent:
    """A message that was handed over. ``id`` is what its events carry."""

    id: str
    _done: trio.Event = field(default_factory=trio.Event, repr=False)
    _acked: trio.Event = field(default_factory=trio.Event, repr=False)
    _final: ReplyEvent | ErrorEvent | None = None
    _failure: Exception | None = None

    async def acked(self) -> None:
        """Waits until the gateway has the message for good.

        Raises:
            ChatRefused, ChatUnreachable: the client has ended before that.
        """
        await self._acked.wait()
        if self._failure is not None:
            raise self._failure

    async def final(self) -> ReplyEvent | ErrorEvent:
        """The answer, or the error that ended the message.

        Raises:
            ChatRefused, ChatUnreachable: the client has ended before there was one.
        """
        await self._done.wait()
        if self._final is None:
            assert self._failure is not None
            raise self._failure
        return self._final

    def settle(self, final: ReplyEvent | ErrorEvent | None, failure: Exception | None = None) -> None:
        """For the client: there is an end to this."""
        if not self._done.is_set():
            self._final, self._failure = final, failure
            self._acked.set()
            self._done.set()


@dataclass(slots=True)
class Entry:
    """One message. ``frame`` is what goes over the wire: text for a text frame, bytes for a binary one.

    ``kept``: it is where it shall be before it is sent, in the file for one.
    """

    id: str
    frame: str | bytes
    sent: Sent
    kept: bool = True
    acked: bool = False
    cancelled: bool = False
    refusals: int = 0

    @property
    def size(self) -> int:
        return len(self.frame)

    def frames(self) -> Iterable[str | bytes]:
        """What a new connection has to be told of it."""
        if not self.acked:
            yield self.frame
        if self.cancelled:
            yield text_frame("cancel", id=self.id)


class Outbox:
    """Kept until the final event, not only until the ack: a log that is lost takes acknowledged messages with it."""

    __slots__ = ("_bytes", "_changed", "_entries", "_own", "max_bytes", "max_messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self._entries: dict[str, Entry] = {}
        self._own: OrderedDict[str, None] = OrderedDict()
        self._bytes = 0
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterable[Entry]:
        return iter(tuple(self._entries.values()))

    @property
    def unacked(self) -> int:
        """Messages that may have to be sent again."""
        return sum(not entry.acked for entry in self._entries.values())

    @property
    def awaited(self) -> int:
        """Messages that are acknowledged and not answered."""
        return len(self._entries) - self.unacked

    def has_room(self, size: int) -> bool:
        """Whether one more of ``size`` bytes fits; the first always does."""
        return not self._entries or (len(self._entries) < self.max_messages and self._bytes + size <= self.max_bytes)

    async def changed(self) -> None:
        """Waits for the next ack or end of a message."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wakes everybody who waits for a change."""
        self._changed.set()
        self._changed = trio.Event()

    def add(self, entry: Entry) -> None:
        """Remembers a new message."""
        self._entries[entry.id] = entry
        self._bytes += entry.size
        self._own[entry.id] = None
        if len(self._own) > MAX_OWN:
            self._own.popitem(last=False)

    def is_own(self, message_id: str) -> bool:
        """Whether this client has written that message."""
        return message_id in self._own or message_id in self._entries

    def get(self, message_id: str | None) -> Entry | None:
        """The message of that id, while it waits."""
        return None if message_id is None else self._entries.get(message_id)

    def acknowledge(self, message_id: str) -> bool:
        """The server has it for good, as long as its log lives. Returns whether that is news."""
        entry = self._entries.get(message_id)
        if entry is None or entry.acked:
            return False
        entry.acked = True
        entry.sent._acked.set()
        self.notify()
        return True

    def finish(self, message_id: str | None, final: ReplyEvent | ErrorEvent | None) -> bool:
        """Forgets a message that has come to its end. Returns whether it was waiting."""
        entry = None if message_id is None else self._entries.pop(message_id, None)
        if entry is None:
            return False
        self._bytes -= entry.size
        entry.sent.settle(final)
        self.notify()
        return True

    def fail(self, failure: Exception) -> None:
        """Tells those who wait for an answer that none will come. The messages stay."""
        for entry in self._entries.values():
            entry.sent.settle(None, failure)
        self.notify()

    def to_resend(self, *, log_lost: bool) -> list[Entry]:
        """What a new connection has to hear of: everything without an answer counts as new if the log was lost."""
        if log_lost:
            for entry in self._entries.values():
                entry.acked = False
        return [entry for entry in self._entries.values() if entry.kept and (not entry.acked or entry.cancelled)]
