"""Make models/shop-fusion: train on the shipped sentiment model and tagger, export, measure, describe."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from fusion import fit_fusion
from fusion_card import fusion_card, fusion_goals
from fusion_data import FusionData, read_fusion
from fusion_measure import Joined, measure_fusion
from goals import write_goals
from graphs import BUCKETS, cpu_session, text_logits
from model_card import write_card
from model_folder import trace, write_labels, write_manifest
from sentiment_data import SENTIMENTS

VERSION: Final = "3"


def tagger_features(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the shipped tagger's features as a function of float32[N, 3, 48, 48]."""
    session = cpu_session(folder / "model.fp32.onnx")
    return lambda pixels: np.concatenate(
        [session.run(["features"], {"pixels": pixels[at : at + 64]})[0] for at in range(0, len(pixels), 64)]
    )


def fusion_parts(data: Path, cache: Path, models: Path) -> tuple[FusionData, float]:
    """Return what the head is fitted to, as the shipped sentiment model and tagger see it; the text's temperature."""
    sentiment = models / "shop-sentiment"
    text = text_logits(sentiment / "model.int8.onnx", sentiment / "tokenizer.json", len(SENTIMENTS))
    manifest = tomllib.loads((sentiment / "model.toml").read_text(encoding="utf-8"))
    temperature = float(manifest["output"]["temperature"])
    return read_fusion(data, cache, text, temperature, tagger_features(models / "stickers")), temperature


def joined_by(model: onnx.ModelProto | Path, temperature: float) -> Joined:
    """Return a head's graph as a function of the text's probabilities and of features."""
    session = cpu_session(model)

    def run(texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        logits = (np.log(texts + 1e-12) * temperature).astype(np.float32)
        return np.asarray(session.run(["logits"], {"text_logits": logits, "features": features})[0])

    return run


def make_fusion(data: Path, cache: Path, models: Path) -> None:
    """Make models/shop-fusion: fitted in a minute, so there is no checkpoint."""
    rows, temperature = fusion_parts(data, cache, models)
    fitted = fit_fusion(rows.learned, rows.made, rows.judgement)
    head = fitted.head(temperature)
    folder = models / "shop-fusion"
    folder.mkdir(exist_ok=True)
    width = rows.drawn.shape[1]
    examples = (torch.zeros(2, len(SENTIMENTS)), torch.zeros(2, width))
    names = ["text_logits", "features"]
    single = trace(head, examples, names, ["logits"])
    onnx.save(single, folder / "model.fp32.onnx")
    onnx.save(trace(copy.deepcopy(head).half(), examples, names, ["logits"]), folder / "model.fp16.onnx")
    figures = measure_fusion(rows, joined_by(single, temperature))
    parameters = sum(one.numel() for one in head.parameters())
    figures |= {"parameters": parameters, "features": width, "doubt": fitted.doubt}
    top = {
        "version": VERSION,
        "task": "fusion",
        "licence": "Apache-2.0",
        "description": "The mood of a text together with its sticker",
        "attribution": [
            "GoEmotions: Demszky et al. 2020, CC BY 4.0",
            "Noto Emoji artwork: Google, Apache-2.0",
            "Twemoji artwork: Twitter, Inc. and other contributors, CC BY 4.0",
            "Fluent Emoji artwork: Microsoft, MIT",
            "FxEmojis artwork: Mozilla, Apache-2.0",
            "Unicode CLDR 48.2 annotations: Unicode, Inc., Unicode-3.0",
            "emojilib 4.0.3 keywords: MIT",
        ],
    }
    write_labels(folder, list(SENTIMENTS), list(SENTIMENTS), ["负面", "中性", "正面"])
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": BUCKETS},
        "output": {"name": "logits"},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e3:.0f} kB" for path in sorted(folder.glob("model.*.onnx")))
    write_card(folder, fusion_card(figures, sizes), figures)
    write_goals(folder, fusion_goals(figures))
