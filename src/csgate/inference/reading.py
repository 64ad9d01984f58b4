"""Reads the text in pictures, one picture at a time, in a thread that stands back behind those that answer.

Queue, deadlines and metrics are the batcher's, with one lane and one row. A caller who leaves takes the picture out of
the queue; one that is being read is let go of before its next line.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from csgate.background import stand_back
from csgate.config import InferenceSettings
from csgate.errors import Overloaded, TurnTimeout
from csgate.events import Picture
from csgate.inference.batcher import Batcher, open_batcher
from csgate.inference.cache import ResultCache
from csgate.inference.reading_model import MAX_SIDE, NICENESS, Region, TextModel
from csgate.inference.results import ModelInfo, ReadText, TextLine, Timing, in_rows
from csgate.inference.schedule import BatchPlan
from csgate.inference.tasks import HASHED_ON_LOOP_BYTES, picture_key
from csgate.pictures import decode, file_bytes
from csgate.telemetry import Telemetry

MAX_LINES: Final = 64
SHARE_OF_TIME: Final = 0.75
"""After this share of its time a reading ends with the lines that it has: better than nothing a moment later."""
LINE_BYTES: Final = 600


class ReadJob(msgspec.Struct, eq=False):
    """A picture to read; ``key`` where it was worked out already. ``until`` is Trio time. ``gone``: nobody waits."""

    picture: Picture
    key: bytes | None
    until: float
    gone: bool = False


class ReadLane:
    """One picture through the models: ``Lane[ReadJob, ReadText]``. Finding lines is its preparation."""

    def __init__(
        self, model: TextModel, cache: ResultCache[ReadText], max_pixels: int, now: Callable[[], float]
    ) -> None:
        self._model = model
        self._cache = cache
        self._max_pixels = max_pixels
        self._now = now
        self._back = False
        self._work: tuple[ReadJob, bytes, list[Region]] | None = None
        self._read: ReadText | None = None

    def prepare(self, row: int, payload: ReadJob) -> ReadText | None:
        if not self._back:
            self._back = True
            stand_back(NICENESS)
        key = b""
        if self._cache.keeps:
            key = payload.key or picture_key(self._model.info.sha256, payload.picture)
            read = self._cache.get(key)
            if read is not None:
                return read
        decoded = decode(file_bytes(payload.picture), max_pixels=self._max_pixels, cover=(MAX_SIDE, MAX_SIDE))
        self._work = payload, key, self._model.find(decoded, MAX_LINES)
        return None

    def run(self, rows: int, bucket: int) -> None:
        assert self._work is not None
        (job, key, regions), self._work = self._work, None
        lines: list[TextLine] = []
        complete = True
        for region in regions:
            if job.gone or self._now() >= job.until:
                complete = False
                break
            line = self._model.read(region)
            if line is not None:
                lines.append(line)
        read = ReadText(tuple([line for row in in_rows(lines) for line in row]), complete)
        if complete:
            self._cache.put(key, read, len(lines) * LINE_BYTES)
        self._read = read

    def results(self, rows: int) -> list[ReadText]:
        read, self._read = self._read, None
        assert read is not None
        return [read]


class Reader:
    """Asks for the text in pictures. Made by ``open_reader``."""

    def __init__(
        self,
        info: ModelInfo,
        batcher: Batcher[ReadJob, ReadText],
        cache: ResultCache[ReadText],
        seconds: float,
        telemetry: Telemetry,
    ) -> None:
        self.info: Final = info
        self._batcher = batcher
        self._cache = cache
        self._seconds = seconds
        self._outcomes = telemetry.metrics.pictures_read
        self._hits = telemetry.metrics.cache_hits.labels(info.name)
        self._misses = telemetry.metrics.cache_misses.labels(info.name)

    async def read(self, picture: Picture, *, principal: tuple[str, str], priority: int, deadline: float) -> ReadText:
        """The text in ``picture``. The same picture sent again, by anybody, is not read again.

        Raises:
            Overloaded: too many wait already.
            TurnTimeout: it could not be read in time.
            EngineUnavailable: the reader is closing, or failed.
            BadBase64, BadImage, UnsupportedImage, ImageTooLarge: the picture is refused.
        """
        key = None
        if self._cache.keeps and len(picture.data) <= HASHED_ON_LOOP_BYTES:
            key = picture_key(self.info.sha256, picture)
            read = self._cache.get(key)
            if read is not None:
                await trio.lowlevel.checkpoint()
                return self._told(read, Timing(cached=True))
        now = trio.current_time()
        job = ReadJob(picture, key, min(deadline, now + self._seconds * SHARE_OF_TIME))
        try:
            read, timing = await self._batcher.submit(
                job, principal=principal, priority=priority, deadline=min(deadline, now + self._seconds)
            )
        except Overloaded:
            self._outcomes.labels("refused").inc()
            raise
        except TurnTimeout:
            self._outcomes.labels("late").inc()
            raise
        finally:
            job.gone = True
        return self._told(read, timing)

    def _told(self, read: ReadText, timing: Timing) -> ReadText:
        (self._hits if timing.cached else self._misses).inc()
        self._outcomes.labels("text" if read.lines else "none").inc()
        return msgspec.structs.replace(read, timing=timing)


@asynccontextmanager
async def open_reader(model: TextModel, settings: InferenceSettings, telemetry: Telemetry) -> AsyncIterator[Reader]:
    """A reader with its thread; leaving it ends the thread after the line in hand."""
    cache: ResultCache[ReadText] = ResultCache(settings.cache_items, settings.cache_bytes // 4)
    lane = ReadLane(model, cache, settings.max_pixels, trio.lowlevel.current_clock().current_time)
    info = model.info
    async with open_batcher(info.name, [lane], BatchPlan((1,)), telemetry, max_items=settings.ocr_queue) as batcher:
        telemetry.metrics.model_info.labels(info.name, info.version, info.provider, info.precision).set(1)
        telemetry.log.info(
            "inference.model_ready",
            model=info.name,
            version=info.version,
            task=info.task,
            provider=info.provider,
            precision=info.precision,
            batch=1,
            parallel=False,
        )
        yield Reader(info, batcher, cache, settings.ocr_seconds, telemetry)
