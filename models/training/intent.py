"""Train the intent classifier, and measure it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np
import torch
from intent_data import INTENTS, OUT_OF_SCOPE, Corpus, Example, Sampler, read_tests
from measures import accuracy, calibration_error, ranking_area, softmax
from text_encoder import TextClassifier, TokenRows, logits_of, make_tokenizer
from text_expansion import expand
from text_training import Batch, fit_text

SEED: Final = 20262
PIECES: Final = 10_000
WIDTH: Final = 160
BLOCKS: Final = 3
BATCH: Final = 144


def build_tokenizer(corpus: Corpus, texts: list[str], path: Path) -> None:
    """Learn the pieces from all training text (never from the held-out files) and write tokenizer.json."""
    chance = random.Random(SEED)
    lines = [expand(seed, chance) for seed in corpus.seeds for _ in range(4)]
    lines += [one.text for one in corpus.bitext + corpus.retail + corpus.others]
    lines += [text for text, _ in corpus.banking] + texts
    make_tokenizer(lines, PIECES).save(str(path))


def make_model(vocabulary: int) -> TextClassifier:
    """Return the untrained model: intents first, then CLINC's and BANKING77's own labels."""
    return TextClassifier(vocabulary, WIDTH, BLOCKS, (len(INTENTS), 150, 77))


def held_examples(corpus: Corpus) -> list[Example]:
    """Return messages of the seeds and rows that are held back for choosing and for calibration."""
    chance = random.Random(SEED)
    made = [Example(expand(s, chance), INTENTS.index(s.label), s.language) for s in corpus.held_seeds for _ in range(2)]
    dev = [one for part in read_tests("intents_dev").values() for one in part]
    return made + corpus.retail_held + dev


def train_intent(corpus: Corpus, cache: Path, steps: int, seed: int = SEED) -> TextClassifier:
    """Train, or go on from the checkpoint in `cache`; CLINC's and BANKING77's labels only teach the encoder."""
    torch.manual_seed(seed)
    rows = TokenRows(cache / "tokenizer.json", dropout=0.1)
    plain_rows = TokenRows(cache / "tokenizer.json")
    sampler = Sampler(corpus, random.Random(seed))
    held = held_examples(corpus)
    held_labels = np.array([one.intent for one in held])

    def draw(step: int) -> list[Batch]:
        chance = sampler.chance = random.Random(seed + step)
        drawn = [sampler.draw() for _ in range(BATCH)]
        head, source = chance.choice(((1, corpus.clinc), (2, corpus.banking)))
        side = chance.sample(source, BATCH // 4)
        return [
            Batch([one.text for one in drawn], [one.intent for one in drawn]),
            Batch([text for text, _ in side], [label for _, label in side], head, 0.3),
        ]

    def score(model: TextClassifier) -> float:
        return accuracy(logits_of(model, plain_rows, [one.text for one in held]), held_labels)

    model = make_model(rows.size)
    return fit_text(model, rows, draw, steps=steps, seed=seed, checkpoint=cache / "intent.pt", score=score)


def measure_intent(
    logits: dict[str, np.ndarray], labels: dict[str, np.ndarray], temperature: float
) -> dict[str, float]:
    """Return the figures of the card.

    Args:
        logits: by test: en, zh, retail, bitext, clinc_oos; float32[N, 34].
        labels: the same keys; int64[N].
        temperature: what the logits are divided by.
    """
    figures: dict[str, float] = {}
    chances = {name: softmax(part, temperature) for name, part in logits.items()}
    for name in ("en", "zh", "retail", "bitext"):
        figures[f"{name}_accuracy"] = accuracy(chances[name], labels[name])
        figures[f"{name}_ece"] = calibration_error(chances[name], labels[name])
        sure = chances[name].max(1) >= 0.7
        figures[f"{name}_sure_share"] = float(np.mean(sure))
        figures[f"{name}_sure_accuracy"] = accuracy(chances[name][sure], labels[name][sure])
    for name in ("en", "zh"):
        outside = labels[name] == OUT_OF_SCOPE
        score = chances[name][:, OUT_OF_SCOPE]
        figures[f"{name}_oos_auroc"] = ranking_area(score[~outside], score[outside])
    inside = np.concatenate([chances["en"][labels["en"] != OUT_OF_SCOPE], chances["retail"]])
    figures["clinc_oos_auroc"] = ranking_area(inside[:, OUT_OF_SCOPE], chances["clinc_oos"][:, OUT_OF_SCOPE])
    figures["clinc_oos_recall"] = accuracy(chances["clinc_oos"], labels["clinc_oos"])
    return figures


def intent_tests(corpus: Corpus) -> dict[str, list[Example]]:
    """Return the tests of the card by name."""
    return {**read_tests(), "retail": corpus.retail_test, "bitext": corpus.bitext_test, "clinc_oos": corpus.scope_test}
