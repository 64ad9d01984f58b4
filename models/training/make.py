"""Make every model that csgate ships: `python models/training/make.py --data DIR [--only intent,stickers]`.

Seeds are fixed; each training can be interrupted and goes on from its checkpoint in the cache folder.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from fusion import train_fusion
from fusion_measure import measure_fusion
from intent import build_tokenizer
from intent_data import read_corpus
from intent_make import make_intent
from measures import best_temperature
from model_card import fusion_card, sentiment_card, write_card
from model_folder import quantize_weights, trace, write_labels, write_manifest
from sentiment import held_remarks, measure_sentiment, sentiment_tests, train_sentiment
from sentiment_data import SENTIMENTS, SentimentSampler, read_remarks
from sticker_export import FEATURES
from sticker_images import read_emoji
from sticker_make import make_stickers
from text_encoder import MAX_TOKENS, PAD_ID, TextClassifier, TokenRows

PARTS: Final = ("stickers", "intent", "sentiment", "fusion", "generator")
LENGTHS: Final = [8, 16, 32, MAX_TOKENS]
BUCKETS: Final = [1, 2, 4, 8, 16, 32]
VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where things lie, and how long to train."""

    data: Path
    cache: Path
    models: Path
    sticker_steps: int
    intent_steps: int
    sentiment_steps: int


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _sizes(folder: Path) -> str:
    files = sorted(folder.glob("model.*.onnx"))
    return "Files: " + ", ".join(f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in files) + "."


def text_runner(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """Return the shipped text model as a function: texts to float32[N, classes]."""
    session = _session(folder / "model.int8.onnx")
    rows = TokenRows(folder / "tokenizer.json")

    def run(texts: list[str]) -> np.ndarray:
        parts = [rows(texts[at : at + 64]).numpy() for at in range(0, len(texts), 64)]
        return np.concatenate([session.run(["logits"], {"input_ids": part})[0] for part in parts])

    return run


def tagger_runner(folder: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return one output of the shipped tagger as a function of float32[N, 3, 48, 48]."""
    session = _session(folder / "model.fp32.onnx")
    return lambda pixels: np.concatenate(
        [session.run([output], {"pixels": pixels[at : at + 64]})[0] for at in range(0, len(pixels), 64)]
    )


def _write_text_model(shop: Workshop, folder: Path, model: TextClassifier) -> None:
    """Write the ONNX files; the manifest comes after calibration, on the quantized file."""
    folder.mkdir(exist_ok=True)
    shutil.copy(shop.cache / "tokenizer.json", folder / "tokenizer.json")
    example = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, PAD_ID, PAD_ID]])
    single = trace(model, (example,), ["input_ids"], ["logits"], lengths=True)
    onnx.save(quantize_weights(single), folder / "model.int8.onnx")
    half = _HalfText(model)
    onnx.save(trace(half, (example,), ["input_ids"], ["logits"], lengths=True), folder / "model.fp16.onnx")
    model.float()


class _HalfText(torch.nn.Module):
    """A text model in float16 whose logits are float32."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model.half()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(ids)
        return result.float()


def _text_manifest(folder: Path, task: str, attribution: list[str], description: str, temperature: float) -> None:
    top = {
        "version": VERSION,
        "task": task,
        "licence": "Apache-2.0",
        "description": description,
        "attribution": attribution,
    }
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": BUCKETS},
        "input": {"name": "input_ids", "dtype": "int64"},
        "tokenizer": {"file": "tokenizer.json", "max_tokens": MAX_TOKENS, "lengths": LENGTHS, "pad_id": PAD_ID},
        "output": {"name": "logits", "temperature": temperature},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)


def _tokenizer(shop: Workshop) -> None:
    if not (shop.cache / "tokenizer.json").exists():
        remarks = [one.text for one in read_remarks(shop.data, "train")]
        build_tokenizer(read_corpus(shop.data), remarks, shop.cache / "tokenizer.json")


def make_sentiment(shop: Workshop) -> None:
    """Make models/shop-sentiment."""
    _tokenizer(shop)
    folder = shop.models / "shop-sentiment"
    _write_text_model(shop, folder, train_sentiment(shop.data, shop.cache, shop.sentiment_steps))
    run = text_runner(folder)
    held = held_remarks(shop.data, SentimentSampler(shop.data))
    temperature = best_temperature(run([one.text for one in held]), np.array([one.sentiment for one in held]))
    tests = sentiment_tests(shop.data)
    logits = {name: run([one.text for one in rows]) for name, rows in tests.items()}
    labels = {name: np.array([one.sentiment for one in rows]) for name, rows in tests.items()}
    figures = measure_sentiment(logits, labels, temperature) | {"temperature": temperature}
    figures |= {f"{name}_rows": len(rows) for name, rows in tests.items()}
    write_labels(folder, list(SENTIMENTS), list(SENTIMENTS), ["负面", "中性", "正面"])
    attribution = ["GoEmotions: Demszky et al. 2020, CC BY 4.0"]
    _text_manifest(folder, "sentiment", attribution, "The mood of a text, English and Chinese", temperature)
    write_card(folder, sentiment_card(figures, _sizes(folder)), figures)


def make_fusion(shop: Workshop) -> None:
    """Make models/shop-fusion, on the shipped sentiment model and tagger."""
    emoji = read_emoji(shop.data)
    text = text_runner(shop.models / "shop-sentiment")
    features = tagger_runner(shop.models / "stickers", "features")
    head = train_fusion(shop.data, emoji, text, features)
    folder = shop.models / "shop-fusion"
    folder.mkdir(exist_ok=True)
    examples = (torch.zeros(2, 3), torch.zeros(2, FEATURES))
    names = ["text_logits", "features"]
    onnx.save(trace(head, examples, names, ["logits"]), folder / "model.fp32.onnx")
    onnx.save(trace(copy.deepcopy(head).half(), examples, names, ["logits"]), folder / "model.fp16.onnx")
    figures = measure_fusion(shop.data, emoji, text, features, head, 1.0)
    parameters = sum(one.numel() for one in head.parameters())
    top = {
        "version": VERSION,
        "task": "fusion",
        "licence": "Apache-2.0",
        "description": "The mood of a text together with its sticker",
        "attribution": ["GoEmotions: Demszky et al. 2020, CC BY 4.0"],
    }
    write_labels(folder, list(SENTIMENTS), list(SENTIMENTS), ["负面", "中性", "正面"])
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": BUCKETS},
        "output": {"name": "logits"},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)
    write_card(folder, fusion_card(figures, parameters, _sizes(folder)), figures)


def _make_generator(shop: Workshop, steps: int) -> None:
    # Needs Transformers, onnxruntime-genai and what csgate itself needs; the other parts do without.
    from generator_make import make_generator

    make_generator(shop.cache, shop.models, steps)


def main() -> None:
    """Read the command line and make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    environment = os.environ.get("CSGATE_TRAINING_DATA")
    parser.add_argument(
        "--data", type=Path, default=environment, required=environment is None, help="the public data folder"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    here = Path(__file__).resolve().parent
    parser.add_argument("--cache", type=Path, default=here / "cache", help="checkpoints; delete it to train anew")
    parser.add_argument("--models", type=Path, default=here.parent, help="where the model folders are written")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sticker-steps", type=int, default=8_000)
    parser.add_argument("--intent-steps", type=int, default=4_000)
    parser.add_argument("--sentiment-steps", type=int, default=2_000)
    parser.add_argument("--generator-steps", type=int, default=1_900)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.cache.mkdir(parents=True, exist_ok=True)
    shop = Workshop(
        Path(asked.data), asked.cache, asked.models, asked.sticker_steps, asked.intent_steps, asked.sentiment_steps
    )
    makers = {
        "stickers": lambda shop: make_stickers(shop.data, shop.cache, shop.models, shop.sticker_steps),
        "intent": lambda shop: make_intent(shop.data, shop.cache, shop.models, shop.intent_steps),
        "sentiment": make_sentiment,
        "fusion": make_fusion,
        "generator": lambda shop: _make_generator(shop, asked.generator_steps),
    }
    chosen = asked.only.split(",")
    for part in PARTS:
        if part in chosen:
            started = time.monotonic()
            makers[part](shop)
            print(f"{part}: made in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
