"""How readers get pictures: from here, or by an address that the bucket signed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from csgate.config import MediaSettings
from csgate.errors import CsgateError, NotFound
from csgate.media.keys import is_shown
from csgate.media.remembered import Remembered
from csgate.media.signing import Addresses
from csgate.media.store import PROBE_KEY, Store
from csgate.pictures import Format, sniff

FIRST_BYTES: Final = 256 * 1024
"""Of an object, fetched when it is opened: most are no longer."""
SIGNED_S: Final = 3_600.0
"""How long an address of the bucket's works; the same one is given out for the first half of that."""
REMEMBERED_ITEMS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where to look instead. ``max_age``: seconds for which that may be remembered."""

    url: str
    max_age: int


class Stored:
    """A picture to be sent. ``etag`` without quotes; ``max_age``: seconds it may be kept, None for ever and by all."""

    def __init__(self, store: Store, key: str, first: bytes, size: int, type: Format, max_age: int | None) -> None:
        self._store = store
        self._key = key
        self._first = first
        self.size = size
        self.type = f"image/{type}"
        self.etag = key.rpartition("/")[2]
        self.max_age = max_age

    async def read(self, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end`` (without), which have to be inside.

        Raises:
            NotFound: it was removed meanwhile.
            MediaUnavailable: the store does not answer.
        """
        if end <= len(self._first) or start >= end:
            return self._first[start:end]
        part = await self._store.part(self._key, start, end)
        if part is None or len(part.data) != end - start:
            raise NotFound("removed meanwhile")
        return part.data


class Delivery:
    """See :class:`csgate.media.Media`, whose methods these are."""

    def __init__(self, settings: MediaSettings, store: Store, secret: bytes, now: Callable[[], float]) -> None:
        self._store = store
        self._public = settings.public
        self._redirects = store.signs and settings.deliver != "proxy"
        self._now = now
        self._addresses = Addresses(
            secret, base_url=settings.cdn_base_url, public=settings.public, seconds=settings.url_seconds, now=now
        )
        # The bucket's address of a key, and when it ends.
        self._signed: Remembered[str, tuple[str, float]] = Remembered(REMEMBERED_ITEMS)

    async def elsewhere(self) -> str | None:
        return await self._store.sign("GET", PROBE_KEY, SIGNED_S) if self._redirects else None

    def address(self, reference: str) -> str:
        key, mark, size = reference.partition("#")
        # A fragment stays with the reader (RFC 3986 section 3.5): it is neither sent nor signed.
        return f"{self._addresses.of(key)}{mark}{size}" if is_shown(key) else reference

    async def open(
        self, key: str, expires: str | None = None, signature: str | None = None, *, redirect: bool = True
    ) -> Stored | Redirect:
        left = self._addresses.check(key, expires, signature)
        if self._redirects and redirect:
            return await self._redirect(key, left)
        part = await self._store.part(key, 0, FIRST_BYTES)
        if part is None:
            raise NotFound("no such object")
        try:
            type = sniff(part.data)
        except CsgateError:
            raise NotFound("not a picture") from None
        return Stored(self._store, key, part.data, part.size, type, None if math.isinf(left) else int(left))

    async def _redirect(self, key: str, left: float) -> Redirect:
        known = self._signed.get(key)
        now = self._now()
        if known is None or known[1] - now < SIGNED_S / 2:
            known = (await self._store.sign("GET", key, SIGNED_S), now + SIGNED_S)
            self._signed.put(key, known)
        return Redirect(known[0], int(min(left, known[1] - now)))
