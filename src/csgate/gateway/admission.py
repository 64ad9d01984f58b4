"""The bounds at the door: token buckets by key, and counts of open connections.

Everything here decides synchronously and keeps a bounded number of keys; a refusal names the time after which it is
worth coming back.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from csgate.errors import Overloaded

MAX_BUCKETS: Final = 65_536


class Buckets:
    """A token bucket for each key (Turner 1986): ``rate`` tokens a second, ``burst`` at most.

    The least recently used key is forgotten beyond ``max_keys``; a forgotten key starts with a full bucket, so the
    bound costs accuracy only under more keys than that.
    """

    __slots__ = ("_burst", "_clock", "_levels", "_max_keys", "_rate")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float], max_keys: int = MAX_BUCKETS) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._max_keys = max_keys
        self._levels: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def allow(self, key: object, cost: float = 1.0) -> float | None:
        """Takes ``cost`` tokens and returns ``None``, or takes nothing and returns the seconds to wait.

        A cost above the burst passes when the bucket is full and leaves it in debt, so that one large item is slowed
        down rather than refused for ever.
        """
        now = self._clock()
        level, then = self._levels.get(key, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._rate)
        needed = min(cost, self._burst)
        if level < needed:
            return (needed - level) / self._rate
        self._levels[key] = (level - cost, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return None


class Places:
    """Counts of open connections: all, by address, by principal."""

    __slots__ = ("_addresses", "_per_address", "_per_principal", "_principals", "_total", "count")

    def __init__(self, total: int, per_address: int, per_principal: int) -> None:
        self._total = total
        self._per_address = per_address
        self._per_principal = per_principal
        self._addresses: Counter[str] = Counter()
        self._principals: Counter[object] = Counter()
        self.count = 0

    @contextmanager
    def connection(self, address: str) -> Iterator[None]:
        """Holds a place for one connection from ``address``.

        Raises:
            Overloaded: the node, or this address, has as many as it may.
        """
        if self.count >= self._total:
            raise Overloaded("connections: the node is full", retry_after=5.0)
        if self._addresses[address] >= self._per_address:
            raise Overloaded("connections: this address has its share", retry_after=5.0)
        self.count += 1
        self._addresses[address] += 1
        try:
            yield
        finally:
            self.count -= 1
            _release(self._addresses, address)

    def take_principal(self, owner: object) -> None:
        """Counts one connection for ``owner``; give it back with :meth:`release_principal`.

        Raises:
            Overloaded: this principal has as many as it may.
        """
        if self._principals[owner] >= self._per_principal:
            raise Overloaded("connections: this principal has its share", retry_after=5.0)
        self._principals[owner] += 1

    def release_principal(self, owner: object) -> None:
        _release(self._principals, owner)


def _release(counts: Counter[Any], key: object) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
