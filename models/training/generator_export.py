"""From the trained generator to folders in onnxruntime-genai's format: int8 for the CPU, float16 and paged for CUDA."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from generator_tokenizer import save_tokenizer
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

NAME: Final = "shop-generator"
VERSION: Final = "1"
NEVER: Final = -1e4
"""Added to the logits of pieces that our replies do not have; within float16's range."""

CUDA_BLOCKS: Final = 256
"""Blocks of 256 tokens of the paged cache: 128 conversations of 512 tokens, 128 MiB."""

_CACHE_OPTIONS: Final = (
    "use_paged_attention=true",
    f"num_blocks={CUDA_BLOCKS}",
    "max_batch_size=64",
    "max_scheduled_tokens=4096",
)
_EMBEDDING: Final = "model.embed_tokens.weight"


def save_trained(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the model as Transformers does, for the builder."""
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def build_folder(trained: Path, folder: Path, precision: str, written: Iterable[int]) -> None:
    """Make a folder that onnxruntime-genai and csgate run.

    Args:
        trained: from ``save_trained``.
        folder: is written to; files of the same names are replaced.
        precision: ``fp32`` and ``int8`` for the CPU, ``fp16`` for CUDA with a paged cache.
        written: the pieces that the model may write; the others get a logit that is never drawn.
    """
    cuda = precision == "fp16"
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(trained), "-o", str(folder)]
    command += ["-p", precision, "-e", "cuda" if cuda else "cpu"]
    if cuda:
        command += ["--extra_options", *_CACHE_OPTIONS, "shared_embeddings=true"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=offline, check=False)
    if done.returncode:
        raise RuntimeError(f"the builder failed: {done.stderr[-2000:]}")
    graph_file = folder / "model.onnx"
    model = onnx.load(graph_file)
    allow_only(model, written)
    if precision == "int8":
        shrink_embedding(model)
    (folder / "model.onnx.data").unlink()
    onnx.save(model, graph_file, save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
    for file in folder.iterdir():
        file.chmod(0o644)
    (folder / "csgate.toml").write_text(
        f'# What csgate needs to know beside genai_config.json.\nname = "{NAME}"\nversion = "{VERSION}"\n'
        'style = "shop"\nlicence = "Apache-2.0"\n',
        encoding="utf-8",
    )


def allow_only(model: onnx.ModelProto, written: Iterable[int]) -> None:
    """Make all other pieces impossible: half characters, rare ones, the marks of a prompt."""
    output = next(one for one in model.graph.output if one.name == "logits")
    kind = output.type.tensor_type.elem_type
    pieces = output.type.tensor_type.shape.dim[-1].dim_value
    bias = np.full(pieces, NEVER, np.float32)
    bias[list(written)] = 0
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for node in model.graph.node:
        for at, name in enumerate(node.output):
            if name == "logits":
                node.output[at] = "logits_of_all"
    model.graph.initializer.append(numpy_helper.from_array(bias.astype(dtype), "never_written"))
    model.graph.node.append(helper.make_node("Add", ["logits_of_all", "never_written"], ["logits"], "written_only"))


def shrink_embedding(model: onnx.ModelProto) -> None:
    """Store the embedding as int8 with a scale for each row; the builder leaves it in float32."""
    graph = model.graph
    table = next(one for one in graph.initializer if one.name == _EMBEDDING)
    rows = numpy_helper.to_array(table)
    scales = np.maximum(np.abs(rows).max(1, keepdims=True) / 127, 1e-9).astype(np.float32)
    small = np.clip(np.rint(rows / scales), -127, 127).astype(np.int8)
    graph.initializer.remove(table)
    graph.initializer.extend(
        [numpy_helper.from_array(small, "embedding_rows"), numpy_helper.from_array(scales, "embedding_scales")]
    )
    at, gather = next((at, node) for at, node in enumerate(graph.node) if node.input and node.input[0] == _EMBEDDING)
    ids, out = gather.input[1], gather.output[0]
    graph.node.remove(gather)
    nodes = [
        helper.make_node("Gather", ["embedding_rows", ids], ["embedding_row"], "embedding_row"),
        helper.make_node("Cast", ["embedding_row"], ["embedding_float"], "embedding_float", to=TensorProto.FLOAT),
        helper.make_node("Gather", ["embedding_scales", ids], ["embedding_scale"], "embedding_scale"),
        helper.make_node("Mul", ["embedding_float", "embedding_scale"], [out], "embedding"),
    ]
    for node in reversed(nodes):
        graph.node.insert(at, node)


def write_hashes(folder: Path) -> None:
    """Write SHA256SUMS of all files below ``folder``, as ``sha256sum -c`` reads it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
