import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.inference.generation.llama import change_config, write_llama

from csgate.inference.generation import local_rows
from csgate.inference.generation.local_folder import read_folder
from csgate.inference.generation.local_rows import RowGraph, Rows, UnsuitableGraph
from csgate.inference.generation.local_step import Step
from csgate.inference.generation.request import Sampling

GREEDY = Sampling(temperature=0)
PROMPTS = [[5 + i, 40, 41 + i, *range(60, 60 + 3 * i)] for i in range(6)]


def open_graph(folder: Path) -> RowGraph:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return RowGraph(session, read_folder(folder))


@pytest.fixture(scope="module")
def graph(llama: Path) -> RowGraph:
    return open_graph(llama)


def run(rows: Rows, into: dict[int, list[int]], ends: dict[int, Any]) -> None:
    for step in rows.step():
        if step.token is not None:
            into[step.key].append(step.token)
        if step.end is not None:
            ends[step.key] = step.end


def finish(rows: Rows, capacity: int) -> tuple[dict[int, list[int]], dict[int, Any]]:
    into: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, Any] = {}
    while rows.room() < capacity:
        run(rows, into, ends)
    return dict(into), ends


def alone(graph: RowGraph, prompt: list[int], limit: int = 20, sampling: Sampling = GREEDY) -> list[int]:
    rows = Rows(graph, 1, 256)
    rows.add(1, prompt, sampling, limit)
    return finish(rows, 1)[0].get(1, [])


def genai_greedy(folder: Path, prompt: list[int], limit: int) -> list[int]:
    import onnxruntime_genai as genai

    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(do_sample=False, max_length=len(prompt) + limit)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(np.array(prompt, np.int32))
    tokens: list[int] = []
    while not generator.is_done():
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return tokens


@pytest.mark.parametrize("changes", [{}, {"positions": True}, {"bits": 8}, {"heads": 4, "kv_heads": 2, "hidden": 64}])
def test_the_tokens_are_those_of_genai_s_own_generator(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_llama(tmp_path / "llama", **changes)
    change_config(folder, model={"eos_token_id": 383})
    graph = open_graph(folder)
    graph.try_out()
    for prompt in PROMPTS[:3]:
        expected = genai_greedy(folder, prompt, 20)
        assert alone(graph, prompt) == [token for token in expected if token != 383]


@pytest.mark.parametrize(("capacity", "workers"), [(3, 1), (3, 2), (5, 2), (6, 3), (6, 9)])
def test_rows_of_any_age_share_a_step_and_do_not_touch_each_other(
    graph: RowGraph, capacity: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_rows, "LEAST_ROWS", 1)
    expected = {key: alone(graph, prompt, 8 + key) for key, prompt in enumerate(PROMPTS)}
    rows = Rows(graph, capacity, 256, workers)
    real, threads = rows._run, set()

    def noted(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return real(*arguments)

    monkeypatch.setattr(rows, "_run", noted)
    into: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, Any] = {}
    waiting = list(enumerate(PROMPTS))
    while waiting or rows.room() < capacity:
        if waiting and rows.room():
            key, prompt = waiting.pop(0)
            rows.add(key, prompt, GREEDY, 8 + key)
        run(rows, into, ends)
    assert dict(into) == {key: tokens for key, tokens in expected.items() if tokens}
    assert set(ends) == set(expected)
    rows.close()
    assert len(threads) <= workers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("csgate-crew")]


def test_a_step_that_fails_in_one_thread_fails_when_all_are_done(
    graph: RowGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_rows, "LEAST_ROWS", 2)
    rows = Rows(graph, 6, 256, 3)
    for key in range(6):
        rows.add(key, PROMPTS[key], GREEDY, 10)
    rows.step()
    real, done = rows._run, []

    def broken(row: int, *arguments: Any) -> Any:
        if row == 0:
            raise RuntimeError("the first part")
        time.sleep(0.05)
        done.append(row)
        return real(row, *arguments)

    monkeypatch.setattr(rows, "_run", broken)
    with pytest.raises(RuntimeError, match="the first part"):
        rows.step()
    assert sorted(done) == [2, 4]
    rows.close()


def test_a_long_prompt_is_computed_in_pieces_between_the_others_steps(
    graph: RowGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [(7 * i) % 300 + 5 for i in range(60)]
    expected = alone(graph, prompt, 12)
    other = alone(graph, PROMPTS[0], 30)
    monkeypatch.setattr(local_rows, "PROMPT_TOKENS_A_STEP", 9)
    rows = Rows(graph, 4, 256)
    rows.add(0, PROMPTS[0], GREEDY, 30)
    rows.add(1, PROMPTS[1], GREEDY, 2)
    rows.step()
    rows.add(2, prompt, GREEDY, 12)
    into: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, Any] = {}
    for _ in range(6):
        run(rows, into, ends)
    assert 2 not in into
    assert len(into[0]) >= 5  # went on all the while; and answer 1 has ended, so the long one moves to its row
    while rows.room() < 4:
        run(rows, into, ends)
    assert into[2] == expected
    assert into[0] == other[-len(into[0]) :]


def test_an_answer_ends_at_its_limit_or_where_the_model_ends_it(graph: RowGraph, llama: Path, tmp_path: Path) -> None:
    tokens = alone(graph, PROMPTS[0], 20)
    rows = Rows(graph, 2, 256)
    rows.add(1, PROMPTS[0], GREEDY, 3)
    assert finish(rows, 2) == ({1: tokens[:3]}, {1: "length"})
    at = next(at for at, token in enumerate(tokens) if token not in tokens[:at] and at > 1)
    folder = write_llama(tmp_path / "ending")
    change_config(folder, model={"eos_token_id": [tokens[at]]})
    rows = Rows(open_graph(folder), 2, 256)
    rows.add(1, PROMPTS[0], GREEDY, 20)
    assert finish(rows, 2) == ({1: tokens[:at]}, {1: "stop"})


def test_an_answer_may_be_removed_at_any_time(graph: RowGraph) -> None:
    expected = alone(graph, PROMPTS[3], 10)
    rows = Rows(graph, 4, 256)
    for key in range(4):
        rows.add(key, PROMPTS[key], GREEDY, 10)
    rows.remove(1)  # before its prompt was computed
    assert rows.room() == 1
    into: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, Any] = {}
    run(rows, into, ends)
    run(rows, into, ends)
    rows.remove(0)
    rows.remove(0)
    rows.remove(99)
    assert rows.room() == 2
    while rows.room() < 4:
        run(rows, into, ends)
    assert into[3] == expected
    assert 1 not in into
    assert len(into[0]) == 2


def test_a_seed_gives_the_same_answer_in_any_company(graph: RowGraph) -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=5)
    expected = alone(graph, PROMPTS[0], 20, sampling)
    rows = Rows(graph, 4, 256)
    for key in range(1, 4):
        rows.add(key, PROMPTS[key], Sampling(temperature=1.0), 20)
    rows.step()
    rows.add(0, PROMPTS[0], sampling, 20)
    assert finish(rows, 4)[0][0] == expected


@pytest.mark.parametrize(("prompt", "limit"), [([], 4), ([1, 2], 255), ([999], 4), ([-1], 4)])
def test_a_prompt_that_does_not_fit_is_refused(graph: RowGraph, prompt: list[int], limit: int) -> None:
    rows = Rows(graph, 1, 256)
    with pytest.raises(ValueError, match="fit"):
        rows.add(1, prompt, GREEDY, limit)
    assert rows.room() == 1


def test_a_row_without_numbers_fails_alone(graph: RowGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(graph, 2, 256)
    rows.add(1, PROMPTS[0], GREEDY, 5)
    rows.add(2, PROMPTS[1], GREEDY, 2)
    rows.step()
    real = rows._run

    def poisoned(row: int, *arguments: Any) -> Any:
        logits = real(row, *arguments)
        logits[0] = np.nan
        return logits

    monkeypatch.setattr(rows, "_run", poisoned)
    first, second = rows.step()
    assert first == Step(1, None, "failed")
    assert (second.key, second.end) == (2, "length")
    rows.close()


@pytest.mark.parametrize(
    ("changes", "config", "reason"),
    [
        ({"mixing": True}, {}, "depends on the other rows"),
        ({}, {"search": {"past_present_share_buffer": False}}, "one buffer"),
        ({}, {"model": {"vocab_size": 17}}, "trial failed"),
    ],
)
def test_a_graph_of_another_kind_is_told_apart(
    tmp_path: Path, changes: dict[str, Any], config: dict[str, Any], reason: str
) -> None:
    folder = write_llama(tmp_path / "llama", **changes)
    change_config(folder, **config)
    with pytest.raises(UnsuitableGraph, match=reason):
        open_graph(folder).try_out()


def test_a_graph_with_other_inputs_is_told_apart(tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "llama", positions=True)
    read = read_folder(folder)
    decoder = read.decoder | {"num_hidden_layers": 1}
    change_config(folder, model={"decoder": decoder})
    with pytest.raises(UnsuitableGraph, match="plain decoder"):
        open_graph(folder)


def test_a_graph_with_other_numbers_is_told_apart(llama: Path) -> None:
    class Session:
        def __init__(self) -> None:
            self._real = onnxruntime.InferenceSession(str(llama / "model.onnx"), providers=["CPUExecutionProvider"])

        def get_inputs(self) -> list[Any]:
            class Entry:
                def __init__(self, real: Any) -> None:
                    self.name = real.name
                    self.type = real.type.replace("float", "bfloat16")

            return [Entry(real) for real in self._real.get_inputs()]

        def get_outputs(self) -> list[Any]:
            return list(self._real.get_outputs())

    with pytest.raises(UnsuitableGraph, match="bfloat16"):
        RowGraph(Session(), read_folder(llama))
