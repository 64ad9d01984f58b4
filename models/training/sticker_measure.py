"""What the tagger is measured on: OpenMoji, plain and spoiled in ways that stickers are."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from measures import recall_at
from PIL import Image
from sticker_images import Emoji, present
from sticker_kinds import KINDS, on_photographs
from sticker_tags import TagTable

# What customers' stickers are mostly about; the core tags' recall@5 is among these tags alone.
CORE: Final = [
    "happy",
    "sad",
    "angry",
    "cry",
    "laugh",
    "love",
    "heart",
    "kiss",
    "surprised",
    "scared",
    "tired",
    "sick",
    "sleep",
    "cool",
    "confused",
    "thinking",
    "thumbs up",
    "thumbs down",
    "ok",
    "clap",
    "wave",
    "pray",
    "hug",
    "party",
    "gift",
    "flower",
    "cat",
    "dog",
    "bird",
    "fish",
    "animal",
    "food",
    "fruit",
    "drink",
    "coffee",
    "cake",
    "car",
    "train",
    "airplane",
    "house",
    "sun",
    "rain",
    "snow",
    "star",
    "phone",
    "computer",
    "money",
    "package",
]


# The shop pack's threshold.
BELIEVED: Final = 0.2


def _noise_photo(seed: int, px: int) -> Image.Image:
    """A smooth picture in the colours of a room: what lies behind a sticker in a photograph."""
    chance = np.random.default_rng(seed)
    small = chance.integers(40, 200, (6, 6, 3), dtype=np.uint8)
    large = Image.fromarray(small).resize((px, px), Image.Resampling.BICUBIC)
    grain = chance.normal(0, 8, (px, px, 3))
    return Image.fromarray(np.clip(np.asarray(large, np.float32) + grain, 0, 255).astype(np.uint8))


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def _each(pictures: np.ndarray, change: Callable[[Image.Image, int], Image.Image]) -> np.ndarray:
    """Apply `change(RGBA picture, row)` and prepare as the server does."""
    changed = []
    for row, picture in enumerate(pictures):
        result = change(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), "RGBA"), row).convert("RGBA")
        changed.append(present(np.asarray(result).transpose(2, 0, 1)[None])[0])
    return np.stack(changed)


def _on(picture: Image.Image, background: Image.Image) -> Image.Image:
    canvas = background.convert("RGBA").resize(picture.size)
    canvas.alpha_composite(picture)
    return canvas


def _first_frame(picture: Image.Image, row: int) -> Image.Image:
    """What is seen of an animation: the first frame of a GIF, 256 colours, transparent or not."""
    buffer = io.BytesIO()
    later = [picture.rotate(90 * turn) for turn in (1, 2)]
    picture.save(buffer, "GIF", save_all=True, append_images=later, duration=100, disposal=2)
    return Image.open(buffer).convert("RGBA")


def spoiled_tests(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Return float32[N, 3, 48, 48] by name, for uint8[N, 4, 64, 64]."""
    dark = Image.new("RGBA", (64, 64), (24, 26, 30, 255))
    return {
        "plain": present(pictures),
        "dark": _each(pictures, lambda picture, _: _on(picture, dark)),
        "photo": _each(pictures, lambda picture, row: _on(picture, _noise_photo(row, 64))),
        "jpeg20": _each(
            pictures,
            lambda picture, _: _compressed(_on(picture, Image.new("RGBA", (64, 64), "white")).convert("RGB"), 20),
        ),
        "photograph": on_photographs(pictures),
        "24px": _each(pictures, lambda picture, _: picture.resize((24, 24), Image.Resampling.BOX)),
        "512px": _each(pictures, lambda picture, _: picture.resize((512, 512), Image.Resampling.BICUBIC)),
        "animation": _each(pictures, _first_frame),
        "turned15": _each(pictures, lambda picture, _: picture.rotate(15, Image.Resampling.BICUBIC)),
    }


def tag_calibration(scores: np.ndarray, labels: np.ndarray, table: TagTable) -> float:
    """Return the expected calibration error of the five best tags: how far scores are from the share that is true.

    True is here, in part or whole, what the matrix says of the emoji.
    """
    best = np.argsort(-scores, axis=1)[:, :5]
    said = np.take_along_axis(scores, best, axis=1).ravel()
    true = np.take_along_axis(table.matrix[labels], best, axis=1).ravel()
    place = np.minimum((said * 10).astype(int), 9)
    return float(sum(abs(true[place == b].mean() - said[place == b].mean()) * np.mean(place == b) for b in set(place)))


def measure_kinds(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return the accuracy of the kinds and the mean of the three; of those that are no stickers, the share with a tag.

    A tag counts where the shop's pack would believe it.

    Args:
        found: by the kind's name and more ("sticker", "sticker_dark", "photo", ...), (kind chances float[N, 3],
            tag scores float[N, T]).
    """
    figures: dict[str, float] = {}
    for name, (chances, scores) in found.items():
        kind = KINDS.index(name.split("_")[0])
        figures[f"kind_{name}"] = float(np.mean(chances.argmax(1) == kind))
        if kind != 0:
            figures[f"tagged_{name}"] = float(np.mean(scores.max(1) > BELIEVED))
    stickers = float(np.mean([figures[f"kind_{name}"] for name in found if name.startswith("sticker")]))
    others = [figures[f"kind_{name}"] for name in found if not name.startswith("sticker")]
    figures["kind_accuracy"] = float(np.mean([stickers, *others]))
    return figures


def measure_tags(scores: np.ndarray, labels: np.ndarray, emoji: list[Emoji], table: TagTable) -> dict[str, float]:
    """Return recall@5 in English and Chinese and the core tags' recall.

    The truth is what CLDR says of the emoji (its own name and its keywords), of the tags in our vocabulary; recall@5
    counts at most five of them.

    Args:
        scores: float[N, T].
        labels: int[N], the emoji drawn.
        emoji: by number.
        table: the vocabulary.
    """
    column = {name: at for at, name in enumerate(table.names)}
    truth = np.zeros((len(emoji), len(table.names)), bool)
    for index, one in enumerate(emoji):
        for word in (one.name, *one.keywords):
            if word.lower() in column:
                truth[index, column[word.lower()]] = True
    figures = {"recall5_en": recall_at(scores, truth[labels])}
    in_chinese = np.zeros_like(truth)
    for index, one in enumerate(emoji):
        meant = {one.name_zh, *one.keywords_zh}
        in_chinese[index] = [label in meant for label in table.chinese]
    with_truth = in_chinese[labels].any(1)
    figures["recall5_zh"] = recall_at(scores[with_truth], in_chinese[labels][with_truth])
    core = [column[name] for name in CORE if name in column]
    with_core = truth[labels][:, core].any(1)
    figures["core_recall5"] = recall_at(scores[with_core][:, core], truth[labels][with_core][:, core])
    return figures
