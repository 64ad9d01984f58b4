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
from fusion import train_fusion
from fusion_card import fusion_card, fusion_goals
from fusion_data import StickerViews
from fusion_measure import measure_fusion
from goals import write_goals
from graphs import BUCKETS, cpu_session, text_logits
from model_card import write_card
from model_folder import trace, write_labels, write_manifest
from sentiment_data import SENTIMENTS
from sticker_images import read_emoji

VERSION: Final = "2"


def tagger_features(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the shipped tagger's features as a function of float32[N, 3, 48, 48]."""
    session = cpu_session(folder / "model.fp32.onnx")
    return lambda pixels: np.concatenate(
        [session.run(["features"], {"pixels": pixels[at : at + 64]})[0] for at in range(0, len(pixels), 64)]
    )


def make_fusion(data: Path, cache: Path, models: Path) -> None:
    """Make models/shop-fusion."""
    emoji = read_emoji(data)
    sentiment = models / "shop-sentiment"
    text = text_logits(sentiment / "model.int8.onnx", sentiment / "tokenizer.json", len(SENTIMENTS))
    manifest = tomllib.loads((sentiment / "model.toml").read_text(encoding="utf-8"))
    tagger = tagger_features(models / "stickers")
    views = StickerViews(data, cache, emoji, tagger)
    temperature = float(manifest["output"]["temperature"])
    head = train_fusion(data, emoji, text, temperature, views)
    folder = models / "shop-fusion"
    folder.mkdir(exist_ok=True)
    examples = (torch.zeros(2, len(SENTIMENTS)), torch.zeros(2, views.width))
    names = ["text_logits", "features"]
    single = trace(head, examples, names, ["logits"])
    onnx.save(single, folder / "model.fp32.onnx")
    onnx.save(trace(copy.deepcopy(head).half(), examples, names, ["logits"]), folder / "model.fp16.onnx")
    session = cpu_session(single)

    def joined(alone: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"text_logits": alone, "features": seen})[0])

    figures = measure_fusion(data, emoji, text, tagger, joined, temperature)
    figures |= {"parameters": sum(one.numel() for one in head.parameters()), "features": views.width}
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
