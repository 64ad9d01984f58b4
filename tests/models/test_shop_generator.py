"""The shipped generator, run as csgate runs it: whole files, the told intent, exact slots, whole sentences."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import trio

from csgate.config import GenerationSettings
from csgate.dialog.language import detect_language
from csgate.dialog.prompt import Filler, masked, shop_prompt
from csgate.dialog.slots import best_slots, find_slots
from csgate.inference.generation import GenerationRequest, Sampling
from csgate.inference.generation.local import open_local_generator
from csgate.inference.generation.local_folder import read_folder
from csgate.telemetry import Telemetry

MODELS = Path(__file__).parents[2] / "models"
FOLDER = MODELS / "shop-generator"
DATA = MODELS / "training" / "data"
MAX_CPU_BYTES = 8_000_000
MAX_ALL_BYTES = 20_000_000
MOODS = ("neutral", "negative", "positive")
VALUES = {
    "order_number": "R-48213",
    "amount": "$49.90",
    "email": "wei_lin@example.org",
    "date": "12 March",
    "phone": "+44 20 7946 0958",
}
# Intents for which we wrote replies with an order number in every mood.
WITH_ORDER = ("track_order", "cancel_order", "change_order", "get_refund", "exchange_item", "get_invoice")


def first_messages(language):
    """One message an intent, by authors who did not see the training text."""
    found = {}
    intent = ""
    for line in (DATA / f"blind_test.{language}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            intent = line[1:-1]
        elif line and not line.startswith("#"):
            found.setdefault(intent, line)
    return found


class Told:
    """A request, and what is known in it."""

    def __init__(self, language, intent, mood, text, earlier=(), **sampling):
        slots = best_slots(find_slots(text))
        self.values = {name: slot.value for name, slot in slots.items()} | {name: VALUES[name] for name in earlier}
        self.language, self.intent = language, intent
        prompt = shop_prompt(language, intent, mood, self.values, masked(text, slots.values()))
        self.request = GenerationRequest(prompt, Sampling(**({"seed": 1} | sampling)))


async def answer(tolds, at_once=8):
    """The generated answers, ``at_once`` at a time."""
    found = {}
    numbers = iter(range(len(tolds)))
    settings = GenerationSettings(max_batch=at_once)
    async with open_local_generator(FOLDER, settings, Telemetry(), device="cpu") as generator:

        async def converse():
            for number in numbers:
                pieces = []
                found[number] = await generator.generate(tolds[number].request, pieces.append)
                assert "".join(pieces) == found[number].text

        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(converse)
    return [found[number] for number in range(len(tolds))]


def placeholders(text):
    return set(re.findall(r"\{([^{}]*)\}", text))


def test_the_files_are_whole_and_small():
    listed = dict(
        reversed(line.split("  ", 1)) for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    files = {str(path.relative_to(FOLDER)): path for path in FOLDER.rglob("*") if path.is_file()}
    assert set(listed) == set(files) - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name
    sizes = {name: path.stat().st_size for name, path in files.items()}
    assert sum(size for name, size in sizes.items() if not name.startswith("cuda/")) <= MAX_CPU_BYTES
    assert sum(sizes.values()) <= MAX_ALL_BYTES


def test_both_folders_say_what_they_are():
    cpu, cuda = read_folder(FOLDER), read_folder(FOLDER / "cuda")
    assert (cpu.style, cpu.name, cpu.licence) == ("shop", "shop-generator", "Apache-2.0")
    assert (cuda.style, cuda.name, cuda.licence) == (cpu.style, cpu.name, cpu.licence)
    assert not cpu.paged
    assert not cpu.for_cuda
    assert cuda.paged
    assert cuda.for_cuda
    assert cpu.vocabulary == cuda.vocabulary
    assert cpu.ends == cuda.ends


async def test_answers_are_about_the_told_intent_and_whole():
    rules = tomllib.loads((DATA / "reply_rules.toml").read_text(encoding="utf-8"))
    tolds = [
        Told(language, intent, mood, text)
        for language in ("en", "zh")
        for intent, text in first_messages(language).items()
        for mood in MOODS
    ]
    assert len(tolds) == 34 * 2 * len(MOODS)
    answers = await answer(tolds)
    off = [
        (told.language, told.intent, one.text)
        for told, one in zip(tolds, answers, strict=True)
        if not re.search(rules[told.language][told.intent], one.text.lower())
    ]
    assert len(off) <= 0.05 * len(tolds), off
    assert {one.finish for one in answers} == {"stop"}
    # csgate says the pack's own reply instead of one of these.
    unfit = [
        one.text
        for told, one in zip(tolds, answers, strict=True)
        if not placeholders(one.text) <= set(told.values)
        or detect_language(re.sub(r"\{\w+\}", "12345", one.text)) != told.language
    ]
    assert len(unfit) <= 0.03 * len(tolds), unfit


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_known_order_number_is_named_exactly(language):
    message = {"en": "please help me with this", "zh": "麻烦帮我处理一下"}[language]
    tolds = [Told(language, intent, mood, message, ["order_number"]) for intent in WITH_ORDER for mood in MOODS]
    answers = await answer(tolds)
    named = [one.text for one in answers if placeholders(one.text) == {"order_number"}]
    assert len(named) >= len(tolds) - 1, [one.text for one in answers if one.text not in named]
    for text in named:
        filler = Filler(tolds[0].values)
        filled = filler.feed(text)
        filler.end()
        assert not filler.broken
        assert VALUES["order_number"] in filled


async def test_an_upset_customer_is_answered_otherwise_than_a_happy_one():
    texts = {mood: Told("en", "track_order", mood, "where is my parcel", temperature=0) for mood in MOODS}
    negative, positive = await answer([texts["negative"], texts["positive"]])
    assert re.search("sorry|understand|upset|patience|frustrat", negative.text.lower())
    assert negative.text != positive.text


async def test_even_the_wildest_sampling_writes_whole_characters_and_no_marks():
    tolds = [
        Told(language, intent, "neutral", text, temperature=2.0, top_p=1.0, seed=seed)
        for language in ("en", "zh")
        for seed, (intent, text) in enumerate(first_messages(language).items())
    ]
    for one in await answer(tolds):
        assert "\ufffd" not in one.text
        assert "<|" not in one.text


async def test_the_same_seed_gives_the_same_answer_in_any_company():
    told = Told("zh", "get_refund", "negative", "退款退款退款!!订单 88-20315", seed=5)
    others = [Told("en", "promotions", "neutral", "any deals?", seed=seed) for seed in range(7)]
    alone = (await answer([told], at_once=1))[0]
    together = (await answer([told, *others]))[0]
    assert alone.text == together.text
