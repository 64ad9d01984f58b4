"""Files in a folder: whole or not there, and on the disk before anybody is told that they are kept."""

import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.config import MediaSettings
from csgate.errors import MediaUnavailable
from csgate.media.folder import UNFINISHED, UNFINISHED_S, remove_unfinished, write_file
from csgate.media.opening import open_backend
from csgate.media.store import Store
from csgate.telemetry import Telemetry


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Path and size of what was synced, in this order, and in whichever thread."""
    done: list[tuple[str, int]] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        assert threading.current_thread() is not threading.main_thread()
        path = os.readlink(f"/proc/self/fd/{handle}")
        done.append((path, os.fstat(handle).st_size if stat.S_ISREG(os.fstat(handle).st_mode) else -1))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return done


def store_in(folder: Path, *, durable: bool = True) -> Store:
    backend = open_backend(MediaSettings(store=str(folder)), folder.parent / "data")
    return Store(backend, Telemetry(), seconds=10.0, requests=4, durable=durable)


async def test_what_is_kept_is_on_the_disk_with_its_names(tmp_path: Path, synced: list[tuple[str, int]]) -> None:
    root = tmp_path / "pictures"
    store = store_in(root)
    await store.put("of/c1/pictures/k", b"12345")
    first, *folders = synced
    assert first[0].startswith(str(root / UNFINISHED))
    assert first[1] == 5
    above = (root / "of/c1/pictures", root / "of/c1", root / "of", root)
    assert folders == [(str(path), -1) for path in above]
    assert await store.get("of/c1/pictures/k") == b"12345"
    assert not list((root / UNFINISHED).iterdir())
    assert not await store.list("of/c1/uploads").more()


async def test_where_a_power_failure_may_cost_something_the_disk_is_not_waited_for(
    tmp_path: Path, synced: list[tuple[str, int]]
) -> None:
    store = store_in(tmp_path / "pictures", durable=False)
    await store.put("pictures/k", io.BytesIO(b"12345"))
    assert not synced
    assert await store.get("pictures/k") == b"12345"


async def test_a_disk_that_fails_is_told_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pictures"
    store = store_in(root)
    await store.put("pictures/k", b"before")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MediaUnavailable):
        await store.put("pictures/k", b"after")
    assert store.trouble == "the store of pictures cannot be used"
    assert await store.get("pictures/k") == b"before"
    assert not list((root / UNFINISHED).iterdir())


async def test_a_folder_that_goes_away_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the error is the one that means "no such object" elsewhere."""
    store = store_in(tmp_path / "pictures")

    def gone(self: Path, target: Any) -> Path:
        raise FileNotFoundError(2, "No such file or directory", str(target))

    monkeypatch.setattr(Path, "replace", gone)
    with pytest.raises(MediaUnavailable):
        await store.put("pictures/k", b"data")


def test_a_folder_that_is_removed_in_the_middle_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace
    tries = []

    def replace(self: Path, target: Path) -> Path:
        tries.append(target)
        if len(tries) < 3:
            target.parent.rmdir()
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_file(tmp_path, "of/c1/k", b"data", durable=False)
    assert (tmp_path / "of/c1/k").read_bytes() == b"data"
    assert len(tries) == 3


async def test_putting_and_removing_at_once(tmp_path: Path) -> None:
    """Whoever removes a folder's last object removes the folder; whoever puts one there makes it again."""
    store = store_in(tmp_path / "pictures", durable=True)

    async def come_and_go(name: str) -> None:
        for _ in range(25):
            await store.put(f"of/c1/{name}", b"x")
            await store.delete(f"of/c1/{name}")

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c", "d"):
            nursery.start_soon(come_and_go, name)
    assert store.trouble is None


def test_what_a_process_left_unfinished_is_removed_later(tmp_path: Path) -> None:
    remove_unfinished(tmp_path)
    write_file(tmp_path, "pictures/k", b"data", durable=False)
    old, new = tmp_path / UNFINISHED / "old", tmp_path / UNFINISHED / "new"
    old.write_bytes(b"half a pict")
    new.write_bytes(b"half a pict")
    os.utime(old, (0, new.stat().st_mtime - UNFINISHED_S - 10))
    open_backend(MediaSettings(store=str(tmp_path)), tmp_path)
    assert not old.exists()
    assert new.exists()
    assert (tmp_path / "pictures/k").read_bytes() == b"data"


async def test_what_others_put_there_is_left_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path / "pictures")
    await store.put("uploads/ours", b"x")
    for name in ("uploads/.DS_Store", "uploads/a b.png", "uploads/d/thumbs.db"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    listing = store.list("uploads")
    assert [entry.key for entry in await listing.more()] == ["uploads/ours"]
    assert not await listing.more()
