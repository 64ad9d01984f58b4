"""The pure parts: digest, language, stream, hand-over table, final events, names."""

import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from csgate.config import SessionSettings
from csgate.errors import BadBase64, Overloaded
from csgate.events import ConversationState, DeltaEvent, Draft, Intent, Language, Picture, Principal, Tag
from csgate.session import MemoryStore, Turn, finals
from csgate.session.digest import content_digest
from csgate.session.handoff import TRANSITIONS, Cue, needs_agent, next_state
from csgate.session.identity import new_conversation_id, new_epoch, new_notice_id, new_reference
from csgate.session.office import Office
from csgate.session.stream import DELTA_INTERVAL_S, AnswerStream
from csgate.session.turn import Stop
from csgate.session.wording import NOBODY_CAME, language_of
from csgate.telemetry import Telemetry

contents = st.tuples(
    st.text(max_size=8),
    st.none() | st.builds(Picture, data=st.binary(max_size=8), encoding=st.sampled_from(["base64", "binary"])),
)


@given(contents, contents)
def test_digests_are_equal_exactly_where_the_content_is(one, other) -> None:  # type: ignore[no-untyped-def]
    assert (content_digest(*one) == content_digest(*other)) == (one == other)


def test_no_text_is_the_empty_text_and_a_lone_surrogate_is_content() -> None:
    assert content_digest(None, None) == content_digest("", None) == xxhash.xxh3_128_digest(bytes(8))
    assert content_digest("\ud800", None) != content_digest("", None)


@pytest.mark.parametrize(
    ("text", "locale", "language"),
    [
        ("Where is my order?", "zh-CN", "en"),
        ("我的订单在哪里", None, "zh"),
        ("order 12345 在哪", "en", "zh"),
        ("㐀", None, "zh"),
        ("12345?", "zh-Hans", "zh"),
        ("12345?", "ZH_cn", "zh"),
        ("", "zha", "en"),
        ("", None, "en"),
    ],
)
def test_language(text: str, locale: str | None, language: Language) -> None:
    assert language_of(text, locale) == language
    assert set(NOBODY_CAME) == {"en", "zh"}


def test_pieces_are_sent_at_once_when_slow_and_coalesced_when_fast() -> None:
    stream = AnswerStream("m", 2)
    assert stream.snapshot() is None
    assert stream.add("", 0.0) is None
    assert stream.add("a", 0.0) == DeltaEvent("m", 2, 1, "a")
    assert stream.flush_at == math.inf
    assert stream.add("b", 0.01) is None
    assert stream.add("c", 0.02) is None
    assert stream.flush_at == DELTA_INTERVAL_S
    assert stream.text == "abc"
    snapshot = stream.snapshot()
    assert snapshot is not None
    assert (snapshot.seq, snapshot.text) == (1, "a")
    assert stream.flush(0.05) == DeltaEvent("m", 2, 2, "bc")
    assert stream.add("d", 0.2) == DeltaEvent("m", 2, 3, "d")


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 0.2))))
def test_no_more_than_twenty_a_second_and_no_letter_lost(pieces: list[tuple[str, float]]) -> None:
    stream = AnswerStream("m", 1)
    now, sent = 0.0, []
    for text, pause in pieces:
        delta = stream.add(text, now)
        if delta is not None:
            sent.append((now, delta))
        if stream.flush_at <= now + pause:
            due = stream.flush_at
            sent.append((due, stream.flush(due)))
        now += pause
    if stream.flush_at < math.inf:
        sent.append((stream.flush_at, stream.flush(stream.flush_at)))
    assert "".join(delta.text for _, delta in sent) == stream.text == "".join(text for text, _ in pieces)
    assert [delta.seq for _, delta in sent] == list(range(1, len(sent) + 1))
    assert all(later - earlier >= DELTA_INTERVAL_S * 0.999 for (earlier, _), (later, _) in pairwise(sent))


STATES: tuple[ConversationState, ...] = ("bot", "waiting", "human", "closed")


def test_the_table_of_states() -> None:
    assert {(state, cue): next_state(state, cue) for state in STATES for cue in Cue} == {
        **{(state, cue): None for state in STATES for cue in Cue},
        **TRANSITIONS,
    }
    assert next_state("bot", Cue.ASKED) == "waiting"
    assert next_state("waiting", Cue.NOBODY_CAME) == "bot"
    assert {next_state(state, Cue.AGENT_SPOKE) or state for state in STATES} == {"human"}
    assert [needs_agent(state) for state in STATES] == [False, True, True, False]


def test_an_answer_becomes_a_reply_with_all_of_its_parts() -> None:
    draft = Draft(
        text="**yes**",
        intent=Intent("greet", 0.9),
        tags=(Tag("cat", "Cat", 0.5),),
        analysis="A cat.",
        source="canned",
        timing={"total": 2.0},
        quick_replies=("more",),
    )
    reply = finals.answered("m", draft, "now")
    for field in ("text", "intent", "sentiment", "tags", "analysis", "source", "timing", "quick_replies"):
        assert getattr(reply, field) == getattr(draft, field)
    assert (reply.id, reply.timestamp, reply.stopped, reply.format) == ("m", "now", False, "markdown")


@pytest.mark.parametrize("why", list(Stop))
@pytest.mark.parametrize("so_far", ["", "some"])
def test_a_stopped_answer(why: Stop, so_far: str) -> None:
    final = finals.stopped("m", why, so_far, "zh", "ref", "now")
    if why is not Stop.MUTED and not so_far:
        assert isinstance(final, finals.ErrorEvent)
        assert (final.code, final.message, final.id, final.ref) == ("cancelled", "回答已停止。", "m", "ref")
    else:
        assert isinstance(final, finals.ReplyEvent)
        assert (final.text, final.stopped) == (so_far, bool(so_far))
        assert final.source == ("muted" if why is Stop.MUTED else "stopped")


def test_an_error_keeps_what_is_safe_to_show() -> None:
    final = finals.failed("m", Overloaded("secret", retry_after=2.0), "en", "ref", "now")
    assert (final.code, final.retry_after, final.timestamp) == ("overloaded", 2.0, "now")
    assert "secret" not in final.message
    shown = finals.failed("m", BadBase64(public="Wrong at byte 7."), "en", "ref", "now")
    assert shown.message == "Wrong at byte 7."


def test_names_are_long_enough_and_new_each_time() -> None:
    assert len(new_conversation_id()) == 22
    assert len({new_conversation_id() for _ in range(100)}) == 100
    assert new_epoch() != new_epoch()
    assert new_reference() != new_reference()
    assert new_notice_id().startswith("notice-")


def test_no_conversation_looks_like_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["-YQJXedmZF9cYwGg8yIvcA", "--JXedmZF9cYwGg8yIvcA", "_YQJXedmZF9cYwGg8yIvcA"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: next(drawn))
    assert new_conversation_id() == "_YQJXedmZF9cYwGg8yIvcA"


def test_a_turn_can_be_made_without_a_session() -> None:
    turn = Turn("c", "m", "hi", None, Principal(subject="ann"), deadline=1.0)
    turn.progress("understanding")
    turn.delta("x")
    assert (turn.attempt, turn.language, turn.history) == (1, "en", ())


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=8))])
def test_timestamps_are_in_utc_whatever_the_clock_says(zone: timezone) -> None:
    now = datetime(2026, 1, 1, 0, 0, 1, 999_999, UTC).astimezone(zone)
    office = Office(MemoryStore(), None, SessionSettings(), Telemetry(), lambda: now, None)  # type: ignore[arg-type]
    assert office.timestamp() == "2026-01-01T00:00:01.999Z"
    assert office.timestamp(61.5) == "2025-12-31T23:59:00.499Z"


def test_a_promise_never_to_yield_is_not_inherited() -> None:
    class Derived(MemoryStore):
        pass

    for store, prompt in ((MemoryStore(), True), (Derived(), False)):
        office = Office(store, None, SessionSettings(), Telemetry(), lambda: None, None)  # type: ignore[arg-type, return-value]
        assert office.prompt is prompt
