"""The shipped mood models in short: other authors' messages, and ambiguous sentences beside opposing stickers."""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer

MODELS = Path(__file__).parents[2] / "models"
TEXTS = MODELS / "training" / "data"
SENTIMENTS = ["negative", "neutral", "positive"]
GLAD, SORRY = ("thumbs-up", "red-heart", "party-popper"), ("pouting-face", "crying-face", "broken-heart")


def open_model(folder, precision):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(MODELS / folder / f"model.{precision}.onnx"), options, providers=["CPUExecutionProvider"]
    )


@pytest.fixture(scope="module")
def text_logits():
    session = open_model("shop-sentiment", "int8")
    tokenizer = Tokenizer.from_file(str(MODELS / "shop-sentiment" / "tokenizer.json"))
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding(pad_id=0)

    def run(texts):
        rows = np.array([row.ids for row in tokenizer.encode_batch(texts)], np.int64)
        return session.run(["logits"], {"input_ids": rows})[0]

    return run


@pytest.fixture(scope="module")
def features():
    """The tagger's features of the sample stickers by name."""
    session = open_model("stickers", "fp32")
    rows = {}
    for name in GLAD + SORRY:
        with Image.open(MODELS / "samples" / f"{name}.png") as opened:
            picture = opened.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, "white")
        canvas.alpha_composite(picture)
        small = canvas.convert("RGB").resize((48, 48), Image.Resampling.BOX)
        values = (np.asarray(small, np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        rows[name] = session.run(["features"], {"pixels": values})[0][0]
    return rows


def labelled(name):
    """Lines of one of our files with their headings; `#` begins a comment."""
    label, rows = "", []
    for line in (TEXTS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            label = line[1:-1]
        elif line and not line.startswith("#"):
            rows.append((line, label))
    return rows


@pytest.mark.parametrize(("language", "least"), [("en", 0.76), ("zh", 0.85)])
def test_other_authors_messages_are_felt(text_logits, language, least):
    rows = labelled(f"blind_sentiment.{language}.txt")
    found = text_logits([text for text, _ in rows]).argmax(1)
    assert len(rows) >= 150
    assert np.mean(found == [SENTIMENTS.index(label) for _, label in rows]) >= least


def test_opposing_stickers_decide_ambiguous_sentences(text_logits, features):
    session = open_model("shop-fusion", "fp32")
    for language in ("en", "zh"):
        texts = [text for text, label in labelled("fusion_test.txt") if label == language]
        alone = text_logits(texts)
        right = []
        for name in GLAD + SORRY:
            seen = np.repeat(features[name][None], len(texts), 0)
            joined = session.run(["logits"], {"text_logits": alone, "features": seen})[0]
            right.append((joined[:, 2] > joined[:, 0]) == (name in GLAD))
        assert np.mean(right) >= 0.9, language


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("not good at all", "negative"),
        ("I will never order here again", "negative"),
        ("couldn't be happier with it", "positive"),
        ("一点毛病都没有", "positive"),
        ("一点都不好用", "negative"),
        ("到了😡", "negative"),
        ("到了😍", "positive"),
    ],
)
def test_negation_and_written_emoji_are_understood(text_logits, text, mood):
    assert SENTIMENTS[int(text_logits([text])[0].argmax())] == mood


def test_the_fusion_model_fits_its_neighbours(features):
    labels = json.loads((MODELS / "shop-fusion" / "labels.json").read_text(encoding="utf-8"))
    assert labels["names"] == SENTIMENTS
    inputs = {one.name: one.shape for one in open_model("shop-fusion", "fp32").get_inputs()}
    assert inputs["text_logits"][1] == 3
    assert inputs["features"][1] == len(next(iter(features.values())))
    figures = json.loads((MODELS / "shop-fusion" / "figures.json").read_text(encoding="utf-8"))
    assert figures["parameters"] < 100_000
    manifest = tomllib.loads((MODELS / "shop-fusion" / "model.toml").read_text(encoding="utf-8"))
    assert manifest["task"] == "fusion"
