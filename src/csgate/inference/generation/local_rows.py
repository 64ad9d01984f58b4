"""Continuous batching on the CPU: each answer is a row of one batch, with a length of its own.

onnxruntime-genai's Engine batches statically on the CPU: four answers at most (its scheduler does not look at
``engine.static_batching.max_batch_size`` in 0.18), a newcomer waits until all of them have ended, and neither a seed
nor a stop string can be given. Its ``Generator`` is as static and has one temperature for all of its rows. But the
graphs that its builder writes for the CPU keep their cache in GroupQueryAttention with a length for each row, so that
rows of any age may share a step. The greedy tokens are the same; how long a newcomer waits and how many tokens a second
come out, here and there, is in benchmarks/results/generate.json.

The cache is one array a layer, ``[capacity, heads, length, head size]``, that the graph reads and writes in place; the
running answers are its first rows. When one ends, the last row takes its place. A prompt is computed in pieces between
the steps, so that a long one does not hold up the others, straight into the first row that is free.

Rows know nothing of each other, so that several threads may share a step: each runs the graph for some of the rows, or
for a newcomer's prompt. For small models that is worth more than threads within a run, which wait for each other at
every operator.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csgate.inference.generation.local_crew import Crew
from csgate.inference.generation.local_folder import LocalFolder
from csgate.inference.generation.local_sampling import FAILED, Chooser, choose
from csgate.inference.generation.local_step import Step
from csgate.inference.generation.request import Sampling

PROMPT_TOKENS_A_STEP: Final = 128
"""Prompt tokens that are computed between two steps of the running answers."""
LEAST_ROWS: Final = 4
"""Fewer are not given to a thread of their own: waking it costs what they do."""

_DTYPES: Final[dict[str, type[np.generic]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_TRIAL: Final = ((0, 1, 2), (2, 1, 0, 1, 2))
_TRIAL_TOLERANCE: Final = 0.02


class UnsuitableGraph(Exception):
    """This graph cannot be run by rows; the Engine may be able to."""


class RowGraph:
    """A decoder's graph with the names and sizes of its inputs, from its folder. May be shared by many ``Rows``."""

    def __init__(self, session: Any, folder: LocalFolder) -> None:
        decoder = folder.decoder
        names = decoder.get("inputs", {})
        self.session: Final = session
        self.vocabulary: Final = folder.vocabulary
        self.ends: Final = folder.ends
        search = folder.genai.get("search", {})
        self.top_k: Final = int(search.get("top_k") or 0)
        self.penalty: Final = float(search.get("repetition_penalty") or 1.0)
        inputs = {entry.name: entry for entry in session.get_inputs()}
        outputs = {entry.name: entry for entry in session.get_outputs()}
        self.ids: Final[str] = names.get("input_ids", "input_ids")
        self.mask: Final[str] = names.get("attention_mask", "attention_mask")
        positions = names.get("position_ids", "position_ids")
        self.positions: Final[str | None] = positions if positions in inputs else None
        self.logits: Final[str] = decoder.get("outputs", {}).get("logits", "logits")
        layers = range(int(decoder["num_hidden_layers"]))
        patterns = [
            (names.get(f"past_{kind}_names", f"past_key_values.%d.{kind}"), present)
            for kind in ("key", "value")
            for present in [decoder.get("outputs", {}).get(f"present_{kind}_names", f"present.%d.{kind}")]
        ]
        self.cache: Final = [(past % layer, present % layer) for layer in layers for past, present in patterns]
        known = {self.ids, self.mask, *(past for past, _ in self.cache), *([self.positions] if self.positions else [])}
        if set(inputs) != known or not {self.logits, *(present for _, present in self.cache)} <= set(outputs):
            raise UnsuitableGraph("its inputs are not those of a plain decoder")
        if "sliding_window" in decoder or not folder.genai.get("search", {}).get("past_present_share_buffer"):
            raise UnsuitableGraph("its cache is not one buffer for past and present")
        kinds = {inputs[past].type for past, _ in self.cache} | {outputs[self.logits].type}
        if not kinds <= set(_DTYPES) or len({inputs[past].type for past, _ in self.cache}) != 1:
            raise UnsuitableGraph(f"its numbers are {', '.join(sorted(kinds))}")
        self.cache_dtype: Final = _DTYPES[inputs[self.cache[0][0]].type]
        self.logits_dtype: Final = _DTYPES[outputs[self.logits].type]
        self.row: Final = (int(decoder["num_key_value_heads"]), int(decoder["head_size"]))

    def try_out(self) -> None:
        """Compares two rows of different lengths in one batch with each of them alone.

        Raises:
            UnsuitableGraph: they differ, or the graph does not run so.
        """
        try:
            both = Rows(self, 2, 8)
            alone = [both.logits_after(prompt, row) for row, prompt in enumerate(_TRIAL)]
            together = both.logits_of([prompt[-1] for prompt in _TRIAL], [len(prompt) for prompt in _TRIAL])
        except Exception as error:  # whatever ONNX Runtime says of it
            raise UnsuitableGraph(f"a trial failed: {error}") from error
        # The last token was computed twice, at the same place: by the prompt's run and by the batch's.
        scale = max(float(np.abs(row).max()) for row in alone)
        if not np.allclose(np.stack(alone), together, atol=_TRIAL_TOLERANCE * scale):
            raise UnsuitableGraph("a row's result depends on the other rows")


class _Row:
    """One answer: a row of the cache, once its prompt is computed."""

    __slots__ = ("chooser", "done", "key", "left", "prompt", "token")

    def __init__(self, key: int, prompt: Sequence[int], chooser: Chooser, limit: int) -> None:
        self.key = key
        self.prompt: NDArray[np.int64] = np.asarray(prompt, np.int64)
        self.chooser = chooser
        self.left = limit
        self.done = 0  # tokens that are in the cache
        self.token = 0  # the newest one, which is not


class Rows:
    """A ``Stepper`` of ``capacity`` rows, each of at most ``length`` tokens, prompt included.

    ``workers`` threads share a step, that of the caller among them.
    """

    provider = "CPUExecutionProvider"

    def __init__(self, graph: RowGraph, capacity: int, length: int, workers: int = 1) -> None:
        self._graph = graph
        self._capacity = capacity
        self._length = length
        self._workers = workers
        self._crew: Crew[list[int]] = Crew(workers - 1)
        shape = (capacity, graph.row[0], length, graph.row[1])
        # Pages that were never written to take no memory.
        self._cache: list[NDArray[Any]] = [np.zeros(shape, graph.cache_dtype) for _ in graph.cache]
        self._bindings: dict[tuple[int, int], Any] = {}
        self._active: list[_Row] = []
        self._waiting: deque[_Row] = deque()
        """Those whose prompt is not computed yet; the first one's may be on its way, in row ``self._next``."""
        self._next = 0

    def room(self) -> int:
        return self._capacity - len(self._active) - len(self._waiting)

    def add(self, key: int, ids: Sequence[int], sampling: Sampling, limit: int) -> None:
        if not ids or len(ids) + limit > self._length or max(ids) >= self._graph.vocabulary or min(ids) < 0:
            raise ValueError(f"a prompt of {len(ids)} tokens and {limit} more, where {self._length} fit")
        self._waiting.append(_Row(key, ids, Chooser(sampling, ids, self._graph.penalty), limit))

    def remove(self, key: int) -> None:
        for row in self._waiting:
            if row.key == key:
                self._waiting.remove(row)
                return
        for at, row in enumerate(self._active):
            if row.key == key:
                self._drop(at)
                return

    def step(self) -> list[Step]:
        prompts = self._next_prompts()
        rows = list(self._active)
        spans = self._spans(len(rows))
        ids = np.array([row.token for row in rows], np.int64)[:, None]
        lengths = [row.done + 1 for row in rows]
        # A prompt is the longest job: it begins first. Each thread also chooses the tokens of its rows.
        jobs = [partial(self._go_on, [row], at, piece[None], [row.done + len(piece)]) for at, row, piece in prompts]
        jobs += [
            partial(self._go_on, rows[begin:end], begin, ids[begin:end], lengths[begin:end]) for begin, end in spans
        ]
        chosen = self._crew.run(jobs)
        for row in rows:
            row.done += 1
        steps = self._take(rows, [token for tokens in chosen[len(prompts) :] for token in tokens])
        for (at, row, piece), tokens in zip(prompts, chosen, strict=False):
            row.done += len(piece)
            if tokens:
                self._waiting.popleft()
                # Rows may have ended in this step; whoever comes behind this one is further up still.
                self._move(at, len(self._active), row.done)
                self._active.append(row)
                steps += self._take([row], tokens)
        return steps

    def close(self) -> None:
        self._crew.close()
        self._bindings.clear()
        self._cache.clear()

    def _next_prompts(self) -> list[tuple[int, _Row, NDArray[np.int64]]]:
        """What is computed now of the prompts that wait: where in the cache, whose, and which tokens, maybe not all."""
        first = len(self._active)
        if self._waiting and self._waiting[0].done:
            self._move(self._next, first, self._waiting[0].done)  # down to where rows have ended
        self._next = first
        prompts = []
        budget = PROMPT_TOKENS_A_STEP
        for row in self._waiting:
            if budget <= 0:
                break
            piece = row.prompt[row.done : row.done + budget]
            prompts.append((self._next, row, piece))
            budget -= len(piece)
            if row.done + len(piece) < len(row.prompt):
                break
            self._next += 1
        return prompts

    def _spans(self, count: int) -> list[tuple[int, int]]:
        """``count`` rows divided among the threads; none for no rows."""
        if not count:
            return []
        parts = max(1, min(self._workers, count // LEAST_ROWS))
        return list(pairwise(count * part // parts for part in range(parts + 1)))

    def _go_on(self, rows: Sequence[_Row], at: int, ids: NDArray[np.int64], lengths: Sequence[int]) -> list[int]:
        """Runs ``ids`` and chooses the next tokens of ``rows``; none after a part of a prompt. In any thread."""
        logits = self._run(at, ids, lengths)
        if lengths[0] < len(rows[0].prompt):
            return []
        return choose(logits, [row.chooser for row in rows], self._graph.top_k)

    def _take(self, rows: Sequence[_Row], tokens: Sequence[int]) -> list[Step]:
        """The steps of ``rows``, whose next tokens were chosen; lets go of those that end."""
        steps = []
        for row, token in zip(rows, tokens, strict=True):
            row.left -= 1
            if token == FAILED:
                steps.append(Step(row.key, None, "failed"))
            elif token in self._graph.ends:
                steps.append(Step(row.key, None, "stop"))
            else:
                row.token = token
                row.chooser.note(token)
                steps.append(Step(row.key, token, None if row.left else "length"))
        for step in steps:
            if step.end is not None:
                self.remove(step.key)
        return steps

    def _drop(self, at: int) -> None:
        last = self._active.pop()
        if at < len(self._active):
            self._active[at] = last
            self._move(len(self._active), at, last.done)

    def _move(self, source: int, target: int, tokens: int) -> None:
        if source != target:
            for array in self._cache:
                array[target, :, :tokens] = array[source, :, :tokens]

    # --- Running the graph ------------------------------------------------------------------------------------------

    def logits_after(self, prompt: Sequence[int], row: int) -> NDArray[np.float32]:
        """float32[vocabulary] after ``prompt``, which goes into ``row``."""
        logits: NDArray[np.float32] = self._run(row, np.asarray(prompt, np.int64)[None], [len(prompt)])[0]
        return logits

    def logits_of(self, tokens: Sequence[int], lengths: Sequence[int]) -> NDArray[np.float32]:
        """float32[rows, vocabulary] after one more token for each of the first rows; ``lengths`` with that token."""
        return self._run(0, np.array(tokens, np.int64)[:, None], lengths)

    def _run(self, row: int, ids: NDArray[np.int64], lengths: Sequence[int]) -> NDArray[np.float32]:
        """Runs ``ids`` int64[rows, new tokens], to rows from ``row`` on that have ``lengths`` tokens afterwards."""
        graph = self._graph
        ids = np.ascontiguousarray(ids)
        count, new = ids.shape
        total = np.array(lengths, np.int64)[:, None]
        mask = (np.arange(total.max()) < total).astype(np.int64)
        binding = self._binding(row, count)
        _bind(binding.bind_input, graph.ids, ids)
        _bind(binding.bind_input, graph.mask, mask)
        if graph.positions is not None:
            positions = np.ascontiguousarray(total - new + np.arange(new))
            _bind(binding.bind_input, graph.positions, positions)
        logits: NDArray[Any] = np.empty((count, new, graph.vocabulary), graph.logits_dtype)
        _bind(binding.bind_output, graph.logits, logits)
        graph.session.run_with_iobinding(binding)
        last: NDArray[np.float32] = logits[:, -1].astype(np.float32, copy=False)
        return last

    def _binding(self, row: int, count: int) -> Any:
        """Past and present both bound to rows ``row`` to ``row + count`` of the cache."""
        binding = self._bindings.get((row, count))
        if binding is None:
            binding = self._bindings[row, count] = self._graph.session.io_binding()
            for (past, present), array in zip(self._graph.cache, self._cache, strict=True):
                _bind(binding.bind_input, past, array[row : row + count])
                _bind(binding.bind_output, present, array[row : row + count])
        return binding


def _bind(how: Any, name: str, array: NDArray[Any]) -> None:
    how(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
