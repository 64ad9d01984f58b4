"""The secret that csgate makes for itself."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csgate.auth import load_or_make_secret
from csgate.auth import secret as module
from csgate.errors import ConfigError


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    first = load_or_make_secret(folder)
    assert len(first) >= 64
    assert load_or_make_secret(folder) == first
    assert load_or_make_secret(tmp_path / "other") != first
    assert os.listdir(folder) == ["secret"]
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        load_or_make_secret(tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_others_may_not_touch_it(tmp_path: Path, mode: int) -> None:
    load_or_make_secret(tmp_path)
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        load_or_make_secret(tmp_path)
    (tmp_path / "secret").chmod(0o400)
    assert load_or_make_secret(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b" " * 100, "é".encode() * 40, b"\xff" * 64, b"x" * 5000])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged; delete"):
        load_or_make_secret(tmp_path)
    assert path.read_bytes() == content


def test_a_line_end_from_an_editor_does_no_harm(tmp_path: Path) -> None:
    secret = load_or_make_secret(tmp_path)
    with (tmp_path / "secret").open("a") as file:
        file.write("\r\n")
    assert load_or_make_secret(tmp_path) == secret


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Set auth\.secret, or another server\.data_dir"):
        load_or_make_secret(tmp_path / "file")
    (tmp_path / "secret").mkdir()
    with pytest.raises(ConfigError, match=r"Set auth\.secret"):
        load_or_make_secret(tmp_path)


def test_a_filesystem_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", link)
    with pytest.raises(ConfigError, match="Operation not permitted"):
        load_or_make_secret(tmp_path)
    assert os.listdir(tmp_path) == []  # nothing half done stays behind


def test_of_threads_that_start_at_once_all_get_the_same(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def start() -> None:
        barrier.wait()
        found.append(load_or_make_secret(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(tmp_path) == ["secret"]


def test_the_loser_of_the_race_takes_the_winners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.os.link

    def late(source: Path, target: Path) -> None:
        other = tmp_path / "other"
        other.write_text("w" * 64)
        other.chmod(0o600)
        real(other, target)
        other.unlink()
        real(source, target)

    monkeypatch.setattr(module.os, "link", late)
    assert load_or_make_secret(tmp_path) == "w" * 64
    assert os.listdir(tmp_path) == ["secret"]


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    secret = load_or_make_secret(tmp_path)
    code = (
        "import pathlib, sys; from csgate.auth.secret import *; print(load_or_make_secret(pathlib.Path(sys.argv[1])))"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == secret
