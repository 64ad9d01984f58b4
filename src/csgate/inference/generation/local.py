"""A text model of a folder, run here: many conversations at once, each streamed as it is written.

CPU folders are run by ``local_rows`` where their graph allows it, which is why and how is told there; the others, and
all on CUDA, by onnxruntime-genai's Engine (``local_engine``).
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import trio

from csgate.config import GenerationSettings
from csgate.errors import BadEnvelope, ConfigError, ModelError, Overloaded, TurnTimeout
from csgate.inference.generation.local_engine import EngineStepper
from csgate.inference.generation.local_folder import LocalFolder, read_folder
from csgate.inference.generation.local_prompt import Prompter
from csgate.inference.generation.local_rows import RowGraph, Rows
from csgate.inference.generation.local_step import Stepper
from csgate.inference.generation.local_text import TextStream
from csgate.inference.generation.local_thread import JOIN_TIMEOUT_S, Answer, EngineThread
from csgate.inference.generation.request import Generated, GenerationRequest, GeneratorInfo
from csgate.inference.runner import import_runtime
from csgate.telemetry import Telemetry

QUICK_PROMPT_CHARS: Final = 800
"""Longer prompts are turned into tokens in a worker thread: they take more than half a millisecond."""
QUICK_PROMPT_TURNS: Final = 16
"""So do those of many turns, however short: a turn costs about 10 µs."""

Device = Literal["auto", "cuda", "cpu"]


class LocalGenerator:
    """A ``Generator`` over a folder. Made by ``open_local_generator``."""

    def __init__(
        self,
        thread: EngineThread,
        prompters: tuple[Prompter, Prompter],
        decode: Callable[[Sequence[int]], str],
        info: GeneratorInfo,
        settings: GenerationSettings,
        context_tokens: int,
        telemetry: Telemetry,
    ) -> None:
        """``prompters``: one for Trio's thread, one for worker threads, which use it one at a time."""
        self._thread = thread
        self._prompter, self._prompter_aside = prompters
        self._aside = trio.CapacityLimiter(1)
        self._decode = decode
        self._info = info
        self._max_tokens = settings.max_tokens
        self._context_tokens = context_tokens
        metrics = telemetry.metrics
        self._first_token = metrics.first_token.labels(info.name)
        self._rate = metrics.tokens_per_second.labels(info.name)
        self._generations = metrics.generations

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    def count_tokens(self, text: str) -> int:
        """How many tokens ``text`` is."""
        return self._prompter.count(text)

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        """Writes an answer; see ``Generator.generate``.

        ``max_tokens`` of the request is cut to that of the settings. Pictures are not looked at.
        """
        began = trio.current_time()
        outcome = "cancelled"
        try:
            with trio.move_on_at(request.deadline) as scope:
                answer = await self._start(request, on_text, began)
                try:
                    await answer.ended.wait()
                finally:
                    if not answer.ended.is_set():
                        self._thread.abandon(answer)
            if scope.cancelled_caught:
                outcome = "timeout"
                raise TurnTimeout(f"the deadline passed before {self._info.name} had finished")
            if answer.error is not None:
                outcome = "failed"
                raise answer.error
            assert answer.finish is not None  # it ended without an error
            outcome = answer.finish
        except Overloaded:
            outcome = "overloaded"
            raise
        except BadEnvelope:
            outcome = "refused"
            raise
        finally:
            self._generations.labels(self._info.name, outcome).inc()
        return self._generated(answer, began)

    async def _start(self, request: GenerationRequest, on_text: Callable[[str], None], began: float) -> Answer:
        turns = request.utterances
        if len(turns) <= QUICK_PROMPT_TURNS and sum(len(entry.text) for entry in turns) <= QUICK_PROMPT_CHARS:
            ids = self._prompter.ids(turns)
        else:
            ids = await trio.to_thread.run_sync(self._prompter_aside.ids, turns, limiter=self._aside)
        sampling = request.sampling
        answer = Answer(
            ids,
            sampling,
            max(1, min(sampling.max_tokens, self._max_tokens, self._context_tokens - len(ids))),
            on_text,
            TextStream(self._decode, (*sampling.stop, *self._prompter.stops)),
            request.principal,
            request.priority,
            began,
        )
        self._thread.submit(answer)
        return answer

    def _generated(self, answer: Answer, began: float) -> Generated:
        assert answer.finish is not None
        first_s = None
        if answer.first_at is not None and answer.last_at is not None:
            first_s = answer.first_at - began
            self._first_token.observe(first_s)
            if answer.last_at > answer.first_at:
                self._rate.observe((answer.tokens - 1) / (answer.last_at - answer.first_at))
        return Generated(
            "".join(answer.text),
            answer.finish,
            self._info.name,
            len(answer.ids),
            answer.tokens,
            first_s,
            trio.current_time() - began,
        )


@asynccontextmanager
async def open_local_generator(
    folder: Path,
    settings: GenerationSettings,
    telemetry: Telemetry,
    *,
    device: Device = "auto",
    device_id: int = 0,
    threads: int = 1,
    runtime: Any = None,
) -> AsyncIterator[LocalGenerator]:
    """The model of ``folder``, loaded and ready; leaving ends its thread, and answers in the making with it.

    ``device``: where a folder that was built for CUDA runs: ``auto`` takes CUDA if it is there, ``cuda`` insists on it.
    One that was built for the CPU runs there whatever this says. ``threads``: of a run on the CPU.
    ``runtime``: the onnxruntime_genai module, to be replaced in tests.

    Raises:
        ModelError: the folder cannot be used.
        ConfigError: onnxruntime-genai is not installed, or the device is missing.
    """
    runtime = runtime or import_genai()
    read = await trio.to_thread.run_sync(read_folder, folder)
    cuda = _on_cuda(read, device, runtime)
    budget = min(settings.prompt_tokens, read.context_tokens - 1)
    length = min(read.context_tokens, budget + settings.max_tokens)
    places = settings.max_batch_cuda if cuda else settings.max_batch
    loader = _Loader(
        read,
        runtime,
        places,
        length,
        telemetry,
        cuda=cuda,
        device_id=device_id,
        threads=threads,
        workers=settings.workers,
    )
    tokenizers = await trio.to_thread.run_sync(loader.load)
    thread = EngineThread(read.name, loader.build, telemetry, places=places, queue_items=settings.queue_items)
    try:
        await thread.start()
        info = GeneratorInfo(read.name, "local", read.style, thread.provider, budget)
        telemetry.log.info(
            "generation.ready", model=read.name, provider=thread.provider, by=loader.by, licence=read.licence
        )
        prompters = [Prompter(tokenizer, read.markers, budget, tokenizer.bos_token_id) for tokenizer in tokenizers[:2]]
        yield LocalGenerator(
            thread, (prompters[0], prompters[1]), tokenizers[2].decode, info, settings, length, telemetry
        )
    finally:
        thread.stop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + JOIN_TIMEOUT_S + 1):
            if not await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True):
                telemetry.log.error("generation.thread_stuck", model=read.name)


def import_genai() -> Any:
    """The onnxruntime_genai module, after ONNX Runtime has found its CUDA libraries.

    Raises:
        ConfigError: it is not installed.
    """
    import_runtime()
    try:
        import onnxruntime_genai
    except ImportError as error:
        raise ConfigError(
            "onnxruntime-genai is not installed; run pip install 'csgate[cpu]', or 'csgate[cuda]' on a GPU machine."
        ) from error
    return onnxruntime_genai


def _on_cuda(folder: LocalFolder, device: Device, runtime: Any) -> bool:
    """Whether to run on CUDA: the folder says what it was built for, and its graph has the kernels of that alone."""
    cuda = device != "cpu" and folder.for_cuda and bool(runtime.is_cuda_available())
    if device == "cuda" and folder.for_cuda and not cuda:
        raise ConfigError("The device is cuda, but onnxruntime-genai finds no CUDA here; install 'csgate[cuda]'.")
    if folder.paged and not cuda:
        raise ModelError(
            f"The generation model {folder.path} has a paged cache, which needs CUDA; build it with -e cpu."
        )
    return cuda


class _Loader:
    """Loads a folder once and makes steppers over it."""

    def __init__(
        self,
        folder: LocalFolder,
        runtime: Any,
        places: int,
        length: int,
        telemetry: Telemetry,
        *,
        cuda: bool,
        device_id: int,
        threads: int,
        workers: int,
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._places = places
        self._length = length
        self._log = telemetry.log
        self._cuda = cuda
        self._device_id = device_id
        self._threads = threads
        self._workers = workers
        self._graph: RowGraph | None = None
        self._model: Any = None

    @property
    def by(self) -> str:
        """What runs the model, for the log."""
        return "rows" if self._graph is not None else "engine"

    def load(self) -> list[Any]:
        """Loads the model; three tokenizers: for Trio's thread, for worker threads, for the engine's.

        Raises:
            ModelError: it cannot be loaded.
        """
        try:
            if not self._cuda:
                self._graph = self._load_graph()
            if self._graph is None:
                self._model = self._runtime.Model(self._configure())
            return [self._runtime.Tokenizer(str(self._folder.path)) for _ in range(3)]
        except Exception as error:  # the libraries raise RuntimeError and their own
            raise self._refusal(error) from error

    def build(self) -> Stepper:
        """A new stepper, in the thread that will use it.

        Raises:
            ModelError: it cannot be made.
        """
        try:
            if self._graph is not None:
                return Rows(self._graph, self._places, self._length, self._workers)
            return EngineStepper(self._runtime, self._model, self._folder, self._places)
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> ModelError:
        lines = str(error).strip().splitlines() or [repr(error)]
        return ModelError(f"The generation model {self._folder.path} cannot be loaded: {lines[0].rstrip('.')}.")

    def _load_graph(self) -> RowGraph | None:
        """The graph for ``Rows``, or None if it is of another kind."""
        onnxruntime = import_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        path = self._folder.path / str(self._folder.decoder["filename"])
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            graph = RowGraph(session, self._folder)
            graph.try_out()
        except Exception as error:
            self._log.warning("generation.engine_instead_of_rows", model=self._folder.name, reason=str(error))
            return None
        return graph

    def _configure(self) -> Any:
        """The folder's configuration with ours laid over it; the folder itself is not touched."""
        config = self._runtime.Config(str(self._folder.path))
        overlay: dict[str, Any] = {"search": {"num_beams": 1, "num_return_sequences": 1}}
        if self._cuda:
            config.set_provider_option("cuda", "device_id", str(self._device_id))
        else:
            config.clear_providers()
            overlay["model"] = {"decoder": {"session_options": {"intra_op_num_threads": self._threads}}}
        if self._folder.paged:
            overlay["engine"] = {"dynamic_batching": {"max_batch_size": self._places}}
        else:
            overlay["engine"] = {"static_batching": {"max_batch_size": self._places}}
        config.overlay(json.dumps(overlay))
        return config
