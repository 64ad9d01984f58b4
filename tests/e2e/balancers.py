"""The configurations in deploy/, with the addresses of a test's nodes in place of the sample ones."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..redis_server import free_port
from .conftest import Server

DEPLOY = Path(__file__).parents[2] / "deploy"
SAMPLES = ("10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080")


def with_addresses(text: str, nodes: list[Server]) -> str:
    for sample, node in zip(SAMPLES, nodes, strict=True):
        assert sample in text
        text = text.replace(sample, f"127.0.0.1:{node.port}")
    return text


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "the balancer did not start"
            time.sleep(0.02)
        else:
            return


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert path is not None, f"These tests need {name}; install it with: apt install {name}"
    return path


@contextmanager
def haproxy(folder: Path, nodes: list[Server], balance: str) -> Iterator[int]:
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(with_addresses((DEPLOY / "haproxy.cfg").read_text(), nodes))
    environment = {**os.environ, "CSGATE_BALANCE": balance, "CSGATE_PORT": str(port)}
    # -W would fork; a plain -db stays one process that ends with the test.
    process = subprocess.Popen(
        [program("haproxy"), "-db", "-f", str(config)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait(10)
