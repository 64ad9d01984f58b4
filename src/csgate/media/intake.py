"""How pictures come in: with a message, by an upload to csgate, by one to the bucket."""

import hashlib
import math
import re
import secrets
import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import msgspec
import trio

from csgate.config import MediaSettings
from csgate.errors import BadEnvelope, BadImage, CsgateError, NotFound, UnsupportedImage
from csgate.events import Picture
from csgate.media.keys import picture_key, sized, upload_key
from csgate.media.normal import Limits, Normal
from csgate.media.signing import Owner, PutTicket, UploadName, UploadNames
from csgate.media.spool import Spool, SpooledUpload, too_large
from csgate.media.store import Store
from csgate.media.workshop import Workshop, data_url, preparing_threads
from csgate.pictures import Format, file_bytes, shown_size, sniff

ASIDE_BYTES: Final = 8 * 1024
"""Above this, decoding Base64 and hashing leave the event loop; reading a picture's head always does, as Pillow takes
60 ms for one of 256 KiB that is made of nothing but chunks."""
_TYPES: Final[dict[str, Format]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Prepared(Picture, frozen=True):
    """A picture whose file is ready for keeping. ``upload``: the random name under which its file waits."""

    upload: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that came. ``kind``: what it is by its file alone; ``expires_at``: Unix time in seconds."""

    upload: str
    bytes: int
    width: int
    height: int
    kind: Literal["photo", "sticker"]
    expires_at: int


@dataclass(frozen=True, slots=True)
class Offer:
    """Leave to put a file. ``url`` is relative to this server where it begins with a slash."""

    upload: str
    url: str
    headers: Mapping[str, str]
    expires_at: int
    method: Literal["PUT"] = "PUT"


class Intake:
    """See :class:`csgate.media.Media`, whose methods these are."""

    def __init__(
        self,
        settings: MediaSettings,
        store: Store,
        workshop: Workshop,
        spool: Spool,
        secret: bytes,
        limits: Limits,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._workshop = workshop
        self._spool = spool
        self._names = UploadNames(secret, now)
        self._limits = limits
        self._now = now
        self._claims = trio.Semaphore(preparing_threads(settings) * 4)

    async def receive(self, picture: Picture) -> Picture:
        if not self._settings.keep or picture.reference is not None:
            return picture
        if memoryview(picture.data).nbytes > ASIDE_BYTES:
            identified = await trio.to_thread.run_sync(_identify, picture)
        else:
            identified = _identify(picture)
        if identified is None:
            return picture
        sha256, data = identified
        reference: str | None = None
        if len(data) <= self._settings.inline_bytes:
            try:
                reference = await self._workshop.inline(sha256, data, self._settings.inline_bytes)
            except CsgateError:
                return picture  # the turn finds out as well, and says what is wrong
        if reference is None:
            reference = await trio.to_thread.run_sync(self._key, sha256, data)
        return msgspec.structs.replace(picture, reference=reference)

    async def take(self, owner: Owner, file: SpooledUpload) -> Upload:
        def prepare() -> tuple[bytes, Normal]:
            data = file.content().read()
            return hashlib.sha256(data).digest(), self._workshop.normalise(data)

        source, normal = await self._workshop.run(prepare)
        sha256 = hashlib.sha256(normal.data).digest()
        id = secrets.token_urlsafe(16)
        expires = self._expires()
        await self._store.put(upload_key(id), normal.data, type=f"image/{normal.format}")
        name = UploadName(id, len(normal.data), normal.format, sha256, source, expires)
        kind: Literal["photo", "sticker"] = "sticker" if normal.sticker else "photo"
        return Upload(self._names.write(name, owner), len(normal.data), normal.width, normal.height, kind, expires)

    async def offer(self, owner: Owner, *, size: int, type: str, sha256: str) -> Offer:
        if type not in _TYPES:
            raise UnsupportedImage(f"type {type[:40]!r}")
        if size > self._settings.upload_bytes:
            raise too_large(self._settings.upload_bytes)
        if size < 1:
            raise BadImage("the picture is empty")
        if not _SHA256.fullmatch(sha256):
            raise BadEnvelope(
                "sha256",
                public="The field 'sha256' has to be the file's SHA-256 in 64 lower-case hexadecimal digits.",
                public_zh="字段“sha256”必须是文件的 SHA-256（64 位小写十六进制）。",
            )
        id = secrets.token_urlsafe(16)
        expires = self._expires()
        digest = bytes.fromhex(sha256)
        upload = self._names.write(UploadName(id, size, _TYPES[type], digest, digest, expires), owner)
        headers = {"Content-Type": type}
        if self._store.signs and self._settings.deliver != "proxy":
            url = await self._store.sign("PUT", upload_key(id), self._settings.upload_seconds)
            headers |= self._store.put_headers
        else:
            url = f"/v1/uploads/{id}?{self._names.put_query(PutTicket(id, size, sha256, expires))}"
        return Offer(upload, url, headers, expires)

    async def put_offered(self, id: str, query: Mapping[str, str], chunks: AsyncIterable[bytes]) -> None:
        ticket = self._names.check_put(id, query)
        with self._spool.open() as file:
            async for chunk in chunks:
                if file.size + len(chunk) > ticket.size:
                    raise _not_announced("longer than announced")
                await file.write(chunk)
            if file.size != ticket.size:
                raise _not_announced("shorter than announced")

            def checked() -> BinaryIO:
                content = file.content()
                # A BytesIO is one as well, and typeshed knows it; not so mypy's idea of BinaryIO.
                if hashlib.file_digest(content, "sha256").hexdigest() != ticket.sha256:  # type: ignore[arg-type]
                    raise _not_announced("another hash than announced")
                return content

            content = await trio.to_thread.run_sync(checked)
            await self._store.put(upload_key(id), content)

    async def claim(self, upload: str, owner: Owner) -> Picture:
        name = self._names.read(upload, owner)
        async with self._claims:  # each of them has a file in memory
            normal = await self._fetched(name)
        reference = None
        if self._settings.keep:
            inline = len(normal.data) <= self._settings.inline_bytes
            key = sized(picture_key(name.source.hex()), normal.width, normal.height)
            reference = data_url(normal.data, normal.format) if inline else key
        return Prepared(normal.data, "binary", reference, name.id)

    async def _fetched(self, name: UploadName) -> Normal:
        # One byte is asked for at least; what is longer than announced is not fetched.
        part = await self._store.part(upload_key(name.id), 0, max(name.size, 1))
        if part is None:
            raise NotFound("the upload never came")
        if part.size != name.size:
            raise _not_announced(f"{part.size} bytes instead of {name.size}")

        def prepare() -> Normal:
            if hashlib.sha256(part.data).digest() != name.sha256:
                raise _not_announced("another hash than announced")
            if (format := sniff(part.data)) != name.format:
                raise _not_announced(f"{format} instead of {name.format}")
            return self._workshop.normalise(part.data)

        return await self._workshop.run(prepare)

    def _key(self, sha256: str, data: bytes) -> str:
        """The picture's key, with its size once it is made ready."""
        key = picture_key(sha256)
        try:
            size = shown_size(data, max_pixels=self._limits.max_pixels)
        except CsgateError:  # the turn finds that out as well
            return key
        return sized(key, *self._limits.fitted(*size))

    def _expires(self) -> int:
        return math.ceil(self._now() + self._settings.upload_seconds)


def _identify(picture: Picture) -> tuple[str, bytes] | None:
    """The file's hash and the file; None where it is no picture that csgate takes."""
    try:
        data = file_bytes(picture)
        sniff(data)
    except CsgateError:
        return None
    return hashlib.sha256(data).hexdigest(), data


def _not_announced(detail: str) -> BadImage:
    return BadImage(
        detail,
        public="The file that came is not the one that was announced.",
        public_zh="收到的文件与事先声明的不一致。",
    )
