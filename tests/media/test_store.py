"""The store, over a folder, memory and a real S3 server: what it does, and what it says when it cannot."""

import io
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import obstore
import pytest
import trio
import trio.testing

from csgate.config import MediaSettings
from csgate.errors import ConfigError, MediaUnavailable, Overloaded
from csgate.media.opening import open_backend
from csgate.media.store import LIST_CHUNK, Store
from csgate.telemetry import Telemetry, open_logger
from tests.media.conftest import in_bucket, until
from tests.media.s3_server import S3Server


def store_of(settings: MediaSettings, folder: Path, telemetry: Telemetry | None = None) -> Store:
    backend = open_backend(settings, folder)
    return Store(backend, telemetry or Telemetry(), seconds=settings.store_seconds, requests=settings.store_requests)


@pytest.fixture
def store(anywhere: Callable[..., MediaSettings], tmp_path: Path) -> Store:
    return store_of(anywhere(), tmp_path)


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


async def listed(store: Store, prefix: str) -> list[str]:
    found = []
    listing = store.list(prefix)
    while chunk := await listing.more():
        found += [entry.key for entry in chunk]
    return found


# --- What it does -----------------------------------------------------------------------------------------------------


async def test_objects_come_and_go(store: Store) -> None:
    assert await store.size("a/b") is None
    assert await store.get("a/b") is None
    assert await store.part("a/b", 0, 10) is None
    await store.put("a/b", b"0123456789", type="image/png", cache="private")
    assert await store.get("a/b") == b"0123456789"
    assert await store.size("a/b") == 10
    await store.put("a/b", b"other")
    assert await store.get("a/b") == b"other"
    await store.delete("a/b")
    await store.delete("a/b")
    assert await store.size("a/b") is None
    assert store.trouble is None


async def test_parts_of_an_object(store: Store) -> None:
    content = bytes(range(256)) * 1_000
    await store.put("a/b", content)
    for start, end in ((0, 1), (0, 100_000), (0, 1_000_000), (1, 2), (70_000, 200_000), (255_999, 256_000)):
        part = await store.part("a/b", start, end)
        assert part is not None
        assert part.data == content[start:end]
        assert part.size == 256_000


async def test_empty_objects_and_files(store: Store) -> None:
    await store.put("of/c/pictures/x", b"")
    assert await store.get("of/c/pictures/x") == b""
    large = bytes(7) * 1_000_000
    file = io.BytesIO(large)
    file.seek(5)
    await store.put("uploads/x", file)
    assert await store.get("uploads/x") == large


async def test_listing(store: Store) -> None:
    for key in ("of/a/x", "of/a/y/z", "of/ab/x", "other"):
        await store.put(key, b"1")
    assert sorted(await listed(store, "of")) == ["of/a/x", "of/a/y/z", "of/ab/x"]
    assert sorted(await listed(store, "of/a")) == ["of/a/x", "of/a/y/z"]
    assert await listed(store, "nothing") == []
    entries = await store.list("of/ab").more()
    assert [entry.size for entry in entries] == [1]
    assert abs(entries[0].modified - (await store.list("of/a").more())[0].modified) < 60


@pytest.mark.parametrize("where", ["", "memory://"])
async def test_long_listings_come_in_pieces_while_things_are_removed(tmp_path: Path, where: str) -> None:
    store = store_of(MediaSettings(store=where), tmp_path)
    for index in range(LIST_CHUNK + 200):
        await store.put(f"of/{index // 100}/{index}", b"")
    listing = store.list("of")
    seen: list[str] = []
    while chunk := await listing.more():
        assert len(chunk) <= LIST_CHUNK
        seen += [entry.key for entry in chunk]
        for entry in chunk:
            await store.delete(entry.key)
    assert len(seen) == len(set(seen)) == LIST_CHUNK + 200
    # The objects of a folder came one after the other.
    folders = [key.split("/")[1] for key in seen]
    changes = sum(one != other for one, other in pairwise(folders))
    assert changes == len(set(folders)) - 1


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a b", "a.b", "ä", "a\n", "a\x00", "a%2e%2e", "x" * 256, "\\x"],
)
async def test_no_key_leaves_the_folder(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        await store.put(key, b"1")
    for ask in (store.get, store.size, store.delete):
        with pytest.raises(ValueError, match="is no key"):
            await ask(key)
    with pytest.raises(ValueError, match="is no key"):
        await store.part(key, 0, 1)
    with pytest.raises(ValueError, match="is no key"):
        store.list(key)


async def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    store = store_of(MediaSettings(), tmp_path / "data")
    await store.put("a/b", b"1")
    assert (tmp_path / "data" / "media").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "media" / "a" / "b").read_bytes() == b"1"


@pytest.mark.parametrize("where", ["", "memory://"])
async def test_only_buckets_sign(tmp_path: Path, where: str) -> None:
    store = store_of(MediaSettings(store=where), tmp_path)
    assert not store.signs
    with pytest.raises(TypeError):
        await store.sign("GET", "a/b", 10.0)


# --- S3 ---------------------------------------------------------------------------------------------------------------


async def test_signed_addresses_of_a_bucket(s3: S3Server, tmp_path: Path) -> None:
    store = store_of(in_bucket(s3, tmp_path.name), tmp_path)
    assert store.signs
    await store.put("pictures/x", b"content", type="image/webp", cache="public, max-age=5")
    url = await store.sign("GET", "pictures/x", 60.0)
    status, body, headers = await trio.to_thread.run_sync(fetch, url)
    assert (status, body) == (200, b"content")
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("image/webp", "public, max-age=5")
    status, _, _ = await trio.to_thread.run_sync(fetch, url.replace("pictures/x", "pictures/y"))
    assert status in (400, 403)
    put = await store.sign("PUT", "uploads/x", 60.0)
    assert (await trio.to_thread.run_sync(lambda: fetch(put, "PUT", b"sent")))[0] == 200
    assert await store.get("uploads/x") == b"sent"
    assert (await trio.to_thread.run_sync(lambda: fetch(url, "PUT", b"sent")))[0] in (400, 403)


async def test_an_address_of_a_bucket_that_has_expired_is_refused(s3: S3Server, tmp_path: Path) -> None:
    store = store_of(in_bucket(s3, tmp_path.name), tmp_path)
    put, get = await store.sign("PUT", "uploads/x", 2.0), await store.sign("GET", "uploads/x", 2.0)
    assert parse_qs(urlsplit(put).query)["X-Amz-Expires"] == ["2"]
    assert (await trio.to_thread.run_sync(fetch, get))[0] == 404

    async def refused() -> bool:
        return (await trio.to_thread.run_sync(fetch, get))[0] in (400, 403)

    with trio.fail_after(10):
        await until(refused)
    assert (await trio.to_thread.run_sync(lambda: fetch(put, "PUT", b"late")))[0] in (400, 403)
    assert await store.get("uploads/x") is None


async def test_wrong_keys_are_told(s3: S3Server, tmp_path: Path) -> None:
    log = io.StringIO()
    store = store_of(in_bucket(s3, "p", secret_key="wrong"), tmp_path, Telemetry(log=open_logger(stream=log)))
    await store.probe()
    assert store.trouble is not None
    assert "media_store_failed" in log.getvalue()
    assert "wrong" not in log.getvalue()


# --- When it cannot ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "server")
    yield server
    server.kill()


@asynccontextmanager
async def watched(store: Store) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.watch)
        yield
        nursery.cancel_scope.cancel()


async def test_a_store_that_goes_down_and_comes_back(own_s3: S3Server, tmp_path: Path) -> None:
    store = store_of(in_bucket(own_s3, "p", store_seconds=2.0), tmp_path)
    with trio.fail_after(40):
        async with watched(store):
            await store.put("pictures/x", b"before")
            own_s3.kill()
            with pytest.raises(MediaUnavailable) as caught:
                await store.put("pictures/y", b"during")
            assert isinstance(caught.value, Overloaded)
            assert caught.value.code == "overloaded"
            assert caught.value.retry_after is not None
            assert "127.0.0.1" not in caught.value.text("en") + caught.value.text("zh")
            assert store.trouble == "the store of pictures cannot be used"
            with pytest.raises(MediaUnavailable):
                await store.get("pictures/x")
            with pytest.raises(MediaUnavailable):
                await store.list("pictures").more()
            own_s3.start()

            async def back() -> bool:
                return store.trouble is None

            await until(back)
            assert await store.get("pictures/x") == b"before"
            await store.put("pictures/y", b"after")
            assert await store.get("pictures/y") == b"after"


async def test_a_store_that_never_answers(tmp_path: Path) -> None:
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        settings = MediaSettings(
            store="s3://b",
            endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}",
            region="x",
            access_key="a",  # type: ignore[arg-type]
            secret_key="b",  # type: ignore[arg-type]
            store_seconds=0.3,
            store_requests=1,
        )
        store = store_of(settings, tmp_path)
        refused = 0

        async def ask() -> None:
            nonlocal refused
            with pytest.raises(MediaUnavailable):
                await store.size("a/b")
            refused += 1

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(5):  # four of them wait for the one thread, and no longer than for an answer
                    nursery.start_soon(ask)
        assert refused == 5
        assert store.trouble == "the store of pictures does not answer in time"


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    store = store_of(MediaSettings(store=str(tmp_path / "media")), tmp_path)
    async with watched(store):
        await store.probe()
        shutil.rmtree(tmp_path / "media")
        (tmp_path / "media").write_text("no folder")
        with pytest.raises(MediaUnavailable):
            await store.put("a/b", b"1")
        assert store.trouble is not None
        (tmp_path / "media").unlink()
        (tmp_path / "media").mkdir()

        async def back() -> bool:
            return store.trouble is None

        with trio.fail_after(10):
            await until(back)


async def test_a_store_that_fails_unnoticed_is_found_out(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    store = store_of(MediaSettings(store="memory://"), tmp_path)
    probed = 0

    async def probe() -> None:
        nonlocal probed
        probed += 1
        store.trouble = "down" if probed < 3 else None

    store.probe = probe  # type: ignore[method-assign]
    async with watched(store):
        await trio.sleep(29.0)
        assert probed == 0
        await trio.sleep(3.5)  # then every second, until it is back
        assert probed == 3
        await trio.sleep(30.0)
        assert probed == 4


# --- Opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["ftp://host/path", "s3://", "https://bucket.example", "gs://", "az://"])
def test_places_that_are_none(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError, match=r"media\.store"):
        open_backend(MediaSettings(store=where), tmp_path)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"media\.store"):
        open_backend(MediaSettings(store=str(tmp_path / "file")), tmp_path)
    with pytest.raises(ConfigError, match=r"server\.data_dir"):
        open_backend(MediaSettings(), tmp_path / "file")


def test_a_folder_by_its_url(tmp_path: Path) -> None:
    open_backend(MediaSettings(store=f"file://{tmp_path}/a/b"), tmp_path)
    assert (tmp_path / "a" / "b").is_dir()


async def test_azure_signs_for_itself(tmp_path: Path) -> None:
    settings = MediaSettings(store="az://container/prefix", access_key="account", secret_key="a2V5")  # type: ignore[arg-type]
    store = store_of(settings, tmp_path)
    url = await store.sign("PUT", "uploads/x", 60.0)
    assert url.startswith("https://account.blob.core.windows.net/container/prefix/uploads/x?")
    assert "sig=" in url
    assert store.put_headers == {"x-ms-blob-type": "BlockBlob"}


async def test_google_without_credentials_is_in_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")
    with pytest.raises(ConfigError, match=r"media\.store"):
        open_backend(MediaSettings(store="gs://bucket/prefix"), tmp_path)
    monkeypatch.delenv("GOOGLE_SERVICE_ACCOUNT_KEY")
    assert store_of(MediaSettings(store="gs://bucket/prefix"), tmp_path).signs


async def test_neither_a_panic_nor_a_lack_of_threads_is_more_than_a_store_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        """As Rust libraries raise it."""

    def panic(*_: object) -> None:
        raise Panic("a lock was poisoned")

    async def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    store = store_of(MediaSettings(), tmp_path)
    async with watched(store):
        for place, name, failure in ((obstore, "head", panic), (trio.to_thread, "run_sync", no_thread)):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, failure)
                with pytest.raises(MediaUnavailable):
                    await store.size("pictures/a")
                await trio.testing.wait_all_tasks_blocked()
            assert await store.size("pictures/a") is None


def test_a_folder_without_descriptors_for_a_while_is_back_afterwards(tmp_path: Path) -> None:
    """In a process of its own. What obstore makes when it is first asked is made before anybody comes."""
    script = """
import os, resource, sys
from pathlib import Path
import trio
import trio.testing
from csgate.config import MediaSettings
from csgate.errors import MediaUnavailable
from csgate.media.opening import open_backend
from csgate.media.store import Store
from csgate.telemetry import Telemetry

async def main() -> None:
    settings, folder = MediaSettings(), Path(sys.argv[1])
    backend = open_backend(settings, folder)
    store = Store(backend, Telemetry(), seconds=5.0, requests=4)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir("/proc/self/fd"))
    held = [os.dup(0) for _ in range(most + 1 - len(os.listdir("/proc/self/fd")))]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, hard))
    try:
        await store.size("pictures/a")
    except MediaUnavailable:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert await store.size("pictures/a") is None

trio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
