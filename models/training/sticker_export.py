"""From a trained picture encoder to the tagger's graph: emoji probabilities, tag scores and features in one run."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
import torch
from model_folder import scatter_constant, trace
from sticker_encoder import StickerEncoder
from sticker_images import INPUT_PX
from sticker_tags import TagTable
from torch import Tensor, nn

FEATURES: Final = 48
LIKELIEST: Final = 24


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
    """float32[N, 3, 48, 48] -> tag_scores float32[N, T] in 0..1, features float32[N, 48].

    Tag scores are the expected tag row under the softmax over emoji: of the 24 likeliest, whose rows are gathered,
    which costs a fraction of the whole product and leaves out less than a rounding error of a sure picture.
    """

    def __init__(self, encoder: StickerEncoder, table: TagTable, compressed: np.ndarray, temperature: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.register_buffer("tag_matrix", torch.from_numpy(table.matrix))
        self.register_buffer("compressed", torch.from_numpy(compressed))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        kind = self.compressed.dtype
        chances = torch.softmax(self.encoder(pixels.to(kind)) / self.temperature, dim=1)
        likeliest, rows = chances.topk(LIKELIEST, dim=1)
        gathered = nn.functional.embedding(rows, self.tag_matrix)
        scores = (likeliest.unsqueeze(1) @ gathered).squeeze(1)
        return scores.float(), (chances @ self.compressed).float()


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
    model = trace(tagger, (example,), ["pixels"], ["tag_scores", "features"])
    name = next(tensor.name for tensor in model.graph.initializer if tuple(tensor.dims) == dense.shape)
    scatter_constant(model, name, dense)
    return model
