"""What the sentiment model learns from: labelled Reddit remarks, and our customers' sentences in both languages."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intent_data import OWN, held_out, read_intent_seeds
from sticker_moods import JUDGED, MODIFIERS, MOODS
from text_expansion import Seed, expand, read_openings, read_seeds, roughen, surround

SENTIMENTS: Final = MOODS
NEGATIVE: Final = frozenset((2, 3, 9, 10, 11, 12, 14, 16, 19, 24, 25))
POSITIVE: Final = frozenset((0, 1, 4, 5, 8, 13, 15, 17, 18, 20, 21, 23))
AMBIGUOUS: Final = frozenset((6, 7, 22, 26))
OWN_FILES: Final = ("sentiment", "sentiment_talk", "sentiment_tales", "sentiment_words")
# Only emoji that the file of moods names first, faces and hands and hearts, are written into texts.
WRITTEN_EMOJI: Final = 70
# Wishes of the intent files that carry no feeling of their own.
PLAIN_WISHES: Final = frozenset(
    [
        "change_order",
        "change_shipping_address",
        "set_up_shipping_address",
        "check_cancellation_fee",
        "check_invoice",
        "get_invoice",
        "product_inquiry",
        "check_payment_methods",
        "check_refund_policy",
        "contact_customer_service",
        "create_account",
        "edit_account",
        "delivery_options",
        "delivery_period",
        "track_order",
        "place_order",
        "switch_account",
        "cancel_order",
        "get_refund",
        "exchange_item",
        "promotions",
    ]
)


@dataclass(frozen=True, slots=True)
class Remark:
    """A text with the number of its sentiment."""

    text: str
    sentiment: int
    language: str = "en"
    emotion: int = -1


def _three_classes(labels: set[int]) -> int | None:
    """Return the class of a set of GoEmotions labels; mixed feelings and mere surprise have none."""
    negative, positive = bool(labels & NEGATIVE), bool(labels & POSITIVE)
    if negative and positive:
        return None
    if negative or positive:
        return 2 if positive else 0
    return None if labels & AMBIGUOUS else 1


def read_remarks(data: Path, part: str) -> list[Remark]:
    """Read GoEmotions (`train`, `dev` or `test`) in three classes."""
    remarks = []
    for line in (data / "sentiment_en_goemotions" / f"{part}.tsv").read_text(encoding="utf-8").splitlines():
        text, labels, _ = line.split("\t")
        emotions = [int(label) for label in labels.split(",")]
        sentiment = _three_classes(set(emotions))
        if sentiment is not None:
            remarks.append(Remark(re.sub(r"\[(NAME|RELIGION)\]", "someone", text), sentiment, "en", emotions[0]))
    return remarks


def read_own(*names: str) -> dict[str, list[Seed]]:
    """Read our sentences by language; the names are of files, without language and ending."""
    return {
        language: [seed for name in names for seed in read_seeds(OWN / f"{name}.{language}.txt", language)]
        for language in ("en", "zh")
    }


def written_emoji() -> list[str]:
    """Return the emoji of each mood that people write most."""
    judged: dict[str, str] = {}
    for line in JUDGED.read_text(encoding="utf-8").splitlines():
        mood, _, characters = line.partition(" ")
        judged[mood] = MODIFIERS.sub("", characters)
    return [judged[mood][:WRITTEN_EMOJI] for mood in SENTIMENTS]


def bears_emoji(text: str) -> bool:
    """Tell whether a text has an emoji (or another pictograph) in it."""
    return re.search("[\u2190-\u2bff\U0001f000-\U0001faff]", text) is not None


def read_traditional() -> dict[int, str]:
    """Return the traditional form of simplified characters, for `str.translate`."""
    lines = (OWN / "sentiment_traditional.txt").read_text(encoding="utf-8").splitlines()
    pairs = " ".join(line for line in lines if not line.startswith("#")).split()
    return {ord(pair[0]): pair[1] for pair in pairs}


class SentimentSampler:
    """Draws training texts: about half Reddit, half customers and everyday talk, evenly over the classes.

    Reddit's remarks with an emoji are left out: the fusion head learns from them, and needs the text model's honest
    opinion of them. Emoji are written into our own sentences instead.
    """

    def __init__(self, data: Path) -> None:
        self.chance = random.Random(0)
        self._reddit: dict[int, list[Remark]] = {0: [], 1: [], 2: []}
        for one in read_remarks(data, "train"):
            if not bears_emoji(one.text):
                self._reddit[one.sentiment].append(one)
        self._own: dict[tuple[str, str], list[Seed]] = {}
        self.held: list[Seed] = []
        for language, seeds in read_own(*OWN_FILES).items():
            for seed in seeds:
                if held_out(seed.text, 0.06):
                    self.held.append(seed)
                else:
                    self._own.setdefault((language, seed.label), []).append(seed)
        self._openings = read_openings(OWN / "openings.txt")
        self._emoji = written_emoji()
        self._traditional = read_traditional()
        self._plain, self._complaints, self._thanks = (
            {language: [one for one in read_intent_seeds(language) if one.label in labels] for language in ("en", "zh")}
            for labels in (PLAIN_WISHES, {"complaint"}, {"thanks"})
        )

    def _seeded(self, language: str, label: str) -> str:
        """Make one sentence of ours, or one of the intent files' whose mood is known."""
        chance = self.chance
        seed = chance.choice(self._own[language, label])
        opening, rate = "plain", 0.08
        if chance.random() < 0.25:
            match label:
                case "neutral":
                    seed, rate = chance.choice(self._plain[language]), 0.4
                case "negative" if chance.random() < 0.4:
                    seed = chance.choice(self._complaints[language])
                case "negative":
                    seed, opening, rate = chance.choice(self._plain[language]), "angry", 0.7
                case _ if chance.random() < 0.6:
                    seed = chance.choice(self._thanks[language])
                case _:
                    seed, opening, rate = chance.choice(self._plain[language]), "happy", 0.7
        text = expand(seed, chance)
        dressed = surround(text, self._openings[language], chance, rate, (opening,))
        # A plain wish counts as angry or happy only if something angry or happy was put around it.
        while opening != "plain" and dressed == text:
            dressed = surround(text, self._openings[language], chance, rate, (opening,))
        return dressed

    def _joined(self, language: str, text: str, label: str) -> str:
        """Put another sentence before or after: one of the same mood, or one without."""
        chance = self.chance
        other = self._seeded(language, chance.choice((label, "neutral")))
        first, second = (text, other) if chance.random() < 0.5 else (other, text)
        glue = chance.choice(("，", "。", " ", "！") if language == "zh" else (". ", ", ", " ", "! "))
        return first.rstrip("。！，,.! ") + glue + second

    def _with_emoji(self, text: str, label: str) -> str:
        chance = self.chance
        chosen = chance.choice(self._emoji[SENTIMENTS.index(label)])
        if chance.random() < 0.3:
            chosen *= chance.choice((2, 3))
        return text + chance.choice(("", " ")) + chosen

    def own_text(self, language: str, label: str) -> str:
        """Make one text of ours with this mood, as people write it."""
        chance = self.chance
        if chance.random() < 0.05:
            # The emoji alone decides.
            text = self._with_emoji(self._seeded(language, "neutral"), label)
        else:
            text = self._seeded(language, label)
            if chance.random() < 0.22:
                text = self._joined(language, text, label)
            if chance.random() < 0.05:
                text = self._with_emoji(text, label)
        if language == "zh" and chance.random() < 0.08:
            text = text.translate(self._traditional)
        return roughen(text, language, chance)

    def draw(self) -> Remark:
        """Draw one text."""
        chance = self.chance
        if chance.random() < 0.55:
            one = chance.choice(self._reddit[chance.choice((0, 0, 1, 1, 1, 2, 2, 2))])
            text = roughen(one.text, "en", chance) if chance.random() < 0.4 else one.text
            return Remark(text, one.sentiment, "en", one.emotion)
        label = chance.randrange(3)
        language = chance.choice(("en", "en", "zh", "zh", "zh"))
        return Remark(self.own_text(language, SENTIMENTS[label]), label, language)
