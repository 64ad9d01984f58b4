"""Builds the Go programs of this folder, where Go and Debian's gorilla package are installed."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER.parent / "build"


def build(name: str) -> Path | None:
    """The program made of ``peers/<name>``; ``None`` where Go or gorilla/websocket is missing."""
    if shutil.which("go") is None:
        return None
    BUILD.mkdir(exist_ok=True)
    target = BUILD / name
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": os.environ.get("GOPATH", "/usr/share/gocode"),
        "GOCACHE": str(BUILD / "go-cache"),
    }
    made = subprocess.run(
        ["go", "build", "-o", str(target), "."], cwd=FOLDER / name, env=environment, capture_output=True, text=True
    )
    if made.returncode:
        print(f"go build {name}: {made.stderr.strip().splitlines()[-1:]}")
        return None
    return target


def version() -> str:
    """Of the compiler, or ``-``."""
    if shutil.which("go") is None:
        return "-"
    return subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout.split()[2]
