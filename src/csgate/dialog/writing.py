"""The answer in a generator's words, with the pack's own as the way back when anything goes wrong."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from csgate.config import GenerationSettings
from csgate.dialog.compose import named_source
from csgate.dialog.decide import Answer, Decision, Knowledge, PictureReply
from csgate.dialog.language import detect_language
from csgate.dialog.pack import Pack
from csgate.dialog.prompt import Filler, Topic, build_prompt, presentable, visible
from csgate.dialog.understand import Understanding
from csgate.errors import CsgateError
from csgate.events import Draft
from csgate.inference.generation import Generated, GenerationRequest, Generator, GeneratorInfo, Sampling, Utterance
from csgate.session.turn import Turn
from csgate.telemetry import Telemetry

RESERVE_S: Final = 0.5
"""Time kept back for the pack's own answer."""

_SENTENCE_ENDS: Final = ".!?…。！？～~)）”\"'*_😊❤️👍🙏"
_ENDS: Final = (". ", "! ", "? ", "。", "！", "？", "\n")


class Writer:
    """Rewrites drafts with the first of its generators that can. Safe for any number of turns at once."""

    def __init__(
        self, generators: Sequence[Generator], pack: Pack, settings: GenerationSettings, telemetry: Telemetry
    ) -> None:
        self._generators = tuple(generators)
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

    async def rewrite(self, decision: Decision, understanding: Understanding, draft: Draft, turn: Turn) -> Draft:
        """``draft`` in a generator's words, its pieces sent on as they come; ``draft`` itself where all fail.

        Once a piece was sent no other generator is asked: a customer must not read the beginning of one answer and the
        end of another. The reply, which then is the pack's own, replaces what was streamed.
        """
        began = trio.current_time()
        for generator in self._generators:
            topic = topic_of(decision, draft, generator.info)
            if topic is None:
                continue
            shown: list[str] = []
            written = await self._write(generator, topic, understanding, turn, shown)
            if written is not None:
                took_ms = (trio.current_time() - began) * 1e3
                timing = draft.timing | {
                    "generate": round(took_ms, 3),
                    "total": round(draft.timing.get("total", 0.0) + took_ms, 3),
                }
                text, first_token_s = written
                if isinstance(decision, Knowledge):
                    text = f"{text}\n\n{named_source(decision.passage, understanding)}"
                if first_token_s is not None:
                    timing["first_token"] = round(first_token_s * 1e3, 3)
                return msgspec.structs.replace(draft, text=text, source="generated", timing=timing)
            if shown:
                break
        return draft

    async def _write(
        self, generator: Generator, topic: Topic, understanding: Understanding, turn: Turn, shown: list[str]
    ) -> tuple[str, float | None] | None:
        """The text, and the seconds to its first token; ``None`` where it failed. ``shown`` is what was sent on."""
        info = generator.info
        filler = Filler(topic.slots)
        prompt = build_prompt(
            topic,
            understanding,
            self._pack,
            turn.history,
            info,
            history_turns=self._settings.history_turns,
            picture=turn.picture,
        )
        request = GenerationRequest(
            # A local model leaves turns out by its exact count.
            utterances=_within_budget(prompt, generator) if info.kind == "remote" else prompt,
            sampling=self._sampling,
            principal=(turn.principal.tenant, turn.principal.subject),
            priority=turn.principal.tier,
            deadline=min(turn.deadline - RESERVE_S, trio.current_time() + self._settings.total_seconds),
        )
        try:
            generated = await generator.generate(request, _taker(info, filler, shown, turn))
        except CsgateError as error:
            # The customer is answered all the same.
            self._log.warning("generation_failed", model=info.name, code=error.code, detail=error.detail)
            return None
        filler.end()
        text = presentable("".join(shown))
        if filler.broken or not _usable(text, generated, info, understanding):
            self._log.warning("generation_unusable", model=generated.model, finish=generated.finish)
            return None
        return text if generated.finish == "stop" else _cut(text), generated.first_token_s


def topic_of(decision: Decision, draft: Draft, info: GeneratorInfo) -> Topic | None:
    """What to write about, or ``None`` where the pack's words are the right ones: questions and hand-overs."""
    match decision:
        case Answer(intent=intent, slots=slots):
            return Topic(intent, slots, draft.text)
        case PictureReply() if info.style == "chat":
            return Topic(None, {}, draft.text)
        case Knowledge(intent=intent, passage=passage) if info.style == "chat":
            return Topic(intent, {}, "", passage.text, passage.source)
        case _:
            return None


def _within_budget(prompt: tuple[Utterance, ...], generator: Generator) -> tuple[Utterance, ...]:
    """``prompt`` without its oldest turns, where it is too long by the generator's count; first and last stay."""
    first, *turns, last = prompt
    left = generator.info.prompt_tokens - sum(generator.count_tokens(one.text) for one in (first, last))
    kept: list[Utterance] = []
    for entry in reversed(turns):
        left -= generator.count_tokens(entry.text)
        if left < 0:
            break
        kept.append(entry)
    # Models know no conversation that begins with an answer.
    if kept and kept[-1].speaker == "assistant":
        kept.pop()
    return (first, *reversed(kept), last)


def _taker(info: GeneratorInfo, filler: Filler, shown: list[str], turn: Turn) -> Callable[[str], None]:
    """Takes a model's pieces; only a ``shop`` model writes placeholders."""
    fills = info.style == "shop"

    def take(piece: str) -> None:
        piece = visible(piece)
        if fills:
            piece = filler.feed(piece)
        if piece and not filler.broken:
            shown.append(piece)
            turn.delta(piece)

    return take


def _usable(text: str, generated: Generated, info: GeneratorInfo, u: Understanding) -> bool:
    if not text or info.style == "chat":
        return bool(text)
    # A small model's sentences are short: an answer that does not end, or is in another language, is a failure.
    return generated.finish == "stop" and text[-1] in _SENTENCE_ENDS and detect_language(text) == u.language


def _cut(text: str) -> str:
    """``text`` that ran into its limit, up to its last whole sentence."""
    end = max(text.rfind(mark) + len(mark) if mark in text else 0 for mark in _ENDS)
    return text[:end].rstrip() if end >= len(text) // 4 else f"{text}…"
