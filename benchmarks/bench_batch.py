"""The batcher against bare ONNX Runtime: the sticker tagger on tensors that are ready, so that no decoding counts.

The peer is a loop that runs one fixed batch over and over with bound buffers, as fast as ONNX Runtime goes: every
batch size, one loop or one a core, one thread or one a core in the session, with and without spinning threads. The
fastest ones go on to the rounds, in which each runs in turn with 1, 4, 16 and 64 tasks that submit single items to
csgate's engine and wait; with them, for each number of tasks, the fastest one that has no more items in flight. Figures
are medians over the rounds; ratios are taken round by round.

What a batcher on Trio could reach at best is measured too: bare loops, one a core, that take as many waiting tasks as
there are and wake them when their batch has run, with no queue, no rows to copy and no results to hand out.

    python benchmarks/bench_batch.py [--seconds 1] [--rounds 7] [--device cpu] [--model FOLDER]
"""

import argparse
import io
import os
import statistics
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import report
import trio

from csgate.background import stand_back
from csgate.config import InferenceSettings
from csgate.gateway.process import calm_collector, share_interpreter
from csgate.inference.batcher import NICENESS
from csgate.inference.cores import cores_of_process
from csgate.inference.engine import Engine, open_engine
from csgate.inference.repository import Model, load_repository
from csgate.shipped import models_dir
from csgate.telemetry import Telemetry, open_logger

SUBMITTERS: Final = (1, 4, 16, 64)
FINALISTS: Final = 4
SCREENING_S: Final = 0.3
P50_MARGIN_MS: Final = 0.3
THROUGHPUT_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Bare:
    """A way to run bare ONNX Runtime: ``loops`` threads, each with ``batch`` rows bound, ``threads`` a session."""

    batch: int
    loops: int
    threads: int
    spin: bool

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.loops} × {self.threads} threads{', spinning' if self.spin else ''}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One stretch of measuring: items a second, latency of one wait, processor time an item, mean batch."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    batch: float


class BarePeer:
    """Sessions of the tagger's file, by their thread settings."""

    def __init__(self, model: Model, device: str) -> None:
        self._model = model
        self._graph = model.graph_bytes(model.precision("cuda" if device == "cuda" else "cpu"))
        self._device = device
        self._sessions: dict[tuple[int, bool], Any] = {}

    def _session(self, threads: int, spin: bool) -> Any:
        if (threads, spin) not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
            providers = ["CUDAExecutionProvider"] if self._device == "cuda" else ["CPUExecutionProvider"]
            self._sessions[threads, spin] = onnxruntime.InferenceSession(self._graph, options, providers=providers)
        return self._sessions[threads, spin]

    def measure(self, way: Bare, seconds: float) -> Sample:
        session = self._session(way.threads, way.spin)
        rows = np.random.default_rng(0).random((way.batch, *row_shape(self._model)), np.float32)
        took: list[list[float]] = [[] for _ in range(way.loops)]
        until = time.perf_counter() + seconds

        def loop(number: int) -> None:
            binding = session.io_binding()
            binding.bind_cpu_input(session.get_inputs()[0].name, rows)
            for output in session.get_outputs():
                binding.bind_output(output.name)
            mine = took[number]
            now = time.perf_counter()
            while now < until:
                session.run_with_iobinding(binding)
                last, now = now, time.perf_counter()
                mine.append(now - last)

        began, cpu = time.perf_counter(), time.process_time()
        threads = [threading.Thread(target=loop, args=(number,)) for number in range(way.loops)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        every = [value for mine in took for value in mine]
        return sample(way.batch * len(every), wall, cpu, every, float(way.batch))

    async def measure_waking(self, submitters: int, most: int, cores: int, seconds: float) -> Sample:
        """Bare loops that wake as many waiting tasks as each of their batches has rows."""
        session = self._session(1, False)
        token = trio.lowlevel.current_trio_token()
        waiting: deque[trio.lowlevel.Task] = deque()
        ready = threading.Semaphore(0)
        ended = threading.Event()
        took: list[float] = []
        batches: list[int] = []
        until = time.perf_counter() + seconds

        async def one() -> None:
            now = time.perf_counter()
            while now < until:
                waiting.append(trio.lowlevel.current_task())
                ready.release()
                await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
                last, now = now, time.perf_counter()
                took.append(now - last)

        def wake(tasks: list[trio.lowlevel.Task]) -> None:
            for task in tasks:
                trio.lowlevel.reschedule(task)

        def loop() -> None:
            stand_back(NICENESS)
            rows = np.random.default_rng(0).random((most, *row_shape(self._model)), np.float32)
            bindings = {}
            for size in (2**power for power in range(most.bit_length())):
                bindings[size] = binding = session.io_binding()
                binding.bind_cpu_input(session.get_inputs()[0].name, rows[:size])
                for output in session.get_outputs():
                    binding.bind_output(output.name)
            while ready.acquire() and not ended.is_set():
                size = 1
                while size < most and ready.acquire(blocking=False):
                    size += 1
                spare = size - 2 ** (size.bit_length() - 1)
                if spare:
                    ready.release(spare)
                tasks = [waiting.popleft() for _ in range(size - spare)]
                session.run_with_iobinding(bindings[len(tasks)])
                batches.append(len(tasks))
                token.run_sync_soon(wake, tasks)

        threads = [threading.Thread(target=loop) for _ in range(cores)]
        began, cpu = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        async with trio.open_nursery() as nursery:
            for _ in range(submitters):
                nursery.start_soon(one)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        ended.set()
        ready.release(cores)
        for thread in threads:
            thread.join()
        return sample(len(took), wall, cpu, took, statistics.fmean(batches))


def row_shape(model: Model) -> tuple[int, ...]:
    entry = model.manifest.input
    assert entry is not None
    size = (entry.height, entry.width)
    return (3, *size) if entry.layout == "NCHW" else (*size, 3)


def sample(items: int, wall: float, cpu: float, took: list[float], batch: float) -> Sample:
    return Sample(
        rate=items / wall,
        p50_ms=report.percentile(took, 0.5) * 1e3,
        p99_ms=report.percentile(took, 0.99) * 1e3,
        cpu_us=cpu / max(1, items) * 1e6,
        batch=batch,
    )


async def submit(engine: Engine, row: Any, submitters: int, seconds: float) -> Sample:
    """``submitters`` tasks, each of which always has one item submitted."""
    took: list[float] = []
    batches: list[int] = []
    until = time.perf_counter() + seconds

    async def one(number: int) -> None:
        name = str(number)
        now = time.perf_counter()
        while now < until:
            _, timing = await engine.tag_tensor(row, principal=name)
            last, now = now, time.perf_counter()
            took.append(now - last)
            batches.append(timing.batch)

    began, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(submitters):
            nursery.start_soon(one, number)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return sample(len(took), wall, cpu, took, statistics.fmean(batches))


def ways(buckets: tuple[int, ...], cores: int) -> list[Bare]:
    found = [Bare(batch, loops, 1, False) for batch in buckets for loops in sorted({1, cores})]
    if cores > 1:
        found += [Bare(batch, 1, cores, spin) for batch in buckets for spin in (False, True)]
    return found


def median(samples: list[Sample], field: str) -> float:
    return statistics.median(getattr(each, field) for each in samples)


async def main(arguments: argparse.Namespace) -> int:
    folder = arguments.model.resolve().parent if arguments.model else models_dir()
    model = load_repository(folder)["tagger"]
    settings = InferenceSettings(device=arguments.device, models_dir=folder)
    peer = BarePeer(model, arguments.device)
    cores = len(cores_of_process()) or os.cpu_count() or 1
    single = Bare(1, 1, 1, False)
    share_interpreter()  # as the server does

    screened = {way: peer.measure(way, SCREENING_S) for way in ways(model.manifest.batch.buckets, cores)}
    by_rate = sorted(screened, key=lambda way: -screened[way].rate)
    alike = {n: next(way for way in by_rate if way.batch * way.loops <= n) for n in SUBMITTERS}
    bare: dict[Bare, list[Sample]] = {way: [] for way in dict.fromkeys([single, *by_rate[:FINALISTS], *alike.values()])}
    ours: dict[int, list[Sample]] = {submitters: [] for submitters in SUBMITTERS}
    waking: dict[int, list[Sample]] = {submitters: [] for submitters in SUBMITTERS if submitters > 1}
    row = np.random.default_rng(1).random(row_shape(model), np.float32)

    telemetry = Telemetry(log=open_logger("error", "json", io.StringIO()))
    async with open_engine(settings, telemetry) as engine:
        calm_collector()  # as the server does once it has started
        info = engine.info.models["tagger"]
        for number in range(arguments.rounds):
            steps: list[tuple[Bare | None, int]] = [*((way, 0) for way in bare), *((None, n) for n in SUBMITTERS)]
            # Turned by one a round, so that nobody always follows the same neighbour.
            for way, submitters in steps[number % len(steps) :] + steps[: number % len(steps)]:
                if way is None:
                    ours[submitters].append(await submit(engine, row, submitters, arguments.seconds))
                    if submitters in waking:
                        most = max(1, min(alike[submitters].batch, by_rate[0].batch))
                        waking[submitters].append(await peer.measure_waking(submitters, most, cores, arguments.seconds))
                else:
                    bare[way].append(peer.measure(way, arguments.seconds))

    best = max(bare, key=lambda way: median(bare[way], "rate"))
    rows: list[list[Any]] = [
        [str(way), median(got, "rate"), "", "", median(got, "p50_ms"), median(got, "p99_ms"), median(got, "cpu_us"), ""]
        for way, got in bare.items()
    ]
    results: dict[str, Any] = {}
    for submitters, got in ours.items():
        ratio = statistics.median(a.rate / b.rate for a, b in zip(got, bare[best], strict=True))
        alike_ratio = statistics.median(a.rate / b.rate for a, b in zip(got, bare[alike[submitters]], strict=True))
        cpu_ratio = statistics.median(b.cpu_us / a.cpu_us for a, b in zip(got, bare[best], strict=True))
        results[str(submitters)] = {
            "items_per_second": median(got, "rate"),
            "share_of_best_bare": ratio,
            "share_of_best_bare_with_as_many_in_flight": alike_ratio,
            "best_bare_with_as_many_in_flight": str(alike[submitters]),
            "share_of_best_bare_by_processor_time": cpu_ratio,
            "p50_ms": median(got, "p50_ms"),
            "p99_ms": median(got, "p99_ms"),
            "cpu_us_per_item": median(got, "cpu_us"),
            "mean_batch": median(got, "batch"),
        }
        rows.append(
            [
                f"csgate, {submitters} submitters",
                median(got, "rate"),
                f"{ratio:.1%}",
                f"{alike_ratio:.1%}",
                median(got, "p50_ms"),
                median(got, "p99_ms"),
                median(got, "cpu_us"),
                median(got, "batch"),
            ]
        )
    for submitters, got in waking.items():
        ratio = statistics.median(a.rate / b.rate for a, b in zip(got, bare[best], strict=True))
        results[str(submitters)]["share_of_best_bare_by_waking_tasks_alone"] = ratio
        rows.append(
            [
                f"bare loops that wake {submitters} tasks",
                median(got, "rate"),
                f"{ratio:.1%}",
                "",
                median(got, "p50_ms"),
                median(got, "p99_ms"),
                median(got, "cpu_us"),
                median(got, "batch"),
            ]
        )
    over_ms = statistics.median(a.p50_ms - b.p50_ms for a, b in zip(ours[1], bare[single], strict=True))
    print(f"{info.name} {info.version}, {info.precision}, {info.provider}; best bare: {best}\n")
    print(
        report.table(
            rows,
            ["", "items/s", "of best bare", "of bare, as many in flight", "p50 ms", "p99 ms", "CPU us/item", "batch"],
        )
    )
    print(f"\np50 with one submitter, over a bare run of one: {over_ms:+.3f} ms (goal: at most {P50_MARGIN_MS})")
    met = over_ms <= P50_MARGIN_MS and all(
        results[str(n)]["share_of_best_bare"] >= THROUGHPUT_SHARE for n in SUBMITTERS if n > 1
    )
    path = report.save(
        "batch",
        {
            "versions": report.versions("onnxruntime", "numpy", "trio", "csgate"),
            "model": {"name": info.name, "version": info.version, "precision": info.precision},
            "provider": info.provider,
            "settings": {"workers": settings.workers, "intra_op_threads": settings.intra_op_threads},
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "best_bare": str(best),
            "screening": {str(way): got.rate for way, got in screened.items()},
            "bare": {
                str(way): {"items_per_second": median(got, "rate"), "p50_ms": median(got, "p50_ms")}
                for way, got in bare.items()
            },
            "csgate": results,
            "p50_over_bare_ms": over_ms,
            "goals_met": met,
        },
    )
    print(f"Saved {path}.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", type=Path, help="the tagger's folder; default: the shipped one")
    sys.exit(trio.run(main, parser.parse_args()))
