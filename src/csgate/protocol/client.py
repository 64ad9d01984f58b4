"""What a client may send: one frozen struct a type, as protocol version 1 lists them.

``Message`` is built by the decoder, because its picture stays undecoded; every other struct is decoded as it stands.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from csgate.events import Picture

MAX_ID_CHARS: Final = 64
MAX_TOKEN_CHARS: Final = 8192
MAX_REASON_CHARS: Final = 500
MAX_COMMENT_CHARS: Final = 2000
MAX_LOCALE_CHARS: Final = 35
MAX_UPLOAD_CHARS: Final = 1024
# Beyond 2^53 a JSON number is no longer exact in JavaScript, and an echo would come back changed.
MAX_EXACT_INTEGER: Final = 2**53

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Token = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_CHARS)]
Locale = Annotated[str, Meta(min_length=1, max_length=MAX_LOCALE_CHARS)]
Upload = Annotated[str, Meta(min_length=1, max_length=MAX_UPLOAD_CHARS)]
Offset = Annotated[int, Meta(ge=0, le=MAX_EXACT_INTEGER)]
Score = Annotated[int, Meta(ge=1, le=5)]
Comment = Annotated[str, Meta(max_length=MAX_COMMENT_CHARS)]
Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARS)]
Echo = (
    Annotated[int, Meta(ge=-MAX_EXACT_INTEGER, le=MAX_EXACT_INTEGER)]
    | float
    | Annotated[str, Meta(max_length=MAX_ID_CHARS)]
)


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first frame under ``csgate.v1``: opens a conversation, or resumes one after the last ``offset`` seen."""

    token: Token | None = None
    conversation: Id | None = None
    epoch: Id | None = None
    offset: Offset | None = None
    locale: Locale | None = None

    def __repr__(self) -> str:  # a token never reaches a log
        return f"Hello(conversation={self.conversation!r}, epoch={self.epoch!r}, offset={self.offset!r})"


class Message(msgspec.Struct, frozen=True, tag="message"):
    """What the customer says. ``id`` is None in simple mode only; one of ``text``, ``picture`` and ``upload`` is there.

    A text of nothing but white space beside a picture counts as no text. ``picture`` may be a view into the received
    message, which lives as long as it does. ``upload`` names a picture that came another way, and there is no
    ``picture`` then.
    """

    id: str | None
    text: str | None
    picture: Picture | None
    upload: str | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop answering message ``id``."""

    id: Id


class Typing(msgspec.Struct, frozen=True, tag="typing"):
    on: bool


class Rate(msgspec.Struct, frozen=True, tag="rate"):
    """How content the customer is, 1 (not at all) to 5, with the ``reply`` to the message of that id."""

    reply: Id
    score: Score
    comment: Comment | None = None


class Handoff(msgspec.Struct, frozen=True, tag="handoff"):
    """Asks for a person."""

    reason: Reason | None = None


class Refresh(msgspec.Struct, frozen=True, tag="refresh"):
    """A new token for the same person, before the old one runs out."""

    token: Token

    def __repr__(self) -> str:  # a token never reaches a log
        return "Refresh()"


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Echoed as ``pong``: browsers cannot send the protocol's own pings."""

    t: Echo


ClientEnvelope = Hello | Message | Cancel | Typing | Rate | Handoff | Refresh | Ping
