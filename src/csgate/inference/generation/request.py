"""What is asked of a generator, what comes back, and what a generator is."""

from collections.abc import Callable, Hashable
from typing import Literal, Protocol

import msgspec

from csgate.events import Picture

Speaker = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]
PromptStyle = Literal["chat", "shop"]


class Utterance(msgspec.Struct, frozen=True):
    """One entry of the prompt. ``pictures`` go to models that take them; the others are given none."""

    speaker: Speaker
    text: str
    pictures: tuple[Picture, ...] = ()


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen, and when to end.

    ``temperature`` 0 takes the likeliest token. ``stop``: strings that end the answer and are not part of it.
    ``seed`` makes the same request give the same answer where the model and its device are the same.
    """

    temperature: float = 0.3
    top_p: float = 0.9
    max_tokens: int = 96
    seed: int | None = None
    stop: tuple[str, ...] = ()


class GenerationRequest(msgspec.Struct, frozen=True):
    """``utterances``: the prompt, oldest first, the last one by the user. ``deadline`` is on Trio's clock.

    ``principal`` queues fairly beside the others of the same ``priority``, of which 0 is the most urgent.
    """

    utterances: tuple[Utterance, ...]
    sampling: Sampling = Sampling()
    principal: Hashable = ""
    priority: int = 1
    deadline: float = float("inf")


class Generated(msgspec.Struct, frozen=True):
    """A finished answer. ``text`` is all that ``on_text`` was given, joined.

    ``model`` is the name of the model that really answered (it may be the fallback's). ``first_token_s`` is counted
    from the call, ``None`` where no token came; so is ``total_s``. Token counts are the model's own, 0 where a remote
    server does not tell.
    """

    text: str
    finish: FinishReason
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_s: float | None = None
    total_s: float = 0.0


class GeneratorInfo(msgspec.Struct, frozen=True):
    """What a generator is.

    ``style``: ``chat`` models take free text. ``shop`` models are csgate's own small ones: they are told the intent,
    the mood and which slots are known, are shown the customer's message with its slots masked, and write placeholders
    such as ``{order_number}`` for values, which the caller fills in. ``prompt_tokens`` is the prompt's token budget.
    """

    name: str
    kind: Literal["local", "remote"]
    style: PromptStyle
    provider: str
    prompt_tokens: int
    pictures: bool = False


class Generator(Protocol):
    """Writes text. Safe to call from any number of tasks at once."""

    @property
    def info(self) -> GeneratorInfo: ...

    def count_tokens(self, text: str) -> int:
        """About how many tokens ``text`` is (exact for a local model). Never blocks for long: texts are short."""
        ...

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        """Writes an answer. ``on_text`` gets each piece as it comes: whole characters, on Trio's thread, never
        blocking. Cancelling the caller ends the generation within one step (locally) or aborts the request.

        Raises:
            Overloaded: too many wait or run; ``retry_after`` says when to come back.
            TurnTimeout: the deadline passed. What came until then was given to ``on_text``.
            EngineUnavailable: the model or the server failed, or the answer broke off.
            BadEnvelope: the request can never be served (its prompt is longer than the model's context, say).
        """
        ...
