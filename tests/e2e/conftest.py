"""Real servers for end-to-end tests: ``csgate serve`` as a process of its own, with the shipped models."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest

SECRET = "end-to-end-secret-of-more-than-thirty-two-bytes"
START_S = 60.0


@dataclass
class Server:
    """A running ``csgate serve``. ``log`` grows while it runs."""

    process: subprocess.Popen[str]
    log: list[dict[str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    port: int = 0
    reader: threading.Thread | None = None
    tls: bool = False
    data_dir: Path = Path()

    @property
    def http(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/ws"

    def token(self, subject: str = "ann", lifetime: float = 3600, **claims: Any) -> str:
        return jwt.encode({"sub": subject, "exp": time.time() + lifetime, **claims}, SECRET, "HS256")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.http + path, timeout=10) as response:
            return bytes(response.read())

    def status(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Status and body of a GET, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, line_start: str) -> float:
        """The value of the metric line that starts with ``line_start`` (0 when there is none yet)."""
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(line_start):
                return float(line.rpartition(" ")[2])
        return 0.0

    def stop(self, number: int = signal.SIGTERM, wait_s: float = 40.0) -> int:
        self.process.send_signal(number)
        return self.wait(wait_s)

    def wait(self, wait_s: float = 40.0) -> int:
        """Waits for the end of the process and of its log."""
        code = self.process.wait(wait_s)
        assert self.reader is not None
        self.reader.join(10)
        return code


def start_server(data_dir: Path, port: int = 0, **environment: str) -> Server:
    """Starts ``csgate serve`` and returns when it listens; its log lines are parsed as they come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "csgate", "serve", "--port", str(port), "--data-dir", str(data_dir)],
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "CSGATE_AUTH__SECRET": SECRET,
            "CSGATE_LIMITS__MESSAGES_PER_SECOND": "100000",
            "CSGATE_LIMITS__MESSAGES_BURST": "100000",
            "CSGATE_LIMITS__PICTURE_BYTES_PER_SECOND": "1e9",
            "CSGATE_LIMITS__PICTURE_BYTES_BURST": "1000000000",
            "CSGATE_LIMITS__CONNECTIONS_PER_PRINCIPAL": "1000",
            "CSGATE_LIMITS__REQUESTS_PER_SECOND": "10000",
            "CSGATE_LIMITS__GUESTS_PER_MINUTE": "100000",
            "CSGATE_INFERENCE__OCR": "off",  # a second of processor time for every start
            **environment,
        },
    )
    server = Server(process, tls="CSGATE_SERVER__TLS_CERTIFICATE" in environment, data_dir=data_dir)
    listening = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                server.text.append(line)
                if line.startswith("{"):
                    entry = json.loads(line)
                    server.log.append(entry)
                    if entry["event"] == "listening":
                        server.port = entry["port"]
                        listening.set()
        listening.set()

    server.reader = threading.Thread(target=read, daemon=True)
    server.reader.start()
    if not listening.wait(START_S) or server.port == 0:
        process.kill()
        raise AssertionError("csgate did not start:\n" + "".join(server.text))
    return server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as they found it."""
    running = start_server(tmp_path_factory.mktemp("data"))
    yield running
    assert running.process.poll() is None, "the server died:\n" + "".join(running.text[-50:])
    assert running.stop() == 0
    failures = [
        entry
        for entry in running.log
        if entry["event"] in ("connection_failed", "http_failed") or entry.get("code") == "internal"
    ]
    assert not failures


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that one test may configure, drain or kill."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        running = start_server(tmp_path / f"data{len(started)}", **environment)
        started.append(running)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.wait(10)
