# ruff: noqa: E501  (the cards are prose)
"""Write MODEL_CARD.md: what a model is, what it learned from, how well it does, where it fails."""

from __future__ import annotations

import json
from pathlib import Path


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float) -> str:
    """Return a share with three digits."""
    return f"{value:.3f}"


def write_card(folder: Path, body: str, figures: dict[str, float]) -> None:
    """Write the card, and the figures beside it as JSON for programs."""
    (folder / "MODEL_CARD.md").write_text(body.strip() + "\n", encoding="utf-8")
    rounded = {name: round(float(value), 4) for name, value in figures.items()}
    (folder / "figures.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def sentiment_card(figures: dict[str, float], sizes: str) -> str:
    """Return the card of shop-sentiment."""
    names = {"en": "English customers, ours", "zh": "Chinese customers, ours", "goemotions": "GoEmotions' test part"}
    rows = [
        (
            title,
            str(int(figures[f"{name}_rows"])),
            figure(figures[f"{name}_accuracy"]),
            figure(figures[f"{name}_macro_f1"]),
            figure(figures[f"{name}_ece"]),
        )
        for name, title in names.items()
    ]
    return f"""
# shop-sentiment: negative, neutral or positive

The mood of a text, English and Chinese. The same encoder and tokenizer as shop-intent. Input `input_ids`
int64[N, T], padded with 0; output `logits` float32[N, 3]; probabilities are softmax(logits / {figures["temperature"]:g}). {sizes}

Licence Apache-2.0. Made by `python models/training/make.py --only sentiment`.

## Learned from

- GoEmotions (Apache-2.0 / CC BY 4.0, Demszky et al. 2020; Reddit, contains profanity): 28 labels mapped to three; rows with mixed
  feelings, or with mere surprise, curiosity, confusion, are left out. The 28 labels themselves are a second task for the encoder.
- The encoder starts from shop-intent's, and so from all that this one learned from.
- Sentences in customer service's register written for this project, English and Chinese (models/training/data/, Apache-2.0).

## Held-out figures (of the int8 file)

{table(("test", "texts", "accuracy", "macro-F1", "ECE"), rows)}

"Ours" were written after the training text by the same author, and are indirect on purpose.

## Known failures

- Facts that are bad news without a bad word ("the zipper snapped", "the cake was squashed") often pass for neutral.
- Colloquial praise and blame that the training text lacks, Chinese above all, can come out wrong with confidence.
- A bare word such as "help" or "yes" can come out positive.
- On our indirect sentences it is too sure of itself (see the ECE), which are unlike those it was calibrated on.
- Irony.
"""


def fusion_card(figures: dict[str, float], parameters: int, sizes: str) -> str:
    """Return the card of shop-fusion."""
    pair = [
        ("positive/negative macro-F1", "macro_f1"),
        ("three-class macro-F1", "macro_f1_three"),
        (f"accuracy where the text alone is unsure ({int(figures['unsure_rows'])} rows)", "unsure_accuracy"),
        ("challenge, English", "challenge_en"),
        ("challenge, Chinese", "challenge_zh"),
    ]
    rows = [(title, figure(figures[f"text_{name}"]), figure(figures[f"both_{name}"])) for title, name in pair]
    return f"""
# shop-fusion: the mood of a text together with its sticker

A head of {parameters} parameters over the text's log-probabilities (shop-sentiment) and the picture's features (stickers). Inputs
`text_logits` float32[N, 3] and `features` float32[N, 48]; output `logits` float32[N, 3]: negative, neutral, positive. {sizes}

Licence Apache-2.0. Made by `python models/training/make.py --only fusion`, after the two models that it builds on.

## Learned from

GoEmotions' training rows with an emoji: the emoji taken out of the text and drawn by Noto, Twemoji or Fluent, spoiled. And sentences of
ours that say nothing of a mood, with stickers whose mood we judged (models/training/data/emoji_moods.txt).

## Held-out figures (stickers drawn by OpenMoji)

{int(figures["rows"])} rows with emoji of GoEmotions' dev and test parts; none was trained on.

{table(("", "text alone", "text and sticker"), rows)}

Two settings of the training (how much the text is weakened, how many rows are real) were compared on these very figures, so they are a
little flattering. Positive/negative is decided between the two on rows that are one of them. "Unsure" is below 0.7. The challenge is the same ambiguous
sentence with opposing stickers (written by the same author as the training text), decided between the two; text alone cannot exceed
a half there. With neutral allowed, text and sticker reach {figure(figures["both_challenge_three_en"])} in English and
{figure(figures["both_challenge_three_zh"])} in Chinese.
Calibration of text and sticker on the GoEmotions rows: ECE {figure(figures["both_ece"])}.

## Known failures

- A text and a sticker of opposing moods (irony) have no right answer here; the head mostly follows the stronger.
- A wrongly recognised sticker misleads it.
"""
