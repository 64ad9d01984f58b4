"""A streamed chat completion, sans-IO: bytes of the response in, pieces of text out, then how it ended.

Nothing of what a server says is believed further than it was checked: shapes, lengths and order. Types follow OpenAI's
``chat.completion.chunk``; fields that other servers add are ignored.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from csgate.inference.generation.local_text import StopStrings
from csgate.inference.generation.request import FinishReason
from csgate.inference.generation.sse import EventParser, EventStreamError

MAX_LINE_BYTES: Final = 64 * 1024
STREAM_BYTES_PER_TOKEN: Final = 2048
"""Servers wrap each token in some 200 to 400 bytes of JSON, and some send several fields of their own."""
TEXT_BYTES_PER_TOKEN: Final = 64
"""The longest tokens of common vocabularies are runs of spaces; words are far below."""
SPARE_BYTES: Final = 64 * 1024
MAX_TOKEN_COUNT: Final = 10_000_000
DONE: Final = "[DONE]"

_LENGTH_REASONS: Final = frozenset({"length", "max_tokens"})
_BROKEN_REASONS: Final = frozenset({"content_filter", "tool_calls", "function_call", "error"})


class Fault(Exception):
    """Why there is no answer. The message is for the log.

    ``blamed``: the fault is the server's. It is not where what the customer wrote can bring it about. ``transient``:
    it may be better next time.
    """

    def __init__(self, detail: str, *, blamed: bool = True, transient: bool = False) -> None:
        super().__init__(detail)
        self.blamed = blamed
        self.transient = transient


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class AnswerReader:
    """Reads one response. ``finish`` is None until the server says that the answer is over; ``done`` is its [DONE].

    With a ``fault`` nothing more comes: this is no stream of chat completion chunks, it is longer than it may be, the
    server reports an error, or it ended for a reason that leaves the answer useless.
    """

    def __init__(self, max_tokens: int, stops: Sequence[str] = ()) -> None:
        """``stops`` are sent to the server as well; where it does not know them, the answer still ends at the first."""
        self._stops = StopStrings(stops)
        self._parser = EventParser(
            max_line_bytes=MAX_LINE_BYTES, max_total_bytes=SPARE_BYTES + max_tokens * STREAM_BYTES_PER_TOKEN
        )
        self._text_left = SPARE_BYTES // 64 + max_tokens * TEXT_BYTES_PER_TOKEN
        self.finish: FinishReason | None = None
        self.fault: Fault | None = None
        self.done = False
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def feed(self, data: bytes) -> None:
        """Stores bytes of the body; after [DONE] or a fault they are dropped."""
        if not self.over:
            self._parser.feed(data)

    @property
    def over(self) -> bool:
        """Whether nothing more will come, however much is fed."""
        return self.done or self.stopped or self.fault is not None

    @property
    def stopped(self) -> bool:
        """Whether a stop string came: the server goes on for nothing."""
        return self._stops.met

    def next_text(self) -> str | None:
        """The next piece of text (never empty), or None: until more is fed, or for good, see ``over``."""
        try:
            while not self.over and (event := self._parser.next_event()) is not None:
                if event.data.strip() == DONE:
                    self.done = True
                    # Some servers never name a reason; that they came to their end says as much.
                    self.finish = self.finish or "stop"
                    if held := self._stops.finish():
                        return held
                elif event.data and (text := self._take(event.data)):
                    return text
        except EventStreamError as error:
            self.fault = Fault(str(error))
        except Fault as fault:
            self.fault = fault
        return None

    def _take(self, data: str) -> str:
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Fault(f"an event is not a chunk of a chat completion: {error}") from None
        if chunk.error is not None:
            if self.finish is not None:
                return ""  # it does no harm any more
            raise Fault(f"the server reports an error{describe_error(chunk.error)}", transient=True)
        if chunk.usage is not None:
            self.prompt_tokens = _count(chunk.usage, "prompt_tokens")
            self.completion_tokens = _count(chunk.usage, "completion_tokens")
        if chunk.choices is None:
            if self.finish is not None:
                return ""  # some servers tell the token counts so
            raise Fault("a chunk without choices")
        return "".join(self._choose(choice) for choice in chunk.choices if choice.index == 0)

    def _choose(self, choice: _Choice) -> str:
        delta = choice.delta or _Delta()
        if delta.tool_calls:
            raise Fault("the model called a tool, and was given none", blamed=False)
        text = delta.content or ""
        if text:
            if self.finish is not None:
                raise Fault("text after the end")
            self._text_left -= len(text.encode())
            if self._text_left < 0:
                raise Fault("more text than max_tokens can be")
            text = self._stops.push(text)
        if self.stopped:
            self.finish = "stop"
        elif choice.finish_reason:
            if choice.finish_reason in _BROKEN_REASONS:
                raise Fault(f"the answer ended by {choice.finish_reason}", blamed=False)
            self.finish = "length" if choice.finish_reason in _LENGTH_REASONS else "stop"
            text += self._stops.finish()
        return text


def describe_error(error: Any) -> str:
    """`` (type t, code c)`` of an error object, where these are plain identifiers.

    Its ``message`` stays out: servers repeat the request in it, and so what a customer wrote, or the key.
    """
    if not isinstance(error, dict):
        return ""
    named = [(name, error.get(name)) for name in ("type", "code", "param")]
    told = ", ".join(f"{name} {value}" for name, value in named if _is_identifier(value))
    return f" ({told})" if told else ""


def _is_identifier(value: object) -> bool:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return 0 < len(text) <= 48 and text.isascii() and text.replace("_", "").replace("-", "").replace(".", "").isalnum()


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKEN_COUNT else 0
