"""Make models/shop-sentiment: train, export, calibrate, measure, describe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from measures import best_temperature, macro_f1
from model_card import write_card
from model_folder import quantize_weights, trace, write_labels, write_manifest
from sentiment import held_remarks, measure_sentiment, sentiment_tests, train_sentiment
from sentiment_card import sentiment_card
from sentiment_data import SENTIMENTS, Remark, SentimentSampler
from text_encoder import MAX_TOKENS, PAD_ID, TextClassifier, TokenRows

VERSION: Final = "2"
LENGTHS: Final = [8, 16, 32, MAX_TOKENS]
BUCKETS: Final = [1, 2, 4, 8, 16, 32]


class _Half(torch.nn.Module):
    """A text model in float16 whose logits are float32."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model.half()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(ids)
        return result.float()


def _session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def sentiment_logits(model: onnx.ModelProto | Path, tokenizer: Path) -> Callable[[list[str]], np.ndarray]:
    """Return a graph as a function: texts to float32[N, 3]."""
    session = _session(model)
    rows = TokenRows(tokenizer)

    def run(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        logits = np.empty((len(texts), len(SENTIMENTS)), np.float32)
        for at in range(0, len(order), 64):
            part = order[at : at + 64]
            ids = rows([texts[one] for one in part]).numpy()
            logits[part] = session.run(["logits"], {"input_ids": ids})[0]
        return logits

    return run


def _milliseconds(model: onnx.ModelProto, rows: int, runs: int = 40) -> float:
    """Return the time of a run of texts of 16 tokens: the quickest, since others may use the processor."""
    session = _session(model)
    feed = {"input_ids": np.full((rows, 16), 7, np.int64)}
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        session.run(["logits"], feed)
        took.append(time.perf_counter() - began)
    return min(took) * 1e3


def _compare_precisions(
    single: onnx.ModelProto, small: onnx.ModelProto, tokenizer: Path, rows: list[Remark]
) -> dict[str, float]:
    """Return figures of float32 and int8 side by side, on what is held back."""
    figures = {}
    labels = np.array([one.sentiment for one in rows])
    for name, model in (("fp32", single), ("int8", small)):
        logits = sentiment_logits(model, tokenizer)([one.text for one in rows])
        figures[f"{name}_held_macro_f1"] = macro_f1(logits.argmax(1), labels, (0, 1, 2))
        figures[f"{name}_mb"] = model.ByteSize() / 1e6
        figures |= {f"{name}_ms{count}": _milliseconds(model, count) for count in (1, 32)}
    return figures


def make_sentiment(data: Path, cache: Path, models: Path, steps: int) -> None:
    """Make models/shop-sentiment."""
    folder = models / "shop-sentiment"
    folder.mkdir(exist_ok=True)
    model = train_sentiment(data, cache, steps)
    tokenizer = folder / "tokenizer.json"
    shutil.copy(cache / "sentiment_tokenizer.json", tokenizer)
    example = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, PAD_ID, PAD_ID]])
    single = trace(model, (example,), ["input_ids"], ["logits"], lengths=True)
    small = quantize_weights(single)
    held = held_remarks(data, SentimentSampler(data))
    figures = _compare_precisions(single, small, tokenizer, held)
    onnx.save(small, folder / "model.int8.onnx")
    half = trace(_Half(model), (example,), ["input_ids"], ["logits"], lengths=True)
    onnx.save(half, folder / "model.fp16.onnx")

    run = sentiment_logits(small, tokenizer)
    temperature = best_temperature(run([one.text for one in held]), np.array([one.sentiment for one in held]))
    tests = sentiment_tests(data)
    logits = {name: run([one.text for one in rows]) for name, rows in tests.items()}
    labels = {name: np.array([one.sentiment for one in rows]) for name, rows in tests.items()}
    figures |= measure_sentiment(logits, labels, temperature) | {"temperature": temperature, "steps": steps}
    figures |= {f"{name}_rows": len(rows) for name, rows in tests.items()}
    write_labels(folder, list(SENTIMENTS), list(SENTIMENTS), ["负面", "中性", "正面"])
    _write_manifest(folder, temperature)
    write_card(folder, sentiment_card(figures), figures)


def _write_manifest(folder: Path, temperature: float) -> None:
    top = {
        "version": VERSION,
        "task": "sentiment",
        "licence": "Apache-2.0",
        "description": "The mood of a text, English and Chinese",
        "attribution": ["GoEmotions: Demszky et al. 2020, CC BY 4.0"],
    }
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": BUCKETS},
        "input": {"name": "input_ids", "dtype": "int64"},
        "tokenizer": {"file": "tokenizer.json", "max_tokens": MAX_TOKENS, "lengths": LENGTHS, "pad_id": PAD_ID},
        "output": {"name": "logits", "temperature": temperature},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)
