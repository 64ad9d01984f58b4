"""ONNX models, batched: intent and sentiment of texts, tags of pictures; and the text in pictures."""

from csgate.inference.engine import Engine, open_engine
from csgate.inference.results import (
    EngineInfo,
    IntentResult,
    ModelInfo,
    PictureResult,
    ReadText,
    SentimentResult,
    TextLine,
    Timing,
)

__all__ = [
    "Engine",
    "EngineInfo",
    "IntentResult",
    "ModelInfo",
    "PictureResult",
    "ReadText",
    "SentimentResult",
    "TextLine",
    "Timing",
    "open_engine",
]
