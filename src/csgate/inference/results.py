"""What the engine gives back: plain frozen types."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from csgate.events import Intent, Sentiment, Tag
from csgate.inference.manifest import TaskName

Vector = NDArray[np.float32]
PictureKind = Literal["sticker", "photo", "screenshot"]
ServedTask = TaskName | Literal["reader"]
Point = tuple[float, float]
Corners = tuple[Point, Point, Point, Point]

KINDS: Final[tuple[PictureKind, ...]] = ("sticker", "photo", "screenshot")
"""In the order of a tagger's ``output.kind``."""


class Timing(msgspec.Struct, frozen=True, gc=False):
    """Milliseconds by stage. ``batch`` is the number of items that ran together, 0 where nothing ran."""

    queue_ms: float = 0.0
    prepare_ms: float = 0.0
    run_ms: float = 0.0
    total_ms: float = 0.0
    batch: int = 0
    cached: bool = False


class IntentResult(msgspec.Struct, frozen=True):
    """``ranking``: every intent, the likeliest first; the confidences sum to 1."""

    ranking: tuple[Intent, ...]
    timing: Timing


class SentimentResult(msgspec.Struct, frozen=True):
    """``fused``: the picture's features had a say, not the text alone."""

    sentiment: Sentiment
    timing: Timing
    fused: bool = False


class PictureResult(msgspec.Struct, frozen=True):
    """``vector``: float32[F], the features for ``judge_sentiment`` (read-only; None where the model has none).

    ``width`` and ``height`` are pixels as the picture is shown, after its EXIF orientation. ``kind`` is the likeliest
    kind and ``kind_score`` its probability; None and 0 where the model does not say.
    """

    tags: tuple[Tag, ...]
    vector: Vector | None
    width: int
    height: int
    format: str
    animated: bool
    timing: Timing
    cached: bool = False
    kind: PictureKind | None = None
    kind_score: float = 0.0


class TextLine(msgspec.Struct, frozen=True, gc=False):
    """A line of text in a picture. ``score`` is how sure the reader is of it, from 0 to 1.

    ``box``: its corners from the upper left clockwise, as shares (0 to 1) of the picture's width and height.
    """

    text: str
    score: float
    box: Corners


class ReadText(msgspec.Struct, frozen=True):
    """The text in a picture, in reading order; no lines where there is none. It is whatever a stranger wrote.

    ``complete`` is False where the time ended before the text did.
    """

    lines: tuple[TextLine, ...]
    complete: bool = True
    timing: Timing = Timing()

    @property
    def rows(self) -> tuple[str, ...]:
        """The text by rows: what stands side by side, such as a label and its value, is one row."""
        return tuple([" ".join([line.text for line in row]) for row in in_rows(self.lines)])


def in_rows(lines: Iterable[TextLine]) -> list[list[TextLine]]:
    """``lines`` in reading order, those side by side together."""
    rows: list[list[TextLine]] = []
    end = -1.0
    for line in sorted(lines, key=_middle):
        if _middle(line) < end:
            rows[-1].append(line)
        else:
            rows.append([line])
            end = max(y for _, y in line.box)
    for row in rows:
        row.sort(key=lambda line: line.box[0])
    return rows


def _middle(line: TextLine) -> float:
    return sum(y for _, y in line.box) / 4


class ModelInfo(msgspec.Struct, frozen=True):
    """A model in use. ``labels`` are its names in output order."""

    name: str
    version: str
    task: str
    precision: str
    provider: str
    sha256: str
    labels: tuple[str, ...]
    licence: str = ""


class EngineInfo(msgspec.Struct, frozen=True):
    """``provider`` is what the sessions say they run on, e.g. ``CUDAExecutionProvider``; ``models`` is by task."""

    provider: str
    precision: str
    models: dict[ServedTask, ModelInfo]
