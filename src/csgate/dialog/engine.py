"""What dialog asks of an engine, as interfaces: ``csgate.inference.Engine`` meets them, and so may a remote one."""

from collections.abc import Mapping
from typing import Any, Protocol

from csgate.events import Intent, Language, Picture, Sentiment, Tag


class Timing(Protocol):
    """Milliseconds by stage of one item."""

    @property
    def queue_ms(self) -> float: ...
    @property
    def prepare_ms(self) -> float: ...
    @property
    def run_ms(self) -> float: ...


class IntentResult(Protocol):
    """``ranking`` is sorted, most likely first; the confidences are calibrated probabilities."""

    @property
    def ranking(self) -> tuple[Intent, ...]: ...
    @property
    def timing(self) -> Timing: ...


class SentimentResult(Protocol):
    @property
    def sentiment(self) -> Sentiment: ...
    @property
    def timing(self) -> Timing: ...


class PictureResult(Protocol):
    """``tags`` best first, labelled in the language asked for; ``vector`` is what the sentiment task takes."""

    @property
    def tags(self) -> tuple[Tag, ...]: ...
    @property
    def vector(self) -> Any: ...
    @property
    def timing(self) -> Timing: ...


class EngineInfo(Protocol):
    """``models`` by task: ``intent``, ``sentiment``, ``fusion``, ``tagger``; a task that is absent is not served."""

    @property
    def models(self) -> Mapping[str, Any]: ...


class Engine(Protocol):
    """Batched understanding. ``deadline`` is on Trio's clock; ``share`` bounds who may share a cached result.

    Every method raises Overloaded at a bound, TurnTimeout past the deadline and EngineUnavailable where it cannot run.
    """

    @property
    def info(self) -> EngineInfo: ...

    async def classify_intent(
        self, text: str, *, share: str, principal: str, priority: int, deadline: float
    ) -> IntentResult: ...

    async def judge_sentiment(
        self, text: str, tags: Any = None, *, share: str, principal: str, priority: int, deadline: float
    ) -> SentimentResult: ...

    async def tag_picture(
        self, picture: Picture, *, share: str, principal: str, priority: int, deadline: float, language: Language
    ) -> PictureResult:
        """Also raises BadBase64, BadImage, UnsupportedImage and ImageTooLarge."""
        ...
