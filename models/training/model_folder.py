"""Write model folders: ONNX files in several precisions, tokenizer, labels, manifest."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET: Final = 17
SMALLEST_QUANTIZED: Final = 2048


def trace(
    module: nn.Module, examples: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str], lengths: bool = False
) -> onnx.ModelProto:
    """Export by tracing; the first axis of everything is the batch, and of texts the second is the length."""
    axes: dict[str, dict[int, str]] = {name: {0: "batch"} for name in inputs + outputs}
    if lengths:
        axes[inputs[0]][1] = "length"
    buffer = io.BytesIO()
    torch.onnx.export(
        module.eval(),
        examples,
        buffer,
        input_names=inputs,
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_name, model.producer_version = "csgate", ""
    for node in model.graph.node:
        node.doc_string = ""
    return model


def quantize_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep the large matrices as int8 with a scale for each row or column; loading makes them float32 again.

    Sums stay in float32, so results are those of float32 up to the rounding of the weights, and ONNX Runtime folds
    `Cast` and `Mul` of constants once at load. (Activations stay as they
    are: quantizing them statically loses accuracy on processors without VNNI.)
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    users: dict[str, list[tuple[Any, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            users.setdefault(name, []).append((node, place))
    fronts: list[Any] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2 or np.prod(tensor.dims) < SMALLEST_QUANTIZED:
            continue
        if len(users.get(tensor.name, [])) != 1:
            continue
        node, place = users[tensor.name][0]
        values = numpy_helper.to_array(tensor)
        turned = any(one.name == "transB" and one.i for one in node.attribute)
        axis = 1 if node.op_type == "Gather" or turned else 0
        scale = np.maximum(np.abs(values).max(axis, keepdims=True), 1e-8).astype(np.float32) / 127
        stored = np.rint(values / scale).astype(np.int8)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        if node.op_type == "Gather":
            # The whole table would be unpacked at load otherwise; only the rows that a text uses are.
            result = node.output[0]
            node.input[place], node.output[0] = f"{name}.int8", f"{name}.rows8"
            at = list(graph.node).index(node) + 1
            graph.node.insert(at, helper.make_node("Cast", [f"{name}.rows8"], [f"{name}.rows"], to=TensorProto.FLOAT))
            graph.node.insert(
                at + 1, helper.make_node("Gather", [f"{name}.scale", node.input[1]], [f"{name}.row_scale"], axis=0)
            )
            graph.node.insert(at + 2, helper.make_node("Mul", [f"{name}.rows", f"{name}.row_scale"], [result]))
        else:
            fronts.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.wide"], to=TensorProto.FLOAT))
            fronts.append(helper.make_node("Mul", [f"{name}.wide", f"{name}.scale"], [name]))
    for node in reversed(fronts):
        graph.node.insert(0, node)
    onnx.checker.check_model(copy)
    return copy


def scatter_constant(model: onnx.ModelProto, name: str, dense: np.ndarray) -> None:
    """Replace the nearly empty constant `name` by its entries; ONNX Runtime fills the matrix in once, at load.

    Args:
        model: changed in place.
        name: an initializer of the graph.
        dense: its values, in 0..1, kept in steps of 1/100.
    """
    graph = model.graph
    old = next(tensor for tensor in graph.initializer if tensor.name == name)
    kind = old.data_type
    graph.initializer.remove(old)
    places = np.argwhere(dense > 0)
    parts = {
        "places": places.astype(np.uint16),
        "values": np.rint(dense[dense > 0] * 100).astype(np.uint8),
        "shape": np.array(dense.shape, np.int64),
        "hundredth": np.array(0.01, np.float32),
    }
    for part, values in parts.items():
        graph.initializer.append(numpy_helper.from_array(values, f"{name}.{part}"))
    zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("ConstantOfShape", [f"{name}.shape"], [f"{name}.empty"], value=zero),
        helper.make_node("Cast", [f"{name}.places"], [f"{name}.index"], to=TensorProto.INT64),
        helper.make_node("Cast", [f"{name}.values"], [f"{name}.hundredths"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.hundredths", f"{name}.hundredth"], [f"{name}.entries"]),
        helper.make_node("ScatterND", [f"{name}.empty", f"{name}.index", f"{name}.entries"], [f"{name}.filled"]),
        helper.make_node("Cast", [f"{name}.filled"], [name], to=kind),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)


def sha256(path: Path) -> str:
    """Return the digest that the manifest pins."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_labels(folder: Path, names: list[str], english: list[str], chinese: list[str]) -> None:
    """Write labels.json in output order."""
    text = json.dumps({"names": names, "en": english, "zh": chinese}, ensure_ascii=False, separators=(",", ":"))
    (folder / "labels.json").write_text(text + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def write_manifest(folder: Path, top: dict[str, object], tables: dict[str, dict[str, object]]) -> None:
    """Write model.toml: precisions by the files that lie there, then the tables as given, with digests filled in."""
    lines = [f"{key} = {_toml(value)}" for key, value in {"name": folder.name, **top}.items()]
    for precision in ("int8", "fp32", "fp16"):
        path = folder / f"model.{precision}.onnx"
        if path.exists():
            lines += ["", f"[files.{precision}]", f'path = "{path.name}"', f'sha256 = "{sha256(path)}"']
    for name, table in tables.items():
        lines += ["", f"[{name}]"] + [f"{key} = {_toml(value)}" for key, value in table.items()]
        if "file" in table:
            lines.append(f'sha256 = "{sha256(folder / str(table["file"]))}"')
    (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
