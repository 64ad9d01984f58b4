"""Train the text sentiment model, and measure it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np
import torch
from intent import BLOCKS, WIDTH
from measures import accuracy, calibration_error, macro_f1, softmax
from sentiment_data import SENTIMENTS, Remark, SentimentSampler, read_own, read_remarks
from text_encoder import TextClassifier, TokenRows, logits_of
from text_expansion import expand
from text_training import Batch, fit_text

SEED: Final = 20263
EMOTIONS: Final = 28
BATCH: Final = 128


def make_model(vocabulary: int) -> TextClassifier:
    """Return the untrained model: moods first, then GoEmotions' own labels, which only teach the encoder."""
    return TextClassifier(vocabulary, WIDTH, BLOCKS, (len(SENTIMENTS), EMOTIONS))


def held_remarks(data: Path, sampler: SentimentSampler) -> list[Remark]:
    """Return what is held back for calibration: GoEmotions' dev part, thinned out, and some of our seeds."""
    chance = random.Random(SEED)
    own = [
        Remark(expand(one, chance), SENTIMENTS.index(one.label), one.language) for one in sampler.held for _ in range(6)
    ]
    return read_remarks(data, "dev")[::8] + own


def train_sentiment(data: Path, cache: Path, steps: int) -> TextClassifier:
    """Train, or go on from the checkpoint in `cache`.

    The encoder starts as the intent model's, which knows customers' words; so that one is made first.
    """
    torch.manual_seed(SEED)
    rows = TokenRows(cache / "tokenizer.json", dropout=0.1)
    plain_rows = TokenRows(cache / "tokenizer.json")
    sampler = SentimentSampler(data)
    held = held_remarks(data, sampler)
    labels = np.array([one.sentiment for one in held])

    def draw(step: int) -> list[Batch]:
        sampler.chance = random.Random(SEED + step)
        drawn = [sampler.draw() for _ in range(BATCH)]
        felt = [one for one in drawn if one.emotion >= 0]
        return [
            Batch([one.text for one in drawn], [one.sentiment for one in drawn]),
            Batch([one.text for one in felt], [one.emotion for one in felt], 1, 0.2),
        ]

    def score(model: TextClassifier) -> float:
        return accuracy(logits_of(model, plain_rows, [one.text for one in held]), labels)

    model = make_model(rows.size)
    intent = torch.load(cache / "intent.pt", weights_only=False)["model"]
    start = {name.removeprefix("encoder."): values for name, values in intent.items() if name.startswith("encoder.")}
    model.encoder.load_state_dict(start)
    return fit_text(model, rows, draw, steps=steps, seed=SEED, checkpoint=cache / "sentiment.pt", score=score)


def sentiment_tests(data: Path) -> dict[str, list[Remark]]:
    """Return the tests of the card by name: ours in both languages, and GoEmotions' test part."""
    tests = {
        language: [Remark(one.text, SENTIMENTS.index(one.label), language) for one in seeds]
        for language, seeds in read_own("sentiment_test").items()
    }
    return {**tests, "goemotions": read_remarks(data, "test")}


def measure_sentiment(
    logits: dict[str, np.ndarray], labels: dict[str, np.ndarray], temperature: float
) -> dict[str, float]:
    """Return the figures of the card by test: accuracy, macro-F1 of the three classes, calibration error."""
    figures = {}
    for name, part in logits.items():
        chances = softmax(part, temperature)
        figures[f"{name}_accuracy"] = accuracy(chances, labels[name])
        figures[f"{name}_macro_f1"] = macro_f1(chances.argmax(1), labels[name], (0, 1, 2))
        figures[f"{name}_ece"] = calibration_error(chances, labels[name])
    return figures
