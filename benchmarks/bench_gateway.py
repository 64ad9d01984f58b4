"""End to end: a 640x480 JPEG of 30 KB in Base64 JSON, five tags back; csgate against FastAPI, Mosec and LitServe.

All run the same ONNX model on the same cores, one after the other in each round; the load (Go, on the same machine)
says how much CPU it used itself. csgate answers through its whole gateway (authentication, log, dialog); its result
cache is off, and every picture differs.

    python benchmarks/bench_gateway.py [--rounds 3] [--seconds 4] [--concurrency 1,8,32] [--peers csgate,fastapi,mosec]
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import jwt
import numpy as np
import psutil
import report
from PIL import Image

HERE: Final = Path(__file__).parent
BUILD: Final = HERE / "build"
PEERS: Final = HERE / "peers" / "gateway"
SECRET: Final = "benchmark-secret-of-more-than-thirty-two-bytes"
LITSERVE: Final = ("litserve==0.2.19", "fastapi<0.120", "starlette<0.50")


def make_pictures(folder: Path, count: int) -> int:
    """Writes ``count`` different photo-like JPEGs of 640x480 and about 30 KB; returns their mean size in bytes."""
    random = np.random.default_rng(1)
    sizes = []
    for i in range(count):
        fields = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8))
        smooth = np.asarray(fields.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        grained = smooth + random.normal(0, 2, (480, 640, 1))
        out = io.BytesIO()
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=77)
        (folder / f"{i:04}.jpg").write_bytes(out.getvalue())
        sizes.append(len(out.getvalue()))
    return round(statistics.mean(sizes))


def build_load() -> Path:
    """The load generator, from Debian's golang-go and golang-github-gorilla-websocket-dev."""
    go = shutil.which("go")
    if go is None:
        sys.exit("bench-gateway needs Go for its load: apt-get install golang-go golang-github-gorilla-websocket-dev")
    binary = BUILD / "gateway-load"
    BUILD.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str((BUILD / "go-cache").resolve()),
    }
    subprocess.run([go, "build", "-o", str(binary), str(PEERS / "load.go")], check=True, env=environment)
    return binary


def litserve_python() -> Path:
    """LitServe does not start with current FastAPI: it gets an environment of its own."""
    venv = BUILD / "litserve-venv"
    python = venv / "bin" / "python"
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        packages = [*LITSERVE, "onnxruntime", "numpy", "pillow", "uvloop", "httptools"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (venv / "ready").touch()
    return python


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def peer(name: str, model: Path) -> Iterator[tuple[str, str, int]]:
    """Starts a peer; yields (mode, url, process id) when it answers."""
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BENCH_MODEL": str(model)}
    match name:
        case "csgate":
            command = [sys.executable, "-m", "csgate", "serve", "--port", str(port), "--log-level", "error"]
            environment |= {
                "CSGATE_SERVER__DATA_DIR": tempfile.mkdtemp(),
                "CSGATE_AUTH__SECRET": SECRET,
                # No peer keeps anything; what keeping costs is bench_store's question.
                "CSGATE_SESSION__STORE": "memory",
                "CSGATE_INFERENCE__CACHE_ITEMS": "0",
                # No peer reads, keeps or draws pictures.
                "CSGATE_INFERENCE__OCR": "off",
                "CSGATE_MEDIA__KEEP": "false",
                "CSGATE_MEDIA__RESULTS": "false",
                "CSGATE_LIMITS__MESSAGES_PER_SECOND": "1e6",
                "CSGATE_LIMITS__MESSAGES_BURST": "1000000",
                "CSGATE_LIMITS__PICTURE_BYTES_PER_SECOND": "1e12",
                "CSGATE_LIMITS__PICTURE_BYTES_BURST": "1000000000000",
                "CSGATE_LIMITS__CONNECTIONS_PER_PRINCIPAL": "1000",
            }
            mode, url, probe = "ws", f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}/readyz"
        case "fastapi":
            command = [sys.executable, str(PEERS / "fastapi_ws.py"), str(port), str(model)]
            mode, url, probe = "ws", f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}/docs"
        case "mosec":
            command = [sys.executable, str(PEERS / "mosec_http.py"), "--port", str(port), "--timeout", "10000"]
            mode, url, probe = "http", f"http://127.0.0.1:{port}/inference", f"http://127.0.0.1:{port}/metrics"
        case "litserve":
            command = [str(litserve_python()), str(PEERS / "litserve_http.py"), str(port), str(model)]
            mode, url, probe = "http", f"http://127.0.0.1:{port}/predict", f"http://127.0.0.1:{port}/health"
        case _:
            sys.exit(f"unknown peer {name}")
    log = (BUILD / f"{name}.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(probe, timeout=1):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{name} did not start; see {log.name}")
                time.sleep(0.1)
        time.sleep(1.0)
        yield mode, url, process.pid
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(10)
        log.close()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its descendants so far."""
    root = psutil.Process(pid)
    used = 0.0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def measure(load: Path, mode: str, url: str, pictures: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    token = jwt.encode({"sub": "bench", "exp": time.time() + 3600}, SECRET, "HS256")
    done = subprocess.run(
        [
            str(load), "-mode", mode, "-url", url, "-token", token, "-pictures", str(pictures),
            "-concurrency", str(concurrency), "-seconds", str(seconds),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        sys.exit(f"{url}: {result['errors']} errors, the first: {result['first_error']}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--concurrency", default="1,8,32")
    parser.add_argument("--peers", default="csgate,fastapi,mosec,litserve")
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    levels = [int(level) for level in options.concurrency.split(",")]
    names = options.peers.split(",")
    model = (HERE.parent / "models" / "stickers").resolve()
    load = build_load()
    runs: dict[str, dict[int, list[dict[str, Any]]]] = {name: {level: [] for level in levels} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        size = make_pictures(Path(folder), options.pictures)
        print(f"pictures: {options.pictures} JPEGs of 640x480, mean {size / 1024:.1f} KB")
        for number in range(options.rounds):
            for name in names:
                with peer(name, model) as (mode, url, pid):
                    for level in levels:
                        before = cpu_seconds(pid)
                        result = measure(load, mode, url, Path(folder), level, options.seconds)
                        result["server_cpu_ms"] = (cpu_seconds(pid) - before) / result["all_answers"] * 1e3
                        runs[name][level].append(result)
                        print(
                            f"round {number + 1} {name:9} {level:3} in flight: {result['rate']:7.1f}/s "
                            f"p50 {result['p50_ms']:6.1f} ms p99 {result['p99_ms']:6.1f} ms "
                            f"load CPU {result['load_cpu_share']:.2f} "
                            f"server {result['server_cpu_ms']:.2f} ms CPU an answer",
                            flush=True,
                        )
    median = {
        name: {
            level: {
                key: statistics.median(run[key] for run in runs[name][level])
                for key in ("rate", "p50_ms", "p99_ms", "load_cpu_share", "server_cpu_ms")
            }
            for level in levels
        }
        for name in names
    }
    rows = []
    for level in levels:
        for name in names:
            m = median[name][level]
            ours = median.get("csgate", {}).get(level)
            ratio = ours["rate"] / m["rate"] if ours else float("nan")
            rows.append(
                (level, name, m["rate"], m["p50_ms"], m["p99_ms"], m["load_cpu_share"], m["server_cpu_ms"], ratio)
            )
    headers = ("in flight", "server", "answers/s", "p50 ms", "p99 ms", "load CPU", "server CPU ms", "csgate's ratio")
    print(report.table(rows, headers))
    if not options.no_save:
        payload = {
            "benchmark": "gateway",
            "picture_bytes": size,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "versions": report.versions("csgate", "onnxruntime", "fastapi", "uvicorn", "uvloop", "mosec", "pillow")
            | {"litserve": LITSERVE[0]},
            "median": median,
            "runs": runs,
        }
        print("saved", report.save("gateway", payload))


if __name__ == "__main__":
    main()
