"""A streaming answer: pieces coalesced into at most 20 numbered deltas a second, and the text so far."""

import math
from typing import Final

from csgate.events import DeltaEvent, SnapshotEvent

DELTA_INTERVAL_S: Final = 0.05


class AnswerStream:
    """Decides what to send and when; sends nothing itself. Times are of the caller's one monotonic clock, seconds.

    What is held back when the answer ends is not sent: the reply carries the whole text.
    """

    __slots__ = ("_attempt", "_id", "_next_at", "_pending", "_sent", "_seq")

    def __init__(self, id: str, attempt: int) -> None:
        self._id = id
        self._attempt = attempt
        self._seq = 0
        self._sent = ""
        self._pending = ""
        self._next_at = -math.inf

    @property
    def text(self) -> str:
        """The whole answer so far, sent or not."""
        return self._sent + self._pending

    @property
    def flush_at(self) -> float:
        """When :meth:`flush` is due; infinity while nothing is held back."""
        return self._next_at if self._pending else math.inf

    def add(self, text: str, now: float) -> DeltaEvent | None:
        """Takes a piece; returns the delta to send at once, or None where it is held back until :attr:`flush_at`."""
        if not text:
            return None
        self._pending += text
        return self.flush(now) if now >= self._next_at else None

    def flush(self, now: float) -> DeltaEvent:
        """The delta of all that was held back."""
        text, self._pending = self._pending, ""
        self._sent += text
        self._seq += 1
        self._next_at = now + DELTA_INTERVAL_S
        return DeltaEvent(id=self._id, attempt=self._attempt, seq=self._seq, text=text)

    def snapshot(self) -> SnapshotEvent | None:
        """What was sent so far, in one event, or None if nothing was: what is held back comes as the next delta."""
        if not self._seq:
            return None
        return SnapshotEvent(id=self._id, attempt=self._attempt, seq=self._seq, text=self._sent)
