"""The one door to everything here."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import trio

from csgate.background import open_background
from csgate.config import MediaSettings
from csgate.errors import ConfigError
from csgate.events import Picture
from csgate.media.delivery import Delivery, Redirect, Stored
from csgate.media.intake import Intake, Offer, Upload
from csgate.media.keeping import Keeping
from csgate.media.normal import Limits
from csgate.media.opening import open_backend
from csgate.media.shown import Shown
from csgate.media.signing import Owner
from csgate.media.spool import Spool, SpooledUpload
from csgate.media.store import Store
from csgate.media.workshop import NICENESS, Workshop, preparing_threads
from csgate.telemetry import Telemetry


class Media:
    """Customers' pictures, from their coming to their end; made by :func:`open_media`.

    A picture's reference is what the log keeps of it: the key of an object in the store, or the picture itself as a
    short ``data:`` URL. Only :meth:`address` makes an address of it.
    """

    def __init__(self, store: Store, spool: Spool, intake: Intake, keeping: Keeping, delivery: Delivery) -> None:
        self._store = store
        self._spool = spool
        self._intake = intake
        self._keeping = keeping
        self._delivery = delivery

    @property
    def trouble(self) -> str | None:
        """What is wrong with the store, in a sentence for operators; None where it answers."""
        return self._store.trouble

    async def receive(self, picture: Picture) -> Picture:
        """The picture of a message, with the reference that the log is to keep. Nothing is stored yet.

        Never raises for a bad picture, whose reference is None: the turn finds out, and says what is wrong.
        """
        return await self._intake.receive(picture)

    async def claim(self, upload: str, owner: Owner) -> Picture:
        """The picture that was uploaded before and is named by a message now. May be done again until it expires.

        Raises:
            BadEnvelope: ``upload`` is no name of an upload.
            NotFound: it is somebody else's, has expired, or the file never came.
            BadImage: the file is damaged, or not the one that was announced.
            UnsupportedImage, ImageTooLarge: as for any picture.
            MediaUnavailable: the store does not answer.
        """
        return await self._intake.claim(upload, owner)

    async def keep(self, conversation: str, picture: Picture) -> None:
        """Puts the picture of a message into the store for as long as the conversation lasts.

        A picture without reference, or one that is its own reference, needs nothing. One that turns out to be
        damaged is not kept.

        Raises:
            MediaUnavailable: the store does not answer. It may be done again.
        """
        await self._keeping.keep(conversation, picture)

    async def show(self, conversation: str, picture: Picture, seen: Shown) -> str | None:
        """Makes the result picture, keeps it for the conversation, and gives its reference; None where there is none.

        Never raises for a bad picture or a store that does not answer.
        """
        return await self._keeping.show(conversation, picture, seen)

    def address(self, reference: str) -> str:
        """What a reader is given for a reference: relative to this server unless ``cdn_base_url`` is set. Quick."""
        return self._delivery.address(reference)

    async def elsewhere(self) -> str | None:
        """An address at the bucket, where readers and uploads are sent there; only its origin is of use to anybody.

        Raises:
            MediaUnavailable: it cannot sign now.
        """
        return await self._delivery.elsewhere()

    def upload(self) -> AbstractContextManager[SpooledUpload]:
        """A place for a file that is coming in, which is written piece by piece and then taken.

        Raises:
            Overloaded: on entering, where too many are under way.
        """
        return self._spool.open()

    async def take(self, owner: Owner, file: SpooledUpload) -> Upload:
        """Takes a file that has come as a whole, made ready already, and names it for the message.

        Raises:
            BadImage, UnsupportedImage, ImageTooLarge, MediaUnavailable: as :meth:`claim`.
        """
        return await self._intake.take(owner, file)

    async def offer(self, owner: Owner, *, size: int, type: str, sha256: str) -> Offer:
        """Leave to put a file of exactly this size, type (``image/jpeg`` …) and hash (64 hexadecimal digits).

        Raises:
            TooLarge, BadImage, UnsupportedImage, BadEnvelope: the size, the type or the hash is not acceptable.
            MediaUnavailable: the store cannot sign now.
        """
        return await self._intake.offer(owner, size=size, type=type, sha256=sha256)

    async def put_offered(self, id: str, query: Mapping[str, str], chunks: AsyncIterable[bytes]) -> None:
        """The file behind an :class:`Offer` whose URL is this server's: ``id`` and ``query`` are from there.

        Raises:
            NotFound: the address is not ours, or works no longer.
            BadImage: the file is not the one that was announced.
            TooLarge, Overloaded, MediaUnavailable: as above.
        """
        await self._intake.put_offered(id, query, chunks)

    async def open(
        self, key: str, expires: str | None = None, signature: str | None = None, *, redirect: bool = True
    ) -> Stored | Redirect:
        """The object behind an :meth:`address`: ``key`` is what follows ``/media/``, the others are ``e`` and ``s``.

        Args:
            redirect: where buckets deliver by themselves, their address is given instead. It works for GET alone.

        Raises:
            NotFound: there is none, or the address is not ours or works no longer: nobody is told which.
            MediaUnavailable: the store does not answer.
        """
        return await self._delivery.open(key, expires, signature, redirect=redirect)

    async def forget(self, conversation: str) -> int:
        """Removes what only this conversation refers to. How many objects went.

        Raises:
            MediaUnavailable: the store does not answer. It may be done again; the next sweep does.
        """
        return await self._keeping.forget(conversation)

    async def sweep(self) -> int:
        """Forgets conversations that are no more, and uploads that nobody came for. How many objects went.

        Raises:
            MediaUnavailable: the store does not answer, and the rest is left for the next one.
        """
        return await self._keeping.sweep()


@asynccontextmanager
async def open_media(
    settings: MediaSettings,
    data_dir: Path,
    secret: bytes,
    telemetry: Telemetry,
    *,
    max_pixels: int,
    known: Callable[[str], Awaitable[bool]],
    now: Callable[[], float] = time.time,
    durable: bool = True,
) -> AsyncIterator[Media]:
    """Opens the store and yields; it is watched and swept meanwhile. A store that is down is no reason not to start.

    Args:
        secret: the node's; all nodes that share a store need the same.
        known: whether a conversation still exists. Whoever shares a store (a bucket with a prefix, or a folder) has to
            know the same conversations, as the pictures of others are swept out.
        durable: whether what was put into a folder survives a power failure. It costs the time of the disk.

    Raises:
        ConfigError: a setting cannot be used.
    """
    if settings.deliver == "redirect" and not settings.store.startswith(("s3://", "gs://", "az://")):
        raise ConfigError("media.deliver is 'redirect', but only a bucket can sign addresses; set media.store.")
    backend = await trio.to_thread.run_sync(open_backend, settings, data_dir)
    store = Store(backend, telemetry, seconds=settings.store_seconds, requests=settings.store_requests, durable=durable)
    limits = Limits(max_pixels, settings.max_width, settings.quality, settings.max_frames)
    spool = Spool(
        data_dir,
        telemetry,
        upload_bytes=settings.upload_bytes,
        spool_bytes=settings.spool_bytes,
        at_once=settings.uploads_at_once,
    )
    delivery = Delivery(settings, store, secret, now)
    with open_background("csgate-pictures", preparing_threads(settings), back=NICENESS) as threads:
        workshop = Workshop(limits, telemetry, threads)
        intake = Intake(settings, store, workshop, spool, secret, limits, now)
        keeping = Keeping(settings, store, workshop, telemetry, max_pixels=max_pixels, known=known, now=now)
        async with trio.open_nursery() as nursery:
            await store.probe()
            nursery.start_soon(store.watch)
            nursery.start_soon(keeping.sweep_for_ever)
            yield Media(store, spool, intake, keeping, delivery)
            nursery.cancel_scope.cancel()
