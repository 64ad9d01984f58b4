"""What a terminal shows of a chat."""

import io

import pytest

from csgate.cli.screen import Screen
from csgate.client import ClientEvent, Connected, Disconnected, NotRecovered
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    Intent,
    MessageEvent,
    ProgressEvent,
    ReplyEvent,
    Sentiment,
    SnapshotEvent,
    StateEvent,
    Tag,
)
from csgate.protocol import TokenExpiring, Welcome

WHEN = "2026-01-01T00:00:00Z"
REPLY = ReplyEvent(
    id="m1",
    offset=2,
    text="Your order **12345** is on its way.",
    intent=Intent("order_status", 0.973),
    sentiment=Sentiment("neutral", 0.03),
    tags=(Tag("cat", "猫", 0.91), Tag("joy", "开心", 0.5)),
    analysis="",
    source="canned",
    timestamp=WHEN,
    timing={"queue": 0.1, "total": 12.34},
    quick_replies=("Cancel it", "Talk to a person"),
)


def welcome(engine: dict[str, object]) -> Welcome:
    return Welcome("c1", "e1", 0, False, {}, engine)


def shown(*events: ClientEvent, styled: bool = False, sent: str | None = None) -> str:
    out = io.StringIO()
    times = iter([10.0, 10.05, 10.1, 10.2])
    screen = Screen(out, styled=styled, clock=lambda: next(times))
    if sent is not None:
        screen.sent(sent)
    for event in events:
        screen.show(event)
    return out.getvalue()


def test_a_reply_with_everything() -> None:
    assert shown(REPLY, sent="m1") == (
        "Your order **12345** is on its way.\n"
        "  [order_status 97% · neutral +0.03 · tags: 猫 91%, 开心 50% · 50 ms (queue 0.1, total 12.3)]\n"
        "  you might say: Cancel it | Talk to a person\n"
    )


def test_a_reply_with_nothing() -> None:
    bare = ReplyEvent("m1", 2, "Yes.", None, None, (), "", "canned", WHEN, stopped=True)
    assert shown(bare) == "Yes.\n  [stopped]\n"
    assert shown(bare, sent="m1") == "Yes.\n  [50 ms · stopped]\n"
    timed = ReplyEvent("m1", 2, "Yes.", None, None, (), "", "canned", WHEN, timing={"total": 3.0})
    assert shown(timed) == "Yes.\n  [total 3.0 ms]\n"


def test_colours_and_bold_on_a_terminal_only() -> None:
    styled = shown(REPLY, styled=True)
    assert "\x1b[1m12345\x1b[0m" in styled
    assert "**" not in styled
    assert "\x1b" not in shown(REPLY)


def test_a_streamed_answer_is_not_shown_twice() -> None:
    pieces = (DeltaEvent("m1", 1, 1, "Your order "), DeltaEvent("m1", 1, 2, "**12345** is on its way."))
    assert shown(*pieces, REPLY).count("on its way") == 1
    begun = (DeltaEvent("m1", 1, 1, "Your or"),)
    assert shown(*begun, REPLY).startswith("Your order **12345** is on its way.\n  [")
    other = (DeltaEvent("m1", 1, 1, "I was going to say"),)
    assert shown(*other, REPLY).startswith("I was going to say\nYour order")
    resumed = (DeltaEvent("m1", 1, 1, "Your or"), SnapshotEvent("m1", 1, 2, REPLY.text))
    assert shown(*resumed, REPLY).startswith("Your or\nYour order **12345** is on its way.\n  [")
    anew = (DeltaEvent("m1", 1, 1, "Your or"), DeltaEvent("m1", 2, 1, REPLY.text))
    assert shown(*anew, REPLY).startswith("Your or\nYour order **12345** is on its way.\n  [")
    mixed = (DeltaEvent("m0", 1, 1, "first"), DeltaEvent("m1", 1, 1, "second"))
    assert shown(*mixed) == "first\nsecond"


def test_a_stranger_cannot_drive_the_terminal() -> None:
    nasty = "\x1b]0;owned\x07\x1b[2Jbold\x9b31m\r\x00line\n\ttab"
    for event in (
        MessageEvent("x", 1, "human", nasty, WHEN),
        ErrorEvent(nasty, nasty, nasty),
        DeltaEvent("x", 1, 1, nasty),
        ReplyEvent("x", 1, nasty, Intent(nasty, 1.0), None, (), "", "canned", WHEN, quick_replies=(nasty,)),
        Connected(welcome({"provider": nasty, "models": {"intent": nasty}}), False),
        Disconnected(nasty, 1.0),
    ):
        text = shown(event)
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\r", "\x00"}, event
    assert shown(DeltaEvent("x", 1, 1, nasty)).endswith("line\n\ttab")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Connected(welcome({"provider": "CPU", "models": {"intent": "shop 1", "tagger": "tags 2"}}), False),
         "· connected; conversation c1; CPU (shop 1, tags 2)\n"),
        (Connected(welcome({}), True), "· resumed; conversation c1; no models\n"),
        (Disconnected("draining", 1.234), "· draining; next try in 1.2 s\n"),
        (MessageEvent("x", 1, "human", "Hello", WHEN), "agent: Hello\n"),
        (MessageEvent("x", 1, "customer", "Hello", WHEN), "you, elsewhere: Hello\n"),
        (MessageEvent("m1", 1, "customer", "Hello", WHEN), ""),
        (ProgressEvent("m1", "queued", position=3), "· waiting, 3 ahead\n"),
        (ProgressEvent("m1", "understanding"), ""),
        (ProgressEvent("m1", "queued"), ""),
        (StateEvent("human", 1, WHEN), "· a person answers\n"),
        (ErrorEvent("rate_limited", "Slow down.", "r1", retry_after=2.0),
         "⚠ Slow down. Try again in 2 s. [rate_limited, ref r1]\n"),
        (ErrorEvent("bad_image", "Broken.", "r2", id="m1"), "⚠ Broken. [bad_image, ref r2]\n"),
        (AckEvent("m1", 1), ""),
        (Connected(welcome({}), True, standby=True), "· switched; conversation c1; no models\n"),
        (NotRecovered("gap"), "· some of what was said meanwhile is not kept any more\n"),
        (NotRecovered("gone"),
         "· the conversation was lost; this is a new one, and what had no answer is asked again\n"),
        (TokenExpiring(60.0), "· the token ends in 60 s\n"),
    ],
)  # fmt: skip
def test_the_other_events(event: ClientEvent, text: str) -> None:
    assert shown(event, sent="m1") == text
