"""Where a gateway is: what a person types becomes the WebSocket's URL and the HTTP side's."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from csgate.errors import ConfigError

CHAT_PATH: Final = "/ws"
_SCHEMES: Final = {"ws": "http", "http": "http", "wss": "https", "https": "https"}


@dataclass(frozen=True, slots=True)
class ChatAddress:
    """``websocket`` is a ws: or wss: URL; ``http`` its scheme's twin, without a path and without a slash at the end."""

    websocket: str
    http: str


def parse_address(text: str) -> ChatAddress:
    """Reads ``ws://host:port/ws``, an http: URL, or a bare ``host:port``; without a path it is ``/ws``.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        parts = urlsplit(text if "://" in text else f"ws://{text}")
        scheme = _SCHEMES[parts.scheme.lower()]
        usable = bool(parts.hostname) and parts.port != 0
    except (ValueError, KeyError):
        usable = False
    if not usable:
        raise ConfigError(f"'{text}' is not the address of a gateway; write ws://127.0.0.1:8080/ws, say.")
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.path.strip("/") else CHAT_PATH
    websocket = urlunsplit(("wss" if scheme == "https" else "ws", host, path, parts.query, ""))
    return ChatAddress(websocket=websocket, http=f"{scheme}://{host}")
