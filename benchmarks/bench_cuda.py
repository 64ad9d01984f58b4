"""Everything that is to be known of a GPU host, in one call: encoders against bare ONNX Runtime at batch 1 to 256, the
copies between host and device, the memory after many mixed batches, and generation with a paged cache.

    python benchmarks/bench_cuda.py [--generator FOLDER] [--mixed 100000] [--device cuda]

``--device cpu`` goes the same ways on a machine without a GPU, which shows that the script works and little else. The
peer is a loop that runs one fixed batch with inputs and outputs bound on the device, so that nothing is copied: the
most that the device gives. Ours copies each batch in and its results out, with and without CUDA graphs.
"""

import argparse
import ctypes
import io
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import onnxruntime
import report

from csgate.config import InferenceSettings
from csgate.errors import ConfigError
from csgate.inference.bindings import Bindings, DeviceBindings, page_lock
from csgate.inference.manifest import BatchEntry
from csgate.inference.repository import Model, load_repository
from csgate.inference.runner import CUDA_PROVIDER, OnnxRunner, open_runner
from csgate.shipped import models_dir
from csgate.telemetry import open_logger

BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COPY_BYTES: Final = (64 * 1024, 1024 * 1024, 16 * 1024 * 1024)
GROWTH_GOAL: Final = 0.02
LOG: Final = open_logger("error", "json", io.StringIO())

Device = Literal["cpu", "cuda"]


def timed(run: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each run, for so long, after two that do not count."""
    run()
    run()
    took: list[float] = []
    until = time.perf_counter() + seconds
    now = time.perf_counter()
    while now < until:
        run()
        last, now = now, time.perf_counter()
        took.append(now - last)
    return took


def widened(model: Model, buckets: tuple[int, ...]) -> Model:
    """The model with these batch sizes, whatever its manifest says."""
    manifest = msgspec.structs.replace(model.manifest, batch=BatchEntry(buckets))
    return Model(model.folder, manifest, model.labels, model.tokenizer)


def open_widened(model: Model, device: Device, buckets: tuple[int, ...], *, graphs: bool = False) -> OnnxRunner:
    settings = InferenceSettings(device=device, max_batch=buckets[-1], cuda_graphs=graphs)
    return open_runner(widened(model, buckets), settings, LOG)


def bare(runner: OnnxRunner, device: Device, bucket: int, length: int) -> Callable[[], None]:
    """One run of ONNX Runtime with everything bound where it computes."""
    session = runner._session
    binding = session.io_binding()
    for tensor in runner.spec.inputs:
        rows = np.ones(tensor.shape(bucket, length), tensor.dtype)
        binding.bind_ortvalue_input(tensor.name, onnxruntime.OrtValue.ortvalue_from_numpy(rows, device, 0))
    for tensor in runner.spec.outputs:
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            list(tensor.shape(bucket, 0)), tensor.dtype.type, device, 0
        )
        binding.bind_ortvalue_output(tensor.name, value)

    def run() -> None:
        session.run_with_iobinding(binding)

    return run


def fill(runner: OnnxRunner, bindings: Bindings, length: int) -> None:
    """Rows that are valid for every model: ones."""
    for tensor in runner.spec.inputs:
        bindings.inputs(length)[tensor.name][...] = 1


def encoders(
    models: dict[Any, Model], device: Device, buckets: tuple[int, ...], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Each encoder at each batch size: bare, ours, and ours by CUDA graphs."""
    found: list[dict[str, Any]] = []
    for model in models.values():
        if model.manifest.task == "fusion":
            continue
        ways = {"plain": open_widened(model, device, buckets)}
        if device == "cuda":
            ways["graphs"] = open_widened(model, device, buckets, graphs=True)
        plain = ways["plain"]
        length = plain.spec.lengths[-1]
        bound = {way: runner.bind() for way, runner in ways.items()}
        for way, bindings in bound.items():
            fill(ways[way], bindings, length)
        for bucket in buckets:
            samples: dict[str, list[float]] = {way: [] for way in ("bare", *bound)}
            medians: dict[str, list[float]] = {way: [] for way in samples}
            runs: dict[str, Callable[[], None]] = {"bare": bare(plain, device, bucket, length)}
            runs |= {way: _once(bindings, bucket, length) for way, bindings in bound.items()}
            for _ in range(rounds):
                for way, run in runs.items():
                    took = timed(run, seconds)
                    samples[way] += took
                    medians[way].append(statistics.median(took))
            row: dict[str, Any] = {
                "model": model.name,
                "precision": plain.precision,
                "provider": plain.provider,
                "batch": bucket,
                "length": length,
            }
            for way, took in samples.items():
                row[way] = {
                    "p50_ms": report.percentile(took, 0.5) * 1e3,
                    "p99_ms": report.percentile(took, 0.99) * 1e3,
                    "items_per_second": bucket / statistics.median(took),
                    "of_bare": statistics.median(a / b for a, b in zip(medians["bare"], medians[way], strict=True)),
                }
            found.append(row)
    return found


def _once(bindings: Bindings, bucket: int, length: int) -> Callable[[], None]:
    return lambda: bindings.run(bucket, length)


def copies(device: Device, seconds: float) -> list[dict[str, Any]]:
    """Host to device and back, from page-locked and from ordinary memory, in GB a second."""
    found: list[dict[str, Any]] = []
    for size in COPY_BYTES:
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type([size], np.uint8, device, 0)
        row: dict[str, Any] = {"bytes": size}
        for kind in ("ordinary", "page-locked"):
            host = np.zeros(size, np.uint8)
            if kind == "ordinary" or page_lock(host):
                row[f"to the device, {kind}"] = _speed(size, partial(value.update_inplace, host), seconds)
        row["back"] = _speed(size, value.numpy, seconds)
        found.append(row)
    return found


def _speed(size: int, run: Callable[[], object], seconds: float) -> float:
    return size / statistics.median(timed(run, seconds)) / 1e9


def device_bytes_used() -> int | None:
    """Memory in use on the device, by the driver; None without one."""
    for name in ("libcudart.so.13", "libcudart.so.12"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        if library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0:
            return total.value - free.value
    return None


def memory(models: dict[Any, Model], device: Device, buckets: tuple[int, ...], batches: int) -> dict[str, Any]:
    """What the device holds while every model runs batches of every size and length, in no order."""
    chance = random.Random(0)
    sets = []
    for model in models.values():
        runner = open_widened(model, device, buckets)
        bindings = runner.bind()
        for length in runner.spec.lengths:
            fill(runner, bindings, length)
        sets.append((runner, bindings))
    points: list[int | None] = []
    began = time.perf_counter()
    # The first tenth may still allocate: kernels are chosen, workspaces grow.
    for number in range(batches):
        runner, bindings = chance.choice(sets)
        bindings.run(chance.choice(runner.spec.buckets), chance.choice(runner.spec.lengths))
        if number % max(1, batches // 10) == 0:
            points.append(device_bytes_used())
    points.append(device_bytes_used())
    settled, last = points[1] if len(points) > 1 else points[0], points[-1]
    growth = (last - settled) / settled if settled and last is not None else None
    return {
        "batches": batches,
        "seconds": time.perf_counter() - began,
        "device_bytes": points,
        "growth_after_the_first_tenth": growth,
        "stable": growth is not None and growth <= GROWTH_GOAL,
        "pinned": all(isinstance(bindings, DeviceBindings) and bindings.pinned for _, bindings in sets),
    }


def generation(folder: Path | None, device: Device) -> str | None:
    """Runs bench_generate on the same device; its own result file has the figures."""
    if folder is None:
        return None
    command = [sys.executable, str(Path(__file__).with_name("bench_generate.py"))]
    done = subprocess.run([*command, "--folder", str(folder), "--device", device], check=False)
    return "done" if done.returncode == 0 else f"failed with {done.returncode}"


def main(arguments: argparse.Namespace) -> int:
    device: Device = arguments.device
    if device == "cuda" and CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise ConfigError("The ONNX Runtime installed here has no CUDA; pip install 'csgate[cuda]' on a GPU host.")
    models = load_repository(arguments.models_dir or models_dir())
    buckets = tuple(bucket for bucket in BUCKETS if bucket <= arguments.max_batch)
    rows = encoders(models, device, buckets, arguments.seconds, arguments.rounds)
    ways = [way for way in ("bare", "plain", "graphs") if way in rows[0]]
    lines = [
        [row["model"], row["batch"], *(row[way]["items_per_second"] for way in ways)]
        + [row[way]["p50_ms"] for way in ways]
        + [row[way]["of_bare"] for way in ways[1:]]
        for row in rows
    ]
    headers = ["model", "batch", *(f"{way} items/s" for way in ways), *(f"{way} p50 ms" for way in ways)]
    print(report.table(lines, [*headers, *(f"{way} of bare" for way in ways[1:])]))
    copied = copies(device, arguments.seconds)
    keys = list(dict.fromkeys(key for row in copied for key in row))
    print("\n" + report.table([[row.get(key, "") for key in keys] for row in copied], keys))
    held = memory(models, device, buckets[:6], arguments.mixed)
    print(f"\n{held['batches']} mixed batches in {held['seconds']:.0f} s; memory: {held['device_bytes']}")
    generated = generation(arguments.generator, device)
    path = report.save(
        f"encoders-{device}",
        {
            "versions": report.versions("onnxruntime", "onnxruntime-gpu", "numpy", "csgate"),
            "settings": {"seconds": arguments.seconds, "rounds": arguments.rounds, "mixed": arguments.mixed},
            "encoders": rows,
            "copies_gb_per_second": copied,
            "memory": held,
            "generation": generated,
        },
    )
    print(f"Saved {path}.")
    return 0


def read_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-batch", type=int, default=256)
    parser.add_argument("--mixed", type=int, default=100_000, help="batches of the memory test")
    parser.add_argument("--models-dir", type=Path, help="model folders; default: the shipped ones")
    parser.add_argument("--generator", type=Path, help="a folder built for CUDA in onnxruntime-genai's format")
    return parser.parse_args(given)


if __name__ == "__main__":
    try:
        sys.exit(main(read_arguments()))
    except ConfigError as error:
        sys.exit(str(error))
