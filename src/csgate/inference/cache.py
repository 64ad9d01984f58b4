"""A bounded cache of results: least recently used first out, by items and by bytes."""

import threading
from collections import OrderedDict
from typing import Final, Generic, TypeVar

V = TypeVar("V")

ENTRY_BYTES: Final = 256
"""What an entry costs beside its value: the key, two dictionary slots, the object."""


class ResultCache(Generic[V]):
    """Safe from any thread. Keys carry everything that a result depends on: the model's hash, the input's hash, and
    for text the tenant, so that nobody can find out what another tenant's customers wrote.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        """0 for either switches the cache off."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, ...] | bytes, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def keeps(self) -> bool:
        """Whether anything is ever kept; if not, keys need not be worked out."""
        return self._max_items > 0 and self._max_bytes > ENTRY_BYTES

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def get(self, key: tuple[str, ...] | bytes) -> V | None:
        """The value, now the most recently used one; None if it is not there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: tuple[str, ...] | bytes, value: V, size: int) -> None:
        """Keeps ``value`` of about ``size`` bytes; a value larger than the whole cache is not kept."""
        cost = size + ENTRY_BYTES
        if cost > self._max_bytes or not self._max_items:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._bytes -= old[1]
            self._entries[key] = value, cost
            self._bytes += cost
            while self._bytes > self._max_bytes or len(self._entries) > self._max_items:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= dropped
