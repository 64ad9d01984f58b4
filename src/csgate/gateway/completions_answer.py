"""Who answers a completion: the whole of csgate as one turn, or the generator with the messages as they are."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import trio

from csgate.config import GenerationSettings
from csgate.errors import BadEnvelope, TurnTimeout
from csgate.events import Draft, Language, LogEvent, MessageEvent, Principal, ReplyEvent
from csgate.gateway.completions_request import Asked, BadRequest
from csgate.gateway.completions_wire import Outcome, Usage
from csgate.inference.generation import Generated, GenerationRequest, Generator, Sampling, Utterance
from csgate.session import Turn
from csgate.session.turn import Answerer
from csgate.session.wording import language_of

HOUSE_MODEL: Final = "csgate"
"""The name of the model that is the whole of csgate."""

MAX_KNOWN_REPLIES: Final = 10_000
"""Replies whose meaning is remembered (about 1 KB each), so that a client can bring them back as history."""


class KnownReplies:
    """What csgate meant by its latest replies, by who got them and their text.

    The endpoint is stateless: a client brings the earlier messages along, as text alone. With this, "12345" is
    understood as what the reply before it had asked for. The least recently used are forgotten first.
    """

    __slots__ = ("_drafts",)

    def __init__(self) -> None:
        self._drafts: OrderedDict[bytes, Draft] = OrderedDict()

    def put(self, owner: object, draft: Draft) -> None:
        key = _key(owner, draft.text)
        self._drafts[key] = draft
        self._drafts.move_to_end(key)
        if len(self._drafts) > MAX_KNOWN_REPLIES:
            self._drafts.popitem(last=False)

    def get(self, owner: object, text: str) -> Draft | None:
        key = _key(owner, text)
        draft = self._drafts.get(key)
        if draft is not None:
            self._drafts.move_to_end(key)
        return draft


def _key(owner: object, text: str) -> bytes:
    return hashlib.sha256(f"{owner!r}\n{text.strip()}".encode("utf-8", "surrogatepass")).digest()


class HouseAnswer:
    """The last message as a turn of csgate's own, the earlier ones as its history."""

    def __init__(self, answer: Answerer, known: KnownReplies) -> None:
        self._answer = answer
        self._known = known

    def check(self, asked: Asked) -> None:
        """
        Raises:
            BadRequest: a turn has one picture.
        """
        if len(asked.utterances[-1].pictures) > 1:
            raise BadRequest("The last message may have one picture.", f"messages[{len(asked.utterances) - 1}].content")

    async def __call__(
        self, asked: Asked, principal: Principal, locale: str, deadline: float, on_text: Callable[[str], None]
    ) -> Outcome:
        """
        Raises:
            CsgateError: what the turn would end in.
        """
        said = asked.utterances[-1]
        shown: list[str] = []

        def show(piece: str) -> None:
            shown.append(piece)
            on_text(piece)

        turn = Turn(
            conversation=f"completion-{secrets.token_hex(8)}",
            id=secrets.token_hex(8),
            text=said.text,
            picture=said.pictures[0] if said.pictures else None,
            principal=principal,
            deadline=deadline,
            language=self._language(said.text, locale),
            history=self._history(asked.utterances[:-1], principal),
            on_delta=show,
        )
        with trio.move_on_at(deadline) as scope:
            draft = await self._answer(turn)
        if scope.cancelled_caught:
            raise TurnTimeout
        self._known.put(principal.owner, draft)
        if rest := unsaid("".join(shown), draft):
            on_text(rest)
        return Outcome(draft.text, "stop", HOUSE_MODEL, draft=draft)

    def _language(self, text: str, locale: str) -> Language:
        return language_of(text, locale.partition(",")[0].partition(";")[0].strip())

    def _history(self, utterances: Sequence[Utterance], principal: Principal) -> tuple[LogEvent, ...]:
        """The messages before as events. The system's are left out: csgate has a pack."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        events: list[LogEvent] = []
        for utterance in utterances:
            offset = len(events) + 1
            name = f"earlier-{offset}"
            if utterance.speaker == "user":
                events.append(MessageEvent(name, offset, "customer", utterance.text, now))
            elif utterance.speaker == "assistant":
                draft = self._known.get(principal.owner, utterance.text) or Draft(utterance.text)
                events.append(
                    ReplyEvent(
                        id=name,
                        offset=offset,
                        text=utterance.text,
                        intent=draft.intent,
                        sentiment=draft.sentiment,
                        tags=draft.tags,
                        analysis=draft.analysis,
                        source=draft.source,
                        timestamp=now,
                        quick_replies=draft.quick_replies,
                    )
                )
        return tuple(events)


def unsaid(shown: str, draft: Draft) -> str:
    """What has to follow the pieces that were sent. They cannot be taken back, as csgate's own protocol does it.

    Pieces and final text may differ a little (escapes, a last sentence that was cut off). Where the final text is
    another one altogether, because the generator failed half-way, it comes after what was sent, as a new paragraph.
    """
    if not shown:
        return draft.text
    # Space around a model's words is not in the final text; something may follow there, such as the source.
    said = shown.strip()
    if draft.text.startswith(said):
        rest = draft.text[len(said) :]
        return rest if rest.strip() else ""
    if draft.source == "generated" or shown.startswith(draft.text):
        return ""
    return f"\n\n{draft.text}"


class RawAnswer:
    """The messages go to the generator as they are; no pack, no understanding."""

    def __init__(self, generator: Generator, settings: GenerationSettings) -> None:
        self._generator = generator
        self._settings = settings

    def check(self, asked: Asked) -> None:
        """
        Raises:
            BadRequest: there are pictures, and the model takes none.
        """
        if asked.picture_bytes and not self._generator.info.pictures:
            raise BadRequest("This model takes no pictures.", "messages", reason="unsupported_value")

    async def __call__(
        self, asked: Asked, principal: Principal, locale: str, deadline: float, on_text: Callable[[str], None]
    ) -> Outcome:
        """
        Raises:
            CsgateError: as ``Generator.generate``.
        """
        request = GenerationRequest(
            utterances=asked.utterances,
            sampling=self._sampling(asked),
            principal=(principal.tenant, principal.subject),
            priority=principal.tier,
            deadline=deadline,
        )
        generated: Generated | None = None
        # Not with fail_at: the generator's own TurnTimeout and ours are one.
        with trio.move_on_at(deadline):
            try:
                generated = await self._generator.generate(request, on_text)
            except BadEnvelope as error:
                raise BadRequest(
                    error.public or "The messages are more than this model can take.",
                    "messages",
                    reason="context_length_exceeded",
                ) from error
        if generated is None:
            raise TurnTimeout
        usage = None
        if generated.prompt_tokens or generated.completion_tokens:
            counted = generated.prompt_tokens, generated.completion_tokens
            usage = Usage(*counted, sum(counted))
        return Outcome(generated.text, generated.finish, generated.model, usage)

    def _sampling(self, asked: Asked) -> Sampling:
        """The request's wishes, the configuration's where it has none; ``max_tokens`` at most the configuration's."""
        s = self._settings
        temperature = s.temperature if asked.temperature is None else asked.temperature
        top_p = s.top_p if asked.top_p is None else asked.top_p
        return Sampling(
            # No share at all of the likeliest tokens means the likeliest one.
            temperature=temperature if top_p else 0.0,
            top_p=top_p or 1.0,
            max_tokens=min(asked.max_tokens or s.max_tokens, s.max_tokens),
            seed=s.seed if asked.seed is None else asked.seed,
            stop=s.stop if asked.stop is None else asked.stop,
        )
