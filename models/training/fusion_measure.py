"""What the fusion head is measured on: rows with emoji, drawn by OpenMoji, and the challenge of ambiguous sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from fusion import Rows, cross_validated, two_sided
from fusion_data import FusionData
from measures import accuracy, calibration_error, macro_f1, softmax

UNSURE_BELOW: Final = 0.7
RESAMPLES: Final = 2000
Joined = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _spread(found: np.ndarray, moods: np.ndarray) -> tuple[float, float]:
    """Return the middle 90 % of the macro-F1 over resampled rows: there are few."""
    chance = np.random.default_rng(0)
    rows = chance.integers(len(moods), size=(RESAMPLES, len(moods)))
    low, high = np.quantile([macro_f1(found[one], moods[one], (0, 2)) for one in rows], (0.05, 0.95))
    return float(low), float(high)


def measure_rows(texts: np.ndarray, joined: np.ndarray, moods: np.ndarray) -> dict[str, float]:
    """Return the figures of rows with a sticker; `text_` is the text alone, `both_` text and sticker.

    `macro_f1` is of negative and positive rows, decided between these two. `unsure` rows are those of them where the
    text alone gives neither side 0.7 of what it gives both; in `unsure3`, none of the three moods 0.7.

    Args:
        texts: the text's probabilities, float64[N, 3].
        joined: the head's logits, float[N, 3].
        moods: int64[N].
    """
    sided = moods != 1
    sides = texts[:, ::2]
    unsure = {
        "unsure": sided & (sides.max(1) < UNSURE_BELOW * sides.sum(1)),
        "unsure3": sided & (texts.max(1) < UNSURE_BELOW),
    }
    figures: dict[str, float] = {"rows": len(moods)}
    figures |= {f"{name}_rows": int(chosen.sum()) for name, chosen in unsure.items()}
    figures |= {f"{name}_rows": int(np.sum(moods == mood)) for mood, name in ((0, "negative"), (2, "positive"))}
    for name, scores in (("text", texts), ("both", joined)):
        found = two_sided(scores)
        figures[f"{name}_macro_f1"] = macro_f1(found[sided], moods[sided], (0, 2))
        figures[f"{name}_macro_f1_low"], figures[f"{name}_macro_f1_high"] = _spread(found[sided], moods[sided])
        figures[f"{name}_macro_f1_three"] = macro_f1(scores.argmax(1), moods, (0, 1, 2))
        for which, chosen in unsure.items():
            figures[f"{name}_{which}_accuracy"] = float(np.mean(found[chosen] == moods[chosen]))
    figures["text_ece"] = calibration_error(texts, moods)
    figures["both_ece"] = calibration_error(softmax(joined), moods)
    return figures


def measure_fusion(rows: FusionData, head: Joined) -> dict[str, float]:
    """Return the figures of the card.

    Without a prefix: all rows with emoji, each judged by a head fitted without it. `known_`: the same with the emoji
    itself known. `held_`: GoEmotions' dev and test rows by the head that ships. And the challenge.

    Args:
        rows: what was fitted to and is measured on.
        head: the text's probabilities and features to the shipped head's logits.
    """
    every = rows.every
    figures: dict[str, float] = {}
    for prefix, table in (("", rows.drawn), ("known_", rows.judgement.table)):
        joined = cross_validated(every, table[every.emoji], rows.made, rows.judgement)
        figures |= {f"{prefix}{name}": value for name, value in measure_rows(every.texts, joined, every.moods).items()}
    held = every.take(np.arange(len(rows.learned), len(every)))
    joined = head(held.texts, rows.drawn[held.emoji])
    figures |= {f"held_{name}": value for name, value in measure_rows(held.texts, joined, held.moods).items()}
    for language, pairs in rows.challenge.items():
        figures |= _challenge(language, pairs, head(pairs.texts, pairs.features))
    return figures


def _challenge(language: str, pairs: Rows, joined: np.ndarray) -> dict[str, float]:
    return {
        f"text_challenge_{language}": float(np.mean(two_sided(pairs.texts) == pairs.moods)),
        f"both_challenge_{language}": float(np.mean(two_sided(joined) == pairs.moods)),
        f"both_challenge_three_{language}": accuracy(joined, pairs.moods),
    }
