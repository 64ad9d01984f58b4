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
from text_start import word_vectors
from text_training import Batch, fit_text

SEED: Final = 20262
PIECES: Final = 12_000
WIDTH: Final = 160
BLOCKS: Final = 3
BAG: Final = (24_000, 48)
BATCH: Final = 128
SCOPE_STEPS: Final = np.linspace(-2, 2, 41)
TEMPERATURES: Final = np.exp(np.linspace(np.log(0.4), np.log(3), 60))


def build_tokenizer(corpus: Corpus, texts: list[str], path: Path) -> None:
    """Learn the pieces from all training text (never from the held-out files) and write tokenizer.json."""
    chance = random.Random(SEED)
    lines = [expand(seed, chance) for seed in corpus.seeds for _ in range(4)]
    lines += [one.text for one in corpus.bitext + corpus.retail + corpus.others]
    lines += [text for text, _ in corpus.banking] + texts
    make_tokenizer(lines, PIECES).save(str(path))


def make_model(rows: TokenRows, classes: tuple[int, ...], texts: list[str], seed: int = SEED) -> TextClassifier:
    """Return the model before its training: random, but for the vectors of pieces, which know their company in `texts`.

    Args:
        rows: its tokenizer, without dropout.
        classes: how many for each head, the main one first.
        texts: where the pieces' company is looked at.
        seed: of chance.
    """
    torch.manual_seed(seed)
    model = TextClassifier(rows.size, WIDTH, BLOCKS, classes, bag=BAG)
    vectors = torch.from_numpy(word_vectors(rows, texts, WIDTH, seed))
    known = ~vectors.isnan().any(1)
    with torch.no_grad():
        weight = model.encoder.embedding.weight
        weight[known] = vectors[known] + weight[known] * 0.3
        weight[0] = 0
    return model


def held_examples(corpus: Corpus) -> list[Example]:
    """Return messages of the seeds and rows that are held back for choosing and for calibration."""
    chance = random.Random(SEED)
    made = [Example(expand(s, chance), INTENTS.index(s.label), s.language) for s in corpus.held_seeds]
    return made + corpus.retail_held + [one for part in read_tests().values() for one in part]


def train_intent(corpus: Corpus, texts: list[str], cache: Path, steps: int, seed: int = SEED) -> TextClassifier:
    """Train, or go on from the checkpoint in `cache`; CLINC's and BANKING77's labels only teach the encoder.

    Args:
        corpus: what is learned.
        texts: more text without labels, for the vectors to start from.
        cache: has intent_tokenizer.json, gets intent.pt.
        steps: of the whole training.
        seed: of chance.
    """
    rows = TokenRows(cache / "intent_tokenizer.json", dropout=0.1)
    plain_rows = TokenRows(cache / "intent_tokenizer.json")
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

    chance = random.Random(seed)
    own = [expand(one, chance) for one in corpus.seeds for _ in range(2 + 2 * one.text.count("("))]
    public = [one.text for one in corpus.bitext + corpus.retail + corpus.others] + [text for text, _ in corpus.banking]
    model = make_model(plain_rows, (len(INTENTS), 150, 77), own + public + texts, seed)
    return fit_text(model, rows, draw, steps=steps, seed=seed, checkpoint=cache / "intent.pt", score=score)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return what to add to out_of_scope's logit, and the temperature, of the lowest negative log-likelihood.

    How often messages are out of scope is another matter in training than at a shop, so that one logit is moved too.
    """
    rows = np.arange(len(labels))
    best = (np.inf, 0.0, 1.0)
    for offset in SCOPE_STEPS:
        moved = logits.copy()
        moved[:, OUT_OF_SCOPE] += offset
        for temperature in TEMPERATURES:
            loss = -np.log(softmax(moved, temperature)[rows, labels] + 1e-12).mean()
            best = min(best, (loss, float(offset), float(temperature)))
    return best[1], round(best[2], 3)


def measure_intent(
    logits: dict[str, np.ndarray], labels: dict[str, np.ndarray], temperature: float
) -> dict[str, float]:
    """Return the figures of the card.

    Args:
        logits: float32[N, 34] by test: en, zh (blind), later_en, later_zh (likewise), old_en, old_zh, retail, bitext,
            clinc_oos.
        labels: the same keys; int64[N].
        temperature: what the logits are divided by.
    """
    figures: dict[str, float] = {}
    chances = {name: softmax(part, temperature) for name, part in logits.items()}
    for name in ("en", "zh", "later_en", "later_zh", "old_en", "old_zh", "retail", "bitext"):
        figures[f"{name}_accuracy"] = accuracy(chances[name], labels[name])
        figures[f"{name}_ece"] = calibration_error(chances[name], labels[name])
        sure = chances[name].max(1) >= 0.7
        figures[f"{name}_sure_share"] = float(np.mean(sure))
        figures[f"{name}_sure_accuracy"] = accuracy(chances[name][sure], labels[name][sure])
    figures["both_ece"] = calibration_error(
        np.concatenate([chances["en"], chances["zh"]]), np.concatenate([labels["en"], labels["zh"]])
    )
    for name in ("en", "zh"):
        outside = labels[name] == OUT_OF_SCOPE
        score = chances[name][:, OUT_OF_SCOPE]
        figures[f"{name}_oos_auroc"] = ranking_area(score[~outside], score[outside])
        strangers = np.concatenate([score[outside], chances["clinc_oos"][:, OUT_OF_SCOPE]])
        figures[f"{name}_clinc_oos_auroc"] = ranking_area(score[~outside], strangers)
    inside = np.concatenate([chances[name][labels[name] != OUT_OF_SCOPE] for name in ("en", "retail")])
    figures["clinc_oos_auroc"] = ranking_area(inside[:, OUT_OF_SCOPE], chances["clinc_oos"][:, OUT_OF_SCOPE])
    figures["clinc_oos_recall"] = accuracy(chances["clinc_oos"], labels["clinc_oos"])
    return figures


def weak_spots(logits: np.ndarray, labels: np.ndarray) -> list[tuple[str, float, str]]:
    """Return the six intents of the lowest recall: name, recall, and what they are most often taken for."""
    guessed = logits.argmax(1)
    rows = []
    for one in sorted(set(labels.tolist())):
        mine = guessed[labels == one]
        wrong = [INTENTS[at] for at in mine if at != one]
        most = max(sorted(set(wrong)), key=wrong.count) if wrong else ""
        rows.append((INTENTS[one], float(np.mean(mine == one)), most))
    return sorted(rows, key=lambda row: row[1])[:6]


def intent_tests(corpus: Corpus) -> dict[str, list[Example]]:
    """Return the tests of the card by name."""
    earlier = {f"old_{language}": rows for language, rows in read_tests().items()}
    public = {"retail": corpus.retail_test, "bitext": corpus.bitext_test, "clinc_oos": corpus.scope_test}
    later = {f"later_{language}": rows for language, rows in read_tests("blind_later").items()}
    return {**read_tests("blind_test"), **later, **earlier, **public}
