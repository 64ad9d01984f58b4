"""Measure the small generator as csgate runs it, on messages by other authors that nothing was trained on."""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import trio
from generator_data import LANGUAGES, MOODS, Language, Pair, Replies, read_messages
from generator_judge import (
    LinearJudge,
    ends_well,
    follows_rules,
    judge_accuracy,
    pack_replies,
    share,
    slots_exact,
    written_lines,
)
from text_expansion import expand

from csgate.config import GenerationSettings
from csgate.dialog.prompt import Mood, masked, shop_prompt
from csgate.dialog.slots import SLOT_NAMES, SlotName, best_slots, find_slots
from csgate.inference.generation.local import open_local_generator
from csgate.inference.generation.request import Generated, GenerationRequest, Generator, Sampling
from csgate.telemetry import Telemetry

VALUES: Final[dict[SlotName, str]] = {
    "order_number": "R-48213",
    "amount": "$49.90",
    "email": "wei.lin@example.org",
    "date": "12 March",
    "phone": "+44 20 7946 0958",
}
AT_ONCE: Final = 16
CANNED: Final = Path(__file__).resolve().parents[2] / "src" / "csgate" / "dialog" / "packs" / "shop"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to say: what the model is told, and the values behind the slots."""

    pair: Pair
    values: dict[str, str]
    seed: int

    def request(self) -> GenerationRequest:
        """Return the request that csgate would make, at its default sampling."""
        one = self.pair
        prompt = shop_prompt(cast(Language, one.language), one.intent, one.mood, one.known, one.message)
        defaults = GenerationSettings()
        sampling = Sampling(defaults.temperature, defaults.top_p, defaults.max_tokens, self.seed)
        return GenerationRequest(prompt, sampling, principal=self.seed)


@dataclass(frozen=True, slots=True)
class Said:
    """A case and what came."""

    case: Case
    reply: str
    finish: str


def blind_cases(replies: Replies, names: tuple[str, ...] = ("blind_test",)) -> list[Case]:
    """Return every blind message in every mood, with the values that it names and with one more known from before."""
    chance = random.Random(7)
    cases = []
    for (language, intent), seeds in sorted(read_messages(names).items()):
        for seed in seeds:
            text = expand(seed, chance)
            slots = best_slots(find_slots(text))
            message = masked(text, slots.values())
            sure: dict[SlotName, str] = {name: slot.value for name, slot in slots.items() if slot.sure}
            for mood in MOODS:
                lines = replies.lines[language, intent, mood]
                relevant = sorted({slot for line in lines for slot in line.slots} - set(sure))
                more = cast(SlotName, chance.choice(relevant or [name for name in SLOT_NAMES if name not in sure]))
                for values in (sure, sure | {more: VALUES[more]}):
                    known = tuple(sorted(values))
                    pair = Pair(cast(Language, language), intent, cast(Mood, mood), known, message, "")
                    cases.append(Case(pair, dict(values), len(cases)))
    return cases


async def answers(generator: Generator, cases: list[Case], at_once: int = AT_ONCE) -> list[Generated]:
    """Return the answers to ``cases``, ``at_once`` conversations at a time."""
    found: dict[int, Generated] = {}
    numbers = iter(range(len(cases)))

    async def converse() -> None:
        for number in numbers:
            found[number] = await generator.generate(cases[number].request(), lambda piece: None)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(converse)
    return [found[number] for number in range(len(cases))]


def say(folder: Path, cases: list[Case]) -> list[Said]:
    """Generate with the folder as csgate does."""

    async def run() -> list[Said]:
        settings = GenerationSettings(max_batch=AT_ONCE)
        async with open_local_generator(folder, settings, Telemetry(), device="cpu") as generator:
            found = await answers(generator, cases)
        return [Said(case, one.text, one.finish) for case, one in zip(cases, found, strict=True)]

    return trio.run(run)


def speed(folder: Path, cases: list[Case], rounds: int = 5) -> dict[str, float]:
    """Return tokens a second of one conversation and of 16 at once, and their ratio: medians, taken in turns."""

    async def rate(generator: Generator, at_once: int, some: list[Case]) -> float:
        began = time.perf_counter()
        found = await answers(generator, some, at_once)
        return sum(one.completion_tokens for one in found) / (time.perf_counter() - began)

    async def run() -> dict[str, float]:
        rates: dict[int, list[float]] = {1: [], AT_ONCE: []}
        ratios = []
        settings = GenerationSettings(max_batch=AT_ONCE)
        async with open_local_generator(folder, settings, Telemetry(), device="cpu") as generator:
            await rate(generator, AT_ONCE, cases[:AT_ONCE])
            for number in range(rounds):
                some = random.Random(number).sample(cases, 4 * AT_ONCE)
                for at_once, part in ((1, some[: len(some) // 3]), (AT_ONCE, some)):
                    rates[at_once].append(await rate(generator, at_once, part))
                ratios.append(rates[AT_ONCE][-1] / rates[1][-1])
        return {
            "one_tokens_s": statistics.median(rates[1]),
            "sixteen_tokens_s": statistics.median(rates[AT_ONCE]),
            "ratio": statistics.median(ratios),
        }

    return trio.run(run)


def measure_said(replies: Replies, said: list[Said]) -> dict[str, float]:
    """Return the figures of generated replies, for each language and for both."""
    written = set(replies.texts())
    flags: dict[str, list[bool]] = defaultdict(list)
    for language in LANGUAGES:
        mine = [one for one in said if one.case.pair.language == language]
        texts, labels = zip(
            *[
                (text, intent)
                for (its, intent, _), lines in replies.lines.items()
                if its == language
                for line in lines
                for text in line.texts
            ],
            strict=True,
        )
        judged = LinearJudge(texts, labels)([one.reply for one in mine])
        for one, found in zip(mine, judged, strict=True):
            pair = one.case.pair
            ruled = follows_rules(language, pair.intent, one.reply)
            told = (language, pair.intent, pair.mood)
            for name, right in (
                ("judge", found == pair.intent),
                ("rules", ruled),
                ("consistent", ruled and found == pair.intent),
                ("slots", slots_exact(replies, told, one.case.values, one.reply)),
                ("whole", ends_well(language, one.reply, one.finish)),
                ("truncated", one.finish != "stop"),
                ("verbatim", one.reply in written),
                ("mood", _mood_shown(pair.mood, language, one.reply)),
            ):
                flags[f"{language}_{name}"].append(right)
                flags[name].append(right)
    figures = {name: share(found) for name, found in flags.items()}
    known = [one for one in said if one.case.values]
    figures["slots_where_known"] = share(
        [
            slots_exact(replies, (p.language, p.intent, p.mood), one.case.values, one.reply)
            for one in known
            for p in [one.case.pair]
        ]
    )
    return figures | {"replies": len(said), "replies_with_known": len(known)}


_SORRY: Final = {
    "en": re.compile(
        "sorry|understand|understandabl|frustrat|upset|annoy|hear you|no wonder|apolog|disappoint|see why|pity|hard"
        "|worr|right to|shouldn't|nuisance|stress|fed up|deserve|unpleasant|maddening|bother|pain|trouble|unfair|hassle"
    ),
    "zh": re.compile("抱歉|对不起|理解|难怪|不好受|体会|生气|着急|让您|委屈|烦|不满|不该|失望|担心|过意不去|难过|心急"),
}


def _mood_shown(mood: str, language: str, reply: str) -> bool:
    """Whether an upset customer meets empathy; the other moods ask for nothing."""
    return mood != "negative" or _SORRY[language].search(reply.lower()) is not None


def judges(replies: Replies) -> dict[str, float]:
    """Return how far the judges can be trusted."""
    figures = {f"{one}_unseen_lines": judge_accuracy(rows) for one, rows in written_lines(replies).items()}
    for language, rows in pack_replies(CANNED).items():
        mine = [(line, key[1]) for key, lines in replies.lines.items() if key[0] == language for line in lines]
        texts, labels = zip(*[(text, intent) for line, intent in mine for text in line.texts], strict=True)
        judged = LinearJudge(texts, labels)([text for text, _ in rows])
        figures[f"{language}_pack"] = share([a == b for a, (_, b) in zip(judged, rows, strict=True)])
        figures[f"{language}_pack_rules"] = share([follows_rules(language, intent, text) for text, intent in rows])
    return figures


def sample_for_eyes(said: list[Said], count: int = 60) -> str:
    """Return some replies as text to be read."""
    chosen = random.Random(60).sample(said, count)
    lines = []
    for number, one in enumerate(chosen, 1):
        system, user = one.case.pair.prompt()
        lines.append(f"{number}. [{system}] {user}\n   -> {one.reply}\n")
    return "\n".join(lines)


def same_as(said: list[Said], others: list[Said]) -> float:
    """Return the share of cases in which two models said the same."""
    return share([one.reply == two.reply for one, two in zip(said, others, strict=True)])


def save_said(said: list[Said], path: Path) -> None:
    """Write what was said as JSON lines, to look at."""
    with path.open("w", encoding="utf-8") as file:
        for one in said:
            system, user = one.case.pair.prompt()
            row = {"system": system, "user": user, "reply": one.reply, "finish": one.finish}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
