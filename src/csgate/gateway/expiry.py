"""Watches the expiry of tokens on live connections: one task for all of them, not one each."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

import trio

WARN_BEFORE_S: Final = 60.0
REFRESH_GRACE_S: Final = 25.0
_LONGEST_SLEEP_S: Final = 3600.0


class Expiring(Protocol):
    """A connection whose token expires."""

    def token_expiring(self, seconds_left: float) -> None: ...

    def token_expired(self) -> None: ...


class Watch:
    """One connection's entry; a stopped one has no target any more."""

    __slots__ = ("expires_at", "target", "warned")

    def __init__(self, target: Expiring, expires_at: float) -> None:
        self.target: Expiring | None = target
        self.expires_at = expires_at
        self.warned = False


class ExpiryWatch:
    """Tells connections 60 s before their token expires, and 25 s after, when it is too late to refresh.

    ``now`` is Unix time: tokens speak of the wall clock, which may step, so sleeps are bounded and the time is asked
    again.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Watch]] = []
        self._order = count()
        self._earlier = trio.Event()
        self._stopped = 0

    def add(self, target: Expiring, expires_at: float) -> Watch:
        watch = Watch(target, expires_at)
        if expires_at != float("inf"):
            self._push(expires_at - WARN_BEFORE_S, watch)
        return watch

    def stop(self, watch: Watch) -> None:
        """Forgets one connection. Stopped entries are swept when they are the greater part of the heap."""
        if watch.target is None:
            return
        watch.target = None
        self._stopped += 1
        if self._stopped > 64 and self._stopped * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].target is not None]
            heapq.heapify(self._heap)
            self._stopped = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._earlier = trio.Event()
            self.fire()
            pause = min(_LONGEST_SLEEP_S, self._heap[0][0] - self._now()) if self._heap else _LONGEST_SLEEP_S
            with trio.move_on_after(max(0.0, pause)):
                await self._earlier.wait()

    def fire(self) -> None:
        """Tells everybody whose time has come."""
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            _, _, watch = heapq.heappop(self._heap)
            if watch.target is None:
                self._stopped -= 1
            elif watch.warned:
                target, watch.target = watch.target, None
                target.token_expired()
            else:
                watch.warned = True
                watch.target.token_expiring(max(0.0, watch.expires_at - now))
                self._push(watch.expires_at + REFRESH_GRACE_S, watch)

    def _push(self, when: float, watch: Watch) -> None:
        heapq.heappush(self._heap, (when, next(self._order), watch))
        if self._heap[0][2] is watch:
            self._earlier.set()
