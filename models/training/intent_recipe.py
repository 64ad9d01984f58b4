"""The intent model's recipe on public labels: BANKING77 and CLINC150, with their own training and test parts.

The same tokenizer settings, start, architecture and loop as the shop's model; no message of the shop is needed.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from intent import BATCH, PIECES, SEED, make_model
from measures import accuracy
from text_encoder import TextClassifier, TokenRows, logits_of, make_tokenizer
from text_expansion import roughen
from text_training import Batch, fit_text
from text_variation import leave_out_words

Rows = list[tuple[str, int]]
TASKS: Final = ("banking77", "clinc150")


@dataclass(frozen=True, slots=True)
class Task:
    """A public set of labelled messages."""

    name: str
    classes: int
    train: Rows
    test: Rows


def _numbered(name: str, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> Task:
    names = sorted({label for _, label in train})
    numbers = {label: number for number, label in enumerate(names)}
    return Task(
        name,
        len(names),
        [(text, numbers[label]) for text, label in train],
        [(text, numbers[label]) for text, label in test],
    )


def read_task(data: Path, name: str) -> Task:
    """Read BANKING77, or the 150 in-scope labels of CLINC150."""
    if name == "clinc150":
        clinc = json.loads((data / "intent_en_clinc150" / "data_full.json").read_text(encoding="utf-8"))
        return _numbered(name, *([(text, label) for text, label in clinc[part]] for part in ("train", "test")))
    parts = []
    for part in ("train", "test"):
        with (data / "intent_en_banking77" / f"{part}.csv").open(encoding="utf-8") as file:
            parts.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    return _numbered(name, *parts)


def measure_recipe(data: Path, cache: Path, name: str, texts: list[str], steps: int) -> float:
    """Train on one public set, the other teaching the encoder on the side as with the shop, and return test accuracy.

    Args:
        data: the public data folder.
        cache: gets the tokenizer and the checkpoint.
        name: one of TASKS.
        texts: more text without labels, for the tokenizer and the vectors to start from.
        steps: of the whole training.
    """
    task = read_task(data, name)
    other = read_task(data, next(one for one in TASKS if one != name))
    known = [text for text, _ in task.train + other.train]
    path = cache / f"{name}_tokenizer.json"
    if not path.exists():
        make_tokenizer(known + texts, PIECES).save(str(path))
    rows, plain_rows = TokenRows(path, dropout=0.1), TokenRows(path)

    def draw(step: int) -> list[Batch]:
        chance = random.Random(SEED + step)
        drawn = [task.train[at] for at in epoch_slice(len(task.train), step)]
        side = chance.sample(other.train, BATCH // 4)
        said = [_vary(text, chance) for text, _ in drawn]
        return [
            Batch(said, [label for _, label in drawn]),
            Batch([text for text, _ in side], [label for _, label in side], 1, 0.3),
        ]

    def score(model: TextClassifier) -> float:
        # No part is held back, since nothing is chosen: this only shows that it learns.
        part = task.train[::20]
        return accuracy(
            logits_of(model, plain_rows, [text for text, _ in part]), np.array([label for _, label in part])
        )

    model = make_model(plain_rows, (task.classes, other.classes), known + texts)
    model = fit_text(model, rows, draw, steps=steps, seed=SEED, checkpoint=cache / f"{name}.pt", score=score)
    logits = logits_of(model, plain_rows, [text for text, _ in task.test])
    return accuracy(logits, np.array([label for _, label in task.test]))


def epoch_slice(size: int, step: int) -> list[int]:
    """Return the rows of a step: all are seen once before any is seen again, in another order each time."""
    places = []
    for at in range(step * BATCH, (step + 1) * BATCH):
        epoch, place = divmod(at, size)
        places.append((place * _stride(size, epoch) + epoch) % size)
    return places


def _stride(size: int, epoch: int) -> int:
    """Return a number without a common divisor with `size`, so that multiples reach every row."""
    chance = random.Random(epoch)
    while True:
        stride = chance.randrange(size // 3, size)
        if np.gcd(stride, size) == 1:
            return stride


def _vary(text: str, chance: random.Random) -> str:
    if chance.random() < 0.3:
        text = leave_out_words(text, "en", chance)
    return roughen(text, "en", chance) if chance.random() < 0.5 else text
