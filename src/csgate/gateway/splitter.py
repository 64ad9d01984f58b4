"""Finds WebSocket upgrades in a stream of HTTP/1.1 requests. Sans-IO.

One port serves both. What is plain HTTP passes through untouched to the HTTP stack; a request that upgrades to
WebSocket stops the stream, whether it comes first or (as proxies that reuse connections send it) after other requests.
"""

from typing import Final

import h11

_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
_SPENT: Final = h11.Connection(h11.SERVER)
"""Stands in for a parser that nobody will ask again."""


class RequestSplitter:
    """Feed it what the socket gave; it hands back what belongs to the HTTP stack.

    After :meth:`receive`, ``upgrade`` is the request that asks for WebSocket (RFC 9110 section 7.8, RFC 6455
    section 4.1), if one came, and ``rest`` the bytes behind its head. An incomplete head is held back, at most
    ``head_bytes`` of it. ``broken`` is set by a request that cannot be parsed, whose end somebody on the way may see
    elsewhere (RFC 9112 section 6.1), or that is not HTTP/1. ``unfinished``: a request was passed on whose body is not
    whole. An upgrade to h2c is not passed on: its ``Upgrade`` and ``HTTP2-Settings`` headers are taken off, as a server
    may that does not want to upgrade (RFC 9113 section 3.1).
    """

    __slots__ = ("_head_bytes", "_held", "_parser", "broken", "first", "rest", "unfinished", "upgrade")

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._parser = self._fresh_parser()
        self._held = bytearray()
        self.first: h11.Request | None = None
        self.upgrade: h11.Request | None = None
        self.rest = b""
        self.unfinished = False
        self.broken: h11.RemoteProtocolError | None = None

    def receive(self, data: bytes | bytearray) -> bytes:
        """Takes ``data`` and returns the bytes to pass on (possibly none)."""
        passed = bytearray()
        self._held += data
        self._parser.receive_data(bytes(data))
        if self.first is None and _HTTP2_PREFACE.startswith(bytes(self._held[: len(_HTTP2_PREFACE)])):
            if len(self._held) >= len(_HTTP2_PREFACE):
                self.broken = _other_version()
            return b""
        while self.upgrade is None and self.broken is None:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self.broken = error
                break
            if isinstance(event, h11.Request):
                if event.http_version not in (b"1.0", b"1.1"):  # behind another request hypercorn would take it for h2
                    self.broken = _other_version()
                    break
                if _of_two_lengths(event):
                    self.broken = h11.RemoteProtocolError("Content-Length and Transfer-Encoding")
                    break
                if self.first is None:
                    self.first = event
                self._take_request(event)
            elif isinstance(event, h11.EndOfMessage):
                self.unfinished = False
                self._next_request(passed)
            elif not isinstance(event, h11.Data):  # NEED_DATA
                if self._parser.their_state is not h11.IDLE:
                    self._release(passed, len(self._held))
                break
        return bytes(passed)

    def take_upgrade(self) -> tuple[h11.Request, bytes]:
        """The upgrade request and ``rest``. Forgets everything: a connection that idles for hours keeps no parser.

        Raises:
            ValueError: no upgrade came.
        """
        request, rest = self.upgrade, self.rest
        if request is None:
            raise ValueError("no upgrade came")
        self._parser = _SPENT
        self.first = self.upgrade = None
        self.rest = b""
        return request, rest

    def _fresh_parser(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._head_bytes)

    def _take_request(self, request: h11.Request) -> None:
        upgrade = [
            token.strip().lower()
            for name, value in request.headers
            if name == b"upgrade"
            for token in value.split(b",")
        ]
        if b"websocket" in upgrade:
            self.upgrade = request
            self.rest = bytes(self._parser.trailing_data[0])
            self._held.clear()
            return
        self.unfinished = True
        if upgrade:
            body = bytes(self._parser.trailing_data[0])
            self._held[:] = _without_upgrade(request) + body

    def _next_request(self, passed: bytearray) -> None:
        trailing = bytes(self._parser.trailing_data[0])
        self._release(passed, len(self._held) - len(trailing))
        self._parser = self._fresh_parser()
        if trailing:  # to h11, no bytes mean the end
            self._parser.receive_data(trailing)

    def _release(self, passed: bytearray, count: int) -> None:
        passed += self._held[:count]
        del self._held[:count]


def _other_version() -> h11.RemoteProtocolError:
    return h11.RemoteProtocolError("only HTTP/1 is spoken here", error_status_hint=505)


def _of_two_lengths(request: h11.Request) -> bool:
    names = {name for name, _ in request.headers}
    return b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0")


def _without_upgrade(request: h11.Request) -> bytes:
    lines = [request.method + b" " + request.target + b" HTTP/" + request.http_version]
    for name, value in request.headers.raw_items():
        lowered = name.lower()
        if lowered in (b"upgrade", b"http2-settings"):
            continue
        if lowered == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() not in (b"upgrade", b"http2-settings"))
            if not value:
                continue
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"
