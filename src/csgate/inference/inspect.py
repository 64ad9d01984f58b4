"""What ``csgate models list | check | bench`` tells: folders looked at one by one, each wrong in its own right."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import msgspec

from csgate.config import InferenceSettings
from csgate.errors import ModelError
from csgate.inference.bindings import Bindings
from csgate.inference.repository import load_model, model_folders
from csgate.inference.runner import Runner, RunnerFactory, open_runner
from csgate.inference.warmup import warm_up
from csgate.inference.zero_shot import check_width, embed_labels
from csgate.telemetry import open_logger

DeviceChoice = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A line of ``models list``; ``problem`` is one sentence, empty for a model that is in order."""

    name: str
    task: str = ""
    version: str = ""
    precisions: tuple[str, ...] = ()
    labels: int = 0
    file_bytes: int = 0
    licence: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """A line of ``models bench``: bare runs of one batch bucket at one padded text length (0: no text)."""

    batch: int
    length: int
    p50_ms: float
    p99_ms: float
    items_per_second: float
    provider: str
    precision: str


def inspect_models(root: Path) -> list[ModelRow]:
    """Every model folder under ``root``, the wrong ones too.

    Raises:
        ModelError: ``root`` cannot be listed.
    """
    return [_row(folder) for folder in model_folders(root)]


def check_model(folder: Path, device: DeviceChoice = "cpu", *, runner_factory: RunnerFactory | None = None) -> ModelRow:
    """Reads ``folder``, checks every file of it, loads each precision's graph and runs each batch bucket once.

    Raises:
        ConfigError: what is wrong, in one sentence (ModelError, but for a device that is not there).
    """
    model = load_model(folder)
    log = open_logger("error")
    for precision in model.manifest.files:
        pinned = replace(model, manifest=msgspec.structs.replace(model.manifest, cpu=precision, cuda=precision))
        runner = (runner_factory or open_runner)(pinned, InferenceSettings(device=device), log)
        if model.manifest.text is not None:
            check_width(model, embed_labels(model, None, log), runner.spec.outputs[0].row)
        try:
            warm_up(runner, runner.bind(), runs=1)
        except Exception as error:
            raise ModelError(
                f"Model '{model.name}' ({precision}) loads but does not run: {str(error).splitlines()[0]}; "
                "export it again."
            ) from error
    return _row(folder)


def bench_model(
    folder: Path,
    device: DeviceChoice = "auto",
    seconds: float = 1.0,
    *,
    intra_op_threads: int = 1,
    runner_factory: RunnerFactory | None = None,
    clock: Callable[[], float] = perf_counter,
) -> list[BenchRow]:
    """Runs each batch bucket (at each text length) for ``seconds``.

    Raises:
        ConfigError: the model or the device cannot be used.
    """
    settings = InferenceSettings(device=device, intra_op_threads=intra_op_threads)
    runner = (runner_factory or open_runner)(load_model(folder), settings, open_logger("warning"))
    bindings = runner.bind()
    warm_up(runner, bindings, runs=1)
    return [
        _measure(runner, bindings, batch, length, seconds, clock)
        for length in runner.spec.lengths
        for batch in runner.spec.buckets
    ]


def _measure(
    runner: Runner, bindings: Bindings, batch: int, length: int, seconds: float, clock: Callable[[], float]
) -> BenchRow:
    began = last = clock()
    took: list[float] = []
    while last < began + seconds or not took:
        bindings.run(batch, length)
        now = clock()
        took.append(now - last)
        last = now
    took.sort()
    return BenchRow(
        batch=batch,
        length=length,
        p50_ms=took[len(took) // 2] * 1e3,
        p99_ms=took[min(len(took) - 1, int(len(took) * 0.99))] * 1e3,
        items_per_second=batch * len(took) / max(last - began, 1e-9),
        provider=runner.provider,
        precision=runner.precision,
    )


def _row(folder: Path) -> ModelRow:
    try:
        model = load_model(folder)
        sizes = [len(model.graph_bytes(precision)) for precision in model.manifest.files]
    except ModelError as error:
        return ModelRow(folder.name, problem=str(error))
    manifest = model.manifest
    return ModelRow(
        name=manifest.name,
        task=manifest.task,
        version=manifest.version,
        precisions=tuple(manifest.files),
        labels=len(model.labels.names),
        file_bytes=sum(sizes),
        licence=manifest.licence,
    )
