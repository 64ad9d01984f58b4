"""Tiny ONNX models, made on the spot: a tagger, an intent and a sentiment model, and their fusion."""

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from csgate.config import InferenceSettings
from csgate.events import Picture
from csgate.telemetry import Telemetry, open_logger

SIZE = 8
INTENTS = ("order_status", "refund", "greeting")
TAGS = ("red", "green", "blue")
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "order": 2, "refund": 3, "hello": 4, "good": 5, "bad": 6}


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, np.ndarray]) -> bytes:
    made = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tagger_graph(batch: Any = "n", size: int = SIZE) -> bytes:
    """Scores: the mean of each colour channel (as a float from 0 to 1). Features: those, doubled. Kinds: those, too."""
    return graph(
        [
            helper.make_node("ReduceMean", ["pixels"], ["tag_scores"], axes=[2, 3], keepdims=0),
            helper.make_node("Mul", ["tag_scores", "two"], ["features"]),
            helper.make_node("Identity", ["tag_scores"], ["kind"]),
            helper.make_node("Concat", ["kind", "kind"], ["wide"], axis=1),
        ],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, size, size])],
        [
            helper.make_tensor_value_info("tag_scores", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("kind", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("wide", TensorProto.FLOAT, [batch, 6]),
        ],
        {"two": np.array(2, np.float32)},
    )


def text_graph(table: np.ndarray, mask: bool) -> bytes:
    """Logits: the sum of one row of ``table`` a token, masked where there is a mask."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "length"])]
    last = "rows"
    if mask:
        inputs.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["n", "length"]))
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["weights", "axis"], ["wide"]),
            helper.make_node("Mul", ["rows", "wide"], ["masked"]),
        ]
        last = "masked"
    nodes.append(helper.make_node("ReduceSum", [last, "tokens"], ["logits"], keepdims=0))
    weights = {"table": table.astype(np.float32), "tokens": np.array([1])}
    if mask:
        weights["axis"] = np.array([2])
    return graph(
        nodes,
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", table.shape[1]])],
        weights,
    )


def fusion_graph(features: Any = 3) -> bytes:
    """Logits: those of the text plus the picture's features."""
    return graph(
        [helper.make_node("Add", ["text_logits", "features"], ["logits"])],
        [
            helper.make_tensor_value_info("text_logits", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", features]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        {},
    )


def tokenizer_json() -> bytes:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(tokenizer.to_str()).encode()


def toml(value: Any) -> str:
    return json.dumps(value)


def write_model(root: Path, tables: dict[str, Any], files: dict[str, bytes]) -> Path:
    """Writes a folder; ``@name`` in a table stands for the SHA-256 of that file."""
    folder = root / tables["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)

    def mend(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return hashlib.sha256(files[value[1:]]).hexdigest()
        return value

    lines: list[str] = []
    for key, value in tables.items():
        if not isinstance(value, dict):
            lines.append(f"{key} = {toml(mend(value))}")
    for key, value in tables.items():
        if isinstance(value, dict):
            lines.append(f"[{key}]")
            lines += [f"{name} = {toml(mend(entry))}" for name, entry in value.items()]
    (folder / "model.toml").write_text("\n".join(lines))
    return folder


def tagger_tables(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny-tagger",
        "version": "1",
        "task": "tagger",
        "licence": "Apache-2.0",
        "files.fp32": {"path": "model.onnx", "sha256": "@model.onnx"},
        "batch": {"buckets": [1, 2, 4]},
        "input": {"name": "pixels", "height": SIZE, "width": SIZE, "resize": "stretch"},
        "output": {"name": "tag_scores", "vector": "features"},
        "labels": {"file": "labels.json"},
    } | changes


def labels_json(names: tuple[str, ...], zh: tuple[str, ...] = ()) -> bytes:
    return json.dumps({"names": names, "en": [name.title() for name in names], "zh": zh or names}).encode()


def write_tagger(root: Path, onnx_file: bytes | None = None, **changes: Any) -> Path:
    return write_model(
        root,
        tagger_tables(**changes),
        {"model.onnx": onnx_file or tagger_graph(), "labels.json": labels_json(TAGS, ("红", "绿", "蓝"))},
    )


def text_tables(task: str, *, mask: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"tiny-{task}",
        "version": "1",
        "task": task,
        "licence": "Apache-2.0",
        "files.fp32": {"path": "model.onnx", "sha256": "@model.onnx"},
        "batch": {"buckets": [1, 2, 4]},
        "input": {"name": "input_ids", "dtype": "int64"} | ({"mask": "attention_mask"} if mask else {}),
        "tokenizer": {
            "file": "tokenizer.json",
            "sha256": "@tokenizer.json",
            "max_tokens": 8,
            "lengths": [2, 4, 8],
        },
        "output": {"name": "logits", "temperature": 0.5},
        "labels": {"file": "labels.json"},
    } | changes


def write_intent(root: Path, *, mask: bool = True, **changes: Any) -> Path:
    table = np.zeros((len(VOCABULARY), len(INTENTS)))
    table[[2, 3, 4], [0, 1, 2]] = 2.0
    files = {
        "model.onnx": text_graph(table, mask),
        "tokenizer.json": tokenizer_json(),
        "labels.json": labels_json(INTENTS),
    }
    return write_model(root, text_tables("intent", mask=mask, **changes), files)


def write_sentiment(root: Path, names: tuple[str, ...] = ("positive", "neutral", "negative"), **changes: Any) -> Path:
    table = np.zeros((len(VOCABULARY), 3))
    table[5, names.index("positive")] = 2.0
    table[6, names.index("negative")] = 2.0
    files = {
        "model.onnx": text_graph(table, mask=False),
        "tokenizer.json": tokenizer_json(),
        "labels.json": labels_json(names),
    }
    return write_model(root, text_tables("sentiment", mask=False, **changes), files)


def write_fusion(root: Path, features: Any = 3, **changes: Any) -> Path:
    tables = {
        "name": "tiny-fusion",
        "version": "1",
        "task": "fusion",
        "licence": "Apache-2.0",
        "files.fp32": {"path": "model.onnx", "sha256": "@model.onnx"},
        "batch": {"buckets": [1, 2]},
        "output": {"name": "logits"},
    } | changes
    return write_model(root, tables, {"model.onnx": fusion_graph(features)})


def picture_file(
    colour: tuple[int, ...] = (255, 0, 0), format: str = "PNG", size: int = 16, mode: str = "RGB"
) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (size, size), colour).save(stream, format)
    return stream.getvalue()


def in_base64(content: bytes) -> Picture:
    return Picture(base64.b64encode(content), "base64")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(log=open_logger("debug", "json", io.StringIO()))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """All four tasks."""
    root = tmp_path / "models"
    for write in (write_tagger, write_intent, write_sentiment, write_fusion):
        write(root)
    return root


@pytest.fixture
def settings(repository: Path) -> Callable[..., InferenceSettings]:
    def make(**changes: Any) -> InferenceSettings:
        return InferenceSettings(**({"models_dir": repository, "device": "cpu", "ocr": "off"} | changes))

    return make
