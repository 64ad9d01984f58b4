"""What the client tells of its connections, among the events of the conversation."""

from dataclasses import dataclass
from typing import Literal

from csgate.events import Event
from csgate.protocol import TokenExpiring, Welcome


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection, to ``address``.

    ``resumed``: the conversation goes on where it broke off, with nothing missed. ``standby``: the connection was open
    already when the one before it broke, so that there was no pause.
    """

    welcome: Welcome
    resumed: bool
    address: str = ""
    standby: bool = False


@dataclass(frozen=True, slots=True)
class NotRecovered:
    """What was there before could not be resumed; comes right after its ``Connected``.

    ``gap``: the log is the same, and some events between the last one seen and the next one that comes are gone.
    ``new_log``: the conversation has another log now; what comes is its latest page, from the start.
    ``gone``: there is no such conversation any more; this is a new one.
    What has no answer yet is asked again, under the same ids.
    """

    reason: Literal["gap", "new_log", "gone"]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection; the next try comes in ``retry_in`` seconds."""

    reason: str
    retry_in: float


ClientEvent = Event | TokenExpiring | Connected | NotRecovered | Disconnected
"""What iterating over a client gives. ``TokenExpiring`` only where the client cannot get a new token by itself."""
