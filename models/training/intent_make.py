"""Make models/shop-intent: train, export, calibrate, measure, describe."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from goals import Goal, write_goals
from graphs import HalfText, text_logits, text_ms, write_text_manifest
from intent import (
    build_tokenizer,
    calibrate,
    held_examples,
    intent_tests,
    measure_intent,
    train_intent,
    weak_spots,
)
from intent_card import intent_card
from intent_data import INTENT_CHINESE, INTENTS, OUT_OF_SCOPE, Example, read_corpus, unlabelled_texts
from intent_recipe import TASKS, measure_recipe
from measures import accuracy
from model_card import write_card
from model_folder import quantize_weights, trace, write_labels
from onnxruntime.quantization import QuantType, quantize_dynamic
from text_encoder import PAD_ID

VERSION: Final = "2"
RECIPE_STEPS: Final = 2_000
ATTRIBUTION: Final = [
    "CLINC150: Larson et al. 2019, CC BY 3.0",
    "BANKING77: Casanueva et al. 2020, CC BY 4.0",
    "GoEmotions: Demszky et al. 2020, CC BY 4.0",
    "CrossWOZ: Zhu et al. 2020, Apache-2.0",
    "retail12: (c) 2026 Snayush reshav das behera, MIT",
    "bitext customer support sample: CDLA-Sharing-1.0 (data not included)",
]


def intent_logits(model: onnx.ModelProto | Path, tokenizer: Path) -> Callable[[list[Example]], np.ndarray]:
    """Return a graph as a function: messages to float32[N, 34]."""
    run = text_logits(model, tokenizer, len(INTENTS))
    return lambda examples: run([one.text for one in examples])


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its products in int8, activations quantized as they come."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"], reduce_range=True)
        return onnx.load(after)


def _compare_precisions(
    forms: dict[str, onnx.ModelProto], tokenizer: Path, rows: list[Example], labels: np.ndarray
) -> dict[str, float]:
    """Return figures of the precisions side by side, on what is held back."""
    figures = {}
    for name, model in forms.items():
        figures[f"{name}_held"] = accuracy(intent_logits(model, tokenizer)(rows), labels)
        figures[f"{name}_mb"] = model.ByteSize() / 1e6
        figures |= {f"{name}_ms{count}": text_ms(model, count) for count in (1, 32)}
    return figures


def _recipe(data: Path, cache: Path, texts: list[str]) -> dict[str, float]:
    """Return the recipe's figures on public labels, measured once for a cache."""
    path = cache / "intent_recipe.json"
    figures: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in TASKS:
        if name not in figures:
            figures[name] = measure_recipe(data, cache, name, texts, RECIPE_STEPS)
            path.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def make_intent(data: Path, cache: Path, models: Path, steps: int) -> None:
    """Make models/shop-intent."""
    folder = models / "shop-intent"
    folder.mkdir(exist_ok=True)
    corpus = read_corpus(data)
    texts = unlabelled_texts(data)
    if not (cache / "intent_tokenizer.json").exists():
        build_tokenizer(corpus, texts, cache / "intent_tokenizer.json")
    model = train_intent(corpus, texts, cache, steps)
    tokenizer = folder / "tokenizer.json"
    shutil.copy(cache / "intent_tokenizer.json", tokenizer)

    held = held_examples(corpus)
    held_labels = np.array([one.intent for one in held])
    example = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, PAD_ID, PAD_ID]])
    first = quantize_weights(trace(model, (example,), ["input_ids"], ["logits"], lengths=True))
    offset, temperature = calibrate(intent_logits(first, tokenizer)(held), held_labels)
    with torch.no_grad():
        model.heads[0].bias[OUT_OF_SCOPE] += offset
    single = trace(model, (example,), ["input_ids"], ["logits"], lengths=True)
    small = quantize_weights(single)
    figures = _compare_precisions(
        {"fp32": single, "int8": small, "dynamic": _dynamic(single)}, tokenizer, held, held_labels
    )
    onnx.save(small, folder / "model.int8.onnx")
    half = trace(HalfText(model), (example,), ["input_ids"], ["logits"], lengths=True)
    onnx.save(half, folder / "model.fp16.onnx")

    run = intent_logits(small, tokenizer)
    tests = intent_tests(corpus)
    logits = {name: run(rows) for name, rows in tests.items()}
    labels = {name: np.array([one.intent for one in rows]) for name, rows in tests.items()}
    figures |= measure_intent(logits, labels, temperature)
    figures |= {f"{name}_rows": len(rows) for name, rows in tests.items()}
    figures |= {"temperature": temperature, "scope_offset": offset, "steps": steps, "held_rows": len(held)}
    figures |= {f"recipe_{name}": value for name, value in _recipe(data, cache, texts).items()}
    weak = {name: weak_spots(logits[name], labels[name]) for name in ("en", "zh")}
    write_labels(folder, list(INTENTS), [name.replace("_", " ") for name in INTENTS], list(INTENT_CHINESE))
    top: dict[str, object] = {
        "version": VERSION,
        "task": "intent",
        "licence": "Apache-2.0",
        "description": "What a shop's customer wants, English and Chinese",
        "attribution": ATTRIBUTION,
    }
    write_text_manifest(folder, top, temperature)
    goals = intent_goals(figures)
    write_card(folder, intent_card(figures, weak, goals), figures)
    write_goals(folder, goals)


def intent_goals(figures: dict[str, float]) -> list[Goal]:
    """Return what the model was to reach, with its figures."""
    return [
        Goal("accuracy on English messages by other authors", 0.90, figures["en_accuracy"]),
        Goal("accuracy on Chinese messages by other authors", 0.90, figures["zh_accuracy"]),
        Goal(
            "accuracy on messages of still other authors, written later, the worse language",
            0.90,
            min(figures["later_en_accuracy"], figures["later_zh_accuracy"]),
        ),
        Goal("out-of-scope AUROC, English, with CLINC150's", 0.95, figures["en_clinc_oos_auroc"]),
        Goal("out-of-scope AUROC, Chinese", 0.95, figures["zh_oos_auroc"]),
        Goal("BANKING77 accuracy, same recipe", 0.91, figures["recipe_banking77"]),
        Goal("CLINC150 in-scope accuracy, same recipe", 0.925, figures["recipe_clinc150"]),
        Goal("calibration error on other authors' messages", 0.05, figures["both_ece"], at_least=False),
        Goal("size of the int8 file in MB", 5.0, figures["int8_mb"], at_least=False),
    ]
