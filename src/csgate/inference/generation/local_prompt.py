"""From utterances to the token ids of a prompt: the model's own chat template, and a token budget.

Special tokens structure a prompt, so none may come from a person: where one stands in an utterance, it is taken out.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from csgate.errors import BadEnvelope
from csgate.inference.generation.request import Utterance

PLAIN_NAMES: Final = {"system": "System", "user": "User", "assistant": "Assistant"}
PLAIN_STOP: Final = "\nUser:"

_PLAIN_TURN: Final = re.compile(rf"[\n\r\v\f\x85\u2028\u2029](?=(?:{'|'.join(PLAIN_NAMES.values())}):)")
"""The break before a line of an utterance that would be a turn of its own in a plain prompt."""


class Tokenizer(Protocol):
    """The part of onnxruntime-genai's tokenizer that is used here."""

    def encode(self, text: str, /) -> Any:
        """int32[tokens]"""

    def apply_chat_template(self, messages: str, /) -> str:
        """The prompt for a JSON list of messages, up to where the answer begins."""


class Prompter:
    """Writes prompts for one model. Not for two threads at once: the tokenizer is not."""

    def __init__(self, tokenizer: Tokenizer, markers: Sequence[str], budget: int, beginning: int | None = None) -> None:
        """``budget``: the most tokens of a prompt. ``beginning``: the token that may stand before all others."""
        self._tokenizer = tokenizer
        self._beginning = beginning
        self._markers = re.compile("|".join(map(re.escape, markers))) if markers else None
        self.budget: Final = budget
        self._system = True
        self.plain = not self._works("system", "user", "assistant", "user")
        if self.plain:
            self._system = False  # some templates refuse a system message
            self.plain = not self._works("system", "user", "assistant", "user")

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings that the prompt's form asks for."""
        return (PLAIN_STOP,) if self.plain else ()

    def count(self, text: str) -> int:
        """Tokens of ``text``."""
        return len(self._tokenizer.encode(text)) if text else 0

    def fit(self, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
        """Leaves out the oldest turns until the prompt is within the budget; system texts and the last turn stay.

        Raises:
            BadEnvelope: there is no utterance, or those that must stay are too long already.
        """
        return self._fit(utterances)[0]

    def ids(self, utterances: Sequence[Utterance]) -> list[int]:
        """The prompt as token ids, the oldest turns left out where it would be too long.

        Raises:
            BadEnvelope: as in ``fit``.
        """
        return self._fit(utterances)[1]

    def _fit(self, utterances: Sequence[Utterance]) -> tuple[tuple[Utterance, ...], list[int]]:
        if not utterances:
            raise BadEnvelope("a prompt without utterances", public="There is no message to answer.")
        kept, ids = self._cut(utterances, 0)
        if len(ids) <= self.budget:
            return kept, ids
        turns = [at for at, entry in enumerate(utterances[:-1]) if entry.speaker != "system"]
        # What remains begins with a person's turn: models know no conversation that begins with an answer.
        cuts = [cut for cut in range(1, len(turns)) if utterances[turns[cut]].speaker != "assistant"]
        cuts += [len(turns)] if turns else []
        if cuts:
            kept, ids = self._cut(utterances, cuts[-1])
        if len(ids) > self.budget:
            raise BadEnvelope(
                f"a prompt of {len(ids)} tokens, where {self.budget} fit",
                public="The message is too long for the model.",
                public_zh="消息过长，模型无法处理。",
            )
        # One turn at a time would take a second where there are hundreds.
        low, high = 0, len(cuts) - 1
        while low < high:
            middle = (low + high) // 2
            shorter = self._cut(utterances, cuts[middle])
            if len(shorter[1]) <= self.budget:
                high = middle
                kept, ids = shorter
            else:
                low = middle + 1
        return kept, ids

    def _cut(self, utterances: Sequence[Utterance], count: int) -> tuple[tuple[Utterance, ...], list[int]]:
        """``utterances`` without the ``count`` oldest that are no system texts, and their ids."""
        kept: list[Utterance] = []
        for entry in utterances:
            if entry.speaker != "system" and count:
                count -= 1
            else:
                kept.append(entry)
        ids = [int(token) for token in self._tokenizer.encode(self.render(kept))]
        if ids[:2] == [self._beginning] * 2:
            del ids[0]  # the template writes the token that the tokenizer puts in front as well
        return tuple(kept), ids

    def render(self, utterances: Sequence[Utterance]) -> str:
        """The prompt's text."""
        messages: list[dict[str, str]] = []
        for entry in utterances:
            role, text = entry.speaker, self._clean(entry.text)
            if role == "system" and not self._system and not self.plain:
                role = "user"
            if messages and messages[-1]["role"] == role:  # templates insist on turns that alternate
                messages[-1]["content"] += f"\n{text}"
            else:
                messages.append({"role": role, "content": text})
        if self.plain:
            lines = [
                f"{PLAIN_NAMES[message['role']]}: {_PLAIN_TURN.sub(' ', message['content'])}" for message in messages
            ]
            return "\n".join([*lines, "Assistant:"])
        return self._tokenizer.apply_chat_template(json.dumps(messages, ensure_ascii=False))

    def _clean(self, text: str) -> str:
        text = text.replace("\0", "")  # to the library a prompt ends there
        if self._markers is None:
            return text
        while True:  # taking one out may put the next one together
            cleaned = self._markers.sub("", text)
            if cleaned == text:
                return text
            text = cleaned

    def _works(self, *speakers: str) -> bool:
        """Whether the template takes such a conversation and shows the last turn."""
        self.plain = False
        try:
            return "Qj7" in self.render([Utterance(speaker, f"Qj{at}") for at, speaker in enumerate(speakers, 4)])  # type: ignore[arg-type]
        except Exception:  # the library raises RuntimeError for a missing, broken or refusing template
            return False
