"""Choosing the next token of several answers at once, each with its own temperature, top_p and random numbers."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csgate.inference.generation.request import Sampling

DEFAULT_TOP_K: Final = 50
"""Candidates where the model's folder names no ``top_k``; transformers' default as well."""

FAILED: Final = -1
"""Instead of a token, where the model gave no numbers."""


class Chooser:
    """One answer's way of choosing: its random numbers, and the tokens that a repetition penalty is to hit.

    The same ``seed`` draws the same numbers, whatever else runs in the batch.
    """

    __slots__ = ("_seen", "penalty", "random", "temperature", "top_p")

    def __init__(self, sampling: Sampling, prompt: Sequence[int], penalty: float = 1.0) -> None:
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self.random = np.random.default_rng(None if sampling.seed is None else sampling.seed % 2**64)
        self.penalty = penalty
        self._seen: set[int] | None = set(prompt) if penalty != 1.0 else None

    def note(self, token: int) -> None:
        """Takes ``token`` into account for the penalty."""
        if self._seen is not None:
            self._seen.add(token)

    def penalize(self, logits: NDArray[np.float32]) -> None:
        """Makes tokens that were there before less likely, in place (Keskar et al. 2019, CTRL, section 4.1)."""
        if self._seen is not None:
            seen = np.fromiter(self._seen, np.int64, len(self._seen))
            seen = seen[seen < len(logits)]
            values = logits[seen]
            logits[seen] = np.where(values > 0, values / self.penalty, values * self.penalty)


def choose(logits: NDArray[np.float32], choosers: Sequence[Chooser], top_k: int) -> list[int]:
    """The next token of each row of ``logits`` float32[rows, vocabulary], or ``FAILED`` for a row with no numbers.

    Top k first, then temperature, then top p: of the ``top_k`` likeliest tokens the fewest that together have
    ``top_p`` of the probability. Temperature 0 takes the likeliest. ``logits`` may be written to.
    """
    for row, chooser in zip(logits, choosers, strict=True):
        chooser.penalize(row)
    greedy = [chooser.temperature <= 0 for chooser in choosers]
    best = logits.argmax(axis=1)
    rows = np.arange(len(choosers))
    peak = logits[rows, best]
    tokens = best.tolist()
    if not all(greedy):
        drawn = _draw(logits, peak, choosers, top_k)
        tokens = [first if sure else other for first, other, sure in zip(tokens, drawn, greedy, strict=True)]
    return [
        token if ok else FAILED for token, ok in zip(tokens, np.isfinite(peak).tolist(), strict=True)
    ]  # argmax finds a NaN where there is one


def _draw(logits: NDArray[np.float32], peak: NDArray[np.float32], choosers: Sequence[Chooser], top_k: int) -> Any:
    vocabulary = logits.shape[1]
    k = min(top_k or DEFAULT_TOP_K, vocabulary)
    rows = np.arange(len(choosers))[:, None]
    candidates = np.argpartition(logits, vocabulary - k, axis=1)[:, vocabulary - k :]
    values = logits[rows, candidates]
    order = np.argsort(-values, axis=1, kind="stable")
    candidates = candidates[rows, order]
    temperature = np.array([chooser.temperature or 1.0 for chooser in choosers], np.float64)[:, None]
    values = values[rows, order].astype(np.float64)
    # A row without numbers is told apart by its peak; a temperature of next to nothing leaves the peak alone.
    with np.errstate(invalid="ignore", over="ignore"):
        weights = np.exp((values - peak[:, None]) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        before = np.cumsum(weights, axis=1) - weights
        top_p = np.array([chooser.top_p for chooser in choosers])[:, None]
        weights[:, 1:][(before >= top_p)[:, 1:]] = 0.0
        reach = np.cumsum(weights, axis=1)
        dice = np.array([chooser.random.random() for chooser in choosers]) * reach[:, -1]
        at = np.minimum((reach <= dice[:, None]).sum(axis=1), k - 1)
    return candidates[rows[:, 0], at].tolist()
