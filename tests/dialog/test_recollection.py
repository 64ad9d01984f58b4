"""Facts from the conversation so far."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgate.dialog.recollection import MAX_EVENTS, MAX_NOTED, Memory, Recollection, fold, recollect
from csgate.dialog.slots import Slot
from csgate.events import ErrorEvent, Intent, LogEvent, MessageEvent, RateEvent, ReplyEvent, Sentiment, StateEvent

NOW = "2026-11-22T10:00:00Z"


def said(text: str, id: str = "m", author: str = "customer") -> MessageEvent:
    return MessageEvent(id=id, offset=1, author=author, text=text, timestamp=NOW)  # type: ignore[arg-type]


def replied(source: str = "canned", intent: str | None = None, score: float = 0.0, **more: object) -> ReplyEvent:
    return ReplyEvent(
        id="m",
        offset=2,
        text="Hm.",
        intent=Intent(intent, 0.9) if intent else None,
        sentiment=Sentiment("neutral", score),
        tags=(),
        analysis="",
        source=source,
        timestamp=NOW,
        **more,  # type: ignore[arg-type]
    )


def log(*events: LogEvent) -> tuple[LogEvent, ...]:
    return tuple(msgspec.structs.replace(event, offset=offset) for offset, event in enumerate(events, 1))


def recall(*history: LogEvent, id: str = "now") -> Recollection:
    return recollect(log(*history), id, 0.4)


def values(facts: Recollection) -> dict[str, str]:
    return {name: slot.value for name, slot in facts.slots.items()}


def test_nothing() -> None:
    facts = recall()
    assert facts == Recollection(slots={})
    assert facts.chosen("first") is None


def test_slots_carry_over_the_latest_wins() -> None:
    facts = recall(said("order 11111"), replied(), said("I mean order 22222, mail me@example.com"), said("ok"))
    assert values(facts) == {"order_number": "22222", "email": "me@example.com"}


def test_amounts_dates_and_doubtful_numbers_do_not() -> None:
    assert values(recall(said("I paid $20 yesterday, code 1234567 or so"))) == {}


def test_what_others_said_does_not() -> None:
    assert values(recall(said("order 12345", author="human"))) == {}


def test_only_the_start_of_a_long_message_is_read() -> None:
    assert values(recall(said("x" * 500 + " order 12345"))) == {}


def test_the_message_itself_and_later_ones_are_left_out() -> None:
    assert values(recall(said("order 11111"), said("order 22222", id="now"), said("order 33333"))) == {
        "order_number": "11111"
    }


@pytest.mark.parametrize(
    ("history", "count"),
    [
        ([replied("clarify")], 1),
        ([replied("clarify"), said("x"), replied("clarify")], 2),
        ([replied("clarify"), replied("canned")], 0),
        ([replied("clarify"), replied("stopped"), replied("muted"), replied("clarify")], 2),
        ([replied("clarify"), StateEvent(state="waiting", offset=1, timestamp=NOW), replied("clarify")], 1),
        ([replied("clarify"), replied("hand_over")], 0),
        ([replied("clarify"), said("hello", author="human")], 0),
        ([replied("clarify"), ErrorEvent(code="timeout", message="", ref="r")], 1),
        ([replied("clarify"), RateEvent(reply="m", score=5, offset=3, timestamp=NOW)], 1),
    ],
)
def test_clarifications_in_a_row(history: Sequence[LogEvent], count: int) -> None:
    assert recall(*history).clarified == count


def test_negative_in_a_row() -> None:
    assert recall(replied(score=-0.9), replied(score=-0.4)).negative == 2
    assert recall(replied(score=-0.9), replied(score=-0.3)).negative == 0
    assert recall(replied(score=-0.9), replied(score=0.9), replied(score=-0.9)).negative == 1


def test_asked() -> None:
    assert recall(replied("ask", "get_refund")).asked == ("get_refund", 1)
    assert recall(replied("ask", "get_refund"), replied("ask", "get_refund")).asked == ("get_refund", 2)
    assert recall(replied("ask", "track_order"), replied("ask", "get_refund")).asked == ("get_refund", 1)
    assert recall(replied("ask", "get_refund"), replied("canned", "greeting")).asked is None
    assert recall(replied("ask")).asked is None


def test_intents() -> None:
    assert recall(replied(intent="complaint"), replied(), replied(intent="review")).intents == ("complaint", "review")


@pytest.mark.parametrize(
    ("text", "offer"),
    [
        ("1", "A"),
        ("The first one!", "A"),
        ("第二个", "B"),
        ("2.", "B"),
        ("yes", None),
        ("third", None),
        ("A", "A"),
    ],
)
def test_pointing_at_an_offer(text: str, offer: str | None) -> None:
    assert recall(replied("clarify", quick_replies=("A", "B", "Person"))).chosen(text) == offer


def test_yes_to_a_question_about_one_thing() -> None:
    facts = recall(replied("clarify", quick_replies=("A", "Person")))
    assert facts.chosen("Yes!") == "A"
    assert facts.chosen("是的") == "A"
    assert facts.chosen("no") is None
    assert recall(replied("canned", quick_replies=("A", "Person"))).chosen("yes") is None


def test_fold() -> None:
    assert fold("  **Track   my ORDER!** ") == "track my order"
    assert fold("？！") == ""


EVENTS: Sequence[LogEvent] = (
    said("order 11111"),
    said("mail me@example.com or call 13800138000"),
    said("no, order 22222"),
    said("thanks"),
    said("order 33333", author="human"),
    replied("canned", "track_order"),
    replied("clarify", quick_replies=("A", "B")),
    replied("clarify", score=-0.9),
    replied("ask", "get_refund", score=-0.5),
    replied("ask", "track_order"),
    replied("hand_over"),
    replied("stopped"),
    StateEvent(state="waiting", offset=1, timestamp=NOW),
    ErrorEvent(code="timeout", message="", ref="r"),
    RateEvent(reply="m", score=5, offset=3, timestamp=NOW),
)


def history_of(events: Sequence[LogEvent], own: int, upto: int, page: int) -> tuple[LogEvent, ...]:
    """What the session gives to the turn of the message at offset ``own`` when the log ends at ``upto``."""
    return tuple(
        event
        for event in events[max(0, upto - page) : upto]
        if event.offset < own or not (isinstance(event, MessageEvent) and event.author == "customer")
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(EVENTS), max_size=200), st.lists(st.integers(0, 12)), st.sampled_from([1, 7, 50, 70, 500])
)
def test_what_is_remembered_is_what_would_be_read(events: Sequence[LogEvent], delays: Sequence[int], page: int) -> None:
    """Message after message, each turn some events later, with the whole history or a page of it."""
    numbered = log(*events)
    memory = Memory()
    waits = iter(delays)
    upto = 0
    for event in numbered:
        if isinstance(event, MessageEvent) and event.author == "customer":
            upto = min(len(numbered), max(upto, event.offset + next(waits, 0)))
            history = history_of(numbered, event.offset, upto, page)
            assert memory.recollect(history, "now", 0.4) == recollect(history, "now", 0.4)


def test_an_event_is_read_once() -> None:
    events = log(*(said(f"order {10000 + number}") if number % 2 else replied() for number in range(200)))
    memory = Memory()
    unread, end = memory.unread(events, "now")
    assert (len(unread), end) == (MAX_EVENTS, 200)
    memory.recollect(events[:190], "now", 0.4)
    assert memory.unread(events[:190], "now") == ([], 190)
    assert memory.unread(events, "now") == (list(reversed(events[190:])), 200)


def test_nothing_is_remembered_of_a_log_that_is_gone() -> None:
    memory = Memory()
    assert memory.recollect(log(said("order 11111"), replied(intent="review")), "now", 0.4).intents
    assert memory.recollect((), "now", 0.4) == Recollection(slots={})


def test_what_was_read_in_few_pictures_is_kept_until_they_are_past() -> None:
    memory = Memory()
    memory.note("none", {"amount": Slot("amount", "$5", 0, 2, read=True)})
    for number in range(MAX_NOTED + 1):
        memory.note(f"m{number}", {"order_number": Slot("order_number", f"1000{number}", 0, 5, read=True)})
    kept = log(*(said("", id=f"m{number}") for number in range(MAX_NOTED + 1)))
    assert memory.recollect(kept[:1], "now", 0.4).slots == {}
    assert values(memory.recollect(kept, "now", 0.4)) == {"order_number": f"1000{MAX_NOTED}"}
