"""What the HTTP application is given of the node: enough to let people in and to say how it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from csgate.auth import Authenticator
from csgate.config import Config
from csgate.gateway.address import Network
from csgate.gateway.completions import Completions
from csgate.gateway.uploads import Uploads
from csgate.media import Media
from csgate.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this node wants traffic; ``reasons`` says in plain words why not."""

    ready: bool
    reasons: tuple[str, ...]
    engine: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """``allow_guest`` and ``allow_request`` take an address and return ``None`` or the seconds to wait.

    ``nodes`` describes all nodes of the cluster, if there is one; ``addresses`` are where clients may fail over to.
    ``uploads``, ``media``: None where pictures are not taken, or not kept. ``media_origins``: URLs at the store of
    pictures whose origins the page may read from and send to, where that is not this server.
    """

    config: Config
    auth: Authenticator
    telemetry: Telemetry
    trusted: Sequence[Network]
    readiness: Callable[[], Readiness]
    allow_guest: Callable[[str], float | None]
    allow_request: Callable[[str], float | None]
    now: Callable[[], float]
    completions: Completions
    nodes: Callable[[], Sequence[dict[str, Any]]] = tuple
    addresses: Callable[[], Sequence[str]] = tuple
    uploads: Uploads | None = None
    media: Media | None = None
    media_origins: Callable[[], Sequence[str]] = tuple
