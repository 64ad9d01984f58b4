"""A language model that says what it is told, and no further than it is told: the middle of an answer stays one."""

import threading
from collections.abc import Iterator, Sequence

from ..speaking import Speaker

GIVE_UP_S = 60.0


class Dictation(Speaker):
    """Says what it was told with ``dictate``."""

    def __init__(self) -> None:
        self._pieces: tuple[str, ...] = ()
        self._ready = 0
        self._take = 0
        self._changed = threading.Condition()
        super().__init__()

    def dictate(self, pieces: Sequence[str], ready: int) -> None:
        """The next answers consist of ``pieces``, of which so many may be said. Earlier ones end where they are."""
        with self._changed:
            self._pieces, self._ready = tuple(pieces), ready
            self._take += 1
            self._changed.notify_all()

    def allow(self, more: int | None = None) -> None:
        """So many pieces more; all of them by default."""
        with self._changed:
            self._ready = len(self._pieces) if more is None else self._ready + more
            self._changed.notify_all()

    def close(self) -> None:
        self.dictate((), 0)
        super().close()

    def answer(self) -> Iterator[str]:
        with self._changed:
            return self._said(self._pieces, self._take)

    def _said(self, pieces: Sequence[str], take: int) -> Iterator[str]:
        for number, piece in enumerate(pieces):
            if not self._may_say(number, take):
                return
            yield piece

    def _may_say(self, number: int, take: int) -> bool:
        """Waits until the piece may be said; False where nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: number < self._ready or take != self._take, GIVE_UP_S)
            return take == self._take
