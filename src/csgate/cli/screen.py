"""A chat on a terminal: events become lines. Knows nothing of connections."""

import re
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from csgate.client import ClientEvent, Connected, Disconnected, NotRecovered
from csgate.events import DeltaEvent, ErrorEvent, MessageEvent, ProgressEvent, ReplyEvent, SnapshotEvent, StateEvent
from csgate.protocol import TokenExpiring

# Cc without tab and line feed: escape sequences in a reply would let a stranger drive the terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STRONG: Final = re.compile(r"\*\*(.+?)\*\*")
_STATES: Final = {
    "bot": "the assistant answers",
    "waiting": "waiting for a person",
    "human": "a person answers",
    "closed": "the conversation is closed",
}

_LOST: Final = {
    "gap": "some of what was said meanwhile is not kept any more",
    "new_log": "the conversation was lost; what is left of it:",
    "gone": "the conversation was lost; this is a new one, and what had no answer is asked again",
}


class Screen:
    """Writes to ``out``; ``styled`` turns on ANSI colours. ``clock`` gives seconds, for round trips."""

    __slots__ = ("_clock", "_out", "_own", "_sent", "_streamed", "_streaming", "_styled")

    def __init__(
        self, out: TextIO | None = None, *, styled: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._out = out or sys.stdout
        self._styled = styled
        self._clock = clock
        self._sent: dict[str, float] = {}
        self._own: set[str] = set()
        self._streaming: tuple[str, int] | None = None
        self._streamed = ""

    def sent(self, message_id: str) -> None:
        """Remembers when a message of this terminal left."""
        self._sent[message_id] = self._clock()
        self._own.add(message_id)

    def note(self, text: str) -> None:
        """A line of ours, not of the conversation's."""
        self._end_stream()
        self._line(self._style("2", _clean(f"· {text}")))

    def show(self, event: ClientEvent) -> None:
        """Shows one event; those that mean nothing to a reader are passed over."""
        match event:
            case Connected():
                self._connected(event)
            case Disconnected():
                self.note(f"{event.reason}; next try in {event.retry_in:.1f} s")
            case NotRecovered():
                self.note(_LOST[event.reason])
            case TokenExpiring():
                self.note(f"the token ends in {event.seconds:.0f} s")
            case MessageEvent() if event.id not in self._own:
                self._end_stream()
                who = "agent" if event.author == "human" else "you, elsewhere"
                self._line(f"{self._style('36', who)}: {_clean(event.text)}")
            case ProgressEvent() if event.stage == "queued" and event.position:
                self.note(f"waiting, {event.position} ahead")
            case DeltaEvent():
                self._delta(event.id, event.attempt, event.text)
            case SnapshotEvent():
                self._end_stream()
                self._delta(event.id, event.attempt, event.text)
            case ReplyEvent():
                self._reply(event)
            case ErrorEvent():
                self._end_stream()
                again = f" Try again in {event.retry_after:.0f} s." if event.retry_after else ""
                self._line(self._style("31", _clean(f"⚠ {event.message}{again} [{event.code}, ref {event.ref}]")))
            case StateEvent():
                self.note(_STATES[event.state])
            case _:
                pass

    def _connected(self, event: Connected) -> None:
        engine = event.welcome.engine
        how = "switched" if event.standby else "resumed" if event.resumed else "connected"
        models = engine.get("models")
        names = ", ".join(str(name) for name in models.values()) if isinstance(models, dict) else ""
        answered_by = f"{engine.get('provider', '')} ({names})" if names else "no models"
        self.note(f"{how}; conversation {event.welcome.conversation}; {answered_by}")

    def _delta(self, message_id: str, attempt: int, text: str) -> None:
        # A higher attempt begins the answer anew: whoever gave the earlier one is gone.
        if self._streaming != (message_id, attempt):
            self._end_stream()
            self._streaming = (message_id, attempt)
        self._streamed += text
        self._out.write(_clean(text))
        self._out.flush()

    def _reply(self, event: ReplyEvent) -> None:
        shown = self._streaming is not None and self._streaming[0] == event.id and event.text.startswith(self._streamed)
        if shown:  # what the pieces did not have yet
            self._out.write(_clean(event.text[len(self._streamed) :]))
        self._end_stream()
        if not shown:
            text = _clean(event.text)
            self._line(_STRONG.sub(lambda found: self._style("1", found[1]), text) if self._styled else text)
        facts: list[str] = []
        if event.intent is not None:
            facts.append(f"{event.intent.name} {event.intent.confidence:.0%}")
        if event.sentiment is not None:
            facts.append(f"{event.sentiment.label} {event.sentiment.score:+.2f}")
        if event.tags:
            facts.append("tags: " + ", ".join(f"{tag.label} {tag.score:.0%}" for tag in event.tags))
        facts.append(self._timing(event))
        if event.stopped:
            facts.append("stopped")
        self._line(self._style("2", _clean(f"  [{' · '.join(fact for fact in facts if fact)}]")))
        if event.quick_replies:
            self._line(self._style("2", _clean(f"  you might say: {' | '.join(event.quick_replies)}")))

    def _timing(self, event: ReplyEvent) -> str:
        sent = self._sent.pop(event.id, None)
        told = ", ".join(f"{stage} {ms:.1f}" for stage, ms in event.timing.items())
        if sent is None:
            return f"{told} ms" if told else ""
        round_trip = f"{(self._clock() - sent) * 1000:.0f} ms"
        return f"{round_trip} ({told})" if told else round_trip

    def _end_stream(self) -> None:
        if self._streaming is not None:
            self._out.write("\n")
        self._streaming, self._streamed = None, ""

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._styled else text


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)
