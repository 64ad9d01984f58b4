"""The answer in a generator's words, with the pack's own as the way back when anything goes wrong."""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from csgate.config import GenerationSettings
from csgate.dialog.decide import Answer, Decision, PictureReply
from csgate.dialog.language import detect_language
from csgate.dialog.pack import Pack
from csgate.dialog.prompt import Filler, Topic, build_prompt, presentable
from csgate.dialog.understand import Understanding
from csgate.errors import CsgateError
from csgate.events import Draft
from csgate.inference.generation import Generated, GenerationRequest, Generator, Sampling
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry

RESERVE_S: Final = 0.5
"""Time kept back for the pack's own answer."""

_SENTENCE_ENDS: Final = ".!?…。！？～~)）”\"'*_😊❤️👍🙏"
_ENDS: Final = (". ", "! ", "? ", "。", "！", "？", "\n")


class Writer:
    """Rewrites drafts with a generator. Safe for any number of turns at once."""

    def __init__(self, generator: Generator, pack: Pack, settings: GenerationSettings, telemetry: Telemetry) -> None:
        self.generator: Final = generator
        self._pack = pack
        self._settings = settings
        self._log = telemetry.log
        self._sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
            stop=settings.stop,
        )

    def topic(self, decision: Decision, draft: Draft) -> Topic | None:
        """What to write about, or ``None`` where the pack's words are the right ones: questions and hand-overs."""
        match decision:
            case Answer(intent=intent, slots=slots):
                return Topic(intent, slots, draft.text)
            case PictureReply() if self.generator.info.style == "chat":
                return Topic(None, {}, draft.text)
            case _:
                return None

    async def rewrite(self, decision: Decision, understanding: Understanding, draft: Draft, turn: Turn) -> Draft:
        """``draft`` in the generator's words, its pieces sent on as they come; ``draft`` itself where that fails."""
        topic = self.topic(decision, draft)
        if topic is None:
            return draft
        began = trio.current_time()
        filler = Filler(topic.slots)
        info = self.generator.info
        shown: list[str] = []
        request = GenerationRequest(
            utterances=build_prompt(
                topic,
                understanding,
                self._pack,
                turn.history,
                info,
                history_turns=self._settings.history_turns,
                picture=turn.picture,
            ),
            sampling=self._sampling,
            principal=(turn.principal.tenant, turn.principal.subject),
            priority=turn.principal.tier,
            deadline=min(turn.deadline - RESERVE_S, began + self._settings.total_seconds),
        )
        try:
            generated = await self.generator.generate(request, self._taker(filler, shown, turn))
        except CsgateError as error:
            # The customer is answered all the same.
            self._log.warning("generation_failed", model=info.name, code=error.code, detail=error.detail)
            return draft
        filler.end()
        text = self._usable("".join(shown), generated, filler, understanding)
        if not text:
            self._log.warning("generation_unusable", model=generated.model, finish=generated.finish)
            return draft
        took_ms = (trio.current_time() - began) * 1e3
        timing = draft.timing | {
            "generate": round(took_ms, 3),
            "total": round(draft.timing.get("total", 0.0) + took_ms, 3),
        }
        if generated.first_token_s is not None:
            timing["first_token"] = round(generated.first_token_s * 1e3, 3)
        return msgspec.structs.replace(draft, text=text, source="generated", timing=timing)

    def _taker(self, filler: Filler, shown: list[str], turn: Turn) -> Callable[[str], None]:
        """Takes the model's pieces; only a ``shop`` model writes placeholders."""
        fills = self.generator.info.style == "shop"

        def take(piece: str) -> None:
            if fills:
                piece = filler.feed(piece)
            if piece and not filler.broken:
                shown.append(piece)
                turn.delta(piece)

        return take

    def _usable(self, text: str, generated: Generated, filler: Filler, u: Understanding) -> str:
        """The text to send, or an empty one where it must not be sent."""
        text = presentable(text)
        if filler.broken or not text:
            return ""
        if self.generator.info.style == "shop":
            # Its sentences are short: one that does not end, or is in another language, is a failure.
            whole = generated.finish == "stop" and text[-1] in _SENTENCE_ENDS
            return text if whole and detect_language(text) == u.language else ""
        return text if generated.finish == "stop" else _cut(text)


def _cut(text: str) -> str:
    """``text`` that ran into its limit, up to its last whole sentence."""
    end = max(text.rfind(mark) + len(mark) if mark in text else 0 for mark in _ENDS)
    return text[:end].rstrip() if end >= len(text) // 4 else f"{text}…"
