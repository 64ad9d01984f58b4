"""Fit the head that joins a text's sentiment with what its sticker shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from measures import macro_f1
from torch import Tensor, nn

SEED: Final = 20264
FOLDS: Final = 10
# What is known of an emoji's kind (judged glad, sorry, plain, or not judged) counts as so many rows that bear it: half
# of it is what rows of that kind say, half is the judgement, which is as judged in so many of 20.
KIND_ROWS: Final = 8.0
JUDGED_WEIGHT: Final = 0.5
JUDGED_SHARE: Final = 0.85
# An emoji that no row bears counts as half a row where the features are fitted.
UNSEEN: Final = 0.5
RIDGE: Final = 3.0
# No picture makes a mood more than 20 times less likely.
FLOOR: Final = 0.05
# How likely a text's mood is to be another than the text model knows of: these are tried.
DOUBTS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.08)


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts with stickers: `texts` float64[N, 3] the text's probabilities, `emoji` int64[N], `moods` int64[N].

    `features` float32[N, F] are of one drawing of each row's emoji.
    """

    texts: np.ndarray
    emoji: np.ndarray
    moods: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.moods)

    def take(self, chosen: np.ndarray) -> Rows:
        """Return some of the rows, by numbers or by a mask."""
        return Rows(self.texts[chosen], self.emoji[chosen], self.moods[chosen], self.features[chosen])


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known before any row is counted.

    `kinds` int64[emoji]: judged negative, neutral, positive, or not judged (3); `table` float32[emoji, F]: the features
    of a picture that is surely this emoji; `prior` float64[3]: how often each mood is meant, sticker or none.
    """

    kinds: np.ndarray
    table: np.ndarray
    prior: np.ndarray


class FusionHead(nn.Module):
    """text_logits float32[N, 3], features float32[N, F] -> logits float32[N, 3].

    Two opinions that are taken to be independent (naive Bayes): the text's probabilities, with a little doubt added to
    each, and by how much the picture makes each mood likelier than it is without. Features are expectations over what
    emoji the picture may be, and so is the likelihood: one linear map leads from the ones to the other, and a picture
    of nothing known (features of zero) says nothing.
    """

    def __init__(self, features: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.lift = nn.Linear(features, 3, bias=False)
        self.register_buffer("doubt", torch.tensor(0.0))

    def opinion(self, features: Tensor) -> Tensor:
        """By how much the picture alone raises each mood's log-probability, float[N, 3]."""
        return (1 + self.lift(features.to(self.lift.weight.dtype))).clamp(min=FLOOR).log()

    def forward(self, text_logits: Tensor, features: Tensor) -> Tensor:
        text = torch.softmax(text_logits / self.temperature, dim=1).to(self.doubt.dtype)
        return ((text + self.doubt).log() + self.opinion(features)).float()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A head's numbers: `lift` float64[F, 3], and the doubt about the text."""

    lift: np.ndarray
    doubt: float

    def joined(self, texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return what the head computes, float64[N, 3], from the text's probabilities."""
        return _join(texts, opinions(self.lift, features), self.doubt)

    def head(self, temperature: float) -> FusionHead:
        """Return the head, to export."""
        made = FusionHead(len(self.lift), temperature)
        made.lift.weight.data.copy_(torch.from_numpy(self.lift.T))
        made.doubt.fill_(self.doubt)
        return made.eval()


def mood_shares(emoji: np.ndarray, moods: np.ndarray, judgement: Judgement) -> np.ndarray:
    """Return how likely each mood is beside each emoji, float64[emoji, 3] (empirical Bayes).

    Counted in the rows; those that bear an emoji judged alike count as a few rows more.
    """
    counts = np.zeros((len(judgement.kinds), 3))
    np.add.at(counts, (emoji, moods), 1)
    whole = counts.sum(0) / counts.sum()
    by_kind = np.stack([counts[judgement.kinds == kind].sum(0) + 3 * whole for kind in range(4)])
    by_kind /= by_kind.sum(1, keepdims=True)
    judged = (1 - JUDGED_SHARE) * whole + JUDGED_SHARE * np.eye(3)
    by_kind[:3] = (1 - JUDGED_WEIGHT) * by_kind[:3] + JUDGED_WEIGHT * judged
    shares: np.ndarray = (counts + KIND_ROWS * by_kind[judgement.kinds]) / (counts.sum(1, keepdims=True) + KIND_ROWS)
    return shares


def fit_lift(emoji: np.ndarray, moods: np.ndarray, judgement: Judgement) -> np.ndarray:
    """Return float64[F, 3]: features times this is by what share each mood gets likelier (ridge regression).

    Emoji count as often as the rows bear them.
    """
    wanted = mood_shares(emoji, moods, judgement) / judgement.prior - 1
    weights = np.bincount(emoji, minlength=len(judgement.kinds))[:, None] + UNSEEN
    table = judgement.table.astype(np.float64)
    square = table.T @ (weights * table) + RIDGE * np.eye(table.shape[1])
    return np.linalg.solve(square, table.T @ (weights * wanted))


def opinions(lift: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return by how much pictures raise each mood's log-probability, float64[N, 3]."""
    return np.asarray(np.log(np.maximum(1 + features.astype(np.float64) @ lift, FLOOR)))


def _join(texts: np.ndarray, opinion: np.ndarray, doubt: float) -> np.ndarray:
    return np.asarray(np.log(texts + doubt + 1e-9) + opinion)


def two_sided(scores: np.ndarray) -> np.ndarray:
    """Decide between negative and positive alone."""
    return np.where(scores[:, 2] > scores[:, 0], 2, 0)


def _choose_doubt(texts: np.ndarray, opinion: np.ndarray, moods: np.ndarray, made: Rows, lift: np.ndarray) -> Fitted:
    """Choose the doubt about the text.

    Of those that tell glad from sorry as well as the best, but for one standard error, on rows of life (Breiman et al.
    1984, section 3.4.3), with opinions that were not learned from these rows: what is right most often on made rows,
    ambiguous sentences of ours and others.
    """
    sided = moods != 1
    tried = []
    for doubt in DOUBTS:
        sides = two_sided(_join(texts, opinion, doubt))
        fitted = Fitted(lift, doubt)
        right = np.mean(fitted.joined(made.texts, made.features).argmax(1) == made.moods)
        tried.append((macro_f1(sides[sided], moods[sided], (0, 2)), float(right), fitted))
    best = max(real for real, _, _ in tried)
    enough = best - float(np.sqrt(best * (1 - best) / sided.sum()))
    return max((one for one in tried if one[0] >= enough), key=lambda one: one[1])[2]


def _folds(count: int) -> np.ndarray:
    folds: np.ndarray = np.random.default_rng(SEED).permutation(count) % FOLDS
    return folds


def fit_fusion(rows: Rows, made: Rows, judgement: Judgement) -> Fitted:
    """Fit a head: the picture's part counted in `rows`, the doubt chosen by cross-validation over them.

    None of the texts was learned from by the text model, which is surer of its own training rows than it will ever be
    again.
    """
    opinion = np.zeros((len(rows), 3))
    folds = _folds(len(rows))
    for fold in range(FOLDS):
        rest, held = rows.take(folds != fold), folds == fold
        opinion[held] = opinions(fit_lift(rest.emoji, rest.moods, judgement), rows.features[held])
    lift = fit_lift(rows.emoji, rows.moods, judgement)
    return _choose_doubt(rows.texts, opinion, rows.moods, made, lift)


def cross_validated(rows: Rows, tested: np.ndarray, made: Rows, judgement: Judgement) -> np.ndarray:
    """Return joined scores, float64[N, 3], each by a head that was fitted, doubt and all, to nine tenths without it.

    Args:
        rows: what is fitted to.
        tested: float32[N, F], the features that the same rows are scored with.
        made: as in `fit_fusion`.
        judgement: likewise.
    """
    joined = np.zeros((len(rows), 3))
    folds = _folds(len(rows))
    for fold in range(FOLDS):
        held = folds == fold
        fitted = fit_fusion(rows.take(~held), made, judgement)
        joined[held] = fitted.joined(rows.texts[held], tested[held])
    return joined
