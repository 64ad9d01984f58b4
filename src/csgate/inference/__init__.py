"""ONNX models, batched: intent and sentiment of texts, tags of pictures."""

from csgate.inference.engine import Engine, open_engine
from csgate.inference.results import EngineInfo, IntentResult, ModelInfo, PictureResult, SentimentResult, Timing

__all__ = [
    "Engine",
    "EngineInfo",
    "IntentResult",
    "ModelInfo",
    "PictureResult",
    "SentimentResult",
    "Timing",
    "open_engine",
]
