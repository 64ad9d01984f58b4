"""Train the text sentiment model, and measure it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np
import torch
from intent_data import INTENTS, read_intent_seeds
from measures import accuracy, calibration_error, macro_f1, softmax
from sentiment_data import SENTIMENTS, Remark, SentimentSampler, read_own, read_remarks
from text_encoder import TextClassifier, TokenRows, logits_of, make_tokenizer
from text_expansion import expand, roughen
from text_training import Batch, fit_text

SEED: Final = 20263
PIECES: Final = 12_000
WIDTH: Final = 160
BLOCKS: Final = 3
EMOTIONS: Final = 28
BATCH: Final = 128
INTENT_BATCH: Final = 16


def build_sentiment_tokenizer(data: Path, path: Path) -> None:
    """Learn the pieces from training text alone, every Chinese character among them, and write tokenizer.json."""
    sampler = SentimentSampler(data)
    chance = sampler.chance = random.Random(SEED)
    lines = [one.text for one in read_remarks(data, "train")]
    for language in ("en", "zh"):
        for label in SENTIMENTS:
            lines += [sampler.own_text(language, label) for _ in range(4_000)]
        lines += [expand(seed, chance) for seed in read_intent_seeds(language) for _ in range(2)]
    make_tokenizer(lines, PIECES).save(str(path))


def make_model(vocabulary: int) -> TextClassifier:
    """Return the untrained model: moods first; GoEmotions' own labels and intents only teach the encoder."""
    return TextClassifier(vocabulary, WIDTH, BLOCKS, (len(SENTIMENTS), EMOTIONS, len(INTENTS)))


def held_remarks(data: Path, sampler: SentimentSampler) -> list[Remark]:
    """Return what is held back for choosing and calibration.

    GoEmotions' dev part, thinned out; some of our seeds; and our earlier tests, which are indirect on purpose.
    """
    chance = random.Random(SEED)
    own = [
        Remark(expand(one, chance), SENTIMENTS.index(one.label), one.language) for one in sampler.held for _ in range(3)
    ]
    for language, seeds in read_own("sentiment_test").items():
        own += [Remark(one.text, SENTIMENTS.index(one.label), language) for one in seeds for _ in range(2)]
    return read_remarks(data, "dev")[::5] + own


def train_sentiment(data: Path, cache: Path, steps: int) -> TextClassifier:
    """Train, or go on from the checkpoint in `cache`."""
    path = cache / "sentiment_tokenizer.json"
    if not path.exists():
        build_sentiment_tokenizer(data, path)
    torch.manual_seed(SEED)
    rows = TokenRows(path, dropout=0.1)
    plain_rows = TokenRows(path)
    sampler = SentimentSampler(data)
    held = held_remarks(data, sampler)
    labels = np.array([one.sentiment for one in held])
    wishes = [seed for language in ("en", "zh") for seed in read_intent_seeds(language)]

    def draw(step: int) -> list[Batch]:
        chance = sampler.chance = random.Random(SEED + step)
        drawn = [sampler.draw() for _ in range(BATCH)]
        felt = [one for one in drawn if one.emotion >= 0][: BATCH // 4]
        asked = chance.sample(wishes, INTENT_BATCH)
        return [
            Batch([one.text for one in drawn], [one.sentiment for one in drawn]),
            Batch([one.text for one in felt], [one.emotion for one in felt], 1, 0.2),
            Batch(
                [roughen(expand(one, chance), one.language, chance) for one in asked],
                [INTENTS.index(one.label) for one in asked],
                2,
                0.15,
            ),
        ]

    def score(model: TextClassifier) -> float:
        return accuracy(logits_of(model, plain_rows, [one.text for one in held]), labels)

    model = make_model(rows.size)
    return fit_text(model, rows, draw, steps=steps, seed=SEED, checkpoint=cache / "sentiment.pt", score=score)


def sentiment_tests(data: Path) -> dict[str, list[Remark]]:
    """Return the tests of the card by name: other authors' messages in both languages, and GoEmotions' test part."""
    tests = {
        language: [Remark(one.text, SENTIMENTS.index(one.label), language) for one in seeds]
        for language, seeds in read_own("blind_sentiment").items()
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
