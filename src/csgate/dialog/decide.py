"""The second step: one decision from what is understood. Pure, and the only place that weighs thresholds.

Business actions will be further members of :data:`Decision`.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from csgate.dialog.knowledge_pages import Passage
from csgate.dialog.knowledge_words import looks_like_question
from csgate.dialog.pack import OTHER_PICTURE, UNCLEAR_PICTURE, Pack
from csgate.dialog.slots import SlotName
from csgate.dialog.understand import Understanding
from csgate.events import Intent

# A candidate less likely than this is not worth a place in a question.
MIN_CANDIDATE: Final = 0.05
# A message with fewer letters beside its slots is taken as nothing but the slot that was asked for ("it's 12345").
MAX_BARE_LETTERS: Final = 24

HandOverReason = Literal["asked", "complaint", "unhappy", "unclear"]


class Answer(msgspec.Struct, frozen=True):
    """The pack's reply to an intent, with what is known to fill it."""

    intent: Intent
    slots: Mapping[str, str]


class Ask(msgspec.Struct, frozen=True):
    """The intent is clear, but a slot that it requires is missing. ``again``: the last reply asked for it already."""

    intent: Intent
    slot: SlotName
    again: bool


class Clarify(msgspec.Struct, frozen=True):
    """It is not clear what is meant. Up to two ``candidates``, likeliest first."""

    candidates: tuple[Intent, ...]


class HandOver(msgspec.Struct, frozen=True):
    """A person takes over. ``intent`` is what is known of the matter."""

    reason: HandOverReason
    intent: Intent | None


class PictureReply(msgspec.Struct, frozen=True):
    """A picture without words, answered by what it shows: the pack's picture group of that name."""

    group: str


class Knowledge(msgspec.Struct, frozen=True):
    """A passage of the pack's pages answers. ``intent`` is ``None`` where none that such pages serve comes first."""

    intent: Intent | None
    passage: Passage
    score: float


Decision = Answer | Ask | Clarify | HandOver | PictureReply | Knowledge


def consults(understanding: Understanding, pack: Pack) -> bool:
    """Whether the pack's pages may have a say: for an intent that they serve, and for what is unclear or out of scope
    and looks like a question."""
    u = understanding
    if u.wordless or u.wants_person or not u.ranking:
        return False
    if len(u.ranking) == 1 and u.ranking[0].confidence >= 1:
        # A button was pressed, so to say, and its reply was written for it.
        return False
    clear = _clear(u, pack)
    if clear is not None and clear.name != pack.escalation.out_of_scope_intent:
        return pack.intents[clear.name].knowledge
    return looks_like_question(u.text)


def decide(understanding: Understanding, pack: Pack) -> Decision:
    """What to do about the message. Total: there is a decision for every understanding."""
    u = understanding
    rules = pack.escalation
    clear = _clear(u, pack)
    if u.wants_person or (clear is not None and pack.intents[clear.name].hand_over):
        return HandOver("asked", clear or Intent(rules.handover_intent, 1.0))
    if _negative(u, pack) and u.recollection.negative + 1 >= rules.negative_messages:
        return HandOver("unhappy", clear)
    if u.picture and u.wordless:
        group = pack.picture_group(u.tags).name
        # What it shows may be unclear, but not what it says.
        return PictureReply(OTHER_PICTURE if group == UNCLEAR_PICTURE and u.read and u.read.lines else group)
    resumed = _resumed(u, pack, clear)
    if resumed is not None:
        return _fulfil(resumed, u, pack)
    known = _known(u, pack)
    if known is not None:
        return known
    if clear is not None:
        return _fulfil(clear, u, pack)
    candidates = tuple(
        intent
        for intent in u.ranking
        if intent.name != rules.out_of_scope_intent and intent.confidence >= MIN_CANDIDATE
    )
    if u.ranking and u.ranking[0].name == rules.out_of_scope_intent:
        # Probably nothing of ours; only a real rival makes it worth a question.
        candidates = tuple(intent for intent in candidates if intent.confidence >= pack.thresholds.ambiguity)
        if not candidates:
            return Answer(u.ranking[0], {})
    if u.recollection.clarified >= rules.failed_clarifications:
        return HandOver("unclear", None)
    return Clarify(candidates[:2])


def _clear(u: Understanding, pack: Pack) -> Intent | None:
    """The first intent, if it is likely enough and far enough ahead."""
    if not u.ranking or u.ranking[0].confidence < pack.thresholds.confidence:
        return None
    lead = u.ranking[0].confidence - (u.ranking[1].confidence if len(u.ranking) > 1 else 0.0)
    return u.ranking[0] if lead >= pack.thresholds.ambiguity else None


def _known(u: Understanding, pack: Pack) -> Knowledge | None:
    """The passage that answers, where one surely enough does."""
    if not u.knowledge or not pack.knowledge.accepts(u.knowledge[0].score, u.knowledge[0].lead):
        return None
    best = u.knowledge[0]
    first = u.ranking[0] if u.ranking and pack.intents[u.ranking[0].name].knowledge else None
    return Knowledge(first, best.passage, best.score)


def _negative(u: Understanding, pack: Pack) -> bool:
    return u.sentiment is not None and u.sentiment.score <= -pack.thresholds.mood


def _resumed(u: Understanding, pack: Pack, clear: Intent | None) -> Intent | None:
    """The intent whose slot the last reply asked for, if this message goes on with it."""
    if u.recollection.asked is None:
        return None
    name = u.recollection.asked[0]
    intent = pack.intents.get(name)
    if intent is None or (clear is not None and clear.name == name):
        return None
    given = any(slot in u.slots for slot in intent.requires)
    if clear is None or (given and u.words_beside <= MAX_BARE_LETTERS):
        return Intent(name, 1.0)
    return None


def _fulfil(intent: Intent, u: Understanding, pack: Pack) -> Decision:
    """An answer to a clear intent, or what keeps it from one."""
    rules = pack.escalation
    entry = pack.intents[intent.name]
    if intent.name in rules.complaint_intents:
        earlier = 0
        for name in reversed(u.recollection.intents):
            if name not in rules.complaint_intents:
                break
            earlier += 1
        if earlier + 1 >= rules.complaints:
            return HandOver("complaint", intent)
    values: dict[str, str] = {name: slot.value for name, slot in u.recollection.slots.items()}
    # A number that nobody called an order is believed only where an order number is needed.
    values |= {name: slot.value for name, slot in u.slots.items() if slot.sure or name in entry.requires}
    for slot_name in entry.requires:
        if slot_name not in values:
            asked = u.recollection.asked
            times = asked[1] if asked is not None and asked[0] == intent.name else 0
            if times >= rules.failed_clarifications:
                return HandOver("unclear", intent)
            return Ask(intent, slot_name, again=times > 0)
    return Answer(intent, values)
