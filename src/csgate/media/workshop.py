"""The threads that prepare pictures, and a memory of small ones, so that the same sticker is prepared once."""

import base64
import os
from collections.abc import Callable
from typing import Final, TypeVar

from csgate.background import BackgroundThreads
from csgate.config import MediaSettings
from csgate.media.normal import Limits, Normal, normalise
from csgate.media.remembered import Remembered
from csgate.pictures import Format
from csgate.telemetry import Telemetry

Made = TypeVar("Made")

NICENESS: Final = 9
"""How far the threads stand back behind those that answer."""

REMEMBERED_ITEMS: Final = 4_096
REMEMBERED_BYTES: Final = 8 * 1024 * 1024


def preparing_threads(settings: MediaSettings) -> int:
    """``media.threads``, or one for every two processors: with more the event loop would have to wait for one."""
    return settings.threads or max(1, (os.cpu_count() or 2) // 2)


class Workshop:
    """Prepares pictures in ``threads``; others wait in line."""

    def __init__(self, limits: Limits, telemetry: Telemetry, threads: BackgroundThreads) -> None:
        self._limits = limits
        self._metrics = telemetry.metrics
        self._threads = threads
        self._small: Remembered[str, str] = Remembered(REMEMBERED_ITEMS, REMEMBERED_BYTES)

    async def run(self, work: Callable[[], Made]) -> Made:
        """``work()`` in one of the threads. Whoever is cancelled does not wait for the end of it."""
        return await self._threads.run(work)

    def normalise(self, data: bytes) -> Normal:
        """As :func:`csgate.media.normal.normalise`, counted. For a worker thread."""
        normal = normalise(data, self._limits)
        self._metrics.media_prepared.labels(normal.outcome).inc()
        return normal

    async def inline(self, sha256: str, data: bytes, most: int) -> str | None:
        """A small picture as ``data:`` URL; None where it takes more than ``most`` bytes once it is ready.

        Raises:
            UnsupportedImage, ImageTooLarge, BadImage: as ``normalise``.
        """
        known = self._small.get(sha256)
        if known is None:
            normal = await self.run(lambda: self.normalise(data))
            known = data_url(normal.data, normal.format) if len(normal.data) <= most else ""
            self._small.put(sha256, known, len(known))
        return known or None


def data_url(data: bytes, format: Format) -> str:
    """The picture itself as an address (RFC 2397)."""
    return f"data:image/{format};base64,{base64.b64encode(data).decode()}"
