"""How long to wait before coming back: exponential with full jitter.

Full jitter (a uniform draw between nothing and the bound; Brooker, "Exponential Backoff And Jitter", 2015) spreads the
clients of a node that went away more evenly than a fixed delay with a little noise.
"""

import random
from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.5
CAP_S: Final = 30.0

Draw = Callable[[float, float], float]
"""``random.uniform``, or a test's."""


class Backoff:
    """Bounds of 0.5, 1, 2 … 30 seconds."""

    __slots__ = ("_draw", "_failures")

    def __init__(self, draw: Draw = random.uniform) -> None:
        self._draw = draw
        self._failures = 0

    def next(self, *, grow: bool = True) -> float:
        """Seconds to wait after one more failure. Without ``grow`` the next wait has the same bound."""
        # The exponent is bounded: 2.0 ** 2000 would overflow after a long night.
        bound = min(CAP_S, BASE_S * 2.0 ** min(self._failures, 16))
        self._failures += grow
        return self._draw(0.0, bound)

    def within(self, seconds: float) -> float:
        """A wait of at most ``seconds``: for when many have to go, and have that long to do it."""
        return self._draw(0.0, seconds)

    def spread(self, seconds: float) -> float:
        """A wait of at least ``seconds``, spread over as much again: for when the server names a time."""
        return seconds + self._draw(0.0, max(seconds, BASE_S))

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0
