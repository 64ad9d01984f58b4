"""One bound on the bytes of unfinished messages, shared by all connections of a process."""

from csgate.errors import Internal


class ReceiveBudget:
    """Counts reserved bytes. Not thread-safe: all connections live on one event loop."""

    __slots__ = ("limit", "peak", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0

    def reserve(self, size: int) -> bool:
        """Takes ``size`` bytes; ``False``, and nothing taken, if they would pass the limit."""
        used = self.used + size
        if used > self.limit:
            return False
        self.used = used
        if used > self.peak:
            self.peak = used
        return True

    def release(self, size: int) -> None:
        """Gives ``size`` bytes back.

        Raises:
            Internal: more is given back than was taken.
        """
        if size > self.used:
            raise Internal(f"{size} bytes given back to a receive budget that holds {self.used}")
        self.used -= size
