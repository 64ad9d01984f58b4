"""How long to wait before coming back: exponential with full jitter.

Full jitter (a uniform draw between nothing and the bound; Brooker, "Exponential Backoff And Jitter", 2015) spreads the
clients of a node that went away more evenly than a fixed delay with a little noise.
"""

import random
from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.5
CAP_S: Final = 30.0


class Backoff:
    """Bounds of 0.5, 1, 2 … 30 seconds. ``draw`` is ``random.uniform`` or a test's."""

    __slots__ = ("_draw", "_failures")

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        # The exponent is bounded: 2.0 ** 2000 would overflow after a long night.
        bound = min(CAP_S, BASE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._draw(0.0, bound)

    def spread(self, seconds: float) -> float:
        """A wait of at least ``seconds``, spread over as much again: for when the server names a time."""
        return seconds + self._draw(0.0, max(seconds, BASE_S))

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0
