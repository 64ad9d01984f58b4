"""The engine: every task's model, its batcher and the cache, opened together and warm on return."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from csgate.background import stand_back
from csgate.config import InferenceSettings
from csgate.errors import EngineUnavailable
from csgate.events import Intent, Picture
from csgate.inference.batcher import Batcher, open_batcher
from csgate.inference.bindings import Array
from csgate.inference.cache import ResultCache
from csgate.inference.cores import Cores, cores_to_keep
from csgate.inference.loading import LoadedModel, load_models
from csgate.inference.manifest import TaskName
from csgate.inference.reading import Reader, open_reader
from csgate.inference.reading_model import NICENESS, TextModel, load_text_model
from csgate.inference.repository import SENTIMENTS, Model
from csgate.inference.results import (
    EngineInfo,
    IntentResult,
    ModelInfo,
    PictureResult,
    ReadText,
    SentimentResult,
    ServedTask,
    Timing,
    Vector,
)
from csgate.inference.runner import Runner, RunnerFactory, open_runner
from csgate.inference.tasks import (
    HASHED_ON_LOOP_BYTES,
    PictureJob,
    Seen,
    TensorJob,
    name_tags,
    picture_key,
    rank_intents,
    read_sentiment,
    softmax,
    text_key,
)
from csgate.telemetry import Telemetry

RANKING_BYTES: Final = 96
"""About what one entry of a cached ranking takes."""

Ranking = tuple[Intent, ...]


class Station:
    """One model at work: what it is, where it runs, its batcher."""

    __slots__ = ("batcher", "hits", "misses", "model", "runner")

    def __init__(self, model: Model, runner: Runner, batcher: Batcher[Any, Any], telemetry: Telemetry) -> None:
        self.model = model
        self.runner = runner
        self.batcher = batcher
        self.hits = telemetry.metrics.cache_hits.labels(model.name)
        self.misses = telemetry.metrics.cache_misses.labels(model.name)

    def info(self) -> ModelInfo:
        manifest = self.model.manifest
        return ModelInfo(
            name=manifest.name,
            version=manifest.version,
            task=manifest.task,
            precision=self.runner.precision,
            provider=self.runner.provider,
            sha256=self.runner.sha256,
            labels=self.model.labels.names,
            licence=manifest.licence,
        )


class Engine:
    """Asks the models. Made by ``open_engine``.

    In every call ``share`` is the tenant (text results are shared inside it alone), ``principal`` is who queues
    fairly beside the others of the same ``priority`` (0 is the most urgent), and ``deadline`` is Trio time.

    Every call may raise ``Overloaded`` (the queue is full), ``TurnTimeout`` (the deadline passed) and
    ``EngineUnavailable`` (no model for the task, or its run failed).
    """

    def __init__(
        self,
        stations: dict[TaskName, Station],
        pictures: ResultCache[Seen],
        texts: ResultCache[Ranking | Vector],
        reader: Reader | None = None,
    ) -> None:
        self._stations = stations
        self._pictures = pictures
        self._texts = texts
        self._reader = reader
        models: dict[ServedTask, ModelInfo] = {task: station.info() for task, station in stations.items()}
        if reader is not None:
            models["reader"] = reader.info
        first = next(iter(models.values()), None)
        self.info: Final = EngineInfo(
            provider=first.provider if first else "none", precision=first.precision if first else "none", models=models
        )

    def can(self, task: ServedTask) -> bool:
        """Whether a model for ``task`` is there."""
        return task in self.info.models

    async def classify_intent(
        self,
        text: str,
        *,
        share: str = "",
        principal: str = "",
        priority: int = 1,
        deadline: float = float("inf"),
    ) -> IntentResult:
        """What a customer wants."""
        station = self._station("intent")
        key = text_key(station.runner.sha256, share, text)
        kept = self._texts.get(key)
        if kept is not None:
            station.hits.inc()
            await trio.lowlevel.checkpoint()
            return IntentResult(kept, Timing(cached=True))  # type: ignore[arg-type]  # the key names the model
        station.misses.inc()
        logits, timing = await station.batcher.submit(
            text, principal=(share, principal), priority=priority, deadline=deadline
        )
        output = station.model.manifest.output
        ranking = rank_intents(softmax(logits, output.temperature), station.model.labels.names)
        self._texts.put(key, ranking, len(ranking) * RANKING_BYTES)
        return IntentResult(ranking, timing)

    async def judge_sentiment(
        self,
        text: str,
        tags: Vector | None = None,
        *,
        share: str = "",
        principal: str = "",
        priority: int = 1,
        deadline: float = float("inf"),
    ) -> SentimentResult:
        """How a customer feels, by the text alone or by the text and a picture's ``vector`` (``PictureResult``)."""
        station = self._station("sentiment")
        submit = partial(station.batcher.submit, principal=(share, principal), priority=priority, deadline=deadline)
        key = text_key(station.runner.sha256, share, text)
        logits: Any = self._texts.get(key)
        if logits is not None:
            station.hits.inc()
            timing = Timing(cached=True)
            await trio.lowlevel.checkpoint()
        else:
            station.misses.inc()
            logits, timing = await submit(text)
            self._texts.put(key, logits, logits.nbytes)
        fusion = self._stations.get("fusion")
        fused = tags is not None and fusion is not None
        if tags is not None and fusion is not None:
            ordered = logits[[station.model.labels.names.index(name) for name in SENTIMENTS]]
            logits, more = await fusion.batcher.submit(
                (ordered, tags), principal=(share, principal), priority=priority, deadline=deadline
            )
            timing = _together(timing, more)
            station = fusion
        probabilities = softmax(logits, station.model.manifest.output.temperature)
        return SentimentResult(read_sentiment(probabilities, station.model.labels.names), timing, fused)

    async def tag_picture(
        self,
        picture: Picture,
        *,
        share: str = "",
        principal: str = "",
        priority: int = 1,
        deadline: float = float("inf"),
        language: str = "en",
    ) -> PictureResult:
        """What a picture shows. The same picture sent again, by anybody, costs no run.

        Raises:
            BadBase64, BadImage, UnsupportedImage, ImageTooLarge: the picture is refused; its batch is not touched.
        """
        station = self._station("tagger")
        key = None
        seen: Seen | None = None
        if self._pictures.keeps and len(picture.data) <= HASHED_ON_LOOP_BYTES:
            key = picture_key(station.runner.sha256, picture)
            seen = self._pictures.get(key)
        if seen is not None:
            timing = Timing(cached=True)
            await trio.lowlevel.checkpoint()
        else:
            seen, timing = await station.batcher.submit(
                PictureJob(picture, key), principal=(share, principal), priority=priority, deadline=deadline
            )
        (station.misses if timing.batch else station.hits).inc()
        labels = station.model.labels
        return PictureResult(
            tags=name_tags(seen.best, labels.names, labels.shown(language)),
            vector=seen.vector,
            width=seen.width,
            height=seen.height,
            format=seen.format,
            animated=seen.animated,
            timing=timing,
            cached=timing.cached,
            kind=seen.kind[0] if seen.kind else None,
            kind_score=seen.kind[1] if seen.kind else 0.0,
        )

    async def read_picture(
        self,
        picture: Picture,
        *,
        share: str = "",
        principal: str = "",
        priority: int = 1,
        deadline: float = float("inf"),
    ) -> ReadText:
        """The text in a picture, which takes up to ``inference.ocr_seconds``, at a low priority of the processor's.

        Where no line is found, which takes about half the time, nothing more is done.

        Raises:
            BadBase64, BadImage, UnsupportedImage, ImageTooLarge: the picture is refused.
        """
        if self._reader is None:
            raise EngineUnavailable("no reader is installed")
        return await self._reader.read(picture, principal=(share, principal), priority=priority, deadline=deadline)

    async def tag_tensor(
        self,
        row: Array,
        *,
        principal: str = "",
        priority: int = 1,
        deadline: float = float("inf"),
    ) -> tuple[Vector, Timing]:
        """Tag scores, float32[T], of a row that is prepared already (the tagger's input row shape and dtype)."""
        station = self._station("tagger")
        scores: tuple[Vector, Timing] = await station.batcher.submit(
            TensorJob(row), principal=principal, priority=priority, deadline=deadline
        )
        return scores

    def _station(self, task: TaskName) -> Station:
        station = self._stations.get(task)
        if station is None:
            raise EngineUnavailable(f"no model for the task '{task}' is installed")
        return station


@asynccontextmanager
async def open_engine(
    settings: InferenceSettings, telemetry: Telemetry, *, runner_factory: RunnerFactory | None = None
) -> AsyncIterator[Engine]:
    """Loads every model, warms it up, starts its batcher; leaving it ends the worker threads.

    Raises:
        ConfigError: a model or the device cannot be used (ModelError for the former).
    """
    pictures: ResultCache[Seen] = ResultCache(settings.cache_items, settings.cache_bytes)
    texts: ResultCache[Ranking | Vector] = ResultCache(settings.cache_items, settings.cache_bytes // 4)
    loaded, text_model = await trio.to_thread.run_sync(
        _load, settings, telemetry, runner_factory or open_runner, pictures
    )
    alone = settings.keep_cores and settings.intra_op_threads == 1  # one thread a worker
    cores = Cores(cores_to_keep(settings.workers) if alone else ())
    async with AsyncExitStack() as stack:
        stations: dict[TaskName, Station] = {}
        for task, ready in loaded.items():
            batcher: Batcher[Any, Any] = await stack.enter_async_context(
                open_batcher(
                    ready.model.name,
                    ready.lanes,
                    ready.plan,
                    telemetry,
                    max_items=settings.queue_items,
                    max_delay_s=settings.max_delay_ms / 1e3,
                    parallel=ready.parallel,
                    cores=cores,
                )
            )
            station = stations[task] = Station(ready.model, ready.runner, batcher, telemetry)
            info = station.info()
            telemetry.metrics.model_info.labels(info.name, info.version, info.provider, info.precision).set(1)
            telemetry.log.info(
                "inference.model_ready",
                model=info.name,
                version=info.version,
                task=task,
                provider=info.provider,
                precision=info.precision,
                batch=ready.plan.most,
                parallel=ready.parallel,
                cores=list(cores.kept),
            )
        reader = None
        if text_model is not None:
            reader = await stack.enter_async_context(open_reader(text_model, settings, telemetry))
        yield Engine(stations, pictures, texts, reader)


def _load(
    settings: InferenceSettings, telemetry: Telemetry, open_one: RunnerFactory, pictures: ResultCache[Seen]
) -> tuple[dict[TaskName, LoadedModel], TextModel | None]:
    """All models; those that read last, as warming up the others measures them, and in a thread of their own, as
    priority is inherited."""
    loaded = load_models(settings, telemetry, open_one, pictures)
    if settings.ocr == "off":
        return loaded, None
    with ThreadPoolExecutor(1, "csgate-reader-load", initializer=partial(stand_back, NICENESS)) as thread:
        return loaded, thread.submit(load_text_model, settings, telemetry.log).result()


def _together(first: Timing, second: Timing) -> Timing:
    """The timing of two runs, one after the other."""
    return Timing(
        queue_ms=first.queue_ms + second.queue_ms,
        prepare_ms=first.prepare_ms + second.prepare_ms,
        run_ms=first.run_ms + second.run_ms,
        total_ms=first.total_ms + second.total_ms,
        batch=max(first.batch, second.batch),
    )
