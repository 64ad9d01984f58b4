"""What the engine thread drives: something that holds answers in the making and adds a token to each in one step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from csgate.inference.generation.request import Sampling


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did for the answer ``key``: a token, an end, or a token that is the last one.

    ``end``: ``stop`` (the model ended it; comes without a token), ``length`` (its limit was met) or ``failed`` (this
    answer alone cannot go on). An answer that has ended is forgotten; it need not be removed.
    """

    key: int
    token: int | None
    end: Literal["stop", "length", "failed"] | None = None


class Stepper(Protocol):
    """Made, used and closed in one thread, the engine's."""

    provider: str

    def room(self) -> int:
        """How many answers may be added now."""

    def add(self, key: int, ids: Sequence[int], sampling: Sampling, limit: int) -> None:
        """Starts an answer of at most ``limit`` tokens to the prompt ``ids``; the caller saw to it that there is room.

        Raises:
            Exception: this request cannot be served; the others go on.
        """

    def remove(self, key: int) -> None:
        """Forgets an answer, whether or not it is still known. Nothing is reported for it any more."""

    def step(self) -> list[Step]:
        """Goes one step on with all answers.

        Raises:
            Exception: all is lost; the stepper is to be closed and a new one made.
        """

    def close(self) -> None:
        """Lets go of its memory."""
