"""A progress line on a terminal, and nothing anywhere else."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

REDRAW_S: Final = 0.1
BAR_CHARS: Final = 30


class Progress:
    """Counts items, and shows how far they are where ``out`` is a terminal.

    ``total`` is of the same unit as the ``done`` of :meth:`advance` (bytes, say); without it there is no bar, only the
    count and the rate. ``clock`` gives seconds.
    """

    __slots__ = ("_began", "_clock", "_done", "_drawn_at", "_items", "_out", "_shown", "_total")

    def __init__(
        self, total: int | None = None, *, out: TextIO | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._out = out or sys.stderr
        self._shown = self._out.isatty()
        self._total = total
        self._clock = clock
        self._began = clock()
        self._drawn_at = float("-inf")
        self._items = 0
        self._done = 0

    def advance(self, done: int) -> None:
        """One more item is finished, which was so much of the total."""
        self._items += 1
        self._done += done
        if self._shown and self._clock() - self._drawn_at >= REDRAW_S:
            self._draw()

    def close(self) -> None:
        """Leaves the last state on the terminal."""
        if self._shown:
            self._draw()
            self._out.write("\n")
            self._out.flush()

    def _draw(self) -> None:
        self._drawn_at = self._clock()
        rate = self._items / max(self._drawn_at - self._began, 1e-9)
        line = f"{self._items:,} items, {rate:,.0f} items/s"
        if self._total:
            share = min(1.0, self._done / self._total)
            filled = round(share * BAR_CHARS)
            line = f"[{'#' * filled}{'.' * (BAR_CHARS - filled)}] {share:4.0%}  {line}"
        self._out.write(f"\r{line}\x1b[K")
        self._out.flush()
