"""Local generation: one conversation against 8, 16 and 32 at once, and the wait of a newcomer among 8 running.

Without ``--folder`` the models are the shipped one and random Llamas of about 5 million parameters, in float32 and
int8, as onnxruntime-genai's model builder would write them; what a model says does not matter to its speed. Each
round takes the numbers of conversations in turn, so that a busy machine hits all of them alike; figures are medians
over the rounds, ratios are taken round by round. On the CPU the same folders also go through onnxruntime-genai's own
Engine, which batches statically there.

    python benchmarks/bench_generate.py [--folder FOLDER] [--device cpu] [--rounds 7] [--max-batch 16]
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import report
import trio

from csgate.config import GenerationSettings
from csgate.inference.generation import GenerationRequest, Sampling, Utterance
from csgate.inference.generation.local import LocalGenerator, open_local_generator
from csgate.inference.generation.local_rows import RowGraph, UnsuitableGraph
from csgate.telemetry import Telemetry, open_logger

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.inference.generation.llama import change_config, write_llama

CONVERSATIONS: Final = (1, 8, 16, 32)
RUNNING: Final = 8
NEWCOMERS: Final = 12
PROMPT_LENGTHS: Final = 3
SYSTEM: Final = "You are the clerk of a shop. Answer briefly and kindly."
SHIPPED: Final = Path(__file__).resolve().parents[1] / "models" / "shop-generator"
GOALS: Final = {"int8": 1.7, "fp32": 2.5}
NEWCOMER_GOAL_S: Final = 1.0


@dataclass
class Figures:
    """What was measured of one model, by number of conversations."""

    rates: dict[int, list[float]] = field(default_factory=lambda: {n: [] for n in CONVERSATIONS})
    firsts: dict[int, list[float]] = field(default_factory=lambda: {n: [] for n in CONVERSATIONS})
    newcomers: list[float] = field(default_factory=list)

    def ratio(self, conversations: int) -> float:
        """How many times one conversation's tokens a second, median over the rounds."""
        return statistics.median(a / b for a, b in zip(self.rates[conversations], self.rates[1], strict=True))

    def summary(self) -> dict[str, Any]:
        return {
            str(n): {
                "tokens_per_second": round(statistics.median(self.rates[n]), 1),
                "times_one": round(self.ratio(n), 2),
                "first_token_p50_s": round(float(np.percentile(self.firsts[n], 50)), 4),
                "first_token_p95_s": round(float(np.percentile(self.firsts[n], 95)), 4),
            }
            for n in CONVERSATIONS
        } | {
            "newcomer_among_8": {
                "count": len(self.newcomers),
                "first_token_p50_s": round(float(np.percentile(self.newcomers, 50)), 4),
                "first_token_p95_s": round(float(np.percentile(self.newcomers, 95)), 4),
            }
        }


def request(number: int) -> GenerationRequest:
    """Prompts differ in length, as people's messages do."""
    text = "Hello, where is my order, and when will it be delivered? " * (1 + number % PROMPT_LENGTHS)
    return GenerationRequest(
        (Utterance("system", SYSTEM), Utterance("user", f"{text} It is number {number}.")),
        Sampling(temperature=0.3, top_p=0.9, max_tokens=96, seed=number),
        principal=number,
    )


async def together(generator: LocalGenerator, conversations: int) -> tuple[float, list[float]]:
    """Tokens a second of so many at once, and the seconds to the first token of each."""
    tokens = 0
    firsts: list[float] = []

    async def one(number: int) -> None:
        nonlocal tokens
        got = await generator.generate(request(number), lambda text: None)
        tokens += got.completion_tokens
        if got.first_token_s is not None:
            firsts.append(got.first_token_s)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(conversations):
            nursery.start_soon(one, number)
    return tokens / (time.perf_counter() - began), firsts


async def alone(generator: LocalGenerator) -> tuple[float, list[float]]:
    """The same of one conversation after the other, with prompts as long as those of many at once."""
    tokens = 0
    firsts: list[float] = []
    began = time.perf_counter()
    for number in range(PROMPT_LENGTHS):
        got = await generator.generate(request(number), lambda text: None)
        tokens += got.completion_tokens
        if got.first_token_s is not None:
            firsts.append(got.first_token_s)
    return tokens / (time.perf_counter() - began), firsts


async def newcomers(generator: LocalGenerator) -> list[float]:
    """Seconds to the first token of those who come while ``RUNNING`` others never pause."""
    waits: list[float] = []

    async def busy(number: int) -> None:
        while True:
            await generator.generate(request(number), lambda text: None)

    async with trio.open_nursery() as nursery:
        for number in range(RUNNING):
            nursery.start_soon(busy, number)
        for number in range(NEWCOMERS):
            # Off the beat of the answers: each newcomer meets the running ones at another place.
            await trio.sleep(0.05 + 0.013 * number)
            got = await generator.generate(request(100 + number), lambda text: None)
            if got.first_token_s is not None:
                waits.append(got.first_token_s)
        nursery.cancel_scope.cancel()
    return waits


async def measure(folder: Path, arguments: argparse.Namespace, by: str) -> tuple[Figures, str]:
    settings = GenerationSettings(
        max_tokens=96, max_batch=arguments.max_batch, max_batch_cuda=max(arguments.max_batch, 64), queue_items=1024
    )

    def unsuitable(self: RowGraph) -> None:
        raise UnsuitableGraph("the benchmark asks for the Engine")

    how = mock.patch.object(RowGraph, "try_out", unsuitable) if by == "engine" else nullcontext()
    telemetry = Telemetry(log=open_logger("error", "console"))
    figures = Figures()
    with how:
        async with open_local_generator(
            folder, settings, telemetry, device=arguments.device, threads=arguments.threads
        ) as generator:
            await together(generator, 8)
            for _ in range(arguments.rounds):
                for conversations in CONVERSATIONS:
                    rate, firsts = await (
                        alone(generator) if conversations == 1 else together(generator, conversations)
                    )
                    figures.rates[conversations].append(rate)
                    figures.firsts[conversations] += firsts
                figures.newcomers += await newcomers(generator)
            return figures, generator.info.provider


def random_models(root: Path) -> list[tuple[str, Path]]:
    sizes: dict[str, Any] = {"hidden": 256, "inner": 704, "layers": 4, "heads": 4, "kv_heads": 2}
    models = []
    for precision, bits in (("fp32", None), ("int8", 8)):
        folder = write_llama(root / f"random-llama-5m-{precision}", vocabulary=4096, context=1024, bits=bits, **sizes)
        change_config(folder, model={"eos_token_id": 4095})  # all but never ends by itself: each answer is as long
        models.append((precision, folder))
    return models


async def main(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as root:
        models = [("", arguments.folder)] if arguments.folder else [("int8", SHIPPED), *random_models(Path(root))]
        ways = ("csgate", "engine") if arguments.device == "cpu" else ("csgate",)
        rows: list[tuple[object, ...]] = []
        results: dict[str, Any] = {}
        goals: dict[str, Any] = {}
        for precision, folder in models:
            for by in ways:
                figures, provider = await measure(folder, arguments, by)
                summary = figures.summary()
                results.setdefault(folder.name, {"provider": provider})[by] = summary
                for n in CONVERSATIONS:
                    got = summary[str(n)]
                    rows.append((folder.name, by, str(n), got["tokens_per_second"], got["times_one"]))
                    rows[-1] += (got["first_token_p50_s"], got["first_token_p95_s"])
                new = summary["newcomer_among_8"]
                rows.append((folder.name, by, "newcomer among 8", "", ""))
                rows[-1] += (new["first_token_p50_s"], new["first_token_p95_s"])
                if by == "csgate":
                    goals |= judge(folder.name, precision, summary)
    headers = ["model", "by", "conversations", "tokens/s", "times one", "first p50 s", "first p95 s"]
    print(report.table(rows, headers))
    for goal, (figure, met) in goals.items():
        print(f"{goal}: {figure} ({'met' if met else 'not met'})")
    path = report.save(
        "generate" if arguments.device == "cpu" else f"generate-{arguments.device}",
        {
            "versions": report.versions("onnxruntime", "onnxruntime-genai", "onnxruntime-genai-cuda", "trio", "csgate"),
            "settings": {name: getattr(arguments, name) for name in ("device", "rounds", "max_batch", "threads")},
            "models": results,
            "goals": {goal: {"figure": figure, "met": met} for goal, (figure, met) in goals.items()},
        },
    )
    print(f"Saved {path}.")
    return 0


def judge(name: str, precision: str, summary: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """The goals that apply, with their figures."""
    wait = summary["newcomer_among_8"]["first_token_p95_s"]
    judged: dict[str, tuple[float, bool]] = {f"{name}: newcomer's first token, p95 s": (wait, wait <= NEWCOMER_GOAL_S)}
    if precision in GOALS:
        times = summary["16"]["times_one"]
        judged[f"{name}: 16 conversations, times one (goal {GOALS[precision]})"] = (times, times >= GOALS[precision])
    return judged


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a model's folder; default: the shipped one and two random ones")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--max-batch", type=int, default=16, help="generation.max_batch")
    parser.add_argument("--threads", type=int, default=1, help="of a run on the CPU")
    sys.exit(trio.run(main, parser.parse_args()))
