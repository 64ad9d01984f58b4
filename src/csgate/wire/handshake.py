"""The opening handshake (RFC 6455 section 4.2), on a head that h11 has read."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11

from csgate.errors import PeerError

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN_CHARACTERS: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

Headers = tuple[tuple[bytes, bytes], ...]


class HandshakeRefused(PeerError):
    """The request is no WebSocket handshake that this server takes: ``status`` and ``headers`` of the answer."""

    def __init__(self, status: int, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Handshake:
    """A good opening handshake. ``headers`` have lower-case names, in their order; of a query name given twice the
    last value holds."""

    path: str
    query: dict[str, str]
    headers: list[tuple[bytes, bytes]]
    subprotocols: tuple[str, ...]
    origin: str | None
    key: bytes


def read_handshake(request: h11.Request) -> Handshake:
    """Checks ``request`` against section 4.2.1.

    Raises:
        HandshakeRefused: with 405 (not GET), 505 (not HTTP/1.1), 426 (no upgrade, or a version other than 13, which the
            answer names) or 400 (anything else).
    """
    if request.method != b"GET":
        raise HandshakeRefused(HTTPStatus.METHOD_NOT_ALLOWED, "A WebSocket opens with GET.", ((b"allow", b"GET"),))
    if request.http_version != b"1.1":
        raise HandshakeRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "A WebSocket opens over HTTP/1.1.")
    headers = [(bytes(name), bytes(value)) for name, value in request.headers]
    connection = _tokens(headers, b"connection")
    upgrade = _tokens(headers, b"upgrade")
    if "upgrade" not in (token.lower() for token in connection) or "websocket" not in (
        token.lower() for token in upgrade
    ):
        raise HandshakeRefused(
            HTTPStatus.UPGRADE_REQUIRED,
            "This address takes WebSocket upgrades only.",
            ((b"upgrade", b"websocket"), (b"connection", b"upgrade")),
        )
    versions = _values(headers, b"sec-websocket-version")
    if versions != [b"13"]:
        raise HandshakeRefused(
            HTTPStatus.UPGRADE_REQUIRED,
            "Only WebSocket version 13 is spoken here.",
            ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"), (b"connection", b"upgrade")),
        )
    if any(name in (b"content-length", b"transfer-encoding") and value != b"0" for name, value in headers):
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "A WebSocket handshake has no body.")
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in Base64.")
    origins = _values(headers, b"origin")
    if len(origins) > 1:
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "More than one Origin.")
    subprotocols = _tokens(headers, b"sec-websocket-protocol")
    if any(not _TOKEN_CHARACTERS.issuperset(name) for name in subprotocols):
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Protocol is not a list of tokens.")
    if len(set(subprotocols)) != len(subprotocols):
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Protocol names a protocol twice.")
    try:
        parts = urlsplit(bytes(request.target).decode("ascii"))
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=64))
    except ValueError:
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "The request target cannot be read.") from None
    return Handshake(
        path=parts.path,
        query=query,
        headers=headers,
        subprotocols=tuple(subprotocols),
        origin=origins[0].decode("latin-1") if origins else None,
        key=keys[0],
    )


def accept_response(handshake: Handshake, subprotocol: str | None = None) -> bytes:
    """The whole 101 answer (section 4.2.2). No extension is ever accepted.

    Raises:
        ValueError: ``subprotocol`` was not offered.
    """
    if subprotocol is not None and subprotocol not in handshake.subprotocols:
        raise ValueError(f"subprotocol {subprotocol!r} was not offered")
    digest = base64.b64encode(hashlib.sha1(handshake.key + _GUID, usedforsecurity=False).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"upgrade: websocket",
        b"connection: Upgrade",
        b"sec-websocket-accept: " + digest,
    ]
    if subprotocol is not None:
        lines.append(b"sec-websocket-protocol: " + subprotocol.encode("ascii"))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value.strip() for key, value in headers if key == name]


def _tokens(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The entries of a comma-separated field that may come several times (RFC 9110 section 5.3)."""
    entries = (entry.strip() for value in _values(headers, name) for entry in value.decode("latin-1").split(","))
    return [entry for entry in entries if entry]


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
