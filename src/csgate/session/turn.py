"""A message being answered: what the answerer is given, and what the session holds of it meanwhile."""

import math
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Any

import msgspec
import trio

from csgate.events import Draft, Language, LogEvent, Picture, Principal, ProgressEvent, Stage
from csgate.session.store import FinalEvent, OpenTurn
from csgate.session.stream import AnswerStream


def _nobody(_: object) -> None:
    """For a turn that nobody watches (a test, an offline run)."""


def _no_notes() -> dict[str, Any]:
    return {}


class Turn(msgspec.Struct, frozen=True):
    """One message, as :data:`Answerer` sees it.

    Attributes:
        text: what was written; empty where only a picture came.
        deadline: ``trio.current_time()`` at which the turn ends in ``timeout``; counted from the start of the turn, so
            that a message does not pay for the slow one ahead of it.
        attempt: 1; higher where an earlier process died over it.
        language: of the text, or the client's locale where the text has no letters.
        history: the newest events of the conversation, without this message and those that wait behind it.
        notes: what the answerer wants to find again in the conversation's next turn. It may also find nothing: notes
            are kept only while the conversation is in memory. One turn at a time has them.
    """

    conversation: str
    id: str
    text: str
    picture: Picture | None
    principal: Principal
    deadline: float
    attempt: int = 1
    language: Language = "en"
    history: Sequence[LogEvent] = ()
    notes: dict[str, Any] = msgspec.field(default_factory=_no_notes)
    on_progress: Callable[[ProgressEvent], None] = _nobody
    on_delta: Callable[[str], None] = _nobody

    def progress(self, stage: Stage, position: int | None = None, eta_ms: float | None = None) -> None:
        """Tells everybody attached how far the answer is. Never blocks."""
        self.on_progress(ProgressEvent(id=self.id, stage=stage, position=position, eta_ms=eta_ms))

    def delta(self, text: str) -> None:
        """A piece of the answer as it is made. Never blocks; pieces are coalesced."""
        self.on_delta(text)


Answerer = Callable[[Turn], Awaitable[Draft]]
"""Answers one message. Raises a :class:`~csgate.errors.CsgateError` to end the turn in that error."""


class Stop(Enum):
    """Why a turn was stopped before its end."""

    CANCELLED = auto()  # a client said so
    ABANDONED = auto()  # nobody was attached for the grace time
    MUTED = auto()  # an agent took over


class PendingTurn:
    """An open turn in memory: waiting, running, or with its final event made and not yet in the log."""

    __slots__ = (
        "accepted_at",
        "final",
        "hand_over",
        "held_bytes",
        "kept",
        "kept_by",
        "offset",
        "open",
        "scope",
        "settling",
        "stop",
        "stream",
    )

    def __init__(self, open: OpenTurn, offset: int, accepted_at: float, held_bytes: int = 0) -> None:
        self.open = open
        self.offset = offset
        self.accepted_at = accepted_at
        # As counted when the turn was opened, to be given back as such.
        self.held_bytes = held_bytes
        # Made before the turn runs, so that it can be stopped at any time.
        self.scope = trio.CancelScope(deadline=math.inf)
        self.stream = AnswerStream(open.id, open.attempt)
        self.stop: Stop | None = None
        self.final: FinalEvent | None = None
        self.hand_over = False
        # Set once the picture of a turn that ended otherwise is kept, or given up; None where there is none to keep.
        # The final event waits for it, but not beyond ``kept_by``.
        self.kept: trio.Event | None = None
        self.kept_by = math.inf
        self.settling = False

    def end(self, why: Stop) -> None:
        """Asks the running answerer to end. Nothing happens if it has ended, or was asked before."""
        if self.final is None and self.stop is None:
            self.stop = why
            self.scope.cancel()
