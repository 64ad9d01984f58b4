"""The last step: the reply in words. Pure: pack texts, slots filled in and escaped, analysis, quick replies, timing."""

from collections.abc import Iterable, Mapping
from typing import assert_never

from csgate.dialog.analysis import analyse, listed_tags
from csgate.dialog.decide import Answer, Ask, Clarify, Decision, HandOver, Knowledge, PictureReply
from csgate.dialog.knowledge_pages import Passage
from csgate.dialog.pack import OTHER_PICTURE, Pack
from csgate.dialog.picture_text import shown_text
from csgate.dialog.template import MAX_VALUE_CHARS, Template, escape_markdown, pick
from csgate.dialog.understand import Understanding
from csgate.events import Draft, Intent, Language


def compose(decision: Decision, understanding: Understanding, pack: Pack, total_ms: float) -> Draft:
    """The draft of the reply. The same message always gets the same words.

    ``text`` is Markdown in which everything that came from outside the pack is escaped; ``analysis`` is plain text.
    """
    u = understanding
    quick_replies: Iterable[str]
    match decision:
        case Answer(intent=intent, slots=slots):
            source, hand_over = "canned", False
            shown: Intent | None = intent
            entry = pack.intents[intent.name]
            body = _say(entry.replies, u, f"reply.{intent.name}", slots)
            text = f"{_opening(u, pack)}{body}" if entry.opening else body
            quick_replies = entry.quick_replies
        case Knowledge(intent=about, passage=passage):
            source, hand_over, shown = "knowledge", False, about
            entry_about = pack.intents[about.name if about is not None else pack.escalation.handover_intent]
            # A passage may begin with a list or a table, so nothing stands on its first line.
            opening = _opening(u, pack).strip() if about is None or entry_about.opening else ""
            text = "\n\n".join(part for part in (opening, passage.text, named_source(passage, u)) if part)
            quick_replies = entry_about.quick_replies if about is not None else (entry_about.name,)
        case Ask(intent=intent, slot=slot, again=again):
            source, hand_over, shown = "ask", False, intent
            entry_slot = pack.slots[slot]
            known: dict[str, str] = {name: one.value for name, one in u.recollection.slots.items()}
            body = _say(entry_slot.again if again else entry_slot.ask, u, f"ask.{slot}", known)
            text = f"{_opening(u, pack)}{body}"
            quick_replies = (pack.escalation.handover_intent,) if again else ()
        case Clarify(candidates=candidates):
            source, hand_over, shown = "clarify", False, (u.ranking[0] if u.ranking else None)
            names = tuple(one.name for one in candidates)
            kind = ("clarify_none", "clarify_one", "clarify_two")[len(names)]
            titles = (pack.intents[name].title[u.language] for name in names)
            body = _say(pack.phrases[kind].texts, u, kind, dict(zip(("first", "second"), titles, strict=False)))
            text = f"{_opening(u, pack)}{body}"
            quick_replies = (*names, *pack.phrases[kind].quick_replies)
        case HandOver(reason=reason, intent=about):
            source, hand_over, shown = "hand_over", True, about
            phrase = pack.phrases[f"hand_over_{reason}"]
            text = _say(phrase.texts, u, f"hand_over_{reason}", {})
            quick_replies = phrase.quick_replies
        case PictureReply(group=group):
            source, hand_over, shown = "picture", False, None
            picture = pack.pictures[group]
            # No other group's words may name what the picture shows.
            seen = {"picture": listed_tags(u, pack) or _quoted(u)} if group == OTHER_PICTURE else {}
            text = _say(picture.replies, u, f"picture.{group}", seen)
            quick_replies = picture.quick_replies
        case _:
            assert_never(decision)
    return Draft(
        text=text,
        intent=shown,
        sentiment=u.sentiment,
        tags=u.tags,
        analysis=analyse(decision, u, pack),
        source=source,
        timing=_timing(u, total_ms),
        quick_replies=_labels(quick_replies, u.language, pack),
        hand_over=hand_over,
    )


def _say(
    variants: Mapping[Language, tuple[Template, ...]], u: Understanding, purpose: str, values: Mapping[str, str]
) -> str:
    return pick(variants[u.language], u.id, purpose).render(values).strip()


def _quoted(u: Understanding) -> str:
    """What a picture says, in quotes."""
    return f"“{shown_text(u.read, MAX_VALUE_CHARS - 2)}”" if u.read is not None else ""


def named_source(passage: Passage, u: Understanding) -> str:
    """Where an answer stands, so that a customer can tell whose words these are."""
    path = " › ".join(map(escape_markdown, passage.path))
    return f"*来源：{path}*" if u.language == "zh" else f"*Source: {path}*"


def _opening(u: Understanding, pack: Pack) -> str:
    """An apology to somebody unhappy, a kind word to somebody happy, nothing otherwise."""
    if u.sentiment is None or abs(u.sentiment.score) < pack.thresholds.mood:
        return ""
    name = "opening_negative" if u.sentiment.score < 0 else "opening_positive"
    return _say(pack.phrases[name].texts, u, name, {}) + ("" if u.language == "zh" else " ")


def _labels(names: Iterable[str], language: Language, pack: Pack) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pack.intents[name].say[language] for name in names))


def _timing(u: Understanding, total_ms: float) -> dict[str, float]:
    stages = u.stages
    read = {"read": round(stages.read, 3)} if u.read is not None else {}
    return {
        "queue": round(stages.queue, 3),
        "prepare": round(stages.prepare, 3),
        "run": round(stages.run, 3),
        **read,
        "understand": round(stages.understand, 3),
        "total": round(total_ms, 3),
    }
