"""What the conversation so far tells about the message at hand. Pure: a log goes in, facts come out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from csgate.dialog.slots import Slot, SlotName, best_slots, find_slots
from csgate.events import ErrorEvent, LogEvent, MessageEvent, RateEvent, ReplyEvent, StateEvent

# How far back a slot still counts, and how much of one message is read for it.
MAX_EVENTS: Final = 60
MAX_CHARS: Final = 400
MAX_NOTED: Final = 8
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
_WORD: Final = re.compile(r"[^\W_]")


def fold(text: str) -> str:
    """``text`` for comparing: lower case, narrow spaces, nothing but words at its ends."""
    folded = text.casefold()
    first = _WORD.search(folded)
    if first is None:
        return ""
    last = _WORD.search(folded[::-1])
    assert last is not None
    return " ".join(folded[first.start() : len(folded) - last.start()].split())


class Recollection(msgspec.Struct, frozen=True):
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
        if not self.offers:
            return None
        folded = fold(text)
        for words, offer in zip(_NUMBER_WORDS, self.offers, strict=False):
            if folded in words:
                return offer
        # The last offer is a person; with one before it, the question was a yes-or-no one.
        return self.offers[0] if len(self.offers) == 2 and folded in _YES else None


class Memory:
    """What was read of one conversation, so that each of its events is read once, not once a message.

    Offsets grow along a history, and from one message of a conversation to the next only in this way: the messages of
    the customer up to the one at hand, all else up to now. (A message that waited was in no earlier history, though
    replies behind it were.) Hence two marks.
    """

    __slots__ = ("_found", "_heard", "_replies", "_said", "_seen", "_slots")

    def __init__(self) -> None:
        # Offsets of the newest message of the customer, and of the newest other event, that were read.
        self._said = 0
        self._heard = 0
        # What was found in the last message when it was the one at hand.
        self._found: tuple[str, tuple[Slot, ...]] = ("", ())
        # The latest of each name, with the offset of the message that gave it.
        self._slots: dict[SlotName, tuple[int, Slot]] = {}
        # What was read in the pictures of messages that are not of the past yet, by their ids.
        self._seen: dict[str, Mapping[SlotName, Slot]] = {}
        # Those since a person took part.
        self._replies: list[ReplyEvent] = []

    def find(self, text: str) -> tuple[Slot, ...]:
        """The slots of the message at hand, which will be one of the past the next time."""
        slots = find_slots(text)
        if len(text) <= MAX_CHARS:
            self._found = text, slots
        return slots

    def note(self, message_id: str, slots: Mapping[SlotName, Slot]) -> None:
        """Keeps what was read in the picture of the message at hand, which its event does not tell."""
        carried = {name: slot for name, slot in slots.items() if slot.sure and name in _CARRIED}
        if carried:
            self._seen[message_id] = carried
            if len(self._seen) > MAX_NOTED:
                del self._seen[next(iter(self._seen))]

    def unread(self, history: Sequence[LogEvent], message_id: str) -> tuple[list[LogEvent], int]:
        """What :meth:`recollect` has to read, the latest first; and where in ``history`` the message would be."""
        fresh: list[LogEvent] = []
        end = place = len(history)
        mark = min(self._said, self._heard)
        while place:
            event = history[place - 1]
            if event.offset <= mark:
                break
            place -= 1
            known = self._heard
            if isinstance(event, MessageEvent):
                if event.id == message_id:
                    fresh.clear()
                    end = place
                    continue
                if event.author == "customer":
                    known = self._said
            if event.offset > known:
                fresh.append(event)
        return fresh[:MAX_EVENTS], end

    def recollect(self, history: Sequence[LogEvent], message_id: str, negative_score: float) -> Recollection:
        """Facts from the last ``MAX_EVENTS`` of ``history``, leaving out ``message_id`` and whatever follows it.

        ``negative_score`` is the positive number whose negative a sentiment score must reach to count.
        """
        fresh, end = self.unread(history, message_id)
        for event in reversed(fresh):
            self._read(event)
        self._forget(history[max(0, end - MAX_EVENTS)].offset if end else math.inf)
        replies = self._replies
        last = replies[-1] if replies else None
        return Recollection(
            slots={name: slot for name, (_, slot) in self._slots.items()},
            clarified=_streak(replies, _clarifies),
            asked=_asked(replies),
            negative=_streak(replies, lambda reply: _negative(reply, negative_score)),
            intents=tuple([reply.intent.name for reply in replies if reply.intent is not None]),
            offers=last.quick_replies if last is not None and last.source == "clarify" else (),
        )

    def _read(self, event: LogEvent) -> None:
        match event:
            case MessageEvent(author="customer", id=id, offset=offset, text=text):
                self._said = offset
                for name, slot in {**self._seen.pop(id, {}), **self._carried(text)}.items():
                    self._slots[name] = offset, slot
                return
            case MessageEvent() | StateEvent() | ReplyEvent(source="hand_over"):
                self._replies.clear()
            case ReplyEvent(source="stopped" | "muted"):
                pass
            case ReplyEvent():
                self._replies.append(event)
            case ErrorEvent() | RateEvent():
                pass
            case _:
                assert_never(event)
        self._heard = event.offset

    def _carried(self, text: str) -> Mapping[SlotName, Slot]:
        if not _DIGIT_OR_AT.search(text, 0, MAX_CHARS):
            return {}
        found = self._found[1] if self._found[0] == text else find_slots(text[:MAX_CHARS])
        return best_slots(slot for slot in found if slot.sure and slot.name in _CARRIED)

    def _forget(self, oldest: float) -> None:
        """Lets go of what lies before that offset."""
        replies = self._replies
        gone = 0
        while gone < len(replies) and replies[gone].offset < oldest:
            gone += 1
        del replies[:gone]
        for name in [name for name, (offset, _) in self._slots.items() if offset < oldest]:
            del self._slots[name]


def recollect(history: Sequence[LogEvent], message_id: str, negative_score: float) -> Recollection:
    """:meth:`Memory.recollect` with nothing read before."""
    return Memory().recollect(history, message_id, negative_score)


def _streak(replies: Sequence[ReplyEvent], counts: Callable[[ReplyEvent], bool]) -> int:
    """How many of the last ``replies`` in a row do."""
    count = 0
    for reply in reversed(replies):
        if not counts(reply):
            break
        count += 1
    return count


def _clarifies(reply: ReplyEvent) -> bool:
    return reply.source == "clarify"


def _negative(reply: ReplyEvent, negative_score: float) -> bool:
    return reply.sentiment is not None and reply.sentiment.score <= -negative_score


def _asked(replies: Sequence[ReplyEvent]) -> tuple[str, int] | None:
    if not replies or replies[-1].source != "ask" or replies[-1].intent is None:
        return None
    name = replies[-1].intent.name
    return name, _streak(
        replies, lambda reply: reply.source == "ask" and reply.intent is not None and reply.intent.name == name
    )
