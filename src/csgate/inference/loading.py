"""From a folder of models to warm lanes: what ``open_engine`` does before any thread of its own runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from csgate.config import InferenceSettings
from csgate.errors import ModelError
from csgate.inference.batcher import Lane
from csgate.inference.bindings import Bindings
from csgate.inference.cache import ResultCache
from csgate.inference.manifest import TaskName
from csgate.inference.repository import Model, load_repository
from csgate.inference.runner import Runner, RunnerFactory
from csgate.inference.schedule import BatchPlan
from csgate.inference.tasks import FusionLane, PictureLane, Seen, TextLane
from csgate.inference.texts import TextEncoder
from csgate.inference.warmup import side_by_side, warm_up
from csgate.inference.zero_shot import ZeroShot, check_width, embed_labels
from csgate.shipped import models_dir
from csgate.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is warm, before its threads start."""

    model: Model
    runner: Runner
    lanes: list[Lane[Any, Any]]
    plan: BatchPlan
    parallel: bool


def load_models(
    settings: InferenceSettings, telemetry: Telemetry, open_one: RunnerFactory, pictures: ResultCache[Seen]
) -> dict[TaskName, LoadedModel]:
    """Loads and warms every model of the repository; blocking, for a worker thread.

    ``pictures`` is the cache that the tagger's lanes look into and fill.

    Raises:
        ConfigError: a model or the device cannot be used (ModelError for the former).
    """
    folder = settings.models_dir or models_dir()
    models = load_repository(folder)
    if not models:
        telemetry.log.warning("inference.no_models", folder=str(folder))
    loaded: dict[TaskName, LoadedModel] = {}
    for task, model in models.items():
        runner = open_one(model, settings, telemetry.log)
        bindings = [runner.bind() for _ in range(settings.workers)]
        costs = None
        parallel = runner.parallel
        if settings.warm_up:
            costs = warm_up(runner, bindings[0])
            parallel = side_by_side(runner, bindings)
        zero_shot = None
        if model.manifest.text is not None:
            zero_shot = embed_labels(model, settings.embeddings_dir, telemetry.log)
            check_width(model, zero_shot, runner.spec.outputs[0].row)
        make = _lane_maker(model, runner, pictures, settings, zero_shot)
        lanes = [make(bound) for bound in bindings]
        loaded[task] = LoadedModel(model, runner, lanes, BatchPlan(runner.spec.buckets, costs), parallel)
    _check_fusion(loaded)
    _tell_fallback(loaded, telemetry)
    return loaded


def _tell_fallback(loaded: dict[TaskName, LoadedModel], telemetry: Telemetry) -> None:
    """Falling back to the CPU is loud: one warning a reason, with the models that it holds for."""
    reasons: dict[str, list[str]] = {}
    for ready in loaded.values():
        if ready.runner.fallback:
            reasons.setdefault(ready.runner.fallback, []).append(ready.model.name)
    for reason, models in reasons.items():
        telemetry.log.warning("inference.cpu_fallback", models=models, reason=reason)


def _lane_maker(
    model: Model,
    runner: Runner,
    pictures: ResultCache[Seen],
    settings: InferenceSettings,
    zero_shot: ZeroShot | None,
) -> Callable[[Bindings], Lane[Any, Any]]:
    manifest = model.manifest
    output = manifest.output
    entry = manifest.input
    if manifest.task == "fusion":
        return lambda bindings: FusionLane(bindings, output.name)
    assert entry is not None  # parse_manifest has seen to it, and to the tokenizer
    if manifest.task == "tagger":
        return lambda bindings: PictureLane(
            bindings,
            entry,
            (output.name, output.vector, output.kind),
            model_sha256=runner.sha256,
            cache=pictures,
            max_pixels=settings.max_pixels,
            top=settings.top_tags,
            zero_shot=zero_shot,
            buckets=runner.spec.buckets,
        )
    assert manifest.tokenizer is not None
    assert model.tokenizer is not None
    encoder = TextEncoder(model.tokenizer, manifest.tokenizer, model.name)
    most = runner.spec.buckets[-1]
    return lambda bindings: TextLane(bindings, encoder, most, ids=entry.name, mask=entry.mask, output=output.name)


def _check_fusion(loaded: dict[TaskName, LoadedModel]) -> None:
    """The fusion model must take the vector that the tagger gives."""
    fusion, tagger = loaded.get("fusion"), loaded.get("tagger")
    if fusion is None or tagger is None:
        return
    vector = tagger.model.manifest.output.vector
    given = next((output.row for output in tagger.runner.spec.outputs if output.name == vector), None)
    taken = fusion.runner.spec.inputs[1].row
    if given != taken:
        raise ModelError(
            f"Model '{fusion.model.name}' takes features of shape {taken}, '{tagger.model.name}' gives {given}; "
            "install versions that belong together."
        )
