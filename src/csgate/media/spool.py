"""Uploads on their way in: in memory while they are small and there are few, otherwise in a temporary file."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import trio

from csgate.errors import Overloaded, TooLarge
from csgate.telemetry import Telemetry

MEMORY_BYTES: Final = 32 * 1024 * 1024
"""Of all uploads together; above, they go to their files at once."""
PIECE_BYTES: Final = 256 * 1024
"""Written to the file in pieces of this size, each in a worker thread."""
RETRY_AFTER_S: Final = 2.0


class SpooledUpload:
    """A file as it comes in. Made by :meth:`Spool.open`, and gone when its block is left."""

    def __init__(self, spool: "Spool") -> None:
        self._spool = spool
        self._buffer = bytearray()
        self._held = 0  # bytes in memory, as accounted for
        self._file: BinaryIO | None = None
        self.size = 0

    @property
    def spooled(self) -> bool:
        """Whether it has left memory."""
        return self._file is not None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes.

        Raises:
            TooLarge: more than an upload may have.
            Overloaded: the disk takes no more.
        """
        spool = self._spool
        if self.size + len(data) > spool.upload_bytes:
            raise too_large(spool.upload_bytes)
        self._buffer += data
        self.size += len(data)
        self._held += len(data)
        spool.account(len(data))
        bound = PIECE_BYTES if self.spooled else spool.spool_bytes
        if len(self._buffer) >= bound or spool.used > MEMORY_BYTES:
            piece, self._buffer = self._buffer, bytearray()
            try:
                await trio.to_thread.run_sync(self._append, piece)
            except OSError as error:
                raise _no_room(error) from error
            finally:
                self._held -= len(piece)
                spool.account(-len(piece))

    def content(self) -> BinaryIO:
        """All of it, as a file to be read from its beginning. Works on the disk: for a worker thread.

        Raises:
            Overloaded: the disk takes no more.
        """
        if self._file is None:
            return io.BytesIO(self._buffer)
        try:
            self._append(self._buffer)
        except OSError as error:
            raise _no_room(error) from error
        self._buffer = bytearray()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Gives back what it holds."""
        self._spool.account(-self._held)
        self._held = 0
        self._buffer = bytearray()
        if self._file is not None:
            with suppress(OSError):  # what was not written is not wanted any more
                self._file.close()

    def _append(self, piece: bytearray) -> None:
        if self._file is None:
            self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=self._spool.folder))  # noqa: SIM115 - see close()
        self._file.seek(0, 2)
        self._file.write(piece)


class Spool:
    """The uploads under way: how many, how large, how much of them in memory."""

    def __init__(
        self, folder: Path, telemetry: Telemetry, *, upload_bytes: int, spool_bytes: int, at_once: int
    ) -> None:
        self.folder = folder
        self.upload_bytes = upload_bytes
        self.spool_bytes = spool_bytes
        self.used = 0
        self._left = at_once
        telemetry.metrics.media_uploads.set_function(lambda: at_once - self._left)
        telemetry.metrics.media_spooled_bytes.set_function(lambda: self.used)

    def account(self, change: int) -> None:
        self.used += change

    @contextmanager
    def open(self) -> Iterator[SpooledUpload]:
        """A place for one upload, for as long as the block lasts.

        Raises:
            Overloaded: too many are under way.
        """
        if self._left <= 0:
            raise Overloaded("too many uploads under way", retry_after=RETRY_AFTER_S)
        self._left -= 1
        upload = SpooledUpload(self)
        try:
            yield upload
        finally:
            upload.close()
            self._left += 1


def _no_room(error: OSError) -> Overloaded:
    return Overloaded(f"spooling: {error.strerror or error}", retry_after=RETRY_AFTER_S)


def too_large(max_bytes: int) -> TooLarge:
    """For a file that is larger than an upload may be."""
    megabytes = max_bytes / (1024 * 1024)
    return TooLarge(
        f"more than {max_bytes} bytes",
        public=f"The file is too large; at most {megabytes:.3g} MiB are accepted.",
        public_zh=f"文件过大，最多接受 {megabytes:.3g} MiB。",
        max_bytes=max_bytes,
    )
