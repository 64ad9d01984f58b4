"""What only the server says and no log keeps; the events of the conversation are in ``csgate.events``."""

from typing import Any

import msgspec

from csgate.events import Event, LogEvent
from csgate.protocol.client import Echo


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The answer to ``hello``.

    ``limits`` are the bounds that a client should know before it meets them (bytes, characters, pixels by name);
    ``engine`` says which provider runs and which models; ``nodes`` are addresses to fail over to.
    """

    conversation: str
    epoch: str
    offset: int
    recovered: bool
    limits: dict[str, int]
    engine: dict[str, Any]
    nodes: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, tag="history"):
    """What the client missed, or the last page where ``welcome.recovered`` is false."""

    events: tuple[LogEvent, ...]


class TokenExpiring(msgspec.Struct, frozen=True, tag="token_expiring"):
    """The token runs out in so many ``seconds``; relative, because clocks differ."""

    seconds: float


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    t: Echo


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """The node goes away; reconnect after this long, with jitter."""

    reconnect_after_ms: int


ServerEnvelope = Event | Welcome | History | TokenExpiring | Pong | Draining
