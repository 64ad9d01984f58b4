"""Server frames: exactly the fields that the protocol lists, and nothing that a peer should not see."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.errors import (
    BadBase64,
    CsgateError,
    Expired,
    Internal,
    Overloaded,
    RateLimited,
    TooLarge,
)
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    Intent,
    MessageEvent,
    ProgressEvent,
    RateEvent,
    ReplyEvent,
    Sentiment,
    SnapshotEvent,
    StateEvent,
    Tag,
    TypingEvent,
)
from csgate.protocol import (
    Draining,
    History,
    Pong,
    ServerEnvelope,
    TokenExpiring,
    Welcome,
    encode,
    encode_simple,
    error_event,
)

WHEN = "2026-01-02T03:04:05.678Z"
PLAIN_REPLY = ReplyEvent("1", 2, "Hello", None, None, (), "", "canned", WHEN)
FULL_REPLY = ReplyEvent(
    "1",
    2,
    "**Hello** 你好",
    Intent("greeting", 0.75),
    Sentiment("positive", 0.5),
    (Tag("cat", "猫", 0.25),),
    "A cat says hello.",
    "canned",
    WHEN,
    timing={"total": 1.5},
    quick_replies=("Yes", "No"),
    image_url="https://media.example/1",
    stopped=True,
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Welcome("c", "e", 3, True, {"max_text_chars": 8}, {"provider": "CPUExecutionProvider"}, ("wss://b",)),
            {
                "type": "welcome",
                "conversation": "c",
                "epoch": "e",
                "offset": 3,
                "recovered": True,
                "limits": {"max_text_chars": 8},
                "engine": {"provider": "CPUExecutionProvider"},
                "nodes": ["wss://b"],
            },
        ),
        (
            Welcome("c", "e", 0, False, {}, {}),
            {
                "type": "welcome",
                "conversation": "c",
                "epoch": "e",
                "offset": 0,
                "recovered": False,
                "limits": {},
                "engine": {},
                "nodes": [],
            },
        ),
        (
            History((StateEvent("bot", 1, WHEN), RateEvent("1", 5, 2, WHEN))),
            {
                "type": "history",
                "events": [
                    {"type": "state", "state": "bot", "offset": 1, "timestamp": WHEN},
                    {"type": "rate", "reply": "1", "score": 5, "offset": 2, "timestamp": WHEN},
                ],
            },
        ),
        (
            MessageEvent("1", 2, "human", "hi", WHEN),
            {"type": "message", "id": "1", "offset": 2, "author": "human", "text": "hi", "timestamp": WHEN},
        ),
        (
            MessageEvent("1", 2, "customer", "", WHEN, "https://i"),
            {
                "type": "message",
                "id": "1",
                "offset": 2,
                "author": "customer",
                "text": "",
                "timestamp": WHEN,
                "image_url": "https://i",
            },
        ),
        (AckEvent("1", 2), {"type": "ack", "id": "1", "offset": 2}),
        (ProgressEvent("1", "queued"), {"type": "progress", "id": "1", "stage": "queued"}),
        (
            ProgressEvent("1", "queued", 0, 12.5),
            {"type": "progress", "id": "1", "stage": "queued", "position": 0, "eta_ms": 12.5},
        ),
        (DeltaEvent("1", 1, 2, "He"), {"type": "delta", "id": "1", "attempt": 1, "seq": 2, "text": "He"}),
        (SnapshotEvent("1", 1, 0, ""), {"type": "snapshot", "id": "1", "attempt": 1, "seq": 0, "text": ""}),
        (
            PLAIN_REPLY,
            {
                "type": "reply",
                "id": "1",
                "offset": 2,
                "text": "Hello",
                "format": "markdown",
                "intent": None,
                "sentiment": None,
                "tags": [],
                "analysis": "",
                "source": "canned",
                "timestamp": WHEN,
                "timing": {},
                "quick_replies": [],
            },
        ),
        (
            FULL_REPLY,
            {
                "type": "reply",
                "id": "1",
                "offset": 2,
                "text": "**Hello** 你好",
                "format": "markdown",
                "intent": {"name": "greeting", "confidence": 0.75},
                "sentiment": {"label": "positive", "score": 0.5},
                "tags": [{"name": "cat", "label": "猫", "score": 0.25}],
                "analysis": "A cat says hello.",
                "source": "canned",
                "timestamp": WHEN,
                "timing": {"total": 1.5},
                "quick_replies": ["Yes", "No"],
                "image_url": "https://media.example/1",
                "stopped": True,
            },
        ),
        (
            ErrorEvent("bad_json", "No.", "r1"),
            {"type": "error", "code": "bad_json", "message": "No.", "ref": "r1"},
        ),
        (
            ErrorEvent("timeout", "No.", "r1", "1", 4, timestamp=WHEN),
            {
                "type": "error",
                "code": "timeout",
                "message": "No.",
                "ref": "r1",
                "id": "1",
                "offset": 4,
                "timestamp": WHEN,
            },
        ),
        (TypingEvent(True), {"type": "typing", "on": True, "author": "customer"}),
        (TypingEvent(False, "human"), {"type": "typing", "on": False, "author": "human"}),
        (TokenExpiring(60.0), {"type": "token_expiring", "seconds": 60.0}),
        (Pong("x"), {"type": "pong", "t": "x"}),
        (Pong(0), {"type": "pong", "t": 0}),
        (Draining(1500), {"type": "draining", "reconnect_after_ms": 1500}),
    ],
)
def test_every_server_frame(event: ServerEnvelope, expected: dict[str, Any]) -> None:
    assert json.loads(encode(event)) == expected
    assert b"\n" not in encode(event)


def test_numbers_that_json_has_not_become_null() -> None:
    assert json.loads(encode(TokenExpiring(math.inf)))["seconds"] is None


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert json.loads(encode(DeltaEvent("1", 1, 1, text)))["text"] == text


# --- Simple mode -----------------------------------------------------------------------------------------------------


def test_simple_json_is_the_same_struct() -> None:
    error = ErrorEvent("bad_json", "No.", "r1")
    assert encode_simple(FULL_REPLY) == encode(FULL_REPLY)
    assert encode_simple(error, "json") == encode(error)


def test_simple_text_is_markdown_alone() -> None:
    assert encode_simple(FULL_REPLY, "text").decode() == "**Hello** 你好"
    assert encode_simple(ErrorEvent("bad_json", "没有。", "r1"), "text").decode() == "⚠ 没有。"


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Expired(), {"code": "expired", "message": "The token has expired."}),
        (BadBase64("at 7", public="Wrong at 7."), {"code": "bad_base64", "message": "Wrong at 7."}),
        (
            RateLimited(retry_after=1.23401),
            {"code": "rate_limited", "message": RateLimited.safe_en, "retry_after": 1.235},
        ),
        (Overloaded(retry_after=-1.0), {"code": "overloaded", "message": Overloaded.safe_en, "retry_after": 0.0}),
        (Overloaded(retry_after=math.inf), {"code": "overloaded", "message": Overloaded.safe_en}),
        (TooLarge(max_bytes=8), {"code": "too_large", "message": TooLarge.safe_en, "max_bytes": 8}),
        (Internal("database password is x"), {"code": "internal", "message": CsgateError.safe_en}),
    ],
)
def test_error_event(error: CsgateError, expected: dict[str, Any]) -> None:
    assert json.loads(encode(error_event(error, "r1"))) == {"type": "error", "ref": "r1", **expected}
    named = json.loads(encode(error_event(error, "r1", "1", "zh")))
    assert named["id"] == "1"
    assert named["message"] == error.text("zh")
