"""When a connection has to be pinged, given up, or waited for: decided from times alone."""

import math
from enum import Enum, auto

from csgate.gateway.ws_settings import WebSocketSettings


class Beat(Enum):
    """What is to be done now."""

    WAIT = auto()
    PING = auto()
    NO_PONG = auto()
    STALLED = auto()
    GIVE_UP = auto()
    """The close handshake took too long: drop the connection."""


class Heartbeat:
    """The clock of one connection; all times are the event loop's, in seconds."""

    __slots__ = ("_settings", "began_at", "closing_at", "heard_at", "pinged_at")

    def __init__(self, settings: WebSocketSettings, now: float) -> None:
        self._settings = settings
        self.heard_at = now
        """When the peer last sent anything."""
        self.pinged_at: float | None = None
        self.began_at: float | None = None
        """Since when a message is unfinished."""
        self.closing_at: float | None = None

    def decide(self, now: float, *, reading: bool, unfinished: int | None) -> tuple[Beat, float]:
        """What to do, and when to ask again.

        Args:
            now: the time.
            reading: somebody waits for the peer's bytes; otherwise its silence may be our own doing.
            unfinished: the size of the message that has begun to come, in bytes; ``None``: there is none.
        """
        settings = self._settings
        if self.closing_at is not None:
            return self._due(Beat.GIVE_UP, self.closing_at + settings.close_s, now)
        if not reading:
            self.pinged_at = None
            return Beat.WAIT, now + settings.pong_s
        if unfinished is not None and self.began_at is not None:
            # Large frames leave no room for a pong between them: the deadline for the whole takes the ping's place.
            allowed = settings.message_s + unfinished / settings.message_bytes_per_s
            return self._due(Beat.STALLED, self.began_at + allowed, now)
        if self.pinged_at is not None and self.heard_at < self.pinged_at:
            return self._due(Beat.NO_PONG, self.pinged_at + settings.pong_s, now)
        self.pinged_at = None
        beat, at = self._due(Beat.PING, self.heard_at + settings.ping_after_s, now)
        if beat is Beat.PING:
            self.pinged_at = now
            at = now + settings.pong_s
        return beat, at

    def begin(self, now: float) -> float:
        """A message has begun to come; when to ask next, at the latest."""
        self.began_at = now
        return now + self._settings.message_s

    def pong(self) -> float:
        """The peer has shown life after a ping; when to ask next, where nothing else is due sooner."""
        self.pinged_at = None
        if self.began_at is not None or self.closing_at is not None:
            return -math.inf
        return self.heard_at + self._settings.ping_after_s

    @staticmethod
    def _due(beat: Beat, at: float, now: float) -> tuple[Beat, float]:
        return (beat, at) if now >= at else (Beat.WAIT, at)
