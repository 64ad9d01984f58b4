"""From tokens to the text that may be shown: whole characters only, and nothing of a stop string."""

from collections.abc import Callable, Sequence
from typing import Final

REPLACEMENT: Final = "\ufffd"
MAX_HELD_TOKENS: Final = 4
"""A character has at most four bytes, and a token at least one: what is still broken after so many is not to be."""


class Detokenizer:
    """Text of one token sequence, bit by bit.

    A token may be part of a character (byte-level vocabularies cut Chinese and emoji anywhere), and what a token says
    may depend on the one before (a space that a decoder adds or strips). So a window of the last tokens is decoded
    twice, without and with the newest, and the difference is given out once it ends in a whole character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._given = 0
        """Tokens of the window whose text was given out."""

    def push(self, token: int) -> str:
        """The text that ``token`` makes whole; empty where a character is not complete yet."""
        self._window.append(token)
        return self._take(len(self._window) - self._given > MAX_HELD_TOKENS)

    def finish(self) -> str:
        """What was held back, less a character that never became whole."""
        return self._take(True)

    def _take(self, flush: bool) -> str:
        if self._given == len(self._window):
            return ""
        before = self._decode(self._window[: self._given])
        after = self._decode(self._window)
        if not flush and (after.endswith(REPLACEMENT) or len(after) <= len(before)):
            if not after.endswith(REPLACEMENT):  # a special token, which has no text
                self._given = len(self._window)
            return ""
        self._window = self._window[self._given :]
        self._given = len(self._window)
        return after[len(before) :].replace(REPLACEMENT, "")


class StopStrings:
    """Lets text through up to the first of ``stops``; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.met = False

    def push(self, text: str) -> str:
        """The part of ``text`` (and of what was held back) that may be shown. ``met`` tells that a stop was found."""
        if not self._stops:
            return text
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.met = True
            self._held = ""
            return text[: min(found)]
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def finish(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``stop``."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


class TextStream:
    """Both together, for one answer."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._detokenizer = Detokenizer(decode)
        self._stops = StopStrings(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met; then the answer is complete."""
        return self._stops.met

    def push(self, token: int) -> str:
        """The text that may be shown after ``token``."""
        return self._stops.push(self._detokenizer.push(token))

    def finish(self) -> str:
        """The rest, at the answer's end."""
        text = self._stops.push(self._detokenizer.finish())
        return text if self._stops.met else text + self._stops.finish()
