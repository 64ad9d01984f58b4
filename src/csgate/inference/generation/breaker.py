"""A circuit breaker as a pure state machine: no clock, no awaiting; the caller says what time it is.

    CLOSED ──failures in a row──> OPEN ──time passed, somebody asks──> HALF_OPEN ──its one probe succeeds──> CLOSED
                                   ^                                       │
                                   └──────────────its probe fails──────────┘

Who is let in holds a ``Permit`` and says how it went. Permits from before a change of state count no more: an answer
that began while all was well says nothing about a server that was left alone since.
"""

from enum import Enum, auto
from typing import Final, Literal

Happening = Literal["tripped", "rested", "succeeded", "failed"]


class BreakerState(Enum):
    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


TRANSITIONS: Final[dict[tuple[BreakerState, Happening], BreakerState]] = {
    (BreakerState.CLOSED, "tripped"): BreakerState.OPEN,
    (BreakerState.OPEN, "rested"): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, "succeeded"): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, "failed"): BreakerState.OPEN,
}


class Breaker:
    """Opens after ``failures`` in a row, stays open for ``open_s`` seconds, then lets one probe through."""

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._row = 0
        self._until = 0.0
        self._probe_out = False
        self.era = 0
        """Grows by one with each change of state."""
        self.state = BreakerState.CLOSED

    def admit(self, now: float) -> "Permit | None":
        """A permit to try, or None: leave the server alone (``retry_after`` says for how long)."""
        if self.state is BreakerState.OPEN and now >= self._until:
            self._change("rested")
        if self.state is BreakerState.OPEN or self._probe_out:
            return None
        self._probe_out = self.state is BreakerState.HALF_OPEN
        return Permit(self)

    def retry_after(self, now: float) -> float:
        """Seconds until it is worth asking again; 0 where it is now, and while a probe is out nobody knows."""
        return max(0.0, self._until - now) if self.state is BreakerState.OPEN else 0.0

    def settle(self, era: int, went: Literal["well", "badly", "unknown"], now: float) -> None:
        """What became of a permit of ``era``. For ``Permit`` alone."""
        if era != self.era:
            return
        self._probe_out = False
        if went == "well":
            self._row = 0
            if self.state is BreakerState.HALF_OPEN:
                self._change("succeeded")
        elif went == "badly":
            self._row += 1
            if self.state is BreakerState.HALF_OPEN:
                self._open("failed", now)
            elif self._row >= self._limit:
                self._open("tripped", now)

    def _open(self, what: Happening, now: float) -> None:
        self._until = now + self._open_s
        self._change(what)

    def _change(self, what: Happening) -> None:
        self.state = TRANSITIONS[self.state, what]
        self.era += 1
        self._row = 0


class Permit:
    """Leave to try once. The first of its three ends counts; a permit must meet one of them."""

    __slots__ = ("_breaker", "_era", "_settled")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._era = breaker.era
        self._settled = False

    def succeed(self, now: float) -> None:
        """The server answered as it should."""
        self._settle("well", now)

    def fail(self, now: float) -> None:
        """The server is to blame for there being no answer."""
        self._settle("badly", now)

    def release(self, now: float) -> None:
        """It never came to a verdict: cancelled, say, or refused for a reason that lies with the request."""
        self._settle("unknown", now)

    def _settle(self, went: Literal["well", "badly", "unknown"], now: float) -> None:
        if not self._settled:
            self._settled = True
            self._breaker.settle(self._era, went, now)
