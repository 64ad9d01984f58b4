"""What the engine gives back: plain frozen types."""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from csgate.events import Intent, Sentiment, Tag
from csgate.inference.manifest import TaskName

Vector = NDArray[np.float32]
PictureKind = Literal["sticker", "photo", "screenshot"]

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
    models: dict[TaskName, ModelInfo]
