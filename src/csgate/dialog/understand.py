"""The first step of an answer: everything that can be known about the message, from the engine and from rules."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

import msgspec
import trio

from csgate.dialog.engine import Engine
from csgate.dialog.knowledge import Hit
from csgate.dialog.language import choose_language, detect_language
from csgate.dialog.pack import OTHER_PICTURE, UNCLEAR_PICTURE, Pack
from csgate.dialog.picture_text import (
    PictureWords,
    admissible,
    find_error_code,
    is_vague,
    sure_kind,
    tells,
    without_code,
    words_of,
    worth_reading,
)
from csgate.dialog.recollection import MAX_CHARS, Memory, Recollection
from csgate.dialog.slots import Slot, SlotName, best_slots, words_beside
from csgate.errors import CsgateError, EngineUnavailable, Internal, Overloaded, PeerError, TurnTimeout
from csgate.events import Intent, Language, MessageEvent, Picture, Sentiment, Tag
from csgate.inference.results import IntentResult, PictureKind, PictureResult, ReadText, SentimentResult, Timing
from csgate.session.turn import Turn

Task = Literal["intent", "sentiment", "tagger"]

_Result = TypeVar("_Result")
_NOTHING: Final = Timing()

SURE_TAG: Final = 0.5
"""A tag of a picture that is no sticker must score this much to be believed."""


class Stages(msgspec.Struct, frozen=True):
    """Milliseconds by stage: of the slower of the two branches that run side by side (intent; picture, then mood).

    ``read``: the text in the picture, from the queue on.
    """

    queue: float = 0.0
    prepare: float = 0.0
    run: float = 0.0
    understand: float = 0.0
    read: float = 0.0


class Understanding(msgspec.Struct, frozen=True):
    """What is known of one message. A value: the later steps ask nobody else.

    Attributes:
        ranking: the pack's intents, likeliest first; empty where there is no text. One intent with confidence 1 where
            a rule decided: the text is a quick reply, or points at one that was offered.
        picture: whether the message has one; ``tags`` is what it shows, best first (see ``shown_tags``).
        kind: of what kind the picture is, where the tagger is sure of that.
        slots: named by this message, by its text or else by the text in its picture; those named before are in
            ``recollection``.
        wordless: the text has neither words nor slots, and the picture's does not tell what is wanted.
        words_beside: letters of the text outside its slots.
        wants_person: a phrase of the pack's asks for a person outright.
        knowledge: what the pack's pages say, best first; looked up only where :func:`csgate.dialog.decide.consults`.
        lacking: tasks that the engine does not serve and that this message would have needed.
        read: the text in the picture, a stranger's; None where it was not looked for, or not in time.
        subject: words that say what the message is about: its text, or the picture's where ``ranking`` is of that.
        ranking_read: ``ranking`` is that of the text in the picture.
    """

    id: str
    text: str
    language: Language
    ranking: tuple[Intent, ...]
    sentiment: Sentiment | None
    picture: bool
    tags: tuple[Tag, ...]
    slots: Mapping[SlotName, Slot]
    wordless: bool
    words_beside: int
    wants_person: bool
    recollection: Recollection
    knowledge: tuple[Hit, ...] = ()
    lacking: frozenset[Task] = frozenset()
    stages: Stages = Stages()
    kind: PictureKind | None = None
    read: ReadText | None = None
    subject: str = ""
    ranking_read: bool = False


class Reading(msgspec.Struct, frozen=True):
    """What rules alone find in a message and its history."""

    language: Language
    slots: tuple[Slot, ...]
    recollection: Recollection
    ruled: str | None
    wants_person: bool


def read(turn: Turn, memory: Memory, pack: Pack, default: Language) -> Reading:
    """Applies the rules; ``memory`` learns what the history has new. Usually some 20 µs."""
    recollection = memory.recollect(turn.history, turn.id, pack.thresholds.mood)
    ruled = pack.intent_said(turn.text)
    if ruled is None:
        offer = recollection.chosen(turn.text)
        ruled = pack.intent_said(offer) if offer is not None else None
    return Reading(
        language=choose_language(turn.text, turn.history, turn.language, default, pack.languages),
        slots=memory.find(turn.text) if turn.text else (),
        recollection=recollection,
        ruled=ruled,
        wants_person=pack.asks_for_person(turn.text),
    )


def _rule_chars(turn: Turn, memory: Memory) -> int:
    """How many characters the rules will go through."""
    unread, _ = memory.unread(turn.history, turn.id)
    return len(turn.text) + sum(min(len(event.text), MAX_CHARS) for event in unread if isinstance(event, MessageEvent))


# Above it the rules take more than about 0.5 ms, which is too long for the event loop.
MAX_INLINE_CHARS: Final = 600


class _Questions:
    """The engine's answers about one turn, asked side by side.

    The first error ends the others. When several came at once, the peer's own (a bad picture) is the one to report.
    """

    def __init__(self, turn: Turn, pack: Pack, engine: Engine, reading: Reading) -> None:
        self.turn = turn
        self.pack = pack
        self.engine = engine
        self.reading = reading
        self.words = bool(turn.text.strip())
        self.served = engine.info.models
        self.intent: IntentResult | None = None
        self.picture: PictureResult | None = None
        self.sentiment: SentimentResult | None = None
        self.read: ReadText | None = None
        self.words_read = PictureWords()
        self.intent_read: tuple[Intent, ...] = ()
        self.lacking: set[Task] = set()
        self.errors: list[CsgateError] = []

    async def ask(self) -> None:
        """Fills in the results.

        Raises:
            CsgateError: the picture is bad, a bound or the deadline was met, or a task that the message cannot be
                answered without is not served.
        """
        if not self.classifies():
            await self.ask_feeling()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.guard, self.ask_intent, nursery.cancel_scope)
            await self.guard(self.ask_feeling, nursery.cancel_scope)
        if self.errors:
            raise next((error for error in self.errors if isinstance(error, PeerError)), self.errors[0])

    async def guard(self, branch: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await branch()
        except CsgateError as error:
            self.errors.append(error)
            scope.cancel()

    def classifies(self) -> bool:
        """Whether the classifier is to be asked.

        Raises:
            EngineUnavailable: it is, and there is none.
        """
        if not self.words or self.reading.ruled is not None or self.reading.wants_person:
            return False
        if "intent" in self.served:
            return True
        self.lacking.add("intent")
        # An order number that the last reply asked for needs no classifier.
        if self.reading.recollection.asked is None or not self.reading.slots:
            raise EngineUnavailable("no intent model is served")
        return False

    async def ask_intent(self) -> None:
        turn = self.turn
        self.intent = await self.engine.classify_intent(
            turn.text,
            share=turn.principal.tenant,
            principal=turn.principal.subject,
            priority=turn.principal.tier,
            deadline=turn.deadline,
        )

    async def ask_feeling(self) -> None:
        """The picture first, because what it shows has a say in the mood."""
        turn = self.turn
        if turn.picture is not None:
            self.picture = await self.optional("tagger", partial(self.tag, turn.picture))
        if self.words:
            self.sentiment = await self.optional("sentiment", self.judge)
        if turn.picture is not None:
            await self.ask_reader(turn.picture)
            if self.picture is None and not self.words and not self.words_read.question:
                raise EngineUnavailable("a picture without words, and no tagger is served")

    async def ask_reader(self, picture: Picture) -> None:
        """The text in the picture, where there is a reader for it with time to spare."""
        if "reader" not in self.served or not worth_reading(self.picture):
            return
        turn = self.turn
        try:
            self.read = await self.engine.read_picture(
                picture,
                share=turn.principal.tenant,
                principal=turn.principal.subject,
                priority=turn.principal.tier,
                deadline=turn.deadline,
            )
        except (EngineUnavailable, Internal, Overloaded, TurnTimeout):
            return  # the answer does without
        if self.read.lines:
            self.words_read = await trio.to_thread.run_sync(words_of, self.read)

    async def ask_intent_read(self, ranking: Sequence[Intent]) -> None:
        """What the text in the picture is about, where the message's own ``ranking`` leaves that open."""
        turn = self.turn
        ruled = self.reading.ruled is not None or self.reading.wants_person
        if ruled or not self.words_read.question or "intent" not in self.served or not is_vague(ranking, self.pack):
            return
        try:
            result = await self.engine.classify_intent(
                self.words_read.question,
                share=turn.principal.tenant,
                principal=turn.principal.subject,
                priority=turn.principal.tier,
                deadline=turn.deadline,
            )
        except EngineUnavailable:
            return
        found = admissible(result.ranking, self.pack)
        if tells(found, self.pack):
            self.intent_read = found

    async def optional(self, task: Task, ask: Callable[[], Awaitable[_Result]]) -> _Result | None:
        """The result of ``ask``, or None, with ``task`` noted as lacking, where the engine has no such model."""
        if task in self.served:
            try:
                return await ask()
            except EngineUnavailable:
                # It was served at start-up and is gone now: the rest of the answer is worth having.
                pass
        self.lacking.add(task)
        return None

    async def tag(self, picture: Picture) -> PictureResult:
        turn = self.turn
        return await self.engine.tag_picture(
            picture,
            share=turn.principal.tenant,
            principal=turn.principal.subject,
            priority=turn.principal.tier,
            deadline=turn.deadline,
            language=self.reading.language,
        )

    async def judge(self) -> SentimentResult:
        turn = self.turn
        # The mood of a photo or a screenshot is not what the tagger's features tell.
        telling = self.picture is not None and sure_kind(self.picture) in (None, "sticker")
        return await self.engine.judge_sentiment(
            turn.text,
            self.picture.vector if self.picture is not None and telling else None,
            share=turn.principal.tenant,
            principal=turn.principal.subject,
            priority=turn.principal.tier,
            deadline=turn.deadline,
        )


async def understand(
    turn: Turn, pack: Pack, engine: Engine, default: Language, strangers: frozenset[str]
) -> Understanding:
    """Asks the engine about text and picture at once and applies the rules.

    ``strangers`` are the intents of the engine's that the pack lacks; they are left out.

    Without a sentiment model the mood stays unknown, and without a tagger a picture beside a text goes unseen; both
    are named in ``lacking``.

    Raises:
        CsgateError: BadBase64, BadImage, UnsupportedImage or ImageTooLarge for the picture; Overloaded; TurnTimeout;
            EngineUnavailable where the message cannot be understood at all.
    """
    began = trio.current_time()
    memory = turn.notes.get("memory")
    if memory is None:
        memory = turn.notes["memory"] = Memory()
    if _rule_chars(turn, memory) > MAX_INLINE_CHARS:
        reading = await trio.to_thread.run_sync(read, turn, memory, pack, default)
    else:
        reading = read(turn, memory, pack, default)
    questions = _Questions(turn, pack, engine, reading)
    await questions.ask()
    kind = sure_kind(questions.picture) if questions.picture is not None else None
    tags = shown_tags(questions.picture) if questions.picture is not None else ()
    if kind == "sticker" and questions.words_read.question:
        # A screen that only looked like one: what the tagger saw in it is not there either.
        kind, tags = None, ()
    if reading.ruled is not None:
        ranking: tuple[Intent, ...] = (Intent(reading.ruled, 1.0),)
    elif questions.intent is not None:
        ranking = questions.intent.ranking
        if strangers:
            ranking = tuple(intent for intent in ranking if intent.name not in strangers)
    else:
        ranking = ()
    await questions.ask_intent_read(ranking)
    slots = best_slots(reading.slots)
    code = find_error_code(turn.text) if turn.text else None
    if code is not None:
        slots = without_code({**slots, "error_code": code})
    seen = questions.words_read.slots
    if seen:
        memory.note(turn.id, seen)
        slots = {**seen, **slots}
    if questions.sentiment is not None:
        sentiment: Sentiment | None = questions.sentiment.sentiment
    else:
        sentiment = None if questions.words else picture_mood(pack, tags)
    return Understanding(
        id=turn.id,
        text=turn.text,
        language=reading.language,
        ranking=questions.intent_read or ranking,
        sentiment=sentiment,
        picture=turn.picture is not None,
        tags=tags,
        slots=slots,
        wordless=not reading.slots
        and (not turn.text or detect_language(turn.text) is None)
        and not questions.intent_read
        and not _given(reading.recollection, seen, pack),
        words_beside=words_beside(turn.text, reading.slots) if turn.text else 0,
        wants_person=reading.wants_person,
        recollection=reading.recollection,
        lacking=frozenset(questions.lacking),
        stages=_stages(questions, (trio.current_time() - began) * 1e3),
        kind=kind,
        read=questions.read,
        subject=questions.words_read.question if questions.intent_read else turn.text,
        ranking_read=bool(questions.intent_read),
    )


def _given(recollection: Recollection, slots: Mapping[SlotName, Slot], pack: Pack) -> bool:
    """Whether ``slots`` has what the last reply asked for."""
    intent = pack.intents.get(recollection.asked[0]) if recollection.asked is not None else None
    return intent is not None and any(name in slots for name in intent.requires)


def shown_tags(picture: PictureResult) -> tuple[Tag, ...]:
    """The tags to believe: the tagger knows stickers, so of a photo or a screenshot only those that it is sure of."""
    if sure_kind(picture) in (None, "sticker"):
        return picture.tags
    return tuple([tag for tag in picture.tags if tag.score >= SURE_TAG])


def picture_mood(pack: Pack, tags: Iterable[Tag]) -> Sentiment | None:
    """What a picture says about the mood where no text goes with it; None where the pack has no opinion."""
    shown = tuple(tags)
    group = pack.picture_group(shown)
    if group.mood is None or group.name in (OTHER_PICTURE, UNCLEAR_PICTURE):
        return None
    score = max(tag.score for tag in shown)
    sign = {"positive": 1.0, "neutral": 0.0, "negative": -1.0}[group.mood]
    return Sentiment(group.mood, sign * min(score, 1.0))


def _stages(questions: _Questions, understand_ms: float) -> Stages:
    intent = questions.intent.timing if questions.intent is not None else _NOTHING
    picture = questions.picture.timing if questions.picture is not None else _NOTHING
    mood = questions.sentiment.timing if questions.sentiment is not None else _NOTHING
    return Stages(
        queue=max(intent.queue_ms, picture.queue_ms + mood.queue_ms),
        prepare=max(intent.prepare_ms, picture.prepare_ms + mood.prepare_ms),
        run=max(intent.run_ms, picture.run_ms + mood.run_ms),
        understand=understand_ms,
        read=questions.read.timing.total_ms if questions.read is not None else 0.0,
    )
