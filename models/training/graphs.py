"""ONNX graphs as functions, and their times: one thread of the CPU, so that figures of different models compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from model_folder import write_manifest
from text_encoder import MAX_TOKENS, PAD_ID, TextClassifier, TokenRows

LENGTHS: Final = [8, 16, 32, MAX_TOKENS]
BUCKETS: Final = [1, 2, 4, 8, 16, 32]
ROWS: Final = 64


def cpu_session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    """Return a session of one thread, of a graph or of a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def quickest_ms(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray], runs: int = 60) -> float:
    """Return the milliseconds of a run: the quickest of `runs`, since others may use the processor."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        session.run(None, feed)
        took.append(time.perf_counter() - began)
    return min(took) * 1e3


def text_ms(model: onnx.ModelProto, rows: int, runs: int = 60) -> float:
    """Return the milliseconds of a run of texts of 16 tokens."""
    return quickest_ms(cpu_session(model), {"input_ids": np.full((rows, 16), 7, np.int64)}, runs)


def text_logits(model: onnx.ModelProto | Path, tokenizer: Path, classes: int) -> Callable[[list[str]], np.ndarray]:
    """Return a text classifier as a function: texts to float32[N, classes]."""
    session = cpu_session(model)
    rows = TokenRows(tokenizer)

    def run(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        logits = np.empty((len(texts), classes), np.float32)
        for at in range(0, len(order), ROWS):
            part = order[at : at + ROWS]
            ids = rows([texts[one] for one in part]).numpy()
            logits[part] = session.run(["logits"], {"input_ids": ids})[0]
        return logits

    return run


class HalfText(torch.nn.Module):
    """A text model in float16 whose logits are float32."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model.half()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(ids)
        return result.float()


def write_text_manifest(folder: Path, top: dict[str, object], temperature: float) -> None:
    """Write the manifest of a text classifier; `top` has what sets it apart."""
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": BUCKETS},
        "input": {"name": "input_ids", "dtype": "int64"},
        "tokenizer": {"file": "tokenizer.json", "max_tokens": MAX_TOKENS, "lengths": LENGTHS, "pad_id": PAD_ID},
        "output": {"name": "logits", "temperature": temperature},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)
