"""From a trained picture encoder to the tagger's graph: emoji probabilities, tag scores and features in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from model_folder import scatter_constant, trace
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sticker_encoder import StickerEncoder
from sticker_images import INPUT_PX
from sticker_kinds import KindHead
from sticker_tags import TagTable
from torch import Tensor, nn

FEATURES: Final = 48
LIKELIEST: Final = 24
OUTPUTS: Final = ("tag_scores", "features", "kind")
SMALLEST_HALVED: Final = 1024


def compress_tags(matrix: np.ndarray, moods: list[list[int]]) -> np.ndarray:
    """Return float32[emoji, 48]: the mood as judged in three columns, then the tags compressed.

    Tag rows of unit length, rare tags weighing more, lie on their first 45 principal axes.
    """
    rarity = np.log(len(matrix) / (1 + (matrix > 0).sum(0)))
    rows = matrix * rarity
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-8
    left, sizes, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    axes = FEATURES - len(moods)
    compressed = left[:, :axes] * sizes[:axes]
    # Signs of singular vectors are arbitrary: fix them, so that two runs give the same features.
    compressed *= np.sign(compressed[np.abs(compressed).argmax(0), np.arange(axes)])
    judged = np.zeros((len(matrix), len(moods)))
    for column, members in enumerate(moods):
        judged[members, column] = 3.0
    return np.concatenate([judged, compressed / compressed.std()], axis=1).astype(np.float32)


class StickerTagger(nn.Module):
    """float32[N, 3, 48, 48] -> tag_scores float32[N, T] in 0..1, features float32[N, 48], kind float32[N, 3].

    Tag scores are the expected tag row under the softmax over emoji: of the 24 likeliest, whose rows are gathered,
    which costs a fraction of the whole product and leaves out less than a rounding error of a sure picture. They and
    the features are multiplied by the chance that the picture is a sticker at all.
    """

    def __init__(
        self, encoder: StickerEncoder, head: KindHead, table: TagTable, compressed: np.ndarray, temperature: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.temperature = temperature
        self.register_buffer("tag_matrix", torch.from_numpy(table.matrix))
        self.register_buffer("compressed", torch.from_numpy(compressed))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        emoji, seen = self.encoder.look(pixels.to(self.compressed.dtype))
        kind = torch.softmax(self.head(seen), dim=1)
        chances = kind[:, :1] * torch.softmax(emoji / self.temperature, dim=1)
        likeliest, rows = chances.topk(LIKELIEST, dim=1)
        gathered = nn.functional.embedding(rows, self.tag_matrix)
        scores = (likeliest.unsqueeze(1) @ gathered).squeeze(1)
        return scores.float(), (chances @ self.compressed).float(), kind.float()


def export_tagger(tagger: StickerTagger, half: bool) -> onnx.ModelProto:
    """Return the ONNX graph with the tag matrix kept as its entries.

    Args:
        tagger: changed to float16 if `half`.
        half: for GPUs; pictures still go in, and scores come out, as float32.
    """
    dense = tagger.tag_matrix.numpy().astype(np.float32)
    if half:
        tagger = tagger.half()
    example = torch.rand(2, 3, INPUT_PX, INPUT_PX)
    model = trace(tagger, (example,), ["pixels"], list(OUTPUTS))
    name = next(tensor.name for tensor in model.graph.initializer if tuple(tensor.dims) == dense.shape)
    scatter_constant(model, name, dense)
    return model


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep the weights as float16; ONNX Runtime makes them float32 once, at load, and runs in float32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST_HALVED:
            stored = numpy_helper.to_array(tensor).astype(np.float16)
            casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
            graph.initializer.append(numpy_helper.from_array(stored, f"{tensor.name}.half"))
            graph.initializer.remove(tensor)
    for node in casts:
        graph.node.insert(0, node)
    onnx.checker.check_model(copy)
    return copy


class _Batches(CalibrationDataReader):
    """Pictures to find the ranges of activations with."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.parts = iter([{"pixels": part} for part in np.array_split(pixels, max(1, len(pixels) // 64))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.parts, None)


def quantize_convolutions(model: onnx.ModelProto, pixels: np.ndarray, unsigned: bool, folder: Path) -> onnx.ModelProto:
    """Return the graph with int8 convolutions, ranges taken from float32[N, 3, 48, 48].

    Default static quantization overflows on processors with AVX2 and no VNNI; these two ways do not.

    Args:
        model: in float32.
        pixels: what the activations' ranges are found with.
        unsigned: weights as uint8 (U8U8); else as int8 of seven bits (`reduce_range`). A scale each channel.
        folder: for files that the quantizer wants.
    """
    before, after = folder / "before.onnx", folder / "after.onnx"
    onnx.save(model, before)
    quantize_static(
        before,
        after,
        _Batches(pixels),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range=not unsigned,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
    )
    return onnx.load(after)
