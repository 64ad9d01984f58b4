"""The object store as everything here sees it: obstore in worker threads, with a deadline, a bound and typed errors.

obstore's own async methods run on asyncio only; its blocking ones drop the GIL, so a thread each is all that is needed.
Requests are retried inside obstore (server errors, lost connections), within the deadline.
"""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeVar

import obstore
import trio
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from csgate.errors import MediaUnavailable
from csgate.media.folder import write_file
from csgate.telemetry import Telemetry

if TYPE_CHECKING:
    from obstore import ListStream, ObjectMeta

Backend = LocalStore | MemoryStore | S3Store | GCSStore | AzureStore
Method = Literal["GET", "PUT"]
Answer = TypeVar("Answer")

PROBE_KEY: Final = "probe"
PROBE_S: Final = 30.0
PROBE_IN_TROUBLE_S: Final = 1.0
RETRY_AFTER_S: Final = 5.0
STREAM_BYTES: Final = 64 * 1024
LIST_CHUNK: Final = 1_000
_PATH: Final = re.compile(r"[A-Za-z0-9_~-]{1,255}(?:/[A-Za-z0-9_~-]{1,255}){0,7}")
_LOGGED_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing. ``modified``: Unix time in seconds, by the store's clock."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of an object that has ``size`` of them in all."""

    data: bytes
    size: int


class Store:
    """Keys are ASCII letters, digits, ``_``, ``-``, ``~`` and slashes: none can leave the folder or the prefix.

    Every method but :meth:`watch` raises ``MediaUnavailable`` where the store does not answer in time or refuses, and
    ValueError for a key that is not one, which is a fault of ours.

    ``durable``: what was put into a folder is on its disk; buckets see to that themselves.
    """

    def __init__(
        self, backend: Backend, telemetry: Telemetry, *, seconds: float, requests: int, durable: bool = True
    ) -> None:
        self._backend = backend
        self._durable = durable
        self._seconds = seconds
        self._limiter = trio.CapacityLimiter(requests)
        self._log = telemetry.log
        self._metrics = telemetry.metrics
        self._suspected = trio.Event()
        self._folder = Path(str(backend.prefix)) if isinstance(backend, LocalStore) else None
        self.trouble: str | None = None

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def signs(self) -> bool:
        """Whether the store can make addresses of its own that work for a while."""
        return isinstance(self._backend, (S3Store, GCSStore, AzureStore))

    @property
    def put_headers(self) -> dict[str, str]:
        """What an upload to a signed address has to carry, by the store's own rules."""
        return {"x-ms-blob-type": "BlockBlob"} if isinstance(self._backend, AzureStore) else {}

    async def size(self, key: str) -> int | None:
        """Bytes of the object; None where there is none."""
        _check(key)
        meta = await self.ask("head", lambda: obstore.head(self._backend, key))
        return None if meta is None else meta["size"]

    async def part(self, key: str, start: int, end: int) -> Part | None:
        """Bytes ``start`` to ``end`` (without) as far as there are any; None where there is no object.

        At least one byte is asked for, and ``start`` has to be inside the object.
        """
        _check(key)

        def get() -> Part:
            if start > 0:
                with suppress(BaseError):
                    result = obstore.get(self._backend, key, options={"range": (start, end)})
                    return Part(bytes(result.bytes()), result.meta["size"])
            # Some S3-compatible servers answer a range with status 200, which obstore takes for a failure. So the
            # beginning is asked for without one; what is not read is not sent either, but for what is on its way.
            result = obstore.get(self._backend, key)
            data = bytearray()
            for chunk in result.stream(min_chunk_size=STREAM_BYTES):
                data += chunk
                if len(data) >= end:
                    break
            return Part(bytes(memoryview(data)[start:end]), result.meta["size"])

        return await self.ask("get", get)

    async def get(self, key: str) -> bytes | None:
        """The whole object; None where there is none."""
        _check(key)
        return await self.ask("get", lambda: bytes(obstore.get(self._backend, key).bytes()))

    async def put(self, key: str, data: bytes | BinaryIO, *, type: str = "", cache: str = "") -> None:
        """Puts an object as a whole or not at all. A file is read from its beginning, and only once its turn comes.

        Args:
            type, cache: headers Content-Type and Cache-Control, where the store keeps such.
        """
        _check(key)
        attributes = {"Content-Type": type, "Cache-Control": cache}
        attributes = {name: value for name, value in attributes.items() if value}

        def put() -> bool:
            if not isinstance(data, bytes):
                data.seek(0)
            if self._folder is not None:
                write_file(self._folder, key, data, durable=self._durable)
                return True
            obstore.put(self._backend, key, data, attributes=attributes or None, max_concurrency=1)
            return True

        await self.ask("put", put)

    async def delete(self, key: str) -> None:
        """Removes the object, if it is there."""
        _check(key)
        await self.ask("delete", lambda: obstore.delete(self._backend, key))

    def list(self, prefix: str) -> "Listing":
        """What is below ``prefix``, whole segments only."""
        _check(prefix)
        return Listing(self, prefix)

    async def sign(self, method: Method, key: str, seconds: float) -> str:
        """An address at the store that works for so long. Only where it :attr:`signs`."""
        _check(key)
        backend = self._backend
        if not isinstance(backend, (S3Store, GCSStore, AzureStore)):
            raise TypeError("this store signs nothing")
        lifetime = timedelta(seconds=math.ceil(seconds))
        url = await self.ask("sign", lambda: obstore.sign(backend, method, key, lifetime))
        if url is None:
            raise MediaUnavailable(f"sign {key}: nothing came", retry_after=RETRY_AFTER_S)
        return url

    async def probe(self) -> None:
        """Writes an empty object, and sets or clears :attr:`trouble` by how that went."""
        try:
            await self.put(PROBE_KEY, b"")
        except MediaUnavailable:
            return
        if self.trouble is not None:
            self._log.info("media_store_back")
        self.trouble = None

    async def watch(self) -> None:
        """Keeps :attr:`trouble` true: probes after a failure, often while in trouble, and otherwise now and then."""
        while True:
            if self.trouble is None:
                with trio.move_on_after(PROBE_S):
                    await self._suspected.wait()
            else:
                await trio.sleep(PROBE_IN_TROUBLE_S)
            self._suspected = trio.Event()
            await self.probe()

    async def ask(self, what: str, work: Callable[[], Answer]) -> Answer | None:
        """``work()`` in a thread; None where there is no such object."""
        begun = trio.current_time()
        with trio.move_on_after(self._seconds) as scope:
            try:
                answer = await trio.to_thread.run_sync(_calmly, work, limiter=self._limiter, abandon_on_cancel=True)
            except (BaseError, OSError, NotImplementedError, RuntimeError) as error:
                # RuntimeError: the system starts no more threads, or a panic.
                raise self._failed(what, error) from error
        if scope.cancelled_caught:
            raise self._failed(what, TimeoutError(f"no answer in {self._seconds:g} s"))
        self._metrics.media_requests.labels(what, "ok").inc()
        self._metrics.media_seconds.labels(what).observe(trio.current_time() - begun)
        return answer

    def _failed(self, what: str, error: Exception) -> MediaUnavailable:
        self._metrics.media_requests.labels(what, "failed").inc()
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
            trouble = "the store of pictures refuses this node"
        elif isinstance(error, TimeoutError):
            trouble = "the store of pictures does not answer in time"
        else:
            trouble = "the store of pictures cannot be used"
        detail = str(error).partition("\n")[0][:_LOGGED_CHARACTERS]
        if self.trouble is None:
            self._log.error("media_store_failed", operation=what, error=type(error).__name__, detail=detail)
        self.trouble = trouble
        self._suspected.set()
        return MediaUnavailable(f"{what}: {detail}", retry_after=RETRY_AFTER_S)


def _calmly(work: Callable[[], Answer]) -> Answer | None:
    """``work()`` in its thread; None where there is no such object.

    Not as an exception: raised from one thread into another it leaves forty objects to the collector of cycles, and
    each new picture is one that is not there yet. A panic of obstore, which is no ``Exception`` and would end the node,
    becomes a ``RuntimeError``.
    """
    try:
        return work()
    except FileNotFoundError:
        return None
    except Exception:
        raise
    except BaseException as panic:
        raise RuntimeError(repr(panic)) from None


class Listing:
    """The objects below a prefix, in an order that keeps those of a folder together."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._stream: ListStream[Sequence[ObjectMeta]] | None = None

    async def more(self) -> list[Entry]:
        """The next 1,000 at most; none at the end. What somebody else put there, under no name of ours, is left out.

        Raises:
            MediaUnavailable: as everything of the store's.
        """

        def following() -> list[Entry]:
            if self._stream is None:
                self._stream = obstore.list(self._store.backend, self._prefix, chunk_size=LIST_CHUNK)
            for chunk in self._stream:
                found = [
                    Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())
                    for meta in chunk
                    if _PATH.fullmatch(meta["path"])
                ]
                if found:
                    return found
            return []

        return await self._store.ask("list", following) or []


def _check(key: str) -> None:
    if _PATH.fullmatch(key) is None:
        raise ValueError(f"{key[:80]!r} is no key")
