"""The codec driven as an echo server, without I/O, in the manner of the Trio shell."""

from collections.abc import Iterable

from csgate.wire import BinaryMessage, Connection, ReceiveBudget, State, TextMessage
from csgate.wire.frame import Opcode, frame_header

MIB = 2**20


class EchoPeer:
    """Feeds a ``Connection`` and collects what it wants sent."""

    def __init__(
        self, *, max_message_bytes: int = 16 * MIB, max_frame_bytes: int = 64 * MIB, budget_bytes: int = 64 * MIB
    ) -> None:
        self.budget = ReceiveBudget(budget_bytes)
        self.connection = Connection(
            max_message_bytes=max_message_bytes, max_frame_bytes=max_frame_bytes, budget=self.budget
        )
        self.back = bytearray()
        self.events: list[object] = []

    def receive(self, data: bytes) -> None:
        """Takes ``data`` as one read of a socket; straight into the message's buffer where that is asked for."""
        decoder = self.connection.decoder
        position = 0
        while position < len(data):
            target = decoder.target()
            if target is None:
                scratch = bytearray(data[position:])
                decoder.feed(memoryview(scratch))
                self._advance()
                decoder.keep()
                scratch[:] = b"\xee" * len(scratch)  # nothing may still look at it
                return
            size = min(len(target), len(data) - position)
            target[:size] = data[position : position + size]
            position += size
            self.connection.filled(size)
            self._advance()

    def receive_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.receive(piece)

    @property
    def ended(self) -> bool:
        return self.connection.state is not State.OPEN

    def _advance(self) -> None:
        connection = self.connection
        while True:
            message = connection.next_message()
            self.back += connection.output
            connection.output = b""
            if message is None:
                return
            self.events.append(message)
            if isinstance(message, TextMessage):
                self.back += frame_header(Opcode.TEXT, len(message.data)) + message.data
            elif isinstance(message, BinaryMessage):
                self.back += frame_header(Opcode.BINARY, len(message.data)) + message.data
