"""What the text in a picture tells. It is a stranger's: it names things, and is never taken for a wish or a command.

Pure, and too slow for the event loop where a picture is full of text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from csgate.dialog.pack import Pack
from csgate.dialog.slots import PACK_SLOTS, Slot, SlotName, best_slots, find_slots, hide_cards
from csgate.dialog.template import plain
from csgate.events import Intent
from csgate.inference.results import PictureKind, PictureResult, ReadText

MAX_CHARS: Final = 1_000
"""So much of what was read is searched."""
MAX_QUESTION_CHARS: Final = 400
"""And so much shown to the intent model."""
MAX_SHOWN_CHARS: Final = 160

SURE_KIND: Final = 0.6
"""A kind of picture must have this probability to be acted on."""
SCREEN_SHAPE: Final = 1.5
"""At least so many times as long as wide is no sticker, whatever it looks like."""

# An address or a date on a page is the page's own; these belong to the customer's business.
_NAMES: Final[tuple[SlotName, ...]] = ("order_number", "amount")
_SUM: Final = re.compile(
    r"(?<![A-Za-z])(?:grand total|total|amount|paid)|合计|总计|总额|实付|应付|付款金额|合計|總計", re.I
)
_ERROR_CODE: Final = re.compile(
    r"(?:(?<![A-Za-z])(?:error|err|fault)(?:[ _-]?(?:code|no\.?|number|id))?"
    r"|(?:错误|錯誤|故障|异常)(?:代码|编码|编号|码|代碼|碼)?)"
    r"[\s:#=是为為]{0,4}(?P<value>[A-Z]{0,8}[_-]?[0-9]{2,8}(?:-[0-9]{1,6})?)(?![A-Za-z0-9])",
    re.IGNORECASE,
)


class PictureWords(msgspec.Struct, frozen=True):
    """``slots`` that were read, not said; ``question`` for the intent model, empty where nothing was read."""

    slots: Mapping[SlotName, Slot] = {}
    question: str = ""


def sure_kind(picture: PictureResult) -> PictureKind | None:
    """Of what kind the picture is, where the tagger is sure enough to say so."""
    return picture.kind if picture.kind_score >= SURE_KIND else None


def worth_reading(picture: PictureResult | None) -> bool:
    """Whether a picture may have text that tells something. ``picture`` is None where nothing looked at it."""
    if picture is None:
        return True
    if picture.animated:
        return False
    long, short = max(picture.width, picture.height), min(picture.width, picture.height)
    return sure_kind(picture) != "sticker" or long >= SCREEN_SHAPE * short


def words_of(read: ReadText) -> PictureWords:
    """What rules find in the text of a picture."""
    rows = read.rows
    if not rows:
        return PictureWords()
    text = "\n".join(rows)[:MAX_CHARS]
    found = [slot for slot in find_slots(text) if slot.name in _NAMES]
    if not any(slot.name == "order_number" and slot.sure for slot in found):
        # A label may stand above its value. Where it does not, a row's end and the next one's start rarely make sense
        # together.
        found += [slot for slot in find_slots(text.replace("\n", " ")) if slot.name == "order_number"]
    code = find_error_code(text)
    slots = best_slots([*_sums(text, found), *found, *([code] if code is not None else [])])
    slots = without_code(slots)
    return PictureWords(
        slots={name: msgspec.structs.replace(slots[name], read=True) for name in PACK_SLOTS if name in slots},
        question=". ".join(rows)[:MAX_QUESTION_CHARS],
    )


def _sums(text: str, found: Sequence[Slot]) -> list[Slot]:
    """The amounts in rows that say that they are what was to be paid."""
    sums = []
    for slot in found:
        row = text[text.rfind("\n", 0, slot.start) + 1 : slot.start]
        if slot.name == "amount" and _SUM.search(row):
            sums.append(slot)
    return sums


def find_error_code(text: str) -> Slot | None:
    """The first number in ``text`` that is called an error."""
    match = _ERROR_CODE.search(text)
    return Slot("error_code", match["value"], match.start("value"), match.end("value")) if match else None


def without_code(slots: Mapping[SlotName, Slot]) -> Mapping[SlotName, Slot]:
    """``slots`` without an order number that nobody called one, where it is the error code."""
    order, code = slots.get("order_number"), slots.get("error_code")
    if order is None or code is None or order.sure or order.value != code.value:
        return slots
    return {name: slot for name, slot in slots.items() if name != "order_number"}


def tells(ranking: Sequence[Intent], pack: Pack) -> bool:
    """Whether a ranking says clearly what a message is about, small talk aside."""
    return bool(ranking) and _clear(ranking, pack) and _matters(ranking[0].name, pack)


def is_vague(ranking: Sequence[Intent], pack: Pack) -> bool:
    """Whether a message's own words leave it to its picture what it is about."""
    if not ranking or not _clear(ranking, pack):
        return True
    entry = pack.intents[ranking[0].name]
    return not (_matters(entry.name, pack) or entry.hand_over or entry.name in pack.escalation.complaint_intents)


def admissible(ranking: Sequence[Intent], pack: Pack) -> tuple[Intent, ...]:
    """The intents that text in a picture may stand for: never a wish for a person, nor a complaint."""
    barred = {pack.escalation.handover_intent, *pack.escalation.complaint_intents}
    return tuple(
        [
            intent
            for intent in ranking
            if intent.name in pack.intents and intent.name not in barred and not pack.intents[intent.name].hand_over
        ]
    )


def _clear(ranking: Sequence[Intent], pack: Pack) -> bool:
    lead = ranking[0].confidence - (ranking[1].confidence if len(ranking) > 1 else 0.0)
    return ranking[0].confidence >= pack.thresholds.confidence and lead >= pack.thresholds.ambiguity


def _matters(name: str, pack: Pack) -> bool:
    # Small talk, and what is none of the shop's business, is what no mood puts a sentence in front of.
    return name != pack.escalation.out_of_scope_intent and pack.intents[name].opening


def shown_text(read: ReadText, most: int = MAX_SHOWN_CHARS) -> str:
    """The first ``most`` characters of what was read, on one line, for people to see; payment cards unreadable."""
    shown = ""
    for row in read.rows:
        more = plain(hide_cards(row))
        if not more:
            continue
        shown = f"{shown} / {more}" if shown else more
        if len(shown) > most:
            return shown[: most - 1].rstrip(" /") + "…"
    return shown
