"""A small memory of what was seen lately, bounded in entries and in bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Forgets what was used longest ago, once there are more than ``items`` entries or ``size`` bytes of values."""

    def __init__(self, items: int, size: int = 0) -> None:
        self._items = items
        self._size = size
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The value, which is now the one used last; None where there is none."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Value, size: int = 0) -> None:
        """Remembers a value that takes ``size`` bytes; one larger than the whole memory is not."""
        self.drop(key)
        if size > self._size:
            return
        self._kept[key] = (value, size)
        self.bytes += size
        while len(self._kept) > self._items or self.bytes > self._size:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed

    def drop(self, key: Key) -> None:
        """Forgets one entry, if it is there."""
        _, freed = self._kept.pop(key, (None, 0))
        self.bytes -= freed
