"""Server-sent events, sans-IO: bytes in, events out (WHATWG HTML, section 9.2.6 "Interpreting an event stream").

``feed`` only stores, ``next_event`` only advances. Where the standard replaces bytes that are not UTF-8, this refuses
them: half a character in an answer is a fault of the server that nobody should be shown.
"""

import re
from typing import Final

import msgspec

BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_LF: Final = 0x0A


class EventStreamError(ValueError):
    """The stream breaks a bound or is not UTF-8. Nothing more comes out of its parser."""


class ServerEvent(msgspec.Struct, frozen=True):
    """One event: its ``data`` lines joined by newlines, and its type (``message`` where none was given)."""

    data: str
    event: str = "message"


class EventParser:
    """An incremental parser. Lines may end in CR, LF or CRLF, and the stream may be cut anywhere."""

    def __init__(self, *, max_line_bytes: int, max_total_bytes: int) -> None:
        """``max_total_bytes`` bounds all that is ever fed, and so an event of many lines as well."""
        self._max_line = max_line_bytes
        self._left = max_total_bytes
        self._beyond = False
        self._buffer = bytearray()
        self._searched = 0
        self._first_line = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._event = b""
        self._error: str | None = None

    def feed(self, data: bytes) -> None:
        """Stores ``data``; what lies beyond the total bound is dropped, and told after the events before it."""
        if len(data) > self._left:
            self._beyond = True
            data = data[: self._left]
        self._left -= len(data)
        self._buffer += data

    def next_event(self) -> ServerEvent | None:
        """The next whole event, or None until more is fed. An event that the stream ends within is never given.

        Raises:
            EventStreamError: a line or the whole is too long, or an event is not UTF-8; every later call says so too.
        """
        if self._error is not None:
            raise EventStreamError(self._error)
        while (line := self._next_line()) is not None:
            if line:
                self._take(line)
            elif (event := self._finish()) is not None:
                return event
        return None

    def _next_line(self) -> bytes | None:
        buffer = self._buffer
        if self._after_cr and buffer:
            self._after_cr = False
            if buffer[0] == _LF:  # the second half of a CRLF that was cut in two
                del buffer[:1]
        end = _LINE_END.search(buffer, self._searched)
        length = len(buffer) if end is None else end.start()
        if length > self._max_line:
            raise self._fail(f"a line of more than {self._max_line} bytes")
        if end is None:
            self._searched = length
            if self._beyond:
                raise self._fail("the stream is longer than an answer can be")
            return None
        line = bytes(buffer[:length])
        self._after_cr = buffer[end.end() - 1] != _LF and end.end() == len(buffer)
        del buffer[: end.end()]
        self._searched = 0
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(BOM)
        return line

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        # A comment has no name; id and retry are for clients that connect again, which this one does not.

    def _finish(self) -> ServerEvent | None:
        data, self._data = self._data, []
        event, self._event = self._event, b""
        if not data:
            return None
        try:
            return ServerEvent(b"\n".join(data).decode(), event.decode() or "message")
        except UnicodeDecodeError as error:
            raise self._fail(f"an event is not UTF-8: {error.reason} at byte {error.start}") from None

    def _fail(self, reason: str) -> EventStreamError:
        self._error = reason
        self._buffer.clear()
        return EventStreamError(reason)
