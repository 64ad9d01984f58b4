"""What a store does besides where several processes share it, and what it tells each of them.

Every process accepts messages into any conversation; the store gives the offsets. The turns of a conversation are
answered by one process at a time, which holds them under a lease; the store says in :class:`~csgate.session.Accepted`
whether that is this one. What the others log comes through :class:`Ears`, each event at most once and perhaps late, so
a conversation looks at the offsets and reads from the log what it missed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from csgate.events import LiveEvent, LogEvent
from csgate.session.store import Reopened


class Ears(Protocol):
    """The session's side. Every method is called on the event loop and does not block."""

    def logged(self, conversation: str, event: LogEvent) -> None:
        """Another process has logged ``event``."""
        ...

    def told(self, conversation: str, event: LiveEvent) -> None:
        """Another process has told an event that is not logged."""
        ...

    def asked_for_snapshot(self, conversation: str) -> None:
        """Somebody joins at another process: the answer so far, if it is made here, is to be told."""
        ...

    def cancelled(self, conversation: str, id: str) -> None:
        """Somebody at another process does not want that answer."""
        ...

    def listening(self) -> Sequence[str]:
        """The conversations in memory."""
        ...

    def behind(self, conversation: str, offset: int) -> None:
        """The log reaches to ``offset`` at least, and this process may not have heard of it."""
        ...

    def given(self, turns: Sequence[Reopened]) -> None:
        """Turns of one conversation that are now this process's to answer, in the order of their messages."""
        ...

    def lost(self, conversation: str) -> None:
        """Its turns are not this process's any more: their final events will not be taken."""
        ...


class SharedStore(ABC):
    """The base of a :class:`~csgate.session.Store` that other processes use at the same time."""

    @abstractmethod
    def connect(self, ears: Ears) -> None:
        """Called once, before anything else; from now on turns may be given."""

    @abstractmethod
    async def join(self, conversation: str) -> None:
        """Returns once ``ears`` hear of everything that is logged from then on.

        Raises:
            StoreUnavailable: that cannot be had now.
        """

    @abstractmethod
    def leave(self, conversation: str) -> None:
        """Ends it."""

    @abstractmethod
    def tell(self, conversation: str, event: LiveEvent) -> None:
        """Tells the other processes, if that is possible now."""

    @abstractmethod
    def ask_for_snapshot(self, conversation: str) -> None:
        """Asks whoever answers in that conversation for a snapshot."""

    @abstractmethod
    def cancel(self, conversation: str, id: str) -> None:
        """Has that answer stopped, wherever it is made."""

    @abstractmethod
    def attend(self, conversation: str, here: bool) -> None:
        """Whether an agent is attached at this process."""

    @abstractmethod
    async def listened_elsewhere(self, conversation: str) -> bool:
        """Whether somebody is attached to it, or works for it, at another process; true where nobody can tell."""

    @abstractmethod
    async def may_give_back(self, conversation: str) -> bool:
        """Whether no agent is attached anywhere, and it is this process that gives it back to the bot."""
