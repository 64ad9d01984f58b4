"""What the fusion head is measured on: rows with emoji, drawn by OpenMoji, and the challenge of ambiguous sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from fusion_data import Features, Pair, challenge_pairs, reddit_pairs
from measures import accuracy, calibration_error, macro_f1, softmax
from sentiment_data import read_remarks
from sticker_images import TEST_VENDOR, Emoji, present, read_pictures
from sticker_moods import emoji_numbers

UNSURE_BELOW: Final = 0.7
RESAMPLES: Final = 2000
TextLogits = Callable[[list[str]], np.ndarray]
Joined = Callable[[np.ndarray, np.ndarray], np.ndarray]


def two_sided(logits: np.ndarray) -> np.ndarray:
    """Decide between negative and positive alone."""
    return np.where(logits[:, 2] > logits[:, 0], 2, 0)


def _spread(found: np.ndarray, moods: np.ndarray) -> tuple[float, float]:
    """Return the middle 90 % of the macro-F1 over resampled rows: there are few."""
    chance = np.random.default_rng(0)
    rows = chance.integers(len(moods), size=(RESAMPLES, len(moods)))
    low, high = np.quantile([macro_f1(found[one], moods[one], (0, 2)) for one in rows], (0.05, 0.95))
    return float(low), float(high)


def measure_rows(alone: np.ndarray, joined: np.ndarray, moods: np.ndarray, temperature: float) -> dict[str, float]:
    """Return the figures of rows with a sticker; `text_` is the text alone, `both_` text and sticker.

    `macro_f1` is of negative and positive rows, decided between these two; `unsure` rows are those of them where the
    text alone gives no class 0.7.

    Args:
        alone: the text's logits, float32[N, 3].
        joined: the head's, float32[N, 3].
        moods: int64[N].
        temperature: what the text's logits are divided by.
    """
    sided = moods != 1
    unsure = sided & (softmax(alone, temperature).max(1) < UNSURE_BELOW)
    figures: dict[str, float] = {"rows": len(moods), "unsure_rows": int(unsure.sum())}
    figures |= {f"{name}_rows": int(np.sum(moods == mood)) for mood, name in ((0, "negative"), (2, "positive"))}
    for name, logits in (("text", alone), ("both", joined)):
        found = two_sided(logits)
        figures[f"{name}_macro_f1"] = macro_f1(found[sided], moods[sided], (0, 2))
        figures[f"{name}_macro_f1_low"], figures[f"{name}_macro_f1_high"] = _spread(found[sided], moods[sided])
        figures[f"{name}_macro_f1_three"] = macro_f1(logits.argmax(1), moods, (0, 1, 2))
        figures[f"{name}_unsure_accuracy"] = float(np.mean(found[unsure] == moods[unsure]))
    figures["text_ece"] = calibration_error(softmax(alone, temperature), moods)
    figures["both_ece"] = calibration_error(softmax(joined), moods)
    return figures


def measure_fusion(
    data: Path, emoji: list[Emoji], text: TextLogits, tagger: Features, head: Joined, temperature: float
) -> dict[str, float]:
    """Return the figures of the card: GoEmotions' dev and test rows with emoji, never trained on, and the challenge."""
    numbers = emoji_numbers(emoji)
    indices, pictures = read_pictures(data, TEST_VENDOR, emoji)
    drawn = dict(zip(indices.tolist(), tagger(present(pictures)), strict=True))

    def both(pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        alone = text([one.text for one in pairs])
        seen = np.stack([drawn[one.emoji] for one in pairs])
        return alone, head(alone, seen), np.array([one.mood for one in pairs])

    rows = reddit_pairs(read_remarks(data, "dev") + read_remarks(data, "test"), numbers)
    figures = measure_rows(*both(rows), temperature)
    for language, pairs in challenge_pairs(numbers).items():
        alone, joined, moods = both(pairs)
        figures[f"text_challenge_{language}"] = float(np.mean(two_sided(alone) == moods))
        figures[f"both_challenge_{language}"] = float(np.mean(two_sided(joined) == moods))
        figures[f"both_challenge_three_{language}"] = accuracy(joined, moods)
    return figures
