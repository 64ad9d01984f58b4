"""The shipped intent model keeps its card's word on the tests that lie in the repository, and its text is all there."""

import functools
import json
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

MODELS = Path(__file__).parents[2] / "models"
FOLDER = MODELS / "shop-intent"
DATA = MODELS / "training" / "data"
LANGUAGES = ("en", "zh")
SEED_FILES = ("intents", "intents_indirect", "intents_wide", "intents_scenes", "intents_voices_a", "intents_voices_b")
FEWEST_SEEDS = 80
NOISE = 0.006


def read(name, language):
    label, rows = "", []
    for line in (DATA / f"{name}.{language}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            label = line[1:-1]
        elif line and not line.startswith("#"):
            rows.append((label, line))
    return rows


@functools.cache
def figures():
    return json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))


@functools.cache
def manifest():
    return tomllib.loads((FOLDER / "model.toml").read_text(encoding="utf-8"))


@functools.cache
def names():
    return json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))["names"]


@functools.cache
def chances(language, test="blind_test"):
    """Return probabilities and label numbers of a blind test, through the file that is served."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = FOLDER / manifest()["files"]["int8"]["path"]
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(manifest()["tokenizer"]["max_tokens"])
    tokenizer.enable_padding(pad_id=manifest()["tokenizer"]["pad_id"])
    labels, texts = zip(*read(test, language), strict=True)
    parts = [tokenizer.encode_batch(texts[at : at + 64]) for at in range(0, len(texts), 64)]
    rows = [np.array([one.ids for one in part], np.int64) for part in parts]
    logits = np.concatenate([session.run(["logits"], {"input_ids": row})[0] for row in rows]).astype(np.float64)
    logits /= manifest()["output"]["temperature"]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True), np.array([names().index(label) for label in labels])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_intent_has_eighty_seeds_and_no_seed_comes_twice(language):
    rows = [row for name in SEED_FILES for row in read(name, language)]
    counts = Counter(label for label, _ in set(rows))
    assert sorted(counts) == sorted(names())
    assert min(counts.values()) >= FEWEST_SEEDS
    assert sum(count - 1 for count in Counter(rows).values()) <= 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_blind_message_is_a_seed_of_some_length(language):
    def plain(text):
        return "".join(char for char in text.lower() if char.isalnum())

    longest = 16 if language == "en" else 8
    seeds = {plain(text) for name in SEED_FILES for _, text in read(name, language)}
    blind = [plain(text) for name in ("blind_test", "blind_later") for _, text in read(name, language)]
    assert not [text for text in blind if len(text) > longest and text in seeds]


@pytest.mark.parametrize(("test", "prefix"), [("blind_test", ""), ("blind_later", "later_")])
@pytest.mark.parametrize("language", LANGUAGES)
def test_blind_accuracy_is_the_cards(language, test, prefix):
    probabilities, labels = chances(language, test)
    assert len(labels) == figures()[f"{prefix}{language}_rows"]
    accuracy = float(np.mean(probabilities.argmax(1) == labels))
    assert accuracy == pytest.approx(figures()[f"{prefix}{language}_accuracy"], abs=NOISE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sure_answers_are_mostly_right(language):
    probabilities, labels = chances(language)
    sure = probabilities.max(1) >= 0.7
    right = float(np.mean(probabilities[sure].argmax(1) == labels[sure]))
    assert float(np.mean(sure)) == pytest.approx(figures()[f"{language}_sure_share"], abs=NOISE)
    assert right == pytest.approx(figures()[f"{language}_sure_accuracy"], abs=NOISE)


def test_goals_say_what_the_figures_say():
    goals = {row["title"]: row for row in json.loads((FOLDER / "goals.json").read_text(encoding="utf-8"))}
    for language, title in (("en", "English"), ("zh", "Chinese")):
        row = goals[f"accuracy on {title} messages by other authors"]
        assert row["figure"] == pytest.approx(figures()[f"{language}_accuracy"], abs=1e-4)
        assert row["met"] is (row["figure"] >= row["target"])


def test_served_file_is_the_smallest_of_the_compared():
    path = FOLDER / manifest()["files"]["int8"]["path"]
    assert path.stat().st_size == pytest.approx(figures()["int8_mb"] * 1e6, rel=0.01)
    assert path.stat().st_size <= 5_000_000
