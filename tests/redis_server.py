"""A real Redis for tests: started on a free port of this machine, with its files in a folder of the test's."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_S = 10.0


class RedisServer:
    """A running ``redis-server``; durable (``appendfsync always``) unless told otherwise."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        assert binary is not None, "These tests need Redis; install it with: apt install redis-server"
        self.binary = binary
        self.folder = folder
        self.options = options
        self.port = free_port() if port is None else port
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        durable = ("--appendonly", "yes", "--appendfsync", "always")
        self.process = subprocess.Popen(
            [
                *(self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--loglevel", "warning", "--logfile", str(self.folder / "redis.log")),
                *durable,
                *self.options,
            ]
        )
        deadline = time.monotonic() + START_S
        while self.ask("PING") != "+PONG":
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """The first line of the answer to a command; empty where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2.0) as connection:
                connection.sendall(encode(words))
                return connection.makefile("rb").readline().decode().strip()
        except OSError:
            return ""

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.start()


def encode(words: tuple[str, ...]) -> bytes:
    """A command as Redis reads it."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
