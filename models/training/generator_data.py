"""What the small generator learns from: the replies that we wrote, and customers' messages with their slots masked."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from text_expansion import CHOICE, SLOT, Seed, expand, read_openings, read_seeds, roughen, surround

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from csgate.dialog.prompt import MAX_MASKED_CHARS, Mood, masked, shop_prompt
from csgate.dialog.slots import SLOT_NAMES, SlotName, best_slots, find_slots

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
MOODS: Final[tuple[Mood, ...]] = get_args(Mood)
OWN: Final = Path(__file__).parent / "data"
MESSAGE_FILES: Final = ("intents", "intents_indirect", "intents_voices_a", "intents_voices_b")
NO_WISH: Final = frozenset({"greeting", "goodbye", "thanks", "out_of_scope"})

_MARKS: Final[dict[str, Mood]] = {"- ": "negative", "+ ": "positive"}
_TONES: Final[dict[Mood, tuple[str, ...]]] = {
    "negative": ("angry", "plain"),
    "neutral": ("plain",),
    "positive": ("happy", "plain"),
}
# How a value is named in passing, so that every intent meets every slot.
_MENTIONS: Final[dict[Language, dict[SlotName, tuple[str, ...]]]] = {
    "en": {
        "order_number": (" order {order_number}", " ({order_number})", ", my order number is {order_number}"),
        "amount": (" it was {amount}", ", {amount}", " ({amount})"),
        "email": (" my email is {email}", ", {email}", " account {email}"),
        "date": (" {date}", ", it was {date}", " since {date}"),
        "phone": (" my number is {phone}", ", {phone}", " call {phone}"),
    },
    "zh": {
        "order_number": ("，订单号{order_number}", " {order_number}", "，单号是{order_number}"),
        "amount": ("，{amount}", "，一共{amount}", " {amount}"),
        "email": ("，邮箱{email}", " {email}", "，我的账号是{email}"),
        "date": ("，{date}的", "，{date}", " {date}"),
        "phone": ("，电话{phone}", " {phone}", "，手机号{phone}"),
    },
}
_BARE: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("{%s}", "it's {%s}", "{%s} please", "here it is: {%s}", "sure, {%s}"),
    "zh": ("{%s}", "是{%s}", "{%s}，谢谢", "好的，{%s}", "给你：{%s}"),
}
_WORD: Final = re.compile("[a-z']{3,}")
_HAN: Final = re.compile("[\u4e00-\u9fff]+")
_AFFINITY: Final = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """One written reply: all its wordings, the slots that it names, the words that a message may share with it."""

    texts: tuple[str, ...]
    slots: frozenset[str]
    terms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing to learn: what the model is told, and what it should say."""

    language: Language
    intent: str
    mood: Mood
    known: tuple[str, ...]
    message: str
    reply: str
    never: str = ""
    """A reply that would be wrong: it names what is not known, or nothing where something is. Empty: there is none."""

    def prompt(self) -> tuple[str, str]:
        """Return the system's and the user's text, as the gateway builds them."""
        system, user = shop_prompt(self.language, self.intent, self.mood, self.known, self.message)
        return system.text, user.text


def wordings(text: str) -> tuple[str, ...]:
    """Return every text that the `(a|b)` of a line allow."""
    parts = CHOICE.split(text.replace("\\n", "\n"))
    options = [part.split("|") if at % 2 else [part] for at, part in enumerate(parts)]
    return tuple(dict.fromkeys("".join(one) for one in itertools.product(*options)))


def terms_of(text: str, language: Language) -> frozenset[str]:
    """Return what makes two texts alike: beginnings of English words, pairs of Chinese characters."""
    if language == "en":
        return frozenset(word[:5] for word in _WORD.findall(SLOT.sub(" ", text.lower())))
    return frozenset(run[at : at + 2] for run in _HAN.findall(text) for at in range(len(run) - 1))


class Replies:
    """The written replies by language, intent and mood."""

    def __init__(self, folder: Path = OWN) -> None:
        self.lines: dict[tuple[str, str, str], list[Line]] = {}
        self._weights: dict[str, dict[str, float]] = {}
        for language in LANGUAGES:
            everywhere: Counter[str] = Counter()
            count = 0
            for seed in read_seeds(folder / f"replies.{language}.txt", language):
                mood = _MARKS.get(seed.text[:2], "neutral")
                texts = wordings(seed.text[2:] if mood != "neutral" else seed.text)
                slots = frozenset(SLOT.findall(seed.text))
                if not slots <= set(SLOT_NAMES):
                    raise ValueError(f"no such slot: {seed.text}")
                terms = terms_of(seed.text, language)
                self.lines.setdefault((language, seed.label, mood), []).append(Line(texts, slots, terms))
                everywhere.update(terms)
                count += 1
            self._weights[language] = {term: math.log(count / seen) for term, seen in everywhere.items()}

    def fitting(self, language: str, intent: str, mood: str, known: Iterable[str]) -> list[Line]:
        """Return the lines that name some of what is known, and nothing else; those that name nothing if none does."""
        known = frozenset(known)
        lines = self.lines[language, intent, mood]
        return [line for line in lines if line.slots and line.slots <= known] or [
            line for line in lines if not line.slots
        ]

    def choose(self, lines: list[Line], language: Language, message: str, chance: random.Random) -> Line:
        """Draw a line, rather one that shares rare words with the message."""
        weights = self._weights[language]
        terms = terms_of(message, language)
        shared = [sum(weights[term] for term in terms & line.terms) / math.sqrt(len(line.terms)) for line in lines]
        return chance.choices(lines, [math.exp(_AFFINITY * one) for one in shared])[0]

    def texts(self) -> list[str]:
        """Return every wording of every line."""
        return [text for lines in self.lines.values() for line in lines for text in line.texts]


class PairSampler:
    """Draws pairs evenly over languages and intents."""

    def __init__(self, replies: Replies, messages: dict[tuple[str, str], list[Seed]]) -> None:
        self._replies = replies
        self._messages = messages
        self._openings = read_openings(OWN / "openings.txt")
        self.intents = tuple(sorted({label for _, label in messages}))

    def draw(self, chance: random.Random) -> Pair:
        """Draw one pair."""
        language = chance.choice(LANGUAGES)
        intent = chance.choice(self.intents)
        mood = cast(Mood, chance.choices(("neutral", "negative", "positive"), (50, 28, 22))[0])
        message, known = self._message(language, intent, mood, chance)
        relevant = sorted({slot for line in self._replies.lines[language, intent, mood] for slot in line.slots})
        if chance.random() < 0.45:
            # A value named earlier in the conversation, or in passing.
            slot = cast(SlotName, chance.choice(relevant if relevant and chance.random() < 0.75 else SLOT_NAMES))
            if slot not in known:
                known.add(slot)
                if chance.random() < 0.5 and f"{{{slot}}}" not in message:
                    message += chance.choice(_MENTIONS[language][slot])
        elif known and chance.random() < 0.05:
            # Answering a question: the value and hardly a word more.
            message = chance.choice(_BARE[language]) % chance.choice(sorted(known))
        lines = self._replies.fitting(language, intent, mood, known)
        line = self._replies.choose(lines, language, message, chance)
        reply = chance.choice(line.texts)
        others = [other for other in self._replies.lines[language, intent, mood] if other not in lines]
        never = chance.choice(chance.choice(others).texts) if others else ""
        return Pair(language, intent, mood, tuple(sorted(known)), message[:MAX_MASKED_CHARS], reply, never)

    def _message(self, language: Language, intent: str, mood: Mood, chance: random.Random) -> tuple[str, set[SlotName]]:
        # Now and then another wish than the one told: what is told decides.
        label = chance.choice(self.intents) if chance.random() < 0.04 else intent
        seed = chance.choice(self._messages[language, label])
        text = expand(seed, chance)
        if label not in NO_WISH:
            text = surround(text, self._openings[language], chance, 0.22, _TONES[mood])
        text = roughen(text, language, chance)
        if len(text) > 8 and chance.random() < 0.08:
            # Something in quotes, as in "wrong code"; the seeds have few.
            start = chance.randrange(len(text) - 4)
            end = start + chance.randint(1, 4)
            left, right = chance.choice(('""', "''", "“”", "()", "【】"))
            text = f"{text[:start]}{left}{text[start:end]}{right}{text[end:]}"
        slots = best_slots(find_slots(text))
        # An unsure number is believed by some intents only: it is masked, and yet not known.
        known = {name for name, slot in slots.items() if slot.sure or chance.random() < 0.5}
        return masked(text, slots.values()), known


def read_messages(names: Iterable[str] = MESSAGE_FILES) -> dict[tuple[str, str], list[Seed]]:
    """Read customers' messages by language and intent."""
    found: dict[tuple[str, str], list[Seed]] = {}
    for language in LANGUAGES:
        for name in names:
            for seed in read_seeds(OWN / f"{name}.{language}.txt", language):
                found.setdefault((language, seed.label), []).append(seed)
    return found
