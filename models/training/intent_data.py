"""What the intent model learns from, and what it is measured on."""

from __future__ import annotations

import csv
import json
import random
import re
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

from text_expansion import Opening, Seed, expand, read_openings, read_seeds, roughen, surround

OWN: Final = Path(__file__).parent / "data"
_LABELS: Final = tomllib.loads((OWN / "intents.toml").read_text(encoding="utf-8"))
INTENTS: Final = tuple(_LABELS)
INTENT_CHINESE: Final = tuple(_LABELS.values())
OUT_OF_SCOPE: Final = INTENTS.index("out_of_scope")
# CLINC intents that a shop could mean as well: neither in nor out of its scope.
CLINC_UNCLEAR: Final = frozenset(
    [
        "cancel",
        "order",
        "yes",
        "no",
        "maybe",
        "repeat",
        "what_can_i_ask_you",
        "are_you_a_bot",
        "change_language",
        "report_fraud",
        "card_declined",
        "redeem_rewards",
        "rewards_balance",
        "pin_change",
        "account_blocked",
        "transactions",
        "shopping_list",
        "shopping_list_update",
        "reset_settings",
        "change_user_name",
        "user_name",
        "pay_bill",
        "bill_due",
        "bill_balance",
        "damaged_card",
        "who_do_you_work_for",
        "application_status",
    ]
)
# GoEmotions' amusement, confusion, curiosity, realization, surprise, neutral.
CALM_REMARKS: Final = frozenset(("1", "6", "7", "22", "26", "27"))
CLINC_SAME: Final = {"greeting": "greeting", "goodbye": "goodbye", "thank_you": "thanks", "order_status": "track_order"}
# The twelve retail intents are coarser than ours: first pattern that is found decides.
RETAIL_RULES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "order_tracking": (("", "track_order"),),
    "product_inquiry": (("", "product_inquiry"),),
    "cancel_order": ((r"fee|charge|penalt|free|cost", "check_cancellation_fee"), ("", "cancel_order")),
    "billing_inquiry": (
        (r"(send|get|download|copy|email|need|want|resend|provide).*(invoice|receipt|bill)\b", "get_invoice"),
        (r"invoice|receipt|billing statement|\bbill\b|billing history", "check_invoice"),
        (r"charged|payment|declin|fail|deduct|debit|card|twice|double|transaction", "payment_issue"),
    ),
    "account_management": (
        (r"delete|deactivate|close|remove my account", "delete_account"),
        (r"switch|multiple accounts|merge", "switch_account"),
        (r"address", "change_shipping_address"),
        (r"password|log ?in|2fa|factor|session|device", ""),
        (r"update|change|edit|correct|modify", "edit_account"),
    ),
    "greeting": (("", "greeting"),),
    "human_handoff": (("", "contact_human_agent"),),
    "account_creation": (
        (r"error|fail|not work|can't|cant|unable|won't|stuck|issue|problem|already", "registration_problems"),
        ("", "create_account"),
    ),
    "promotions": (("", "promotions"),),
    "account_recovery": (("", "recover_password"),),
    "shipping_info": (
        (r"how long|when|how many days|how soon|how fast|time|eta|arrive|days", "delivery_period"),
        ("", "delivery_options"),
    ),
    "refund": (
        (r"exchange|replac", "exchange_item"),
        (
            r"policy|window|eligible|how many days|allowed|is it possible|can .* be refunded|restocking",
            "check_refund_policy",
        ),
        (
            r"status|where.*refund|when.*refund|still|not received|haven't|pending|processed|track|how long",
            "track_refund",
        ),
        ("", "get_refund"),
    ),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One finished message with the number of its intent."""

    text: str
    intent: int
    language: str = "en"


@dataclass(slots=True)
class Corpus:
    """Everything by source; `held` rows are for choosing and calibrating, not for the card's figures."""

    seeds: list[Seed]
    held_seeds: list[Seed]
    openings: dict[str, list[Opening]]
    bitext: list[Example]
    retail: list[Example]
    retail_held: list[Example]
    retail_test: list[Example]
    others: list[Example]
    scope_test: list[Example]
    bitext_test: list[Example]
    clinc: list[tuple[str, int]] = field(default_factory=list)
    banking: list[tuple[str, int]] = field(default_factory=list)


def held_out(text: str, share: float) -> bool:
    """Decide by the text alone, so that a row stays on its side whatever else changes."""
    return crc32(text.encode()) % 1000 < share * 1000


def _retail(data: Path) -> list[Example]:
    examples = []
    with (data / "intent_en_retail12" / "train.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for pattern, intent in RETAIL_RULES[row["intent"]]:
                if re.search(pattern, row["text"].lower()):
                    if intent:
                        examples.append(Example(row["text"], INTENTS.index(intent)))
                    break
    return examples


def _bitext(data: Path, part: str) -> list[Example]:
    path = data / "intent_en_bitext" / f"Bitext_Sample_Customer_Service_{part}_Dataset.csv"
    with path.open(encoding="utf-8-sig") as file:
        return [Example(row["utterance"], INTENTS.index(row["intent"])) for row in csv.DictReader(file)]


def crosswoz_turns(data: Path) -> list[str]:
    """Return what travellers asked in Chinese; short turns and mere manners are left out."""
    turns = set()
    for part in ("val", "test"):
        with zipfile.ZipFile(data / "dialog_zh_crosswoz" / f"{part}.json.zip") as archive:
            for dialog in json.loads(archive.read(archive.namelist()[0])).values():
                for message in dialog["messages"]:
                    manners = any(act[0] == "General" for act in message["dialog_act"])
                    if message["role"] == "usr" and not manners and 6 <= len(message["content"]) <= 60:
                        turns.add(message["content"])
    return sorted(turns)


def reddit_remarks(data: Path) -> list[str]:
    """Return remarks that are neither gratitude nor anger nor praise: nothing that a shop hears."""
    remarks = []
    for line in (data / "sentiment_en_goemotions" / "train.tsv").read_text(encoding="utf-8").splitlines():
        text, labels, _ = line.split("\t")
        calm = set(labels.split(",")) <= CALM_REMARKS
        if calm and "[" not in text and 15 < len(text) < 90 and held_out(text, 0.25):
            remarks.append(text)
    return remarks


def read_intent_seeds(language: str) -> list[Seed]:
    """Read both files of seeds: those to the point, and those said indirectly."""
    return [
        seed
        for name in ("intents", "intents_indirect")
        for seed in read_seeds(OWN / f"{name}.{language}.txt", language)
    ]


def read_corpus(data: Path) -> Corpus:
    """Read our own text and the public data below `data`."""
    seeds = read_intent_seeds("en") + read_intent_seeds("zh")
    unknown = {seed.label for seed in seeds} - set(INTENTS)
    if unknown:
        raise ValueError(f"headings that are no intents: {sorted(unknown)}")
    clinc = json.loads((data / "intent_en_clinc150" / "data_full.json").read_text())
    clinc_names = sorted({label for _, label in clinc["train"]})
    others = []
    for text, label in clinc["train"] + clinc["val"]:
        if label in CLINC_SAME:
            others.append(Example(text, INTENTS.index(CLINC_SAME[label])))
        elif label not in CLINC_UNCLEAR:
            others.append(Example(text, OUT_OF_SCOPE))
    others += [Example(text, OUT_OF_SCOPE) for text, _ in clinc["oos_train"] + clinc["oos_val"]]
    others += [Example(text, OUT_OF_SCOPE) for text in reddit_remarks(data)]
    others += [Example(text, OUT_OF_SCOPE, "zh") for text in crosswoz_turns(data)]
    with (data / "intent_en_banking77" / "train.csv").open(encoding="utf-8") as file:
        banking = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    banking_names = sorted({label for _, label in banking})
    retail = _retail(data)
    return Corpus(
        seeds=[seed for seed in seeds if not held_out(seed.text, 0.08)],
        held_seeds=[seed for seed in seeds if held_out(seed.text, 0.08)],
        openings=read_openings(OWN / "openings.txt"),
        bitext=_bitext(data, "Training") + _bitext(data, "Validation"),
        retail=[one for one in retail if not held_out(one.text, 0.35)],
        retail_held=[one for one in retail if held_out(one.text, 0.35) and not held_out(one.text, 0.25)],
        retail_test=[one for one in retail if held_out(one.text, 0.25)],
        others=others,
        scope_test=[Example(text, OUT_OF_SCOPE) for text, _ in clinc["oos_test"]],
        bitext_test=_bitext(data, "Testing"),
        clinc=[(text, clinc_names.index(label)) for text, label in clinc["train"]],
        banking=[(text, banking_names.index(label)) for text, label in banking],
    )


def read_tests(name: str = "intents_test") -> dict[str, list[Example]]:
    """Read our messages that are not trained on, by language; `intents_dev` is for calibration."""
    return {
        language: [
            Example(seed.text, INTENTS.index(seed.label), language)
            for seed in read_seeds(OWN / f"{name}.{language}.txt", language)
        ]
        for language in ("en", "zh")
    }


class Sampler:
    """Draws finished training messages: own seeds first, evenly over intents and languages, then the public ones."""

    def __init__(self, corpus: Corpus, chance: random.Random) -> None:
        self._corpus = corpus
        self.chance = chance
        self._by_intent: dict[tuple[str, str], list[Seed]] = {}
        for seed in corpus.seeds:
            self._by_intent.setdefault((seed.language, seed.label), []).append(seed)
        self._chinese = [one for one in corpus.others if one.language == "zh"]
        self._english = [one for one in corpus.others if one.language == "en" and one.intent == OUT_OF_SCOPE]
        self._mapped = [one for one in corpus.others if one.intent != OUT_OF_SCOPE]

    def seeded(self, seed: Seed) -> Example:
        """Make one message of a seed."""
        chance = self.chance
        text = expand(seed, chance)
        if seed.label not in {"greeting", "goodbye", "thanks", "out_of_scope"}:
            text = surround(text, self._corpus.openings[seed.language], chance, 0.22, ("plain", "angry", "happy"))
        return Example(roughen(text, seed.language, chance), INTENTS.index(seed.label), seed.language)

    def draw(self) -> Example:
        """Draw one message."""
        chance = self.chance
        source = chance.random()
        if source < 0.66:
            language = chance.choice(("en", "zh"))
            return self.seeded(chance.choice(self._by_intent[language, chance.choice(INTENTS)]))
        if source < 0.74:
            one = chance.choice(self._corpus.bitext)
        elif source < 0.84:
            one = chance.choice(self._corpus.retail)
        elif source < 0.86:
            one = chance.choice(self._mapped)
        elif source < 0.95:
            one = chance.choice(self._english)
        else:
            one = chance.choice(self._chinese)
        return Example(roughen(one.text, one.language, chance), one.intent, one.language)
