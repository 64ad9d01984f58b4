"""What a conversation store must do. The log, the record of message ids and the open turns change together.

A store outlives what :mod:`csgate.session` holds in memory: an idle conversation that nobody is attached to exists
only here. Offsets are given by the store, so that several writers of one log (nodes of a cluster) agree on them.
"""

from collections.abc import Callable, Container, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from csgate.events import (
    ErrorEvent,
    Language,
    LogEvent,
    MessageEvent,
    Picture,
    Principal,
    RateEvent,
    ReplyEvent,
    StateEvent,
)

FinalEvent = ReplyEvent | ErrorEvent


class Header(msgspec.Struct, frozen=True):
    """What a conversation is called and whose it is. ``epoch`` is random and changes if the log is lost."""

    id: str
    epoch: str
    issuer: str
    tenant: str
    subject: str


class OpenTurn(msgspec.Struct, frozen=True):
    """All that is needed to answer a message, and to answer it again as a higher ``attempt`` if the process dies.

    ``picture`` may view the buffer of a received message and keep it alive; a store that outlives the process
    copies it.
    """

    id: str
    text: str
    picture: Picture | None
    principal: Principal
    language: Language
    attempt: int = 1


class Stored(NamedTuple):
    """A conversation as the store has it.

    ``state_event`` is its newest, also where the log retains it no more; None where there was none, thus the bot
    answers.
    """

    header: Header
    state_event: StateEvent | None


class Page(NamedTuple):
    """Events in the order of their offsets; ``first`` and ``last`` bound what the log retains (``last`` 0: empty)."""

    first: int
    last: int
    events: tuple[LogEvent, ...]


class Record(NamedTuple):
    """What is remembered of an accepted message: where it is, its content, and what became of it."""

    offset: int
    digest: bytes
    outcome: Literal["open", "reply", "error", "unanswered"]


class Accepted(NamedTuple):
    """``offset`` of the message; ``new`` is false where the id was already there with the same content.

    ``here``: it is this process that answers it.
    """

    offset: int
    new: bool
    here: bool = True


class Finished(NamedTuple):
    """The final event of a turn, and the change of state right after it, as they were logged."""

    final: FinalEvent
    state_event: StateEvent | None


class Reopened(NamedTuple):
    """A turn that was open when the process before this one ended; ``offset`` is that of its message."""

    header: Header
    state_event: StateEvent | None
    offset: int
    turn: OpenTurn


class PromptStore:
    """The base of a :class:`Store` whose methods never yield, so that all they do is one step of the caller's task.

    Where the store is one, the session changes the log in whatever task has something to change, instead of asking
    the conversation's own. A base class, because no signature shows that a coroutine never yields; and a promise of
    the class that names it as its base, not of those derived from that one.
    """

    __slots__ = ()


class Store(Protocol):
    """The interface. Whatever a method changes is durable when it returns.

    A conversation enters the store with its first event, not before: idle connections cost it nothing. The caller
    makes sure that one conversation is changed by one task at a time.

    Every method may raise :class:`~csgate.errors.StoreUnavailable`; then it changed nothing, or, where the disk failed
    on the way to it, nothing that anybody was told of.
    """

    @property
    def memory_bytes(self) -> int:
        """What the logs take in this process's memory, estimated; 0 where they are kept elsewhere."""
        ...

    @property
    def trouble(self) -> str | None:
        """In a sentence, why the store cannot do its work now; None where it can."""
        ...

    def listen(self, gone: Callable[[Sequence[str]], None]) -> None:
        """Has ``gone`` called, on the event loop, with the ids of conversations that another process removed."""
        ...

    async def load(self, conversation: str) -> Stored | None:
        """Whose conversation that is and who answers in it; None where it is not known (any more)."""
        ...

    async def read(self, conversation: str, *, after: int = 0, limit: int | None = None) -> Page | None:
        """The newest ``limit`` retained events with offset > ``after`` (all, with None); None if not known."""
        ...

    async def recall(self, conversation: str, id: str) -> Record | None:
        """What is remembered of message ``id``; forgotten no earlier than the message's own event."""
        ...

    async def accept(self, header: Header, event: MessageEvent, digest: bytes, turn: OpenTurn | None) -> Accepted:
        """In one step: checks the id, appends ``event``, records ``digest`` under its id, and opens ``turn``.

        Args:
            header: creates the conversation (state ``bot``) where it is not there yet.
            event: its ``offset`` is ignored.
            digest: SHA-256 of the content.
            turn: None for a message that asks for no answer.

        Raises:
            DuplicateMismatch: the id is there with another digest.
            NotFound: the conversation was removed by another process.
        """
        ...

    async def append(self, header: Header, event: StateEvent | RateEvent | MessageEvent) -> LogEvent:
        """Appends an event that closes no turn and returns it with its offset.

        Raises:
            NotFound: the conversation was removed by another process.
        """
        ...

    async def finish(
        self, header: Header, id: str, event: FinalEvent, state: StateEvent | None = None
    ) -> Finished | None:
        """Closes the open turn ``id`` and appends its final event, and ``state`` if given, in one step.

        Returns:
            What was logged; None if that turn is not open, and then nothing was.
        """
        ...

    async def reopen(self) -> Sequence[Reopened]:
        """The turns that an earlier process left open, by conversation and in the order of their messages.

        To be called once, before anything else is done. The first of a conversation is the one that may have been
        running, and comes with the next higher ``attempt``, which is stored; those behind it had not begun.
        """
        ...

    async def count(self) -> int:
        """How many conversations there are."""
        ...

    async def prune(self, keep: Container[str], *, now: str, before: str, at_most: int) -> int:
        """Forgets conversations whose last activity is older than ``before``, the oldest first.

        Args:
            keep: ids in use; never forgotten, and taken to be active ``now``.
            now, before: RFC 3339 UTC with milliseconds, which order as text.
            at_most: how many.

        Returns:
            How many were forgotten.
        """
        ...
