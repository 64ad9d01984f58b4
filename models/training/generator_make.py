"""Make models/shop-generator: train, export, measure, and write the card."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from generator import GeneratorData, train_generator
from generator_card import generator_card, generator_goals
from generator_data import terms_of
from generator_export import NAME, build_folder, megabytes, save_trained, write_hashes
from generator_measure import Said, blind_cases, judges, measure_said, same_as, sample_for_eyes, save_said, say, speed
from goals import write_goals
from model_card import write_card

ROUNDS: Final = 5
EVERY: Final = 7
"""One case in so many is said by the forms that are not shipped. Prime to the six cases of a
message, so that moods and slots come evenly."""


def make_generator(cache: Path, models: Path, steps: int) -> None:
    """Make models/shop-generator.

    Args:
        cache: for the checkpoint, for the folders that are measured but not shipped, for replies to read.
        models: the folder of the shipped models.
        steps: of training.
    """
    data = GeneratorData(cache / "generator-tokenizer.json")
    model = train_generator(data, steps, cache / "generator.pt")
    work = cache / "generator"
    work.mkdir(parents=True, exist_ok=True)
    save_trained(model, data.tokenizer, work / "hf")
    folder = models / NAME
    places = {
        "int8": folder,
        "fp16": folder / "cuda",
        "fp32": work / "fp32",
        "int4": work / "int4",
    }
    figures: dict[str, float] = {
        "parameters": sum(one.numel() for one in model.parameters()),
        "pieces": data.tokenizer.get_vocab_size(),
        "steps": steps,
        "wordings": len(data.replies.texts()),
        "rounds": ROUNDS,
    }
    for precision, place in places.items():
        shutil.rmtree(place, ignore_errors=True)
        build_folder(work / "hf", place, precision, data.written)
        figures[f"{precision}_mb"] = megabytes(place)
    cases = blind_cases(data.replies)
    said: dict[str, list[Said]] = {}
    for precision in ("int8", "fp32", "int4"):
        said[precision] = say(places[precision], cases if precision == "int8" else cases[::EVERY])
        found = measure_said(data.replies, said[precision]) | speed(places[precision], cases, ROUNDS)
        figures |= {f"{precision}_{name}": value for name, value in found.items()}
        save_said(said[precision], work / f"said.{precision}.jsonl")
    (work / "sample.txt").write_text(sample_for_eyes(said["int8"]), encoding="utf-8")
    figures["int8_same_as_fp32"] = same_as(said["int8"][::EVERY], said["fp32"])
    figures["affinity"] = affinity(said["int8"])
    figures |= judges(data.replies)
    figures |= {name: figures[f"int8_{name}"] for name in ("replies", "replies_with_known")}
    write_card(folder, generator_card(figures), figures)
    write_goals(folder, generator_goals(figures))
    write_hashes(folder)


def affinity(said: list[Said]) -> float:
    """Return how many more terms replies share with their own messages than with others of the same case."""
    chance = random.Random(1)
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Said]] = defaultdict(list)
    for one in said:
        pair = one.case.pair
        groups[pair.language, pair.intent, pair.mood, pair.known].append(one)
    own, others = [], []
    for members in groups.values():
        for number, one in enumerate(members):
            rest = members[:number] + members[number + 1 :]
            if rest:
                terms = terms_of(one.reply, one.case.pair.language)
                own.append(len(terms & terms_of(one.case.pair.message, one.case.pair.language)))
                others.append(len(terms & terms_of(chance.choice(rest).case.pair.message, one.case.pair.language)))
    return float(np.mean(own) / np.mean(others))
