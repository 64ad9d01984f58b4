"""The reference of ``top_k``, on NumPy."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_TOP: Final = 1000


def top_k(rows: npt.NDArray[Any], k: int) -> list[tuple[tuple[int, float], ...]]:
    """Finds the best columns of each row, the interpreter's lock kept: some microseconds a thousand columns.

    NumPy lets go of the lock for each step of the same, and with an event loop at work waits for it each time.

    Args:
        rows: float32[rows, columns], C-contiguous.
        k: how many of each row, 1 to 1,000.

    Returns:
        For each row, (column, value) of its ``k`` highest, the highest first, of equal ones the first; fewer where
        there are fewer. What is not a number is none of them.

    Raises:
        ValueError: ``k`` is out of bounds, or ``rows`` is no such array.
    """
    if not 0 < k <= MAX_TOP:
        raise ValueError(f"the number of best must be 1 to {MAX_TOP}, not {k}")
    if rows.ndim != 2 or rows.dtype != np.float32 or not rows.flags.c_contiguous:
        raise ValueError("rows are a C-contiguous float32[rows, columns]")
    found = []
    for row in rows:
        known = np.flatnonzero(~np.isnan(row))
        order = known[np.argsort(-row[known], kind="stable")[:k]]
        found.append(tuple(zip(order.tolist(), row[order].tolist(), strict=True)))
    return found
