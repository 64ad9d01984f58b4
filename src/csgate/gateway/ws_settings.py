"""The bounds and times of a WebSocket connection."""

from dataclasses import dataclass

from csgate.config import LimitSettings


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Sizes in bytes, times in seconds; see ``csgate.config.LimitSettings`` for the defaults."""

    max_message_bytes: int
    max_frame_bytes: int
    outbound_queue_bytes: int
    ping_after_s: float
    pong_s: float
    message_s: float
    message_bytes_per_s: float
    close_s: float
    send_s: float

    @classmethod
    def from_limits(cls, limits: LimitSettings) -> "WebSocketSettings":
        """The part of ``limits`` that concerns one connection."""
        return cls(
            max_message_bytes=limits.max_message_bytes,
            max_frame_bytes=limits.max_frame_bytes,
            outbound_queue_bytes=limits.outbound_queue_bytes,
            ping_after_s=limits.ping_after_seconds,
            pong_s=limits.pong_seconds,
            message_s=limits.message_seconds,
            message_bytes_per_s=limits.message_bytes_per_second,
            close_s=limits.close_seconds,
            send_s=limits.send_seconds,
        )
