"""Make models/stickers and models/samples: train, choose, export, measure, describe."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from goals import write_goals
from graphs import cpu_session, quickest_ms
from measures import accuracy, best_temperature, calibration_error, softmax
from model_card import write_card
from model_folder import write_labels, write_manifest
from sticker_artwork import ARTWORK, CHOOSING_SET, read_artwork
from sticker_card import sticker_card, sticker_goals
from sticker_encoder import StickerEncoder, emoji_scores, read_drawings, train_encoder
from sticker_export import OUTPUTS, StickerTagger, compress_tags, export_tagger, halve_weights, quantize_convolutions
from sticker_images import INPUT_PX, TEST_VENDOR, Emoji, present, read_emoji, read_pictures, spoil
from sticker_kinds import measured_photographs, measured_screenshots, train_kinds
from sticker_measure import measure_kinds, measure_tags, spoiled_tests, tag_calibration
from sticker_moods import emoji_numbers, read_moods
from sticker_samples import write_samples, write_sheet
from sticker_tags import TagTable, build_tags

VERSION: Final = "3"
TESTS: Final = Path(__file__).resolve().parents[2] / "tests" / "models"
KIND_TESTS: Final = ("plain", "dark", "photograph", "jpeg20", "24px")


class TaggerGraph:
    """A tagger's graph, on one thread of the CPU."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.session = cpu_session(model)

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return every output, for float32[N, 3, 48, 48]."""
        parts = [self.session.run(list(OUTPUTS), {"pixels": pixels[at : at + 64]}) for at in range(0, len(pixels), 64)]
        return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))

    def milliseconds(self, rows: int) -> float:
        """Return the time of a run."""
        return quickest_ms(self.session, {"pixels": np.zeros((rows, 3, INPUT_PX, INPUT_PX), np.float32)})


def _choose_temperature(encoder: StickerEncoder, data: Path, cache: Path, emoji: list[Emoji]) -> float:
    labels, pictures, sets = read_artwork(data, cache, emoji)
    chosen = sets == [one.name for one in ARTWORK].index(CHOOSING_SET)
    return best_temperature(emoji_scores(encoder, present(pictures[chosen])), labels[chosen])


def _compare(
    forms: dict[str, onnx.ModelProto], plain: np.ndarray, labels: np.ndarray, emoji: list[Emoji], tags: TagTable
) -> dict[str, float]:
    """Return figures of float32 and of int8 both ways on plain drawings: recall, size, milliseconds."""
    figures: dict[str, float] = {}
    for name, model in forms.items():
        session = TaggerGraph(model)
        found = measure_tags(session.run(plain)[0], labels, emoji, tags)
        figures |= {f"{name}_{key}": found[key] for key in ("recall5_en", "core_recall5")}
        figures[f"{name}_mb"] = model.ByteSize() / 1e6
        figures |= {f"{name}_ms{rows}": session.milliseconds(rows) for rows in (1, 32)}
    return figures


def make_stickers(data: Path, cache: Path, models: Path, steps: int) -> None:
    """Make models/stickers and models/samples."""
    emoji = read_emoji(data)
    tags = build_tags(emoji)
    drawings = read_drawings(data, cache, emoji)
    encoder = train_encoder(cache / "stickers.pt", drawings, tags.likeness, steps)
    encoder = encoder.to(memory_format=torch.contiguous_format)
    head = train_kinds(encoder, drawings, cache)
    temperature = _choose_temperature(encoder, data, cache, emoji)
    compressed = compress_tags(tags.likeness, read_moods(emoji_numbers(emoji)))
    tagger = StickerTagger(encoder, head, tags, compressed, temperature)
    folder = models / "stickers"
    folder.mkdir(exist_ok=True)
    whole = export_tagger(tagger, half=False)
    generator = torch.Generator().manual_seed(1)
    learned = spoil(torch.from_numpy(drawings.pictures[:: len(drawings.pictures) // 512]), generator).numpy()
    forms = {"fp32": halve_weights(whole)}
    for name, unsigned in (("u8u8", True), ("reduced", False)):
        forms[name] = halve_weights(quantize_convolutions(whole, learned, unsigned, cache))
    onnx.save(forms["fp32"], folder / "model.fp32.onnx")
    onnx.save(forms["reduced"], folder / "model.int8.onnx")

    labels, pictures = read_pictures(data, TEST_VENDOR, emoji)
    tests = spoiled_tests(pictures)
    figures: dict[str, float] = {"rows": len(labels), "temperature": temperature, "steps": steps}
    graph = TaggerGraph(forms["reduced"])
    found = {name: graph.run(pixels) for name, pixels in tests.items()}
    emoji_found = {name: emoji_scores(encoder, pixels) for name, pixels in tests.items()}
    for name, (scores, _, _) in found.items():
        one = measure_tags(scores, labels, emoji, tags) | {"emoji_id": accuracy(emoji_found[name], labels)}
        figures |= {f"{name}_{key}": value for key, value in one.items()}
    figures["emoji_ece"] = calibration_error(softmax(emoji_found["plain"], temperature), labels)
    figures["tag_ece"] = tag_calibration(found["plain"][0], labels, tags)
    kinds = {f"sticker_{name}": (found[name][2], found[name][0]) for name in KIND_TESTS}
    for name, pixels in (("photo", measured_photographs()), ("screenshot", measured_screenshots())):
        scores, _, chances = graph.run(pixels)
        kinds[name] = chances, scores
    figures |= measure_kinds(kinds)
    figures |= _compare(forms, tests["plain"], labels, emoji, tags)

    # Last: it makes the weights float16.
    onnx.save(export_tagger(tagger, half=True), folder / "model.fp16.onnx")
    write_labels(folder, list(tags.names), list(tags.names), list(tags.chinese))
    _write_manifest(folder)
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in sorted(folder.glob("model.*.onnx")))
    write_card(folder, sticker_card(figures, f"Files: {sizes}.", len(emoji), len(tags.names)), figures)
    write_goals(folder, sticker_goals(figures))
    write_samples(data, models / "samples")
    if TESTS.is_dir():
        write_sheet(data, emoji, TESTS)


def _write_manifest(folder: Path) -> None:
    top = {
        "version": VERSION,
        "task": "tagger",
        "licence": "Apache-2.0",
        "description": "What an emoji-like sticker shows, in English and Chinese tags; sticker, photo or screenshot",
        "cpu": "int8",
        "attribution": [
            "Noto Emoji artwork: Google, Apache-2.0",
            "Twemoji artwork: Twitter, Inc. and other contributors, CC BY 4.0",
            "Fluent Emoji artwork: Microsoft, MIT",
            *(f"{one.name} artwork: {one.author}, {one.licence}" for one in ARTWORK if one.name != CHOOSING_SET),
            "Unicode CLDR 48.2 annotations: Unicode, Inc., Unicode-3.0",
            "emojilib 4.0.3 keywords: MIT",
        ],
    }
    pixels: dict[str, object] = {
        "name": "pixels",
        "layout": "NCHW",
        "dtype": "float32",
        "height": INPUT_PX,
        "width": INPUT_PX,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "resize": "letterbox",
        "filter": "area",
        "background": [255, 255, 255],
    }
    tables: dict[str, dict[str, object]] = {
        "batch": {"buckets": [1, 2, 4, 8, 16, 32]},
        "input": pixels,
        "output": {"name": OUTPUTS[0], "vector": OUTPUTS[1], "kind": OUTPUTS[2]},
        "labels": {"file": "labels.json"},
    }
    write_manifest(folder, top, tables)
