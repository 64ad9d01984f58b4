"""What the walks have in common: a bound on their steps, and how they give up."""

from typing import Final

from csgate.errors import BadImage

MAX_PIECES: Final = 100_000
"""Segments, chunks, blocks. A GIF of 16 MB has some 65,000 blocks."""


class Odd(Exception):
    """The file's structure is not what browsers expect."""


class Pieces:
    """Counts the pieces of a file."""

    __slots__ = ("_left",)

    def __init__(self, most: int = MAX_PIECES) -> None:
        self._left = most

    def one(self) -> None:
        """Another piece.

        Raises:
            BadImage: there are too many.
        """
        self._left -= 1
        if self._left < 0:
            raise BadImage("too many pieces")
