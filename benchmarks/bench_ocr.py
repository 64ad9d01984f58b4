"""What is read of 40 made screenshots, in what time, and what it costs those who send plain text: ``make bench-ocr``.

1. Reading: every screenshot of ``screens.py`` goes through tagger and reader as the dialog would have it. Character
   accuracy is 1 - edit distance / characters, over the lines in reading order; ``exact`` counts every space and line
   end as well. An order number is found where the dialog's rules find exactly that one in what was read. A screenshot
   that is not read, because the tagger takes it for something else, has every character wrong.
2. Beside it: a real server, and a customer who sends plain texts, a new one every 50 ms, none of them seen before.
   Turn by turn nobody else is there, or others send screenshots that were not seen before, about as many as can be
   read. Then the same with a server that does not read: what pictures cost anyway.

    python benchmarks/bench_ocr.py [--seconds 6] [--rounds 4] [--no-server] [--no-save]
"""

import argparse
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import report
import screens
import trio
from websockets.sync.client import connect

from csgate.config import InferenceSettings
from csgate.dialog.picture_text import words_of, worth_reading
from csgate.events import Picture
from csgate.inference import open_engine
from csgate.telemetry import Telemetry, open_logger

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.conftest import Server, start_server

GOAL_ACCURACY: Final = 0.95
GOAL_ORDERS: Final = 0.95
GOAL_SLOWER: Final = 1.20
READ: Final = 'csgate_pictures_read_total{outcome="text"}'
REPLIES: Final = "csgate_turn_seconds_count"
BETWEEN_TEXTS_S: Final = 0.05
IDLE_LOAD: Final = 0.5
"""Above it the machine was busy with something else, and the times are worth little; what was read is as good."""
SENDERS: Final = 2
BETWEEN_PICTURES_S: Final = 0.4
"""Of one sender, who also waits for the reply: together as many as one thread can read, or a few more."""


def distance(first: str, second: str) -> int:
    """Levenshtein's: how many characters to put in, take out or change."""
    row = list(range(len(second) + 1))
    for number, left in enumerate(first, 1):
        before, row[0] = row[0], number
        for place, right in enumerate(second, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (left != right))
    return row[-1]


async def read_all(made: list[screens.Screen]) -> list[dict[str, Any]]:
    """Every screenshot once, one after the other, with nobody else about."""
    rows = []
    telemetry = Telemetry(log=open_logger("error", "json", sys.stderr))
    async with open_engine(InferenceSettings(device="cpu", ocr="on"), telemetry) as engine:
        for screen in made:
            picture = Picture(screen.file, "binary")
            seen = await engine.tag_picture(picture)
            lines: tuple[str, ...] = ()
            found = None
            ms = 0.0
            if worth_reading(seen):
                began = time.perf_counter()
                read = await engine.read_picture(picture)
                ms = (time.perf_counter() - began) * 1e3
                lines = tuple(line.text for line in read.lines)
                slot = words_of(read).slots.get("order_number")
                found = slot.value if slot is not None else None
            truth, told = "\n".join(screen.lines), "\n".join(lines)
            bare, bare_told = "".join(truth.split()), "".join(told.split())
            rows.append(
                {
                    "screen": screen.name,
                    "language": screen.language,
                    "dark": screen.dark,
                    "kind": seen.kind,
                    "characters": len(bare),
                    "wrong": distance(bare, bare_told),
                    "characters_exact": len(truth),
                    "wrong_exact": distance(truth, told),
                    "order": screen.orders[0],
                    "order_found": found == screen.orders[0],
                    "ms": round(ms, 1),
                }
            )
    return rows


async def glances() -> dict[str, Any]:
    """Photos without text: nothing may be read in them, and finding that out ought to be cheap."""
    telemetry = Telemetry(log=open_logger("error", "json", sys.stderr))
    times = []
    lines = 0
    async with open_engine(InferenceSettings(device="cpu", ocr="on"), telemetry) as engine:
        for seed in range(10):
            picture = Picture(screens.photograph(seed), "binary")
            began = time.perf_counter()
            lines += len((await engine.read_picture(picture)).lines)
            times.append((time.perf_counter() - began) * 1e3)
    return {"photos": len(times), "lines_read": lines, "median_ms": round(statistics.median(times), 1)}


def accuracy(rows: list[dict[str, Any]]) -> dict[str, float]:
    def share(wrong: str, of: str) -> float:
        return round(1 - sum(row[wrong] for row in rows) / sum(row[of] for row in rows), 4)

    return {
        "screens": len(rows),
        "character_accuracy": share("wrong", "characters"),
        "character_accuracy_exact": share("wrong_exact", "characters_exact"),
        "orders_found": round(sum(row["order_found"] for row in rows) / len(rows), 4),
        "median_ms": round(statistics.median(row["ms"] for row in rows), 1),
        "p95_ms": round(report.percentile([row["ms"] for row in rows], 0.95), 1),
    }


# --- A server with others on it --------------------------------------------------------------------------------------


def texts(server: Server, seconds: float, number: int) -> list[float]:
    """Milliseconds from sending a text to its reply, of a customer who sends one every 50 ms."""
    taken = []
    with connect(server.ws, additional_headers={"Authorization": f"Bearer {server.token('writer')}"}) as socket:
        due = time.perf_counter()
        until = due + seconds
        while due < until:
            number += 1
            message = json.dumps({"text": f"Where is my order {number}? It should have come {number % 97} days ago."})
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            socket.send(message)
            reply = json.loads(socket.recv(30))
            taken.append((time.perf_counter() - began) * 1e3)
            if reply["type"] != "reply":
                raise RuntimeError(reply)
            due = max(due + BETWEEN_TEXTS_S, time.perf_counter())
    return taken


def send_pictures(url: str, token: str, first: int) -> None:
    """Sends screenshots until it is ended: the same few, but no two the same file."""
    made = screens.screens()
    number = first
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, max_size=None) as socket:
        print("sending", flush=True)
        due = time.perf_counter()
        while True:
            time.sleep(max(0.0, due - time.perf_counter()))
            due = max(due + BETWEEN_PICTURES_S, time.perf_counter())
            number += 1
            file = made[number % len(made)].file + number.to_bytes(8, "little")  # decoders stop before that
            socket.send(json.dumps({"text": "", "image": base64.b64encode(file).decode()}))
            reply = json.loads(socket.recv(60))
            if reply["type"] != "reply":
                raise RuntimeError(reply)


@contextmanager
def others(server: Server, round: int) -> Iterator[None]:
    """Customers in processes of their own who send screenshots."""
    senders = []
    for number in range(SENDERS):
        arguments = ["--send", server.ws, server.token(f"sender-{number}"), str((round * SENDERS + number) * 100_000)]
        senders.append(subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True))
    try:
        for sender in senders:
            assert sender.stdout is not None
            if sender.stdout.readline() != "sending\n":
                raise RuntimeError("a sender of pictures did not start")
        time.sleep(0.5)
        yield
        if any(sender.poll() is not None for sender in senders):
            raise RuntimeError("a sender of pictures ended early")
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()
            assert sender.stdout is not None
            sender.stdout.close()


def beside(ocr: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Latencies of plain texts, with others there and without, in turn."""
    alone: list[float] = []
    loaded: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder), CSGATE_INFERENCE__OCR=ocr)
        try:
            texts(server, 2, 0)  # warm
            sent = read = busy = 0.0
            for number in range(rounds):
                alone += texts(server, seconds, 1_000_000 + number * 10_000)
                with others(server, number):
                    before = server.metric(READ), server.metric(REPLIES)
                    began = time.perf_counter()
                    loaded += texts(server, seconds, 2_000_000 + number * 10_000)
                    busy += time.perf_counter() - began
                    read += server.metric(READ) - before[0]
                    sent += server.metric(REPLIES) - before[1]
        finally:
            server.stop()
    return {
        "ocr": ocr,
        "texts": len(alone) + len(loaded),
        "alone_p50_ms": round(report.percentile(alone, 0.5), 2),
        "alone_p99_ms": round(report.percentile(alone, 0.99), 2),
        "loaded_p50_ms": round(report.percentile(loaded, 0.5), 2),
        "loaded_p99_ms": round(report.percentile(loaded, 0.99), 2),
        "ratio_p50": round(report.percentile(loaded, 0.5) / report.percentile(alone, 0.5), 3),
        "pictures_a_second": round((sent - len(loaded)) / busy, 2),
        "read_a_second": round(read / busy, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one turn with others or without")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each")
    parser.add_argument("--no-server", action="store_true", help="only what is read")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--send", nargs=3, metavar=("URL", "TOKEN", "FIRST"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        send_pictures(given.send[0], given.send[1], int(given.send[2]))
    busy_before = report.machine()["load_1m"]
    rows = trio.run(read_all, screens.screens())
    print(
        report.table(
            [
                (
                    row["screen"],
                    row["kind"],
                    row["characters"],
                    row["wrong"],
                    row["order"],
                    row["order_found"],
                    row["ms"],
                )
                for row in rows
            ],
            ("screenshot", "taken for", "characters", "wrong", "order", "found", "ms"),
        )
    )
    whole = accuracy(rows)
    by_language = {name: accuracy([row for row in rows if row["language"] == name]) for name in ("en", "zh")}
    photos = trio.run(glances)
    payload: dict[str, Any] = {
        "versions": report.versions("csgate", "rapidocr", "onnxruntime", "opencv-python-headless", "pillow"),
        "load_1m_before": busy_before,
        "under_load": busy_before is not None and busy_before > IDLE_LOAD,
        "goals": {"character_accuracy": GOAL_ACCURACY, "orders_found": GOAL_ORDERS, "text_ratio_p50": GOAL_SLOWER},
        "reading": whole,
        "by_language": by_language,
        "photos_without_text": photos,
        "screens": rows,
    }
    print()
    print(report.table([(name, *row.values()) for name, row in [("all", whole), *by_language.items()]], ["", *whole]))
    print(f"\nphotos without text: {photos}")
    good = whole["character_accuracy"] >= GOAL_ACCURACY and whole["orders_found"] >= GOAL_ORDERS
    if not given.no_server:
        found = [beside(ocr, given.seconds, given.rounds) for ocr in ("on", "off")]
        payload["texts_beside"] = found
        print()
        print(report.table([tuple(row.values()) for row in found], list(found[0])))
        good = good and found[0]["ratio_p50"] <= GOAL_SLOWER
    if not given.no_save:
        print(f"\nsaved {report.save('ocr', payload)}")
    if payload["under_load"]:
        print(f"the machine was busy before ({busy_before}): times are worth little")
    print("goals met" if good else "goals missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
