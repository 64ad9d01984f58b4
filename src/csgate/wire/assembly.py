"""One data message under construction: its buffer, what of it has come, and whether that is UTF-8 so far."""

from typing import Final

from csgate import _fast
from csgate.wire.budget import ReceiveBudget
from csgate.wire.frame import Opcode
from csgate.wire.message import BinaryMessage, TextMessage
from csgate.wire.violation import BudgetExceeded, InvalidPayload

FIRST_FRAGMENT_BYTES: Final = 1024
FIRST_RESERVED_BYTES: Final = 4096
"""Counted for an announcement alone. All of it would be more than it costs, and fourteen bytes a connection would use
up the budget of everybody."""


class Assembly:
    """Owns the buffer until ``finish`` hands it over.

    A message in one frame gets one buffer of its announced size; a fragmented one doubles its buffer as it grows. The
    system provides the pages of either only as bytes come, and so the budget counts what has come: at most twice that,
    never more than the buffer.
    """

    __slots__ = ("_budget", "_buffer", "_limit", "_reserved", "_text", "_utf8", "_view", "size")

    def __init__(self, opcode: int, budget: ReceiveBudget, limit: int) -> None:
        """``limit``: the most bytes that the message may ever have, so where its buffer stops doubling."""
        self._budget = budget
        self._limit = limit
        self._reserved = 0
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
        self._text = opcode == Opcode.TEXT
        self._utf8 = _fast.Utf8Validator() if self._text else None
        self.size = 0

    def make_room(self, length: int, *, whole: bool) -> None:
        """Room for ``length`` more bytes; ``whole``: they are known to be the last.

        Raises:
            BudgetExceeded: the budget of all connections does not allow even its beginning.
        """
        needed = self.size + length
        held = len(self._buffer)
        if needed <= held:
            return
        capacity = needed if whole else max(needed, min(max(2 * held, FIRST_FRAGMENT_BYTES), self._limit))
        self._reserve(min(capacity, max(self.size + 1, FIRST_RESERVED_BYTES)))
        if self.size:
            self._grow(capacity)
        else:
            self._buffer = _fast.new_buffer(capacity)
        self._view = memoryview(self._buffer)

    def _reserve(self, total: int) -> None:
        more = total - self._reserved
        if more > 0:
            if not self._budget.reserve(more):
                raise BudgetExceeded("receive buffers full")
            self._reserved = total

    def _grow(self, capacity: int) -> None:
        self._view.release()
        try:
            _fast.grow_buffer(self._buffer, capacity)  # the allocator often grows a large block where it is
        except BufferError:  # a view that `tail` gave out still lives, and keeps the old memory
            old, self._buffer = self._buffer, _fast.new_buffer(capacity)
            self._buffer[: self.size] = memoryview(old)[: self.size]

    def tail(self, length: int) -> memoryview:
        """Where the next ``length`` bytes belong (uint8[length]), for a receiver to write into; then ``accept``.

        Drop the view by then: while it lives, the buffer cannot grow in place.
        """
        return self._view[self.size : self.size + length]

    def accept(self, length: int, key: bytes, phase: int) -> int:
        """Takes ``length`` masked bytes that now lie in the tail; returns the new mask phase.

        Raises:
            InvalidPayload: the text is wrong at one of these bytes (section 8.1).
            BudgetExceeded: the budget of all connections does not allow them.
        """
        start = self.size
        self.size = start + length
        if self.size > self._reserved:
            self._reserve(min(max(self.size, 2 * self._reserved), len(self._buffer)))
        part = self._view[start : self.size]
        phase = _fast.unmask(part, key, phase)
        if self._utf8 is not None and not self._utf8.feed(part):
            raise InvalidPayload("text is not UTF-8")
        return phase

    def finish(self) -> TextMessage | BinaryMessage:
        """The message, with the buffer, which is no longer counted in the budget.

        Raises:
            InvalidPayload: the text ends inside a character.
        """
        if self._utf8 is not None and not self._utf8.complete:
            raise InvalidPayload("text ends inside a character")
        buffer, size = self._buffer, self.size
        self.release()
        if size < len(buffer):
            try:
                del buffer[size:]
            except BufferError:  # a view that `tail` gave out still lives
                buffer = buffer[:size]
        return TextMessage(buffer) if self._text else BinaryMessage(buffer)

    def release(self) -> None:
        """Gives the reserved bytes back and forgets the buffer."""
        self._budget.release(self._reserved)
        self._reserved = 0
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
