"""What keeping conversations costs: ``make bench-store``.

1. Acknowledgements a second and how long one takes, with the store in memory and with SQLite at both durabilities, and
   no model. 32 conversations, each sending its next message when the last one was acknowledged ("acks": a person of the
   shop writes, and nobody answers) or answered ("answered": the answer is there at once, and logging it is a second
   change, which the next message waits for).
2. A store with 100,000 conversations: how long opening takes, what memory the process needs with few and with many, how
   long a resume takes.
"""

import argparse
import gc
import io
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import report
import trio

from csgate.config import SessionSettings
from csgate.events import Draft, Event, MessageEvent, Principal, ReplyEvent
from csgate.session import Conversations, Header, Turn, open_conversations, open_store
from csgate.session.sqlite_file import open_writer
from csgate.session.sqlite_ledger import Ledger
from csgate.telemetry import Telemetry, open_logger

GOAL_ACKS: Final = 2_000
GOAL_START_S: Final = 2.0
GOAL_RESUME_MS: Final = 20.0
TEXT: Final = "Where is my order 12345? I have been waiting for two weeks now."
ANSWER: Final = "I can look that up. Your order **12345** left our warehouse and is on its way to you. " * 2


class Sink:
    def __init__(self) -> None:
        self.replied = trio.Event()

    def deliver(self, event: Event) -> None:
        if isinstance(event, ReplyEvent):
            self.replied.set()

    def detached(self) -> None:
        raise AssertionError("nothing here fails to take an event")


async def answer(turn: Turn) -> Draft:
    await trio.lowlevel.checkpoint()
    return Draft(text=ANSWER)


@asynccontextmanager
async def opened(folder: Path, **chosen: Any) -> AsyncIterator[Conversations]:
    settings = SessionSettings(**{"max_events": 1_000_000, "max_conversations": 1_000_000, **chosen})
    telemetry = Telemetry(log=open_logger("warning", stream=io.StringIO()))
    async with (
        open_store(folder, settings, telemetry) as store,
        open_conversations(store, answer, settings, telemetry) as conversations,
    ):
        yield conversations


async def load(folder: Path, conversations: int, seconds: float, answered: bool, **settings: Any) -> dict[str, float]:
    """One run of the first part. ``ack`` is from handing the message in to its acknowledgement, milliseconds."""
    acks: list[float] = []
    finals: list[float] = []
    counting = False
    ended = False

    async def talk(served: Conversations, name: str) -> None:
        sink = Sink()
        attachment = await served.attach(Principal(name), sink)
        if not answered:
            await attachment.submit("first", TEXT, None)
            await sink.replied.wait()
            attachment = await served.attach(Principal("gus", role="agent"), sink, conversation=attachment.conversation)
        number = 0
        while not ended:
            sink.replied = trio.Event()
            began = time.perf_counter()
            await attachment.submit(f"m{number}", TEXT, None)
            acknowledged = time.perf_counter()
            if answered:
                await sink.replied.wait()
            else:
                await trio.lowlevel.checkpoint()  # the store in memory never waits
            if counting:
                acks.append((acknowledged - began) * 1e3)
                finals.append((time.perf_counter() - began) * 1e3)
            number += 1

    gc.collect()
    async with opened(folder, **settings) as served, trio.open_nursery() as nursery:
        for number in range(conversations):
            nursery.start_soon(talk, served, f"c{number}")
        await trio.sleep(min(1.0, seconds / 4))
        counting, began, cpu = True, time.perf_counter(), time.process_time()
        await trio.sleep(seconds)
        counting, took, cpu = False, time.perf_counter() - began, time.process_time() - cpu
        ended = True
    return {
        "acks_per_s": len(acks) / took,
        "ack_p50_ms": report.percentile(acks, 0.5),
        "ack_p99_ms": report.percentile(acks, 0.99),
        "done_p50_ms": report.percentile(finals, 0.5),
        "done_p99_ms": report.percentile(finals, 0.99),
        "cpu_ms_per_message": cpu * 1e3 / max(1, len(acks)),
    }


def fsync_ms(folder: Path) -> float:
    """What the disk takes for one page, median of 50."""
    took = []
    with (folder / "probe").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return report.percentile(took, 0.5)


def fill(folder: Path, conversations: int) -> None:
    """Stores ``conversations`` with three messages and their replies each."""
    connection = open_writer(folder / "csgate.db", "normal")
    ledger = Ledger(connection, 1_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    for start in range(0, conversations, 2_000):
        connection.execute("BEGIN")
        for number in range(start, min(start + 2_000, conversations)):
            header = Header(f"c{number}", f"e{number}", "", "", f"customer-{number}")
            for message in range(3):
                ledger.append(header, MessageEvent(f"m{message}", 0, "customer", TEXT, stamp))
                ledger.append(header, MessageEvent(f"r{message}", 0, "human", ANSWER, stamp))
        connection.execute("COMMIT")
    connection.close()


async def resume(folder: Path, stored: int, resumes: int) -> dict[str, float]:
    """Opens the store and comes back to conversations by chance; for a process of its own."""
    chance = random.Random(1)
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    began = time.perf_counter()
    async with opened(folder) as served:
        start_s = time.perf_counter() - began
        assert served.count == stored
        after_start = process.memory_info().rss
        took = []
        for _ in range(resumes):
            number = chance.randrange(stored)
            began = time.perf_counter()
            attachment = await served.attach(
                Principal(f"customer-{number}"), Sink(), conversation=f"c{number}", epoch=f"e{number}", offset=2
            )
            took.append((time.perf_counter() - began) * 1e3)
            assert attachment.recovered
            assert len(attachment.history) == 4
            await attachment.detach()
        after = process.memory_info().rss
    return {
        "start_s": start_s,
        "rss_grown_by_start_mib": (after_start - before) / 2**20,
        "rss_grown_by_resumes_mib": (after - after_start) / 2**20,
        "rss_mib": after / 2**20,
        "resume_p50_ms": report.percentile(took, 0.5),
        "resume_p99_ms": report.percentile(took, 0.99),
    }


def in_a_process(folder: Path, stored: int, resumes: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--resume", str(folder), str(stored), str(resumes)]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, _, value in (line.partition("=") for line in shown.splitlines())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--resumes", type=int, default=5_000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default: a temporary one")
    parser.add_argument("--resume", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--note", help="saved with the result: what else the machine was doing")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    if arguments.resume:
        folder, stored, resumes = arguments.resume
        for name, value in trio.run(resume, Path(folder), int(stored), int(resumes)).items():
            print(f"{name}={value}")
        return 0

    stores: dict[str, dict[str, Any]] = {
        "memory": {"store": "memory"},
        "sqlite full": {"durability": "full"},
        "sqlite normal": {"durability": "normal"},
    }
    kinds = {
        f"{store}, {what}": {"answered": what == "answered", **settings}
        for what in ("acks", "answered")
        for store, settings in stores.items()
    }
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        disk_ms = fsync_ms(Path(temporary))
        for number in range(arguments.rounds):
            for kind, settings in kinds.items():
                folder = Path(temporary) / f"{kind} {number}"
                runs[kind].append(
                    trio.run(lambda: load(folder, arguments.conversations, arguments.seconds, **settings))  # noqa: B023
                )
        # Of the rounds the one in the middle, by rate.
        acks = {kind: sorted(found, key=lambda one: one["acks_per_s"])[len(found) // 2] for kind, found in runs.items()}
        print(f"\n{arguments.conversations} conversations; fdatasync of a page {disk_ms:.2f} ms\n")
        print(report.table([[kind, *found.values()] for kind, found in acks.items()], ["store", *acks["memory, acks"]]))
        held: dict[str, dict[str, float]] = {}
        for stored in (1_000, arguments.stored):
            folder = Path(temporary) / f"stored {stored}"
            fill(folder, stored)
            size = (folder / "csgate.db").stat().st_size
            held[str(stored)] = {"file_mib": size / 2**20, **in_a_process(folder, stored, arguments.resumes)}
        print()
        print(report.table([[kind, *found.values()] for kind, found in held.items()], ["stored", *held["1000"]]))
    many, few = held[str(arguments.stored)], held["1000"]
    goals = {
        "sqlite_full_acks": acks["sqlite full, acks"]["acks_per_s"] >= GOAL_ACKS,
        "start": many["start_s"] <= GOAL_START_S,
        "resume": many["resume_p99_ms"] <= GOAL_RESUME_MS,
    }
    print(f"\ngoals: {goals}; {many['rss_mib'] - few['rss_mib']:.1f} MiB more with {arguments.stored} than with 1,000")
    if not arguments.no_save:
        result = {"conversations": arguments.conversations, "fdatasync_ms": disk_ms, "acks": acks, "stored": held}
        rounds = {kind: [one["acks_per_s"] for one in found] for kind, found in runs.items()}
        extra = {"note": arguments.note, "rounds_acks_per_s": rounds, "goals": goals, "sqlite": sqlite3.sqlite_version}
        print(f"saved: {report.save('store', result | extra | {'versions': report.versions('trio', 'msgspec')})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
