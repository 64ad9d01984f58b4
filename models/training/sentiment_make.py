"""Make models/shop-sentiment: train, export, calibrate, measure, describe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from graphs import HalfText, text_logits, text_ms, write_text_manifest
from measures import best_temperature, macro_f1
from model_card import write_card
from model_folder import quantize_weights, trace, write_labels
from sentiment import held_remarks, measure_sentiment, sentiment_tests, train_sentiment
from sentiment_card import sentiment_card
from sentiment_data import SENTIMENTS, Remark, SentimentSampler
from text_encoder import PAD_ID

VERSION: Final = "2"


def _compare_precisions(
    single: onnx.ModelProto, small: onnx.ModelProto, tokenizer: Path, rows: list[Remark]
) -> dict[str, float]:
    """Return figures of float32 and int8 side by side, on what is held back."""
    figures = {}
    labels = np.array([one.sentiment for one in rows])
    for name, model in (("fp32", single), ("int8", small)):
        logits = text_logits(model, tokenizer, len(SENTIMENTS))([one.text for one in rows])
        figures[f"{name}_held_macro_f1"] = macro_f1(logits.argmax(1), labels, (0, 1, 2))
        figures[f"{name}_mb"] = model.ByteSize() / 1e6
        figures |= {f"{name}_ms{count}": text_ms(model, count) for count in (1, 32)}
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
    half = trace(HalfText(model), (example,), ["input_ids"], ["logits"], lengths=True)
    onnx.save(half, folder / "model.fp16.onnx")

    run = text_logits(small, tokenizer, len(SENTIMENTS))
    temperature = best_temperature(run([one.text for one in held]), np.array([one.sentiment for one in held]))
    tests = sentiment_tests(data)
    logits = {name: run([one.text for one in rows]) for name, rows in tests.items()}
    labels = {name: np.array([one.sentiment for one in rows]) for name, rows in tests.items()}
    figures |= measure_sentiment(logits, labels, temperature) | {"temperature": temperature, "steps": steps}
    figures |= {f"{name}_rows": len(rows) for name, rows in tests.items()}
    write_labels(folder, list(SENTIMENTS), list(SENTIMENTS), ["负面", "中性", "正面"])
    top: dict[str, object] = {
        "version": VERSION,
        "task": "sentiment",
        "licence": "Apache-2.0",
        "description": "The mood of a text, English and Chinese",
        "attribution": ["GoEmotions: Demszky et al. 2020, CC BY 4.0"],
    }
    write_text_manifest(folder, top, temperature)
    write_card(folder, sentiment_card(figures), figures)
