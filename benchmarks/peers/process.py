"""A server under test: started on a free port, measured, and ended."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A running server and where it listens."""

    process: psutil.Popen
    address: str

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system, of all its threads."""
        times = self.process.cpu_times()
        return times.user + times.system

    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@contextlib.contextmanager
def running(command: list[str], *, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Starts ``command``, which prints ``listening on HOST:PORT`` when it is ready, and ends it afterwards."""
    process = psutil.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}, cwd=ROOT
    )
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"{command} did not start: {line!r}")
        yield Server(process, line.split()[-1])
    finally:
        process.terminate()
        try:
            process.wait(5)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def python(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of ``benchmarks/`` by this interpreter."""
    return [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
