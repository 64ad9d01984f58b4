"""What the conversation so far tells about the message at hand. Pure: a log goes in, facts come out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from csgate.dialog.slots import Slot, SlotName, best_slots, find_slots
from csgate.events import ErrorEvent, LogEvent, MessageEvent, RateEvent, ReplyEvent, StateEvent

# How far back a slot still counts, and how much of one message is read for it.
MAX_EVENTS: Final = 60
MAX_CHARS: Final = 400
# An amount or a date belongs to the message that names it; these belong to the customer's business.
_CARRIED: Final[frozenset[SlotName]] = frozenset(("order_number", "email", "phone"))
_DIGIT_OR_AT: Final = re.compile("[0-9０-９@＠]")

_NUMBER_WORDS: Final = (
    frozenset(
        ("1", "a", "1st", "first", "one", "the first", "the first one", "former", "一", "第一", "第一个", "前者")
    ),
    frozenset(
        ("2", "b", "2nd", "second", "two", "the second", "the second one", "latter", "二", "第二", "第二个", "后者")
    ),
)
_YES: Final = frozenset(("yes", "y", "yeah", "yep", "yes please", "right", "correct", "sure", "ok", "okay")).union(
    ("是", "是的", "对", "对的", "嗯", "没错", "好", "好的")
)
_EDGES: Final = re.compile(r"^[\s\W_]+|[\s\W_]+$")
_SPACES: Final = re.compile(r"\s+")


def fold(text: str) -> str:
    """``text`` for comparing: lower case, narrow spaces, nothing but words at its ends."""
    return _SPACES.sub(" ", _EDGES.sub("", text.casefold()))


@dataclass(frozen=True, slots=True)
class Recollection:
    """Facts from the log, counted back to the last time a person took part.

    Attributes:
        slots: the latest sure slot of each name that the customer gave.
        clarified: replies in a row, up to the last, that had to ask what was meant.
        asked: the intent whose slot the last reply asked for, and how many replies in a row did.
        negative: messages in a row, up to the last, that were judged clearly negative.
        intents: the intents answered, oldest first.
        offers: the quick replies of the last reply if it asked which of them was meant.
    """

    slots: Mapping[SlotName, Slot]
    clarified: int = 0
    asked: tuple[str, int] | None = None
    negative: int = 0
    intents: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()

    def chosen(self, text: str) -> str | None:
        """The offer that ``text`` points at ("the second one", "第一个", or "yes" to a question about one thing)."""
        folded = fold(text)
        for words, offer in zip(_NUMBER_WORDS, self.offers, strict=False):
            if folded in words:
                return offer
        # The last offer is a person; with one before it, the question was a yes-or-no one.
        return self.offers[0] if len(self.offers) == 2 and folded in _YES else None


def recollect(history: Sequence[LogEvent], message_id: str, negative_score: float) -> Recollection:
    """Reads the last ``MAX_EVENTS`` of ``history``, leaving out ``message_id`` and whatever follows it.

    ``negative_score`` is the positive number whose negative a sentiment score must reach to count.
    """
    before: list[LogEvent] = []
    for event in history:
        if isinstance(event, MessageEvent) and event.id == message_id:
            break
        before.append(event)
    said: list[str] = []
    replies: list[ReplyEvent] = []
    for event in before[-MAX_EVENTS:]:
        match event:
            case MessageEvent(author="customer", text=text):
                said.append(text)
            case MessageEvent() | StateEvent():
                replies.clear()
            case ReplyEvent(source="hand_over"):
                replies.clear()
            case ReplyEvent(source="stopped" | "muted"):
                pass
            case ReplyEvent():
                replies.append(event)
            case ErrorEvent() | RateEvent():
                pass
    last = replies[-1] if replies else None
    return Recollection(
        slots=_slots(said),
        clarified=_streak([reply.source == "clarify" for reply in replies]),
        asked=_asked(replies),
        negative=_streak(
            [reply.sentiment is not None and reply.sentiment.score <= -negative_score for reply in replies]
        ),
        intents=tuple(reply.intent.name for reply in replies if reply.intent is not None),
        offers=last.quick_replies if last is not None and last.source == "clarify" else (),
    )


def _slots(said: Sequence[str]) -> Mapping[SlotName, Slot]:
    kept: dict[SlotName, Slot] = {}
    for text in said:
        if _DIGIT_OR_AT.search(text, 0, MAX_CHARS):
            sure = (slot for slot in find_slots(text[:MAX_CHARS]) if slot.sure and slot.name in _CARRIED)
            kept.update(best_slots(sure))
    return kept


def _streak(flags: Sequence[bool]) -> int:
    count = 0
    for flag in reversed(flags):
        if not flag:
            break
        count += 1
    return count


def _asked(replies: Sequence[ReplyEvent]) -> tuple[str, int] | None:
    if not replies or replies[-1].source != "ask" or replies[-1].intent is None:
        return None
    name = replies[-1].intent.name
    return name, _streak(
        [reply.source == "ask" and reply.intent is not None and reply.intent.name == name for reply in replies]
    )
