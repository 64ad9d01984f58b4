"""The final event of a turn, made from how the turn ended. Pure; the store gives the offset.

Two kinds of reply come from no answerer: ``source`` "stopped" carries the text so far of an answer that was stopped,
and ``source`` "muted" ends a message that a person, not the bot, will answer. The latter exists because every
acknowledged message gets exactly one final event, in simple mode too, where it is the only sign that the message
came in; its text is what the bot had said before it was muted, mostly nothing. A client shows no bubble for an empty
text; what the person writes arrives as a ``message`` with author "human". (An ``error`` would alarm the customer, and
``source`` "human" would claim that a person wrote the text.)
"""

from csgate.errors import CsgateError, TurnCancelled
from csgate.events import Draft, ErrorEvent, Language, ReplyEvent
from csgate.session.store import FinalEvent
from csgate.session.turn import Stop


def answered(id: str, draft: Draft, timestamp: str) -> ReplyEvent:
    """The answerer's draft as a reply."""
    return ReplyEvent(
        id=id,
        offset=0,
        text=draft.text,
        intent=draft.intent,
        sentiment=draft.sentiment,
        tags=draft.tags,
        analysis=draft.analysis,
        source=draft.source,
        timestamp=timestamp,
        timing=draft.timing,
        quick_replies=draft.quick_replies,
        image_url=draft.image_url,
    )


def stopped(id: str, why: Stop, so_far: str, language: Language, ref: str, timestamp: str) -> FinalEvent:
    """A turn that was stopped: the text so far as a reply, or error ``cancelled`` where there is none."""
    if not so_far and why is not Stop.MUTED:
        return failed(id, TurnCancelled(), language, ref, timestamp)
    return ReplyEvent(
        id=id,
        offset=0,
        text=so_far,
        intent=None,
        sentiment=None,
        tags=(),
        analysis="",
        source="muted" if why is Stop.MUTED else "stopped",
        timestamp=timestamp,
        stopped=bool(so_far),
    )


def failed(id: str, error: CsgateError, language: Language, ref: str, timestamp: str) -> ErrorEvent:
    """A turn that ended in ``error``; ``ref`` finds the line in the log."""
    return ErrorEvent(
        code=error.code,
        message=error.text(language),
        ref=ref,
        id=id,
        retry_after=error.retry_after,
        max_bytes=error.max_bytes,
        timestamp=timestamp,
    )
