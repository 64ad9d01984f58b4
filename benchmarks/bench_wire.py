"""Chat-message ping-pong over WebSocket, csgate beside its peers: ``make bench-wire``.

Sixteen connections; each sends a JSON chat message with a picture in Base64 and waits for the answer, which tells the
picture's size. Every server parses the JSON and decodes the picture. Servers may use all cores; the load generator (Go
with gorilla's client, or Python processes where there is no Go) is pinned to one. Peers take turns, round after round,
so that what the machine does besides hits them alike; the table shows medians.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import report
from peers import go
from peers.process import Server, python, running

KIB = 1024
SIZES = {"none": 0, "8 KB": 8 * KIB, "128 KB": 128 * KIB, "1 MB": 1024 * KIB}
CONNECTIONS = 16
PEERS = {
    "csgate": python("echo_server.py"),
    "trio-websocket, tuned": python("peers/trio_websocket_server.py"),
    "websockets on uvloop": python("peers/websockets_server.py"),
    "picows on uvloop": python("peers/picows_server.py"),
}
GORILLA = "Go gorilla"
GOALS = (
    ("none", "trio-websocket, tuned", 2.0),
    ("8 KB", GORILLA, 2.0),
    ("128 KB", GORILLA, 5.0),
    ("128 KB", "trio-websocket, tuned", 2.5),
    ("1 MB", GORILLA, 2.0),
    ("1 MB", "trio-websocket, tuned", 1.7),
)


def load_command(program: Path | None, address: str, picture: int, seconds: float) -> list[str]:
    base = [str(program)] if program else python("peers/load.py")
    pinned = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
    return [
        *pinned,
        *base,
        f"-url=ws://{address}/chat",
        f"-connections={CONNECTIONS}",
        f"-picture={picture}",
        f"-duration={seconds}s",
    ]


def measure(server: Server, program: Path | None, picture: int, seconds: float) -> dict[str, float]:
    """One round: the load's own report, and the server's processor time for each message, in microseconds."""
    before = server.cpu_seconds()
    command = load_command(program, server.address, picture, seconds)
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 + seconds)
    result: dict[str, float] = json.loads(told.stdout)
    if result["errors"]:
        raise RuntimeError(f"{result['errors']} wrong answers from {server.address}")
    result["server_us"] = 1e6 * (server.cpu_seconds() - before) / max(result["all_messages"], 1)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--peers", nargs="*", help="some of them, by their first letters")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()

    commands = dict(PEERS)
    gorilla, program = go.build("gorilla"), go.build("load")
    if gorilla:
        commands[GORILLA] = [str(gorilla)]
    else:
        print("Go or gorilla/websocket is not installed: that peer is left out.", file=sys.stderr)
    if arguments.peers:
        commands = {name: c for name, c in commands.items() if name.lower().startswith(tuple(arguments.peers))}

    results: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {size: [] for size in arguments.sizes} for name in commands
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(running(command)) for name, command in commands.items()}
        for _ in range(arguments.rounds):
            for size in arguments.sizes:
                for name, server in servers.items():
                    results[name][size].append(measure(server, program, SIZES[size], arguments.seconds))

    medians: dict[str, dict[str, dict[str, float]]] = {
        name: {
            size: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
            for size, rounds in by_size.items()
        }
        for name, by_size in results.items()
    }
    rows = [
        [name, size, m["rate"], m["p50_ms"], m["p99_ms"], m["server_us"], m["load_cpu"]]
        for size in arguments.sizes
        for name, by_size in medians.items()
        for m in [by_size[size]]
    ]
    headers = ["server", "picture", "msg/s", "p50 ms", "p99 ms", "server µs/msg", "load's CPU share"]
    print(report.table(rows, headers))
    goals: list[dict[str, Any]] = []
    for size, peer, factor in GOALS:
        if size in arguments.sizes and peer in medians and "csgate" in medians:
            ratio = medians["csgate"][size]["rate"] / medians[peer][size]["rate"]
            goals.append({"picture": size, "peer": peer, "goal": factor, "ratio": round(ratio, 2)})
    print()
    print(
        report.table(
            [[g["picture"], g["peer"], g["ratio"], g["goal"], g["ratio"] >= g["goal"]] for g in goals],
            ["picture", "against", "ratio", "goal", "met"],
        )
    )
    if not arguments.no_save:
        path = report.save(
            "wire",
            {
                "versions": {
                    **report.versions("csgate", "trio", "trio-websocket", "websockets", "picows", "uvloop", "msgspec"),
                    **report.versions("orjson", "pybase64"),
                    "go": go.version(),
                },
                "load": "Go gorilla" if program else "Python",
                "connections": CONNECTIONS,
                "rounds": arguments.rounds,
                "seconds": arguments.seconds,
                "medians": medians,
                "goals": goals,
                "results": results,
            },
        )
        print(f"\nsaved {path}")


if __name__ == "__main__":
    main()
