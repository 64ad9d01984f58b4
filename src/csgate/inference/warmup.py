"""Warming a model up, and learning from it what a batch of each size costs and whether runs go side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep
from typing import Final

from csgate.inference.bindings import Bindings
from csgate.inference.cores import cores_of_process
from csgate.inference.runner import Runner

WARM_UP_RUNS: Final = 4
WORTHWHILE_SPEEDUP: Final = 1.3
"""Two lanes at once must give this much more than one; below it they only take turns on the same core."""

_PROBE_BUCKET: Final = 8
_PROBE_RUNS: Final = 3
_PROBES: Final = 30
_PROBE_SECONDS: Final = 1.0
_PROBE_PAUSE_S: Final = 0.01


def warm_up(runner: Runner, bindings: Bindings, runs: int = WARM_UP_RUNS) -> dict[int, float]:
    """Runs every bucket at every text length ``runs`` times; the best seconds a run by bucket, at the longest length.

    The first run of a shape is the slow one (memory plans, on CUDA the choice of kernels); it is not the only one
    timed. All shapes are gone through in turn, so that a moment's load on the machine slows no single one down.
    """
    costs: dict[int, float] = dict.fromkeys(runner.spec.buckets, float("inf"))
    for _ in range(runs):
        for length in runner.spec.lengths:
            for bucket in runner.spec.buckets:
                began = perf_counter()
                bindings.run(bucket, length)
                took = perf_counter() - began
                if length == runner.spec.lengths[-1]:
                    costs[bucket] = min(costs[bucket], took)
    return costs


def side_by_side(runner: Runner, lanes: Sequence[Bindings]) -> bool:
    """Whether running all ``lanes`` at once pays. Cores that are hardware threads of one, or that a quota takes
    away again, look like cores to everything but a measurement.

    A moment's load on the machine, or threads that begin on the same core, look like no second core at all. So what
    counts is the best of several measurements, up to ``_PROBES`` or ``_PROBE_SECONDS``, until it is found to pay:
    wrongly taking turns would cost as much again as the model does, for as long as the process lives.
    """
    if not runner.parallel or len(lanes) < 2 or len(cores_of_process()) == 1:
        return False
    bucket = max(bucket for bucket in runner.spec.buckets if bucket <= max(_PROBE_BUCKET, runner.spec.buckets[0]))
    length = runner.spec.lengths[-1]

    def turns(bindings: Bindings) -> None:
        for _ in range(_PROBE_RUNS):
            bindings.run(bucket, length)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(turns, lanes))  # the threads are there, the shape is warm
        alone = together = float("inf")
        until = perf_counter() + _PROBE_SECONDS
        for probe in range(_PROBES):
            began = perf_counter()
            pool.submit(turns, lanes[0]).result()
            middle = perf_counter()
            list(pool.map(turns, lanes))
            alone = min(alone, middle - began)
            together = min(together, perf_counter() - middle)
            if probe + 1 < _PROBE_RUNS:
                continue  # a hiccup while one lane ran alone would look like a second core
            if worthwhile(alone, together, len(lanes)):
                return True
            if perf_counter() > until:
                break
            sleep(_PROBE_PAUSE_S)
    return False


def worthwhile(alone_s: float, together_s: float, lanes: int) -> bool:
    """``alone_s``: one lane's work by itself; ``together_s``: that of all lanes at once."""
    return lanes * alone_s >= WORTHWHILE_SPEEDUP * together_s
