"""The text encoder that the intent and the sentiment model share in shape, and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

PAD_ID: Final = 0
MAX_TOKENS: Final = 64
SPECIAL: Final = ("[PAD]", "[UNK]")
CHINESE: Final = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"


def make_tokenizer(texts: list[str], pieces: int) -> Tokenizer:
    """Learn byte-pair pieces.

    Every Chinese character stands alone, because the corpus is too small to learn words from. Numbers lose their
    digits (five and more in a row become one long number), since no intent depends on them.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[\u2018\u2019`´]"), "'"),
            normalizers.Replace(Regex("[0-9]{5,}"), "00"),
            normalizers.Replace(Regex("[0-9]+"), "0"),
            normalizers.Replace(Regex("!{2,}"), "!!"),
            normalizers.Replace(Regex("[?]{2,}"), "??"),
            normalizers.Replace(Regex("[.]{2,}"), ".."),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Split(Regex(CHINESE), "isolated"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=False),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, min_frequency=3, special_tokens=list(SPECIAL), limit_alphabet=4000, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class TokenRows:
    """Texts to padded rows of ids, with pieces dropped at random in training so that rare words are met in parts."""

    def __init__(self, path: Path, dropout: float = 0.0) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        if dropout:
            self._tokenizer.model.dropout = dropout
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding(pad_id=PAD_ID, pad_token=SPECIAL[0])
        self.size: int = self._tokenizer.get_vocab_size()

    def __call__(self, texts: list[str]) -> Tensor:
        """Return int64[N, length of the longest]."""
        rows = self._tokenizer.encode_batch(texts)
        return torch.from_numpy(np.array([row.ids for row in rows], np.int64))

    def ragged(self, texts: list[str]) -> list[np.ndarray]:
        """Return int64[length] for each text."""
        return [np.array([one for one in row.ids if one != PAD_ID]) for row in self._tokenizer.encode_batch(texts)]


class ConvolutionBlock(nn.Module):
    """A residual convolution over three tokens that never sees padding."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width * 3, width * 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        clean = F.pad(self.norm(x) * mask, (0, 0, 1, 1))
        # Written as one matrix product: several times as fast as Conv1d, here and in ONNX Runtime.
        inner = self.mix(torch.cat([clean[:, :-2], clean[:, 1:-1], clean[:, 2:]], dim=2))
        return x + self.dropout(F.glu(inner, dim=2)) * mask


class TextEncoder(nn.Module):
    """int64[N, T] -> float32[N, 3 * width]: maximum, attention and mean over the tokens that are not padding."""

    def __init__(self, vocabulary: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD_ID)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.blocks = nn.ModuleList([ConvolutionBlock(width, dropout) for _ in range(blocks)])
        self.attention = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width * 3)
        self.features = width * 3

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids != PAD_ID).to(self.embedding.weight.dtype).unsqueeze(2)
        embedded = self.embedding(ids) * mask
        x = self.dropout(embedded)
        for block in self.blocks:
            x = block(x, mask)
        away = (1 - mask) * -1e4
        highest = (x + away).amax(1)
        weights = torch.softmax(self.attention(x) + away, dim=1)
        weighted = (weights * x).sum(1)
        mean = embedded.sum(1) / mask.sum(1).clamp(min=1)
        return self.norm(torch.cat([highest, weighted, mean], dim=1))


class PhraseBag(nn.Module):
    """int64[N, T] -> float32[N, width]: summed vectors of pieces, pairs and triples, over the root of their count.

    Pairs and triples share hashed rows. What a linear model on phrases knows, which needs fewer examples than a net.
    """

    def __init__(self, vocabulary: int, hashed: int, width: int, dropout: float) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.hashed = hashed
        self.dropout = dropout
        self.vectors = nn.Embedding(vocabulary + hashed, width)
        nn.init.normal_(self.vectors.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        longer = F.pad(ids, (0, 2))
        second, third = longer[:, 1:-1], longer[:, 2:]
        pairs = (ids * 7919 + second * 104729) % self.hashed + self.vocabulary
        triples = (ids * 7919 + second * 104729 + third * 1299709) % self.hashed + self.vocabulary
        # The last piece's pair holds the end of the text; a triple needs two true pieces at least.
        used = torch.cat([ids != PAD_ID, ids != PAD_ID, second != PAD_ID], 1).to(self.vectors.weight.dtype)
        if self.training:
            used = used * (torch.rand_like(used) >= self.dropout)
        rows = self.vectors(torch.cat([ids, pairs, triples], 1)) * used.unsqueeze(2)
        return rows.sum(1) / used.sum(1, keepdim=True).clamp(min=1).sqrt()


class TextClassifier(nn.Module):
    """A text encoder, and a bag of phrases beside it if asked for, under linear heads; only the first is shipped."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        blocks: int,
        classes: tuple[int, ...],
        dropout: float = 0.3,
        bag: tuple[int, int] | None = None,
    ) -> None:
        """Make it untrained; `bag` is hashed rows and width of the bag of phrases."""
        super().__init__()
        self.encoder = TextEncoder(vocabulary, width, blocks, dropout * 0.5)
        self.bag = PhraseBag(vocabulary, *bag, dropout=0.25) if bag else None
        self.dropout = nn.Dropout(dropout)
        features = self.encoder.features + (bag[1] if bag else 0)
        self.heads = nn.ModuleList([nn.Linear(features, count) for count in classes])

    def forward(self, ids: Tensor, head: int = 0) -> Tensor:
        features = self.encoder(ids)
        if self.bag is not None:
            features = torch.cat([features, self.bag(ids)], 1)
        result: Tensor = self.heads[head](self.dropout(features))
        return result


@torch.inference_mode()
def logits_of(model: nn.Module, rows: TokenRows, texts: list[str], part: int = 256) -> np.ndarray:
    """Return float32[N, classes]."""
    model.eval()
    return np.concatenate([model(rows(texts[at : at + part])).numpy() for at in range(0, len(texts), part)])
