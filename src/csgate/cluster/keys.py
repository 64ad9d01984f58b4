"""The names of keys. Those of one conversation share a hash slot, and those of the node's index another."""

from typing import Final

from csgate.cluster.scripts import KEYS


class Keys:
    """Under ``redis.prefix``.

    Attributes:
        active: sorted set of all conversations, by last activity.
        open: sorted set of conversations that may have open turns, by ticket.
        tickets: the counter that gives them.
        nodes: hash slot of the node registry.
    """

    __slots__ = ("_prefix", "active", "nodes", "open", "tickets")

    def __init__(self, prefix: str) -> None:
        self._prefix: Final = prefix
        self.active: Final = f"{prefix}:{{index}}:active"
        self.open: Final = f"{prefix}:{{index}}:open"
        self.tickets: Final = f"{prefix}:{{index}}:tickets"
        self.nodes: Final = f"{prefix}:{{nodes}}"

    def of(self, conversation: str, letters: str | tuple[str, ...] = KEYS) -> list[str]:
        """Of one conversation: those named by ``letters``, in that order."""
        return [f"{self._prefix}:{{{conversation}}}:{letter}" for letter in letters]

    def conversation(self, key: bytes) -> bytes:
        """Whose key that is."""
        return key[len(self._prefix) + 2 :].rpartition(b"}:")[0]

    def channel(self, conversation: str) -> bytes:
        """Where is told what happens in it."""
        return f"{self._prefix}:{{{conversation}}}:live".encode()
