"""How long pictures stay: as long as a conversation refers to them.

There is no database; empty objects say who refers to what (:mod:`csgate.media.keys`). They are written before the
object and removed before it, and whoever removes an object looks once more afterwards: if a conversation came to refer
to it meanwhile, the object is put back. A conversation's own list of references goes last, so that whatever is
interrupted is done again by the next sweep.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from csgate.config import MediaSettings
from csgate.errors import CsgateError, PeerError
from csgate.events import Picture
from csgate.media.intake import Prepared
from csgate.media.keys import (
    OF,
    REFS,
    UPLOADS,
    bare,
    conversation_of,
    is_shown,
    of_marker,
    ref_marker,
    result_key,
    segment,
    sized,
    upload_key,
)
from csgate.media.normal import Normal
from csgate.media.remembered import Remembered
from csgate.media.showing import draw
from csgate.media.shown import Shown
from csgate.media.store import Store
from csgate.media.workshop import Workshop, data_url
from csgate.pictures import file_bytes, shown_size, sniff
from csgate.telemetry import Telemetry

REMEMBERED_CONVERSATIONS: Final = 4_096
REMEMBERED_KEYS: Final = 32
_SWEEP_RETRY_S: Final = 60.0


class Keeping:
    """See :class:`csgate.media.Media`, whose methods these are."""

    def __init__(
        self,
        settings: MediaSettings,
        store: Store,
        workshop: Workshop,
        telemetry: Telemetry,
        *,
        max_pixels: int,
        known: Callable[[str], Awaitable[bool]],
        now: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = store
        self._workshop = workshop
        self._log = telemetry.log
        self._counts = telemetry.metrics.media_kept
        self._max_pixels = max_pixels
        self._known = known
        self._now = now
        age = int(settings.url_seconds)
        self._cache = "public, max-age=31536000, immutable" if settings.public else f"private, max-age={age}, immutable"
        # By conversation, the keys of what this node has put into the store.
        self._kept: Remembered[str, tuple[str, ...]] = Remembered(REMEMBERED_CONVERSATIONS)

    async def keep(self, conversation: str, picture: Picture) -> None:
        if not self._settings.keep or picture.reference is None or not is_shown(key := bare(picture.reference)):
            return
        if self._has(conversation, key):
            self._counts.labels("repeated").inc()
            return
        if isinstance(picture, Prepared) and picture.upload is not None:
            # So that erasing the conversation removes the upload as well.
            await self._store.put(of_marker(conversation, upload_key(picture.upload)), b"")

        def prepare() -> Normal | bytes:
            data = file_bytes(picture)
            return data if isinstance(picture, Prepared) else self._workshop.normalise(data)

        async def made() -> bytes | None:
            try:
                ready = await self._workshop.run(prepare)
            except PeerError as error:
                # Whoever understands the picture finds that out as well, and tells.
                self._log.info("picture_not_kept", conversation=conversation, code=error.code, detail=error.detail)
                return None
            return ready if isinstance(ready, bytes) else ready.data

        new = await self._put(conversation, key, made)
        if new is not None:
            self._counts.labels("new" if new else "repeated").inc()

    async def show(self, conversation: str, picture: Picture, seen: Shown) -> str | None:
        if not self._settings.results:
            return None
        work = partial(_drawn, picture, seen, self._max_pixels)
        try:
            data, size = await self._workshop.run(work)
            if len(data) <= self._settings.inline_bytes:
                return data_url(data, sniff(data))
            key = result_key(data)

            async def made() -> bytes:
                return data

            await self._put(conversation, key, made)
        except CsgateError as error:
            self._log.warning("no_result_picture", conversation=conversation, error=error.code, detail=error.detail)
            return None
        return sized(key, *size)

    async def forget(self, conversation: str) -> int:
        self._kept.drop(conversation)
        return await self._forget(segment(conversation), conversation)

    async def sweep(self) -> int:
        """Forgets conversations that are no more, and uploads that nobody came for. How many objects went.

        Raises:
            MediaUnavailable: and the rest is left to the next sweep.
        """
        removed = 0
        last = ""
        listing = self._store.list(OF)
        while chunk := await listing.more():
            for entry in chunk:
                # Listings group folders: what has been looked at is not seen again.
                name = entry.key.split("/")[1]
                if name == last:
                    continue
                last = name
                try:
                    conversation = conversation_of(name)
                except ValueError:
                    continue  # not ours
                if not await self._known(conversation):
                    removed += await self.forget(conversation)
        oldest = self._now() - self._settings.upload_seconds
        listing = self._store.list(UPLOADS)
        while chunk := await listing.more():
            for entry in chunk:
                if entry.modified < oldest:
                    await self._store.delete(entry.key)
                    removed += 1
        return removed

    async def sweep_for_ever(self) -> None:
        """A sweep every ``sweep_seconds``; after one that failed, the next one comes sooner."""
        while True:
            await trio.sleep(self._settings.sweep_seconds)
            try:
                removed = await self.sweep()
            except CsgateError as error:
                self._log.warning("media_sweep_failed", error=error.code, detail=error.detail)
                await trio.sleep(_SWEEP_RETRY_S)
            except Exception:
                # A sweep that fails in a new way costs nobody anything but its work.
                self._log.exception("media_sweep_failed")
                await trio.sleep(_SWEEP_RETRY_S)
            else:
                self._log.info("media_swept", removed=removed)

    async def _put(self, conversation: str, key: str, made: Callable[[], Awaitable[bytes | None]]) -> bool | None:
        """Puts an object for a conversation, made only where the store has not got it.

        Whether it was; None where there is nothing to put.
        """
        if self._has(conversation, key):
            return False
        await self._store.put(of_marker(conversation, key), b"")
        await self._store.put(ref_marker(key, conversation), b"")
        new = await self._store.size(key) is None
        if new:
            data = await made()
            if data is None:
                return None  # what refers to nothing goes with the conversation
            await self._store.put(key, data, type=f"image/{sniff(data)}", cache=self._cache)
        keys = self._kept.get(conversation) or ()
        self._kept.put(conversation, (*keys[1 - REMEMBERED_KEYS :], key))
        return new

    def _has(self, conversation: str, key: str) -> bool:
        return key in (self._kept.get(conversation) or ())

    async def _forget(self, name: str, conversation: str) -> int:
        removed = 0
        listing = self._store.list(f"{OF}/{name}")
        while chunk := await listing.more():
            for entry in chunk:
                key = entry.key.removeprefix(f"{OF}/{name}/")
                if is_shown(key):
                    await self._store.delete(ref_marker(key, conversation))
                    removed += await self._remove_unused(key)
                elif key.startswith(f"{UPLOADS}/"):
                    await self._store.delete(key)
                    removed += 1
                await self._store.delete(entry.key)
        return removed

    async def _remove_unused(self, key: str) -> int:
        if await self._used(key):
            return 0
        data = await self._store.get(key)
        if data is None:
            return 0
        await self._store.delete(key)
        if await self._used(key):
            # Referred to since we looked. Whoever did found the object still there, or puts the same one.
            await self._store.put(key, data, type=f"image/{sniff(data)}", cache=self._cache)
            return 0
        return 1

    async def _used(self, key: str) -> bool:
        return bool(await self._store.list(f"{REFS}/{key}").more())


def _drawn(picture: Picture, seen: Shown, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """The result picture and its size."""
    data = draw(file_bytes(picture), seen, max_pixels=max_pixels)
    return data, shown_size(data, max_pixels=max_pixels)
