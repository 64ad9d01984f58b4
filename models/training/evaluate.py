"""Measure the shipped models against their goals: `make eval`, or `python models/training/evaluate.py [--only intent]`.

What ships is what is measured: the files in the model folders, on the tests that nobody trained on. Two figures need a
training of their own and are the ones that were recorded when the model was made: the intent recipe on public labels,
and the emoji that the sticker encoder would name, which the shipped graph does not give out. They are marked. The
first three of the fusion are of heads fitted anew, each without the rows that it is measured on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from goals import Goal, goals_table

HERE: Final = Path(__file__).resolve().parent
RECORDED: Final = " (recorded)"
HEAD: Final = """\
# Goals of the shipped models

Written by `make eval`, which measures the files that ship. What is marked as recorded needs a training of its own and
was measured when the model was made.
"""
KINDS_ON: Final = ("plain", "dark", "photograph", "jpeg20", "24px")
GENERATOR_EVERY: Final = 25


def _temperature(folder: Path) -> float:
    return float(tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))["output"]["temperature"])


def _served(folder: Path) -> Path:
    """Return the file that a CPU serves."""
    manifest = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
    files = manifest["files"]
    named = manifest.get("cpu") or next(one for one in ("int8", "fp32", "fp16") if one in files)
    return folder / files[named]["path"]


def _recorded(folder: Path) -> dict[str, float]:
    figures: dict[str, float] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return figures


def _marked(goals: list[Goal], *words: str) -> list[Goal]:
    return [
        replace(goal, title=goal.title + RECORDED) if any(word in goal.title for word in words) else goal
        for goal in goals
    ]


def evaluate_intent(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Measure models/shop-intent."""
    from intent import intent_tests, measure_intent
    from intent_data import read_corpus
    from intent_make import intent_goals, intent_logits

    folder = models / "shop-intent"
    run = intent_logits(_served(folder), folder / "tokenizer.json")
    tests = intent_tests(read_corpus(data))
    logits = {name: run(rows) for name, rows in tests.items()}
    labels = {name: np.array([one.intent for one in rows]) for name, rows in tests.items()}
    figures = _recorded(folder) | measure_intent(logits, labels, _temperature(folder))
    figures["int8_mb"] = _served(folder).stat().st_size / 1e6
    return _marked(intent_goals(figures), "recipe")


def evaluate_sentiment(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Measure models/shop-sentiment, which has figures of its own but no goal beside its part in the fusion's."""
    from graphs import text_logits
    from sentiment import measure_sentiment, sentiment_tests
    from sentiment_data import SENTIMENTS

    folder = models / "shop-sentiment"
    run = text_logits(_served(folder), folder / "tokenizer.json", len(SENTIMENTS))
    tests = sentiment_tests(data)
    logits = {name: run([one.text for one in rows]) for name, rows in tests.items()}
    labels = {name: np.array([one.sentiment for one in rows]) for name, rows in tests.items()}
    figures = measure_sentiment(logits, labels, _temperature(folder))
    return [Goal(name.replace("_", " "), 0.0, value) for name, value in figures.items() if name.endswith("macro_f1")]


def evaluate_stickers(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Measure models/stickers on OpenMoji's drawings, and on photographs and screenshots of sources kept apart."""
    from sticker_card import sticker_goals
    from sticker_images import TEST_VENDOR, read_emoji, read_pictures
    from sticker_kinds import measured_photographs, measured_screenshots
    from sticker_make import TaggerGraph
    from sticker_measure import measure_kinds, measure_tags, spoiled_tests, tag_calibration
    from sticker_tags import build_tags

    folder = models / "stickers"
    emoji = read_emoji(data)
    tags = build_tags(emoji)
    labels, pictures = read_pictures(data, TEST_VENDOR, emoji)
    graph = TaggerGraph(onnx.load(_served(folder)))
    figures = _recorded(folder)
    found = {name: graph.run(pixels) for name, pixels in spoiled_tests(pictures).items()}
    for name, (scores, _, _) in found.items():
        figures |= {f"{name}_{key}": value for key, value in measure_tags(scores, labels, emoji, tags).items()}
    figures["tag_ece"] = tag_calibration(found["plain"][0], labels, tags)
    kinds = {f"sticker_{name}": (found[name][2], found[name][0]) for name in KINDS_ON}
    for name, pixels in (("photo", measured_photographs()), ("screenshot", measured_screenshots())):
        scores, _, chances = graph.run(pixels)
        kinds[name] = chances, scores
    figures |= measure_kinds(kinds)
    return _marked(sticker_goals(figures), "emoji first")


def evaluate_fusion(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Measure models/shop-fusion with the sentiment model and the tagger beside it."""
    from fusion_card import fusion_goals
    from fusion_make import fusion_parts, joined_by
    from fusion_measure import measure_fusion

    rows, temperature = fusion_parts(data, cache, models)
    head = joined_by(_served(models / "shop-fusion"), temperature)
    return fusion_goals(_recorded(models / "shop-fusion") | measure_fusion(rows, head))


def evaluate_generator(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Let models/shop-generator answer some of the blind messages, and judge what it says."""
    from generator import GeneratorData
    from generator_card import generator_goals
    from generator_measure import blind_cases, judges, measure_said, say

    made = GeneratorData(cache / "generator-tokenizer.json")
    folder = models / "shop-generator"
    said = say(folder, blind_cases(made.replies)[::GENERATOR_EVERY])
    figures = _recorded(folder) | judges(made.replies)
    figures |= {f"int8_{name}": value for name, value in measure_said(made.replies, said).items()}
    return _marked(generator_goals(figures), "conversations")


def evaluate_knowledge(data: Path, cache: Path, models: Path) -> list[Goal]:
    """Ask the shop pack's pages the questions that nothing was chosen by."""
    import trio
    from knowledge_measure import ask, count, read_questions

    from csgate.dialog.pack import load_pack

    pack = load_pack("shop")
    goals: list[Goal] = []
    for name, author in (("knowledge_questions", "the pages' author"), ("knowledge_blind", "another author")):
        for language in pack.languages:
            asked: Any = trio.run(ask, pack, language, read_questions(language, "figure", name))
            figures = count(asked, pack)
            goals.append(Goal(f"hit@1, {language}, questions by {author}", 0.8, figures.hit_at_1))
            goals.append(Goal(f"hit@3, {language}, questions by {author}", 0.95, figures.hit_at_3))
    return goals


PARTS: Final[dict[str, Callable[[Path, Path, Path], list[Goal]]]] = {
    "intent": evaluate_intent,
    "stickers": evaluate_stickers,
    "fusion": evaluate_fusion,
    "sentiment": evaluate_sentiment,
    "generator": evaluate_generator,
    "knowledge": evaluate_knowledge,
}


def main() -> int:
    """Print one table; save it where `--save` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "public", help="the public data (default %(default)s)")
    parser.add_argument("--cache", type=Path, default=HERE / "cache", help="what trainings fetched and made")
    parser.add_argument("--models", type=Path, default=HERE.parent, help="the model folders")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--save", type=Path, help="a Markdown file for the table")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, Goal]] = []
    for name in asked.only.split(","):
        began = time.monotonic()
        rows += [(name, goal) for goal in PARTS[name](asked.data, asked.cache, asked.models)]
        print(f"{name}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = goals_table(rows)
    print(table)
    if asked.save is not None:
        asked.save.write_text(f"{HEAD}\n{table}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
