"""What dialog asks of an engine: ``csgate.inference.Engine`` meets it, and so may a remote one or a test's."""

from typing import Protocol

from csgate.events import Language, Picture
from csgate.inference.results import (
    EngineInfo,
    IntentResult,
    PictureResult,
    ReadText,
    SentimentResult,
    Vector,
)


class Engine(Protocol):
    """Batched understanding.

    ``share`` bounds who may share a cached result, ``priority`` 0 is the most urgent, ``deadline`` is on Trio's clock.
    A task that ``info.models`` lacks is not served. Every method raises Overloaded at a bound, TurnTimeout past the
    deadline, and EngineUnavailable where it cannot run.
    """

    @property
    def info(self) -> EngineInfo: ...

    async def classify_intent(
        self, text: str, *, share: str, principal: str, priority: int, deadline: float
    ) -> IntentResult: ...

    async def judge_sentiment(
        self, text: str, tags: Vector | None = None, *, share: str, principal: str, priority: int, deadline: float
    ) -> SentimentResult: ...

    async def tag_picture(
        self, picture: Picture, *, share: str, principal: str, priority: int, deadline: float, language: Language
    ) -> PictureResult:
        """Also raises BadBase64, BadImage, UnsupportedImage and ImageTooLarge."""
        ...

    async def read_picture(
        self,
        picture: Picture,
        *,
        share: str,
        principal: str,
        priority: int,
        deadline: float,
    ) -> ReadText:
        """The text in a picture; asked only where ``info.models`` has a ``reader``.

        Also raises what ``tag_picture`` does.
        """
        ...
