"""The Engine as a stepper: the real one where it runs on a CPU, and one of paper for what CUDA alone does."""

import json
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.inference.generation.llama import change_config, write_llama

from csgate.config import GenerationSettings
from csgate.errors import ConfigError, ModelError
from csgate.inference.generation.local import import_genai, open_local_generator
from csgate.inference.generation.local_engine import STATIC_BATCH, EngineStepper
from csgate.inference.generation.local_folder import LocalFolder, read_folder
from csgate.inference.generation.local_step import Step
from csgate.inference.generation.request import GenerationRequest, Sampling, Utterance
from csgate.telemetry import Telemetry

GREEDY = Sampling(temperature=0)


@pytest.fixture
def stepper(llama: Path) -> Iterator[EngineStepper]:
    genai = import_genai()
    stepper = EngineStepper(genai, genai.Model(str(llama)), read_folder(llama), 8)
    yield stepper
    stepper.close()


def test_a_static_batch_is_small_and_takes_nobody_in(stepper: EngineStepper) -> None:
    assert stepper.provider == "CPUExecutionProvider"
    assert stepper.room() == STATIC_BATCH
    stepper.add(1, [10, 20, 30], GREEDY, 5)
    stepper.add(2, [10, 20], Sampling(temperature=1, seed=1), 5)
    assert stepper.room() == 0
    tokens = []
    while stepper.room() == 0:
        tokens += stepper.step()
    assert {step.key for step in tokens} == {1, 2}
    assert {step.end for step in tokens if step.end} <= {"stop", "length"}
    assert stepper.room() == STATIC_BATCH


def test_a_removed_request_is_heard_of_no_more(stepper: EngineStepper) -> None:
    stepper.add(1, [10, 20, 30], GREEDY, 9)
    stepper.add(2, [10, 20], GREEDY, 9)
    stepper.step()
    stepper.remove(1)
    stepper.remove(1)
    steps = []
    while stepper.room() == 0:
        steps += stepper.step()
    assert {step.key for step in steps} == {2}


def test_a_request_that_cannot_be_served_is_refused(stepper: EngineStepper) -> None:
    with pytest.raises(RuntimeError):
        stepper.add(1, [], GREEDY, 9)
    assert stepper.room() == STATIC_BATCH


class Flags(IntFlag):
    TOKEN = 1
    TURN_FINISHED = 2
    CAPACITY_BLOCKED = 4
    FAILED = 8


class Reasons(IntEnum):
    EOS = 1
    STOP_STRING = 2
    MAX_GENERATED_TOKENS = 3
    MAX_SESSION_TOKENS = 4
    FAILED = 6


class PaperRequest:
    def __init__(self, most: int) -> None:
        self.most = most
        self.turn: dict[str, Any] = {}
        self.closed = False

    def begin_turn(self, ids: Any, turn: Any) -> int:
        self.turn = turn.given | {"ids": ids.tolist()}
        return 1

    def cancel_turn(self, turn_id: int) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class PaperOptions:
    """Keeps whatever is set."""

    def __init__(self, request: Any = None) -> None:
        self.given: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda value: self.given.__setitem__(name.removeprefix("set_"), value)


class PaperGenai:
    """Of onnxruntime_genai what an Engine on CUDA needs; every request gets token 7, then ends."""

    EngineEventFlags = Flags
    FinishReason = Reasons
    RequestOptions = PaperOptions
    TurnOptions = PaperOptions

    def __init__(self) -> None:
        self.requests: list[PaperRequest] = []
        self.events: list[list[SimpleNamespace]] = []
        self.overlays: list[dict[str, Any]] = []
        self.configured: list[tuple[Any, ...]] = []
        self.fails = ""
        self.cuda = True

    def is_cuda_available(self) -> bool:
        return self.cuda

    def Config(self, path: str) -> Any:
        return SimpleNamespace(
            overlay=lambda text: self.overlays.append(json.loads(text)),
            set_provider_option=lambda *option: self.configured.append(option),
        )

    def Model(self, config: Any) -> Any:
        if self.fails == "model":
            raise RuntimeError("CUDA failure 2: out of memory\nat some line")
        return SimpleNamespace(device_type="cuda")

    def Tokenizer(self, path: str) -> Any:
        return import_genai().Tokenizer(path)

    def Engine(self, model: Any) -> Any:
        if self.fails == "engine":
            raise RuntimeError("no blocks")
        return SimpleNamespace(
            create_event_buffer=lambda capacity: [], create_request=self._create, run=lambda buffer: self._run()
        )

    def _create(self, options: PaperOptions) -> PaperRequest:
        self.requests.append(PaperRequest(options.given["max_session_tokens"]))
        return self.requests[-1]

    def _run(self) -> list[SimpleNamespace]:
        if self.events:
            return self.events.pop(0)
        return [
            event(request, Flags.TOKEN | Flags.TURN_FINISHED, 7, Reasons.MAX_GENERATED_TOKENS)
            for request in self.requests
            if not request.closed
        ]


def event(request: Any, flags: Flags, token: int = 0, reason: Any = None) -> SimpleNamespace:
    return SimpleNamespace(request=request, flags=flags, token=token, finish_reason=reason, error_code=6)


@pytest.fixture
def paged(tmp_path: Path) -> LocalFolder:
    folder = write_llama(tmp_path / "paged")
    decoder = read_folder(folder).decoder | {"session_options": {"provider_options": [{"cuda": {}}]}}
    change_config(folder, model={"decoder": decoder}, engine={"dynamic_batching": {"max_batch_size": 100}})
    return read_folder(folder)


def paper_stepper(paged: LocalFolder) -> tuple[PaperGenai, EngineStepper]:
    genai = PaperGenai()
    return genai, EngineStepper(genai, genai.Model(None), paged, 3)


def test_a_paged_engine_takes_newcomers_in_and_is_told_all(paged: LocalFolder) -> None:
    genai, stepper = paper_stepper(paged)
    assert stepper.provider == "CUDAExecutionProvider"
    stepper.add(1, [4, 5], Sampling(temperature=0.5, top_p=0.8, seed=2**64 + 9), 6)
    assert stepper.room() == 2
    assert genai.requests[0].most == 8
    assert genai.requests[0].turn == {
        "ids": [4, 5],
        "max_generated_tokens": 6,
        "do_sample": True,
        "temperature": 0.5,
        "top_p": 0.8,
        "top_k": 50,
        "seed": 9,
    }


def test_what_its_events_mean(paged: LocalFolder) -> None:
    genai, stepper = paper_stepper(paged)
    for key in range(3):
        stepper.add(key, [4], GREEDY, 6)
    a, b, c = genai.requests
    genai.events = [
        [event(a, Flags.TOKEN, 5), event(b, Flags.CAPACITY_BLOCKED), event(PaperRequest(1), Flags.TOKEN, 5)],
        [
            event(a, Flags.TURN_FINISHED, 0, Reasons.EOS),
            event(b, Flags.TOKEN | Flags.TURN_FINISHED, 1, Reasons.EOS),
            event(c, Flags.TURN_FINISHED | Flags.FAILED, 0, Reasons.FAILED),
        ],
        [event(None, Flags.FAILED)],
    ]
    assert stepper.step() == [Step(0, 5)]
    assert stepper.step() == [Step(0, None, "stop"), Step(1, None, "stop"), Step(2, None, "failed")]
    assert stepper.room() == 3
    with pytest.raises(RuntimeError, match="engine failed"):
        stepper.step()


async def test_a_generator_on_cuda(paged: LocalFolder, telemetry: Telemetry) -> None:
    genai = PaperGenai()
    settings = GenerationSettings(max_batch_cuda=5)
    async with open_local_generator(paged.path, settings, telemetry, device_id=1, runtime=genai) as generator:
        assert generator.info.provider == "CUDAExecutionProvider"
        got = await generator.generate(GenerationRequest((Utterance("user", "hi"),)), lambda text: None)
        assert (got.finish, got.completion_tokens) == ("length", 1)
    assert genai.overlays[0]["engine"] == {"dynamic_batching": {"max_batch_size": 5}}
    assert genai.configured == [("cuda", "device_id", "1")]
    assert genai.requests[0].closed


async def test_a_folder_that_was_built_for_the_cpu_runs_there(llama: Path, telemetry: Telemetry) -> None:
    genai = PaperGenai()
    async with open_local_generator(llama, GenerationSettings(), telemetry, device="cuda", runtime=genai) as generator:
        assert generator.info.provider == "CPUExecutionProvider"
    assert not genai.configured


async def test_a_folder_for_cuda_without_pages_batches_statically(paged: LocalFolder, telemetry: Telemetry) -> None:
    tree = json.loads((paged.path / "genai_config.json").read_text())
    del tree["engine"]
    (paged.path / "genai_config.json").write_text(json.dumps(tree))
    genai = PaperGenai()
    async with open_local_generator(paged.path, GenerationSettings(), telemetry, device="cuda", runtime=genai):
        assert genai.overlays[0]["engine"] == {"static_batching": {"max_batch_size": 64}}


async def test_cuda_that_is_not_there_is_told(paged: LocalFolder, telemetry: Telemetry) -> None:
    genai = PaperGenai()
    genai.cuda = False
    with pytest.raises(ConfigError, match="no CUDA"):
        async with open_local_generator(paged.path, GenerationSettings(), telemetry, device="cuda", runtime=genai):
            raise AssertionError("it opened")


@pytest.mark.parametrize(("fails", "words"), [("model", "failure 2: out of memory"), ("engine", "no blocks")])
async def test_what_cannot_be_loaded_is_told_in_one_sentence(
    paged: LocalFolder, telemetry: Telemetry, fails: str, words: str
) -> None:
    genai = PaperGenai()
    genai.fails = fails
    with pytest.raises(ModelError, match=words) as caught:
        async with open_local_generator(paged.path, GenerationSettings(), telemetry, runtime=genai):
            raise AssertionError("it opened")
    assert isinstance(caught.value, ConfigError)
    assert "\n" not in str(caught.value)
