"""Local generation by its public door, on a tiny random model."""

import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from tests.inference.generation.llama import change_config, write_llama

from csgate.config import GenerationSettings
from csgate.errors import BadEnvelope, ConfigError, EngineUnavailable, ModelError, Overloaded, TurnTimeout
from csgate.inference.generation import Generator
from csgate.inference.generation.local import LocalGenerator, import_genai, open_local_generator
from csgate.inference.generation.local_prompt import Prompter
from csgate.inference.generation.local_rows import Rows
from csgate.inference.generation.request import Generated, GenerationRequest, Sampling, Utterance
from csgate.telemetry import Telemetry

GREEDY = Sampling(temperature=0, max_tokens=12)
Open = Callable[..., AbstractAsyncContextManager[LocalGenerator]]


@pytest.fixture
def opened(llama: Path, telemetry: Telemetry) -> Open:
    @asynccontextmanager
    async def go(folder: Path = llama, runtime: Any = None, **changes: Any) -> AsyncIterator[LocalGenerator]:
        settings = GenerationSettings(**({"prompt_tokens": 128, "max_tokens": 64} | changes))
        with trio.fail_after(60):
            async with open_local_generator(folder, settings, telemetry, device="cpu", runtime=runtime) as generator:
                yield generator

    return go


def ask(text: str = "where is my order?", sampling: Sampling = GREEDY, **fields: Any) -> GenerationRequest:
    return GenerationRequest((Utterance("system", "be kind"), Utterance("user", text)), sampling, **fields)


async def answer(generator: Generator, request: GenerationRequest) -> Generated:
    pieces: list[str] = []
    generated = await generator.generate(request, pieces.append)
    assert "".join(pieces) == generated.text
    return generated


def endless(folder: Path) -> Path:
    """The same model, but one that never ends by itself."""
    write_llama(folder)
    change_config(folder, model={"eos_token_id": 383})
    return folder


def metric(telemetry: Telemetry, line: str) -> bool:
    return line in telemetry.metrics.render().decode()


async def test_what_it_is(opened: Open) -> None:
    async with opened() as generator:
        info = generator.info
        assert (info.name, info.kind, info.style, info.pictures) == ("tiny-llama", "local", "chat", False)
        assert (info.provider, info.prompt_tokens) == ("CPUExecutionProvider", 128)
        assert generator.count_tokens("refund") >= 1


async def test_an_answer_with_its_figures(opened: Open, telemetry: Telemetry) -> None:
    async with opened() as generator:
        got = await answer(generator, ask())
        assert got.model == "tiny-llama"
        assert got.finish in ("stop", "length")
        assert 1 <= got.completion_tokens <= 12
        assert got.prompt_tokens > 10
        assert got.first_token_s is not None
        assert 0 < got.first_token_s <= got.total_s
        again = await answer(generator, ask())
        assert (again.text, again.completion_tokens) == (got.text, got.completion_tokens)
    assert metric(telemetry, f'csgate_generations_total{{model="tiny-llama",outcome="{got.finish}"}} 2.0')
    assert metric(telemetry, 'csgate_generation_first_token_seconds_count{model="tiny-llama"} 2.0')
    assert metric(telemetry, 'csgate_generation_running{model="tiny-llama"} 0.0')


async def test_many_conversations_at_once_answer_as_each_alone(opened: Open) -> None:
    requests = [ask(f"order {number}", Sampling(temperature=1, seed=number, max_tokens=10)) for number in range(12)]
    async with opened(max_batch=4) as generator:
        alone = [await answer(generator, request) for request in requests]
        together: dict[int, Generated] = {}

        async def one(number: int) -> None:
            together[number] = await answer(generator, requests[number])

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(one, number)
    assert [together[number].text for number in range(12)] == [got.text for got in alone]
    assert len({got.text for got in alone}) > 6


async def test_the_settings_bound_the_answer(opened: Open, tmp_path: Path) -> None:
    folder = endless(tmp_path / "endless")
    async with opened(folder, max_tokens=5) as generator:
        got = await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=999)))
        assert (got.finish, got.completion_tokens) == ("length", 5)
        got = await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=2)))
        assert (got.finish, got.completion_tokens) == ("length", 2)


async def test_the_context_bounds_the_answer(opened: Open, tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "short", context=48)
    change_config(folder, model={"eos_token_id": 383})
    async with opened(folder, prompt_tokens=1024) as generator:
        assert generator.info.prompt_tokens == 47
        got = await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=64)))
        assert got.prompt_tokens + got.completion_tokens == 48
        assert got.finish == "length"


async def test_a_stop_string_is_not_part_of_the_answer(opened: Open, tmp_path: Path) -> None:
    folder = endless(tmp_path / "endless")
    async with opened(folder) as generator:
        whole = await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=40)))
        stop = whole.text[4:7]
        got = await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=40, stop=(stop,))))
    assert got.finish == "stop"
    assert got.text == whole.text[: whole.text.index(stop)]
    assert got.completion_tokens < whole.completion_tokens


async def test_a_prompt_that_is_too_long_is_refused_and_old_turns_are_left_out(
    opened: Open, telemetry: Telemetry
) -> None:
    async with opened() as generator:
        with pytest.raises(BadEnvelope):
            await answer(generator, ask("x " * 2000))
        history = (Utterance("user", "old " * 400), Utterance("assistant", "yes"))
        utterances = (Utterance("system", "be kind"), *history, Utterance("user", "and now?"))
        got = await answer(generator, GenerationRequest(utterances, GREEDY))
        assert got.prompt_tokens < 40
    assert metric(telemetry, 'csgate_generations_total{model="tiny-llama",outcome="refused"} 1.0')


@pytest.mark.parametrize(
    ("turns", "aside"), [(["hi"] * 9, False), (["hi"] * 41, True), (["hi " * 300, "yes", "and?"], True)]
)
async def test_a_prompt_that_takes_long_is_written_in_another_thread(
    opened: Open, monkeypatch: pytest.MonkeyPatch, turns: list[str], aside: bool
) -> None:
    seen: list[bool] = []
    ids = Prompter.ids

    def noting(self: Prompter, utterances: Sequence[Utterance]) -> list[int]:
        seen.append(threading.current_thread() is not threading.main_thread())
        return ids(self, utterances)

    async with opened(prompt_tokens=1000) as generator:
        monkeypatch.setattr(Prompter, "ids", noting)
        said = tuple(Utterance("assistant" if at % 2 else "user", text) for at, text in enumerate(turns))
        with trio.CancelScope() as scope:
            await generator.generate(GenerationRequest(said, GREEDY), lambda text: scope.cancel())
    assert seen == [aside]


async def test_a_null_character_does_not_cut_the_prompt(opened: Open) -> None:
    async with opened() as generator:
        whole, with_null = await answer(generator, ask("ab")), await answer(generator, ask("a\0b"))
    assert (with_null.prompt_tokens, with_null.text) == (whole.prompt_tokens, whole.text)


async def test_cancelling_the_caller_frees_its_place(opened: Open, tmp_path: Path, telemetry: Telemetry) -> None:
    folder = endless(tmp_path / "endless")
    async with opened(folder, max_batch=1, max_tokens=120) as generator:
        pieces: list[str] = []
        with trio.CancelScope() as scope:

            def first(text: str) -> None:
                pieces.append(text)
                scope.cancel()

            await generator.generate(ask(sampling=Sampling(temperature=0, max_tokens=120)), first)
        assert scope.cancelled_caught
        count = len(pieces)
        assert (await answer(generator, ask())).completion_tokens == 12
        assert len(pieces) == count
    assert metric(telemetry, 'csgate_generations_total{model="endless",outcome="cancelled"} 1.0')


class Permits:
    """A step is made for each permit only. ``asked``: one waits for its permit."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._left = threading.Semaphore(0)

    def give(self, steps: int) -> None:
        self._left.release(steps)

    def take(self) -> None:
        self.asked.set()
        assert self._left.acquire(timeout=30)


@pytest.fixture
def permits(monkeypatch: pytest.MonkeyPatch) -> Permits:
    permits = Permits()
    real = Rows.step

    def step(self: Rows) -> Any:
        permits.take()
        return real(self)

    monkeypatch.setattr(Rows, "step", step)
    return permits


async def test_a_deadline_holds_while_waiting_and_while_running(
    opened: Open, tmp_path: Path, telemetry: Telemetry, permits: Permits
) -> None:
    folder = endless(tmp_path / "endless")
    permits.give(3)
    async with opened(folder, max_batch=1) as generator:
        pieces: list[str] = []

        async def run_out() -> None:
            with pytest.raises(TurnTimeout):
                await generator.generate(ask(deadline=trio.current_time() + 0.5), pieces.append)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_out)
            assert await trio.to_thread.run_sync(permits.asked.wait, 30)
            with pytest.raises(TurnTimeout):
                await generator.generate(ask(deadline=trio.current_time() + 0.05), pieces.append)
            with pytest.raises(TurnTimeout):
                await generator.generate(ask(deadline=trio.current_time() - 1), pieces.append)
        permits.give(1000)
        assert (await answer(generator, ask())).completion_tokens == 12
    assert metric(telemetry, 'csgate_generations_total{model="endless",outcome="timeout"} 3.0')


async def test_a_full_queue_refuses(opened: Open, telemetry: Telemetry, permits: Permits) -> None:
    async with opened(max_batch=1, queue_items=1) as generator:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, generator, ask())
            assert await trio.to_thread.run_sync(permits.asked.wait, 30)
            nursery.start_soon(answer, generator, ask())
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await answer(generator, ask())
            permits.give(1000)
    assert metric(telemetry, 'csgate_generations_total{model="tiny-llama",outcome="overloaded"} 1.0')


async def test_after_a_failed_step_the_next_requests_work(
    opened: Open, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as generator:
        expected = await answer(generator, ask())
        with monkeypatch.context() as patch:

            def fail(self: Rows) -> Any:
                raise RuntimeError("illegal instruction")

            patch.setattr(Rows, "step", fail)
            with pytest.raises(EngineUnavailable):
                await answer(generator, ask())
        assert (await answer(generator, ask())).text == expected.text
    assert metric(telemetry, 'csgate_generations_total{model="tiny-llama",outcome="failed"} 1.0')


async def test_a_model_without_a_chat_template_answers_to_plain_text(opened: Open, tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "plain", template=None)
    async with opened(folder) as generator:
        got = await answer(generator, ask())
        assert got.completion_tokens >= 0
        assert got.prompt_tokens == generator.count_tokens("System: be kind\nUser: where is my order?\nAssistant:")


async def test_the_engine_runs_what_rows_cannot(opened: Open, tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "other")
    change_config(folder, model={"eos_token_id": 383}, search={"past_present_share_buffer": False})
    async with opened(folder) as generator:
        results: dict[int, Generated] = {}

        async def one(number: int) -> None:
            sampling = Sampling(temperature=0 if number else 1.0, max_tokens=6, seed=1)
            results[number] = await answer(generator, ask(f"{number}", sampling))

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(one, number)
        sampled = results.pop(0)  # which may draw the end
        assert (sampled.finish, sampled.completion_tokens) == ("length", 6) or sampled.finish == "stop"
        assert [(got.finish, got.completion_tokens) for got in results.values()] == [("length", 6)] * 5
        with trio.move_on_after(0.5) as scope:
            await generator.generate(ask(sampling=Sampling(max_tokens=64)), lambda text: scope.cancel())
        assert (await answer(generator, ask(sampling=Sampling(temperature=0, max_tokens=6)))).completion_tokens == 6


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
async def test_a_file_that_cannot_be_loaded_is_told(opened: Open, tmp_path: Path, file: str) -> None:
    folder = write_llama(tmp_path / "torn")
    (folder / file).write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        async with opened(folder):
            raise AssertionError("it opened")
    assert str(caught.value).count("\n") == 0


async def test_a_paged_folder_needs_cuda(opened: Open, tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "paged")
    change_config(folder, engine={"dynamic_batching": {}})
    with pytest.raises(ModelError, match="needs CUDA"):
        async with opened(folder):
            raise AssertionError("it opened")


def test_without_the_package_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with pytest.raises(ConfigError, match=r"csgate\[cpu\]"):
        import_genai()
