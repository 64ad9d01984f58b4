"""What this client has seen of its conversation: each event once, in order, whichever connection brings it.

Two connections may be attached at once. Each brings the events of the log without a gap from the offset that it was
resumed at, so the union in order of arrival has no gap either: what is not beyond the last offset was seen. Pieces of
an answer are told apart by attempt and number in the same way. No I/O.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    Event,
    MessageEvent,
    ProgressEvent,
    RateEvent,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.protocol import Welcome

MAX_ANSWERS: Final = 64
MAX_ENDED: Final = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which conversation somebody is: all that ``hello`` needs to resume it."""

    conversation: str
    epoch: str | None = None
    offset: int = 0


@dataclass(slots=True)
class _Answer:
    attempt: int
    seq: int
    text: str


class Timeline:
    """The place, and the answers in progress."""

    __slots__ = ("_answers", "_ended", "_state_offset", "conversation", "epoch", "offset")

    def __init__(self, place: Place | None = None) -> None:
        self.conversation = None if place is None else place.conversation
        self.epoch = None if place is None else place.epoch
        self.offset = 0 if place is None else place.offset
        self._state_offset = 0
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    @property
    def place(self) -> Place | None:
        """None before there is a conversation."""
        return None if self.conversation is None else Place(self.conversation, self.epoch, self.offset)

    def hello(self) -> dict[str, Any]:
        """The fields of ``hello`` that resume here."""
        if self.conversation is None:
            return {}
        if self.epoch is None:
            return {"conversation": self.conversation}
        return {"conversation": self.conversation, "epoch": self.epoch, "offset": self.offset}

    def partial(self, message_id: str) -> str:
        """The answer to that message so far; empty where none is in progress."""
        answer = self._answers.get(message_id)
        return "" if answer is None else answer.text

    # --- connections -------------------------------------------------------------------------------------------------

    def begin(self, welcome: Welcome) -> Literal["gap", "new_log"] | None:
        """A connection goes on here. Returns what is wrong with what was there before, if there was anything."""
        had = self.epoch
        if welcome.recovered:
            lost: Literal["gap", "new_log"] | None = None
        elif had is None:
            lost = None
            self._restart()
        elif had == welcome.epoch and welcome.offset >= self.offset:
            lost = "gap"
        else:
            lost = "new_log"
            self._restart()
        self.conversation, self.epoch = welcome.conversation, welcome.epoch
        return lost

    def agrees(self, welcome: Welcome) -> bool:
        """Whether a second connection is on the same log, with nothing missed."""
        return welcome.recovered and welcome.conversation == self.conversation and welcome.epoch == self.epoch

    def forget(self) -> None:
        """The conversation is gone; the next welcome begins another."""
        self.conversation = self.epoch = None
        self._restart()

    def _restart(self) -> None:
        self.offset = self._state_offset = 0
        self._answers.clear()
        self._ended.clear()

    # --- events ------------------------------------------------------------------------------------------------------

    def take(self, event: Event, *, live: bool) -> Event | None:
        """What of ``event`` is new, or None. ``live``: it came over the connection in use, not the silent one."""
        match event:
            case MessageEvent() | RateEvent():
                return event if self._advance(event.offset) else None
            case StateEvent():
                # After a page of history comes the newest state, with its own older offset.
                self._advance(event.offset)
                if event.offset <= self._state_offset:
                    return None
                self._state_offset = event.offset
                return event
            case ReplyEvent():
                return self._final(event, event.id)
            case ErrorEvent() if event.offset:
                return self._final(event, event.id)
            case DeltaEvent():
                return self._delta(event)
            case SnapshotEvent():
                return self._snapshot(event)
            case AckEvent() | ProgressEvent() | TypingEvent() | ErrorEvent():
                return event if live else None
            case _:
                assert_never(event)

    def _advance(self, offset: int) -> bool:
        if offset <= self.offset:
            return False
        self.offset = offset
        return True

    def _final(self, event: ReplyEvent | ErrorEvent, message_id: str | None) -> Event | None:
        if not self._advance(event.offset):
            return None
        if message_id is not None:
            self._answers.pop(message_id, None)
            self._ended[message_id] = None
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        return event

    def _delta(self, event: DeltaEvent) -> Event | None:
        answer = self._answers.get(event.id)
        if event.id in self._ended:
            return None  # the slower connection is still telling
        if answer is None or event.attempt > answer.attempt:
            self._set(event.id, _Answer(event.attempt, event.seq, event.text))
        elif event.attempt < answer.attempt or event.seq <= answer.seq:
            return None
        else:
            answer.seq = event.seq
            answer.text += event.text
        return event

    def _snapshot(self, event: SnapshotEvent) -> Event | None:
        """Only what it adds: one that continues what is known becomes the delta that was missed."""
        answer = self._answers.get(event.id)
        if event.id in self._ended or (answer and (event.attempt, event.seq) <= (answer.attempt, answer.seq)):
            return None
        self._set(event.id, _Answer(event.attempt, event.seq, event.text))
        if answer is not None and event.attempt == answer.attempt and event.text.startswith(answer.text):
            return DeltaEvent(event.id, event.attempt, event.seq, event.text[len(answer.text) :])
        return event

    def _set(self, message_id: str, answer: _Answer) -> None:
        self._answers[message_id] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
