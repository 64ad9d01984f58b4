"""Text generation: one request type, and what answers it. ``local`` runs a model here, ``remote`` asks a server.

dialog, gateway ──> Generator.generate(request, on_text) ──> pieces of text, then Generated
"""

from csgate.inference.generation.request import (
    FinishReason,
    Generated,
    GenerationRequest,
    Generator,
    GeneratorInfo,
    Sampling,
    Utterance,
)

__all__ = [
    "FinishReason",
    "Generated",
    "GenerationRequest",
    "Generator",
    "GeneratorInfo",
    "Sampling",
    "Utterance",
]
