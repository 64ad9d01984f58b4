"""The shared vocabulary: plain, frozen types that every part may hold. No behaviour, nothing of ours imported.

Log events carry the fields that the chat protocol (version 1) gives their JSON form, so that ``csgate.protocol``
encodes them without a second set of types.
"""

from typing import Literal

import msgspec

Language = Literal["en", "zh"]
Role = Literal["customer", "agent", "service"]
Author = Literal["customer", "human"]
ConversationState = Literal["bot", "waiting", "human", "closed"]
Stage = Literal["queued", "understanding", "answering"]
SentimentLabel = Literal["positive", "neutral", "negative"]


class Principal(msgspec.Struct, frozen=True):
    """Who speaks, as a verified token says. ``expires_at`` is Unix time in seconds; ``tier`` 0 is the most urgent."""

    subject: str
    issuer: str = ""
    tenant: str = ""
    role: Role = "customer"
    tier: int = 1
    conversation: str | None = None
    expires_at: float = float("inf")

    @property
    def owner(self) -> tuple[str, str, str]:
        """The identity that owns conversations: (issuer, tenant, subject)."""
        return (self.issuer, self.tenant, self.subject)


class Picture(msgspec.Struct, frozen=True):
    """A picture as it came. ``data`` may be a view into a received message, which it keeps alive.

    ``base64`` data is the undecoded text (ASCII bytes, no quotes, JSON escapes already gone); a ``data:`` URL prefix
    may still be in front. ``binary`` data is the file itself. ``reference`` is what the log keeps of it: a key of the
    media store, a short ``data:`` URL, or None where the picture is not kept.
    """

    data: bytes | bytearray | memoryview
    encoding: Literal["base64", "binary"]
    reference: str | None = None


class Intent(msgspec.Struct, frozen=True):
    name: str
    confidence: float


class Sentiment(msgspec.Struct, frozen=True):
    """``score`` is in [-1, 1]: P(positive) - P(negative)."""

    label: SentimentLabel
    score: float


class Tag(msgspec.Struct, frozen=True):
    """What a picture shows: stable ``name``, ``label`` in the language of the message, ``score`` in [0, 1]."""

    name: str
    label: str
    score: float


def _no_timing() -> dict[str, float]:
    return {}


def _no_replies() -> tuple[str, ...]:
    return ()


def _markdown() -> Literal["markdown"]:
    return "markdown"


# --- Events of the conversation log: each has an offset -------------------------------------------------------------


class MessageEvent(msgspec.Struct, frozen=True, tag="message", omit_defaults=True):
    id: str
    offset: int
    author: Author
    text: str
    timestamp: str
    image_url: str | None = None


class ReplyEvent(msgspec.Struct, frozen=True, tag="reply", omit_defaults=True):
    """The final answer to message ``id``. ``timing`` is milliseconds by stage.

    Only ``image_url`` and ``stopped`` may be left out of the JSON. The other defaults are made by a factory, which
    ``omit_defaults`` takes for a value worth telling.
    """

    id: str
    offset: int
    text: str
    intent: Intent | None
    sentiment: Sentiment | None
    tags: tuple[Tag, ...]
    analysis: str
    source: str
    timestamp: str
    timing: dict[str, float] = msgspec.field(default_factory=_no_timing)
    quick_replies: tuple[str, ...] = msgspec.field(default_factory=_no_replies)
    format: Literal["markdown"] = msgspec.field(default_factory=_markdown)
    image_url: str | None = None
    stopped: bool = False


class ErrorEvent(msgspec.Struct, frozen=True, tag="error", omit_defaults=True):
    """A final error in the log (``offset`` > 0, ``id`` set) or a passing one on a connection (``offset`` 0)."""

    code: str
    message: str
    ref: str
    id: str | None = None
    offset: int = 0
    retry_after: float | None = None
    max_bytes: int | None = None
    timestamp: str | None = None


class StateEvent(msgspec.Struct, frozen=True, tag="state"):
    state: ConversationState
    offset: int
    timestamp: str


class RateEvent(msgspec.Struct, frozen=True, tag="rate", omit_defaults=True):
    reply: str
    score: int
    offset: int
    timestamp: str
    comment: str | None = None


LogEvent = MessageEvent | ReplyEvent | ErrorEvent | StateEvent | RateEvent

# --- Live events: never logged ---------------------------------------------------------------------------------------


class AckEvent(msgspec.Struct, frozen=True, tag="ack"):
    id: str
    offset: int


class ProgressEvent(msgspec.Struct, frozen=True, tag="progress", omit_defaults=True):
    id: str
    stage: Stage
    position: int | None = None
    eta_ms: float | None = None


class DeltaEvent(msgspec.Struct, frozen=True, tag="delta"):
    id: str
    attempt: int
    seq: int
    text: str


class SnapshotEvent(msgspec.Struct, frozen=True, tag="snapshot"):
    """The answer so far, after a resume; deltas with ``seq`` at or below its own are to be dropped."""

    id: str
    attempt: int
    seq: int
    text: str


class TypingEvent(msgspec.Struct, frozen=True, tag="typing"):
    on: bool
    author: Author = "customer"


LiveEvent = AckEvent | ProgressEvent | DeltaEvent | SnapshotEvent | TypingEvent
Event = LogEvent | LiveEvent


class Draft(msgspec.Struct, frozen=True):
    """A finished answer before the log gives it an offset and a timestamp: what ``dialog`` hands to ``session``.

    ``image_url`` is the reference of a picture that goes with it, as in :class:`Picture`.
    """

    text: str
    intent: Intent | None = None
    sentiment: Sentiment | None = None
    tags: tuple[Tag, ...] = ()
    analysis: str = ""
    source: str = "canned"
    timing: dict[str, float] = {}
    quick_replies: tuple[str, ...] = ()
    hand_over: bool = False
    image_url: str | None = None
