"""Messages that have no final answer yet, in the order in which they were written."""

from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """One message. ``frame`` is what goes over the wire: text for a text frame, bytes for a binary one."""

    id: str
    frame: str | bytes
    acked: bool = False
    refusals: int = 0


class Outbox:
    """Kept until the final event, not only until the ack: a log that is lost takes acknowledged messages with it."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Remembers a new message."""
        self._entries[entry.id] = entry

    def get(self, message_id: str | None) -> Entry | None:
        """The message of that id, while it waits."""
        return None if message_id is None else self._entries.get(message_id)

    def acknowledged(self, message_id: str) -> None:
        """The server has it for good, as long as its log lives."""
        if message_id in self._entries:
            self._entries[message_id].acked = True

    def finished(self, message_id: str | None) -> bool:
        """Forgets a message that has its final event. Returns whether it was waiting."""
        return message_id is not None and self._entries.pop(message_id, None) is not None

    def to_resend(self, *, log_lost: bool) -> list[Entry]:
        """What to send on a new connection: what was not acknowledged, or everything if the log was lost."""
        if log_lost:
            for entry in self._entries.values():
                entry.acked = False
        return [entry for entry in self._entries.values() if not entry.acked]
