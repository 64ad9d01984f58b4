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

from text_expansion import CHOICE, Opening, Seed, expand, read_openings, read_seeds, roughen, surround
from text_variation import leave_out_words, retype_chinese, swap_synonyms

OWN: Final = Path(__file__).parent / "data"
_LABELS: Final = tomllib.loads((OWN / "intents.toml").read_text(encoding="utf-8"))
INTENTS: Final = tuple(_LABELS)
INTENT_CHINESE: Final = tuple(_LABELS.values())
OUT_OF_SCOPE: Final = INTENTS.index("out_of_scope")
SEED_FILES: Final = (
    "intents",
    "intents_indirect",
    "intents_wide",
    "intents_scenes",
    "intents_voices_a",
    "intents_voices_b",
    "intents_people",
    "intents_dev",
)
HELD_SHARE: Final = 0.08
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


def read_intent_seeds(language: str, names: tuple[str, ...] = ("intents", "intents_indirect")) -> list[Seed]:
    """Read files of seeds: those to the point, and those said indirectly, unless others are named."""
    return [seed for name in names for seed in read_seeds(OWN / f"{name}.{language}.txt", language)]


def read_all_seeds(language: str) -> list[Seed]:
    """Read every seed that the intent model learns from, by all authors."""
    return read_intent_seeds(language, SEED_FILES)


def unlabelled_texts(data: Path) -> list[str]:
    """Return public and own text whose words are worth knowing, whatever it says: Reddit, travellers, our replies."""
    path = data / "sentiment_en_goemotions" / "train.tsv"
    texts = [line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    for part in ("val", "test"):
        with zipfile.ZipFile(data / "dialog_zh_crosswoz" / f"{part}.json.zip") as archive:
            dialogs = json.loads(archive.read(archive.namelist()[0])).values()
            texts += [message["content"] for dialog in dialogs for message in dialog["messages"]]
    chance = random.Random(0)
    for language in ("en", "zh"):
        for seed in read_seeds(OWN / f"replies.{language}.txt", language):
            plain = re.sub(r"\*\*|\\n|^[-+] ", " ", seed.text)
            for _ in range(3):
                reply = plain
                while CHOICE.search(reply):
                    reply = CHOICE.sub(lambda found: chance.choice(found.group(1).split("|")), reply)
                texts += re.split(r"(?<=[.?!。？！]) *", re.sub(r"\{\w+\}", "it", reply))
    return [text for text in texts if len(text) > 4]


def read_corpus(data: Path) -> Corpus:
    """Read our own text and the public data below `data`."""
    seeds = read_all_seeds("en") + read_all_seeds("zh")
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
        seeds=[seed for seed in seeds if not held_out(seed.text, HELD_SHARE)],
        held_seeds=[seed for seed in seeds if held_out(seed.text, HELD_SHARE)],
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
    """Read our messages that are not trained on, by language: `intents_test` for choosing, blind ones for figures."""
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
            # Seeds with much grammar stand for many messages.
            self._by_intent.setdefault((seed.language, seed.label), []).extend([seed] * (2 + 3 * _rich(seed)))
        strangers = [one for one in corpus.others if one.intent == OUT_OF_SCOPE]
        self._strange = {language: [one for one in strangers if one.language == language] for language in ("en", "zh")}
        self._mapped = [one for one in corpus.others if one.intent != OUT_OF_SCOPE]

    def seeded(self, seed: Seed) -> Example:
        """Make one message of a seed."""
        chance = self.chance
        text = expand(seed, chance)
        if chance.random() < 0.5:
            text = swap_synonyms(text, seed.language, chance, 0.4)
        if chance.random() < 0.3:
            text = leave_out_words(text, seed.language, chance)
        if seed.label not in {"greeting", "goodbye", "thanks", "out_of_scope"}:
            text = surround(text, self._corpus.openings[seed.language], chance, 0.22, ("plain", "angry", "happy"))
        return Example(text, INTENTS.index(seed.label), seed.language)

    def _ramble(self, one: Example) -> Example:
        """Put a sentence beside it that has nothing to do with it: strange words alone make nothing out of scope."""
        chance = self.chance
        other = chance.choice(self._strange[one.language]).text
        if len(other) + len(one.text) > 200:
            return one
        first, second = (other, one.text) if chance.random() < 0.65 else (one.text, other)
        between = chance.choice((". ", ", ", "... ", " ") if one.language == "en" else ("，", "。", " "))
        return Example(first.rstrip(".?!。？！") + between + second, one.intent, one.language)

    def draw(self) -> Example:
        """Draw one message.

        Strangers' sentences are few on purpose: with many, every unknown wording of a customer is taken for one.
        """
        chance = self.chance
        source = chance.random()
        if source < 0.8:
            language = "zh" if chance.random() < 0.56 else "en"
            label = chance.choice((*INTENTS, "out_of_scope"))
            one = self.seeded(chance.choice(self._by_intent[language, label]))
        elif source < 0.86:
            one = chance.choice(self._corpus.bitext)
        elif source < 0.935:
            one = chance.choice(self._corpus.retail)
        elif source < 0.945:
            one = chance.choice(self._mapped)
        elif source < 0.985:
            one = chance.choice(self._strange["en"])
        else:
            one = chance.choice(self._strange["zh"])
        if one.intent != OUT_OF_SCOPE and chance.random() < 0.1:
            one = self._ramble(one)
        text = roughen(one.text, one.language, chance)
        if one.language == "zh":
            text = retype_chinese(text, chance)
        return Example(text, one.intent, one.language)


def _rich(seed: Seed) -> bool:
    return seed.text.count("(") >= 3
