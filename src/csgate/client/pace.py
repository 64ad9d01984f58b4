"""The client's deadlines."""

from dataclasses import dataclass
from typing import Final

SEND_S: Final = 20.0
SEND_BYTES_PER_S: Final = 8 * 1024
"""The server gives a message 20 s, and one more for each 8 KiB (docs/protocol.md); longer is not worth waiting."""


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds.

    Attributes:
        welcome_s: from the open WebSocket to ``welcome``.
        ping_after_s: silence after which the gateway is asked for a sign of life.
        ack_after_s: the same, while something was sent that is not acknowledged.
        pong_s: how long that sign may take; then the connection counts as dead.
        close_s: for the close handshake.
        home_after_s: how long a client that had to leave the first address waits before it looks whether it is back;
            spread over as much again, and growing up to ten times as long.
    """

    welcome_s: float = 15.0
    ping_after_s: float = 25.0
    ack_after_s: float = 5.0
    pong_s: float = 8.0
    close_s: float = 2.0
    home_after_s: float = 15.0
