"""The outbox on disk, for a program that may die between two messages.

One JSON object a line, appended: a message, its end, the place in the conversation. Written anew, without what has
ended, when it is opened and when it has grown while nothing waits. Messages are on disk (fsync) before they are sent;
the rest need not be: an end that is lost costs one message that is sent again, under its old id.
"""

import base64
import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from csgate.client.timeline import Place
from csgate.errors import ConfigError

REWRITE_BYTES: Final = 1024 * 1024


class _Line(msgspec.Struct, omit_defaults=True):
    """One of: a message (``id`` with ``text`` or ``binary``), its end (``done``), the place."""

    id: str | None = None
    text: str | None = None
    binary: str | None = None
    done: str | None = None
    conversation: str | None = None
    epoch: str | None = None
    offset: int = 0


_LINE: Final = msgspec.json.Decoder(_Line)


class Journal:
    """An outbox's file. Opening, ``add`` and ``close`` block: they are for a thread.

    Raises:
        ConfigError: the file cannot be used, or another process has it.
    """

    __slots__ = ("_file", "_lock", "_path", "_written", "frames", "place")

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place: Place | None = None
        self.frames: dict[str, str | bytes] = {}
        """What was left when the file was opened: id -> frame, oldest first."""
        try:
            # A lock of its own, as the file itself is replaced.
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._read()
                self._file = self._rewrite()
            except BaseException:
                os.close(self._lock)
                raise
        except BlockingIOError:
            raise ConfigError(f"The outbox '{path}' is in use by another program.") from None
        except OSError as error:
            raise ConfigError(f"The outbox '{path}' cannot be used: {error.strerror or error}.") from None

    def add(self, message_id: str, frame: str | bytes) -> None:
        """Returns when the message is on disk.

        Raises:
            OSError: it is not.
        """
        self._append(_message(message_id, frame))
        os.fsync(self._file)

    def done(self, message_id: str, place: Place | None, *, empty: bool) -> None:
        """The message has come to its end; ``empty``: nothing else waits."""
        self.place = place
        self._append(_Line(done=message_id), *_where(place))
        if empty and self._written > REWRITE_BYTES:
            self.frames.clear()
            os.close(self._file)
            self._file = self._rewrite()

    def move(self, place: Place | None) -> None:
        """The conversation is at ``place``."""
        self.place = place
        self._append(*_where(place))

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)
        os.close(self._lock)

    def _append(self, *lines: _Line) -> None:
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        # One write a call, appended: a thread that adds and a loop that ends messages do not mix.
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._written += len(data)

    def _read(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        for number, text in enumerate(data.split(b"\n")):
            try:
                line = _LINE.decode(text)
            except msgspec.DecodeError:
                if number == data.count(b"\n"):
                    continue  # cut off by the death of its writer, so never sent; or the empty rest
                raise ConfigError(f"'{self._path}' is not an outbox (line {number + 1}).") from None
            if line.done is not None:
                self.frames.pop(line.done, None)
            elif line.id is not None:
                self.frames[line.id] = base64.b64decode(line.binary) if line.binary is not None else line.text or ""
            elif line.conversation is not None:
                self.place = Place(line.conversation, line.epoch, line.offset)

    def _rewrite(self) -> int:
        new = self._path.with_name(f"{self._path.name}.new")
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = 0
        self._append(*_where(self.place), *(_message(name, frame) for name, frame in self.frames.items()))
        os.fsync(self._file)
        os.replace(new, self._path)
        return self._file


def _message(message_id: str, frame: str | bytes) -> _Line:
    if isinstance(frame, str):
        return _Line(id=message_id, text=frame)
    return _Line(id=message_id, binary=base64.b64encode(frame).decode())


def _where(place: Place | None) -> list[_Line]:
    if place is None:
        return []
    return [_Line(conversation=place.conversation, epoch=place.epoch, offset=place.offset)]
