"""The event stream: cut anywhere, bounded, and strict about UTF-8."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.inference.generation.sse import EventParser, EventStreamError, ServerEvent

STREAM = (
    '\ufeffdata: one\n\n: a comment\r\n:\r\ndata:two\rdata:  three\r\revent: error\r\ndata: {"四": "😀"}\r\n\r\n'
    "id: 7\nretry: 10\nunknown: field\ndata\n\nevent: nothing\n\n\n\ndata: [DONE]\n\ndata: cut off"
).encode()
EVENTS = [
    ServerEvent("one"),
    ServerEvent("two\n three"),
    ServerEvent('{"四": "😀"}', "error"),
    ServerEvent(""),
    ServerEvent("[DONE]"),
]


def read(*parts: bytes, max_line_bytes: int = 1000, max_total_bytes: int = 10_000) -> list[ServerEvent]:
    parser = EventParser(max_line_bytes=max_line_bytes, max_total_bytes=max_total_bytes)
    found = []
    for part in parts:
        parser.feed(part)
        while (event := parser.next_event()) is not None:
            found.append(event)
    return found


def test_whole() -> None:
    assert read(STREAM) == EVENTS


def test_byte_by_byte() -> None:
    assert read(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == EVENTS


def test_stored_until_asked_for() -> None:
    parser = EventParser(max_line_bytes=1000, max_total_bytes=10_000)
    for i in range(0, len(STREAM), 3):
        parser.feed(STREAM[i : i + 3])
    assert [parser.next_event() for _ in EVENTS] == EVENTS
    assert parser.next_event() is None


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert read(*(STREAM[a:b] for a, b in itertools.pairwise(places))) == EVENTS


lines = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20), min_size=1)


@given(
    st.lists(lines, max_size=6),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.lists(st.integers(1, 30), min_size=1, max_size=10),
)
def test_what_was_written_is_read(messages: list[list[str]], end: str, sizes: list[int]) -> None:
    stream = "".join("".join(f"data: {line}{end}" for line in message) + end for message in messages).encode()
    parts = []
    at = turn = 0
    while at < len(stream):
        parts.append(stream[at : at + sizes[turn % len(sizes)]])
        at += len(parts[-1])
        turn += 1
    assert [event.data for event in read(*parts, max_total_bytes=10**6)] == ["\n".join(m) for m in messages]


@given(st.binary(max_size=300), st.integers(1, 299))
def test_any_bytes_give_events_or_one_error(data: bytes, cut: int) -> None:
    whole: list[ServerEvent] | None
    parted: list[ServerEvent] | None
    try:
        whole = read(data, max_line_bytes=50, max_total_bytes=200)
    except EventStreamError:
        whole = None
    try:
        parted = read(data[:cut], data[cut:], max_line_bytes=50, max_total_bytes=200)
    except EventStreamError:
        parted = None
    assert whole == parted


@pytest.mark.parametrize("data", [b"data: " + b"x" * 50, b"data: " + b"x" * 50 + b"\n\n", b": " + b"c" * 60 + b"\n"])
def test_a_giant_line(data: bytes) -> None:
    with pytest.raises(EventStreamError, match="a line of more than 40 bytes"):
        read(data, max_line_bytes=40)
    with pytest.raises(EventStreamError, match="a line"):
        read(*(data[i : i + 1] for i in range(len(data))), max_line_bytes=40)


def test_the_longest_line_there_may_be() -> None:
    assert read(b"data: " + b"x" * 34 + b"\r\n\r\n", max_line_bytes=40) == [ServerEvent("x" * 34)]


def test_an_endless_stream_gives_what_fits_and_then_fails_for_good() -> None:
    parser = EventParser(max_line_bytes=100, max_total_bytes=100)
    for _ in range(30):
        parser.feed(b"data: more\n\n")
    for _ in range(8):
        assert parser.next_event() == ServerEvent("more")
    for _ in range(3):
        with pytest.raises(EventStreamError, match="longer than"):
            parser.next_event()


@pytest.mark.parametrize("data", [b"data: \xff\n\n", b"data: \xe5\x9b\n\n", b"event: \xc0\xaf\ndata: x\n\n"])
def test_not_utf_8(data: bytes) -> None:
    with pytest.raises(EventStreamError, match="UTF-8"):
        read(b"data: good\n\n", data)
