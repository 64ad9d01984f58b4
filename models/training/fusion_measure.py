"""What the fusion head is measured on: rows with emoji, drawn by OpenMoji, and the challenge of ambiguous sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from fusion import Features, FusionHead, Pair, TextLogits, challenge_pairs, reddit_pairs
from measures import accuracy, calibration_error, macro_f1, softmax
from sentiment_data import read_remarks
from sticker_images import TEST_VENDOR, Emoji, present, read_pictures
from sticker_moods import emoji_numbers


def _two_sided(logits: np.ndarray) -> np.ndarray:
    """Decide between negative and positive alone."""
    return np.where(logits[:, 2] > logits[:, 0], 2, 0)


def measure_fusion(
    data: Path, emoji: list[Emoji], text: TextLogits, tagger: Features, head: FusionHead, temperature: float
) -> dict[str, float]:
    """Return the figures of the card; `text_` is the text alone, `both_` text and sticker.

    Rows are GoEmotions' dev and test rows with emoji, never trained on. `macro_f1` is of negative and positive rows,
    decided between these two; `unsure` rows are those where the text alone gives no class 0.7.
    """
    numbers = emoji_numbers(emoji)
    indices, pictures = read_pictures(data, TEST_VENDOR, emoji)
    drawn = dict(zip(indices.tolist(), tagger(present(pictures)), strict=True))

    def both(pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        alone = text([one.text for one in pairs])
        seen = np.stack([drawn[one.emoji] for one in pairs])
        with torch.inference_mode():
            joined = head(torch.from_numpy(alone), torch.from_numpy(seen)).numpy()
        return alone, joined, np.array([one.mood for one in pairs])

    rows = reddit_pairs(read_remarks(data, "dev") + read_remarks(data, "test"), numbers)
    alone, joined, moods = both(rows)
    sided = moods != 1
    unsure = sided & (softmax(alone, temperature).max(1) < 0.7)
    figures: dict[str, float] = {"rows": len(rows), "unsure_rows": int(unsure.sum())}
    for name, logits in (("text", alone), ("both", joined)):
        figures[f"{name}_macro_f1"] = macro_f1(_two_sided(logits[sided]), moods[sided], (0, 2))
        figures[f"{name}_macro_f1_three"] = macro_f1(logits.argmax(1), moods, (0, 1, 2))
        figures[f"{name}_unsure_accuracy"] = float(np.mean(_two_sided(logits[unsure]) == moods[unsure]))
    figures["both_ece"] = calibration_error(softmax(joined), moods)
    for language, pairs in challenge_pairs(numbers).items():
        alone, joined, moods = both(pairs)
        figures[f"text_challenge_{language}"] = float(np.mean(_two_sided(alone) == moods))
        figures[f"both_challenge_{language}"] = float(np.mean(_two_sided(joined) == moods))
        figures[f"both_challenge_three_{language}"] = accuracy(joined, moods)
    return figures
