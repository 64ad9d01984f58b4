"""What the sentiment model learns from: labelled Reddit remarks, and our customers' sentences in both languages."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intent_data import OWN, held_out, read_intent_seeds
from text_expansion import Seed, expand, read_openings, read_seeds, roughen, surround

SENTIMENTS: Final = ("negative", "neutral", "positive")
NEGATIVE: Final = frozenset((2, 3, 9, 10, 11, 12, 14, 16, 19, 24, 25))
POSITIVE: Final = frozenset((0, 1, 4, 5, 8, 13, 15, 17, 18, 20, 21, 23))
AMBIGUOUS: Final = frozenset((6, 7, 22, 26))
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


def read_own(name: str) -> dict[str, list[Seed]]:
    """Read our sentences by language; `name` is `sentiment` or `sentiment_test`."""
    return {language: read_seeds(OWN / f"{name}.{language}.txt", language) for language in ("en", "zh")}


class SentimentSampler:
    """Draws training texts: half Reddit, half customers, evenly over the classes."""

    def __init__(self, data: Path) -> None:
        self.chance = random.Random(0)
        self._reddit: dict[int, list[Remark]] = {0: [], 1: [], 2: []}
        for one in read_remarks(data, "train"):
            self._reddit[one.sentiment].append(one)
        self._own: dict[tuple[str, str], list[Seed]] = {}
        self.held: list[Seed] = []
        for language, seeds in read_own("sentiment").items():
            for seed in seeds:
                if held_out(seed.text, 0.08):
                    self.held.append(seed)
                else:
                    self._own.setdefault((language, seed.label), []).append(seed)
        self._openings = read_openings(OWN / "openings.txt")
        self._plain, self._complaints, self._thanks = (
            {language: [one for one in read_intent_seeds(language) if one.label in labels] for language in ("en", "zh")}
            for labels in (PLAIN_WISHES, {"complaint"}, {"thanks"})
        )

    def _own_text(self, language: str, label: str) -> str:
        chance = self.chance
        seed = chance.choice(self._own[language, label])
        opening, rate = "plain", 0.12
        if chance.random() < 0.4:
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
        return roughen(dressed, language, chance)

    def draw(self) -> Remark:
        """Draw one text."""
        chance = self.chance
        if chance.random() < 0.55:
            one = chance.choice(self._reddit[chance.choice((0, 1, 1, 2))])
            text = roughen(one.text, "en", chance) if chance.random() < 0.5 else one.text
            return Remark(text, one.sentiment, "en", one.emotion)
        label = chance.randrange(3)
        language = chance.choice(("en", "zh", "zh"))
        return Remark(self._own_text(language, SENTIMENTS[label]), label, language)
