"""What a generator is asked, and its placeholders filled back in. Pure.

A ``chat`` model is told in words what is known, and is shown the last turns. A ``shop`` model is told it in a line of
names, and never sees a number: slots are masked before and filled in after, because a small model cannot copy them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from csgate.dialog.analysis import listed_tags
from csgate.dialog.pack import Pack
from csgate.dialog.slots import SLOT_NAMES, Slot
from csgate.dialog.template import escape_markdown, plain
from csgate.dialog.understand import Understanding
from csgate.events import Intent, Language, LogEvent, MessageEvent, Picture, ReplyEvent
from csgate.inference.generation import GeneratorInfo, Utterance

Mood = Literal["negative", "neutral", "positive"]

MAX_MASKED_CHARS: Final = 200
MAX_HISTORY_CHARS: Final = 1_000
MAX_PLACEHOLDER_CHARS: Final = 24

_DIGITS: Final = re.compile(r"[0-9０-９]+")
_BRACES: Final = re.compile(r"[{}]")
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
# What a renderer could take for HTML, and pictures, which would be fetched from wherever the model says.
_TAG: Final = re.compile(r"<(?=[A-Za-z/!?])")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Topic(msgspec.Struct, frozen=True):
    """What an answer is to be about: the decision, as a generator needs to know it.

    Attributes:
        intent: ``None`` for a picture without words.
        slots: the known values that the answer may name.
        said: what the pack itself would say, Markdown; a ``chat`` model is to keep to it.
        passage: what the shop's pages say about it, with ``source`` its heading; empty where nothing was found.
    """

    intent: Intent | None
    slots: Mapping[str, str]
    said: str
    passage: str = ""
    source: str = ""


def mood(understanding: Understanding, pack: Pack) -> Mood:
    """The mood, where it is strong enough for the pack to colour a reply."""
    sentiment = understanding.sentiment
    if sentiment is None or abs(sentiment.score) < pack.thresholds.mood:
        return "neutral"
    return "positive" if sentiment.score > 0 else "negative"


def masked(text: str, slots: Iterable[Slot]) -> str:
    """``text`` on one line with ``{name}`` for each slot, 0 for every other number, cut at ``MAX_MASKED_CHARS``."""
    shown: list[str] = []
    done = 0
    for slot in sorted(slots, key=lambda one: one.start):
        if slot.start >= done:
            shown += (_unnumbered(text[done : slot.start]), f"{{{slot.name}}}")
            done = slot.end
    shown.append(_unnumbered(text[done:]))
    return " ".join("".join(shown).split())[:MAX_MASKED_CHARS]


def _unnumbered(text: str) -> str:
    return _DIGITS.sub("0", _BRACES.sub(" ", text))


def shop_prompt(
    language: Language, intent: str, mood: Mood, known: Iterable[str], message: str
) -> tuple[Utterance, Utterance]:
    """The prompt of a ``shop`` model, in training and in use: what it is told, and the masked ``message``."""
    return Utterance("system", " ".join((language, intent, mood, *sorted(known)))), Utterance("user", message)


def build_prompt(
    topic: Topic,
    understanding: Understanding,
    pack: Pack,
    history: Sequence[LogEvent],
    info: GeneratorInfo,
    *,
    history_turns: int,
    picture: Picture | None = None,
) -> tuple[Utterance, ...]:
    """The utterances for a generator. The caller's limit on tokens is not applied here.

    ``history``: oldest first, without the message at hand. ``picture`` is shown to models that take pictures.
    """
    u = understanding
    if info.style == "shop":
        name = topic.intent.name if topic.intent is not None else pack.escalation.out_of_scope_intent
        known = [slot for slot in topic.slots if slot in SLOT_NAMES]  # it has not heard of others
        said = [slot for slot in u.slots.values() if not slot.read and slot.name in SLOT_NAMES]
        return shop_prompt(u.language, name, mood(u, pack), known, masked(u.text, said))
    pictures = (picture,) if picture is not None and info.pictures else ()
    words = u.text or ("（顾客发来一张图片）" if u.language == "zh" else "(The customer sent a picture.)")
    return (
        Utterance("system", _briefing(topic, u, pack)),
        *_earlier(history, history_turns),
        Utterance("user", words, pictures),
    )


def _briefing(topic: Topic, u: Understanding, pack: Pack) -> str:
    lines = [pack.system[u.language]] if u.language in pack.system else []
    feeling = mood(u, pack)
    tags = listed_tags(u, pack) if u.picture else ""
    slots = [
        f"{slot.title[u.language]} {plain(topic.slots[name])}"
        for name, slot in pack.slots.items()
        if name in topic.slots
    ]
    title = pack.intents[topic.intent.name].title[u.language] if topic.intent is not None else ""
    if u.language == "zh":
        lines += [f"顾客的意图：{title}。"] if title else []
        lines += [f"已知信息：{'；'.join(slots)}。"] if slots else []
        lines += [f"顾客发来的图片看起来是：{tags}。"] if tags else []
        lines += ["顾客不高兴，请先真诚致歉。"] if feeling == "negative" else []
        lines += [f"店铺页面《{topic.source}》写道：\n{topic.passage}"] if topic.passage else []
        lines += [f"店铺对此的标准答复（请用自己的话，不要超出其内容）：\n{topic.said}"] if topic.said else []
        lines.append("请用中文回答，最多三句话，使用 Markdown。")
    else:
        lines += [f"The customer's message is about: {title}."] if title else []
        lines += [f"Known: {'; '.join(slots)}."] if slots else []
        lines += [f"The customer's picture looks like: {tags}."] if tags else []
        lines += ["The customer is unhappy: begin with a sincere apology."] if feeling == "negative" else []
        lines += [f"The shop's page “{topic.source}” says:\n{topic.passage}"] if topic.passage else []
        lines += (
            [f"The shop's standard answer (use your own words, promise nothing beyond it):\n{topic.said}"]
            if topic.said
            else []
        )
        lines.append("Answer in English, in at most three sentences, in Markdown.")
    return "\n".join(lines)


def _earlier(history: Sequence[LogEvent], turns: int) -> list[Utterance]:
    """The last ``turns`` messages and replies, beginning with a message by the customer, speakers taking turns."""
    said: list[Utterance] = []
    for event in reversed(history):
        if isinstance(event, MessageEvent) and event.text:
            speaker: Literal["user", "assistant"] = "user" if event.author == "customer" else "assistant"
        elif isinstance(event, ReplyEvent) and event.text:
            speaker = "assistant"
        else:
            continue
        text = event.text[:MAX_HISTORY_CHARS]
        if said and said[-1].speaker == speaker:
            said[-1] = Utterance(speaker, f"{text}\n{said[-1].text}"[-MAX_HISTORY_CHARS:])
        elif len(said) < turns:
            said.append(Utterance(speaker, text))
        else:
            break
    # The message at hand is the customer's: before it comes an answer, and before that a message.
    if said and said[0].speaker == "user":
        said.pop(0)
    if said and said[-1].speaker == "assistant":
        said.pop()
    return said[::-1]


class Filler:
    """Puts values in the place of ``{placeholders}`` in a text that comes in pieces.

    ``broken`` once a placeholder came that has no value, or a brace that is none; the text is then not to be used.
    """

    __slots__ = ("_held", "_values", "broken")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._held = ""
        self.broken = False

    def feed(self, piece: str) -> str:
        """What can be shown of all that came so far and was not shown yet."""
        text = _PLACEHOLDER.sub(self._fill, self._held + piece)
        start = text.find("{")
        self._held = "" if start < 0 else text[start:]
        if len(self._held) > MAX_PLACEHOLDER_CHARS or "}" in self._held:
            self.broken = True
            self._held = ""
        return text if start < 0 else text[:start]

    def end(self) -> None:
        """No more comes."""
        if self._held:
            self.broken = True

    def _fill(self, match: re.Match[str]) -> str:
        value = self._values.get(match[1])
        if value is None:
            self.broken = True
            return ""
        # An escaped value holds no braces of its own: slots are numbers, dates and addresses; one that does is dropped.
        return _BRACES.sub("", escape_markdown(value))


def visible(piece: str) -> str:
    """A piece of a model's text without control and direction characters."""
    return _CONTROL.sub("", piece)


def presentable(text: str) -> str:
    """A model's text as Markdown that is safe to hand on: no raw HTML, no pictures, no control characters."""
    return _TAG.sub("&lt;", visible(text)).replace("![", "!\\[").strip()
