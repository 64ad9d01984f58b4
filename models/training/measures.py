"""Figures for the model cards."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities, float64[N, classes]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    exponents = np.exp(scaled)
    return np.asarray(exponents / exponents.sum(1, keepdims=True))


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the lowest negative log-likelihood (Guo et al. 2017), by search from 0.3 to 4."""
    rows = np.arange(len(labels))
    candidates = np.exp(np.linspace(np.log(0.3), np.log(4), 120))
    losses = [-np.log(softmax(logits, t)[rows, labels] + 1e-12).mean() for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 3)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose most probable class is the label."""
    return float(np.mean(probabilities.argmax(1) == labels))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal width (Naeini et al. 2015)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[place == b].mean() - confidence[place == b].mean()) * np.mean(place == b) for b in set(place)]
    return float(sum(gaps))


def ranking_area(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative."""
    order = np.concatenate([negatives, positives]).argsort(kind="stable").argsort(kind="stable") + 1.0
    wins = order[len(negatives) :].sum() - len(positives) * (len(positives) + 1) / 2
    return float(wins / (len(negatives) * len(positives)))


def macro_f1(predicted: np.ndarray, labels: np.ndarray, classes: tuple[int, ...]) -> float:
    """Return the mean F1 of the classes."""
    scores = []
    for one in classes:
        hit = np.sum((predicted == one) & (labels == one))
        scores.append(2 * hit / max(1, np.sum(predicted == one) + np.sum(labels == one)))
    return float(np.mean(scores))


def recall_at(scores: np.ndarray, truth: np.ndarray, k: int = 5) -> float:
    """Return the mean share of the true tags among the best k, of at most k true ones.

    Args:
        scores: float[N, T].
        truth: bool[N, T]; every row has a true tag.
        k: how many of the best are looked at.
    """
    best = np.argsort(-scores, axis=1)[:, :k]
    hits = np.take_along_axis(truth, best, axis=1).sum(1)
    return float(np.mean(hits / np.minimum(truth.sum(1), k)))
