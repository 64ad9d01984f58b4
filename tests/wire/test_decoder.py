"""The decoder's bounds: messages too large, the shared budget, memory that is lent and given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.wire import (
    BinaryMessage,
    BudgetExceeded,
    CloseFrame,
    Decoder,
    FrameTooLarge,
    InvalidPayload,
    PongFrame,
    ReceiveBudget,
    TextMessage,
    TooLargeMessage,
    WireEvent,
)
from tests.wire.client_frames import BINARY, CONTINUATION, PING, PONG, TEXT, close, fragments, frame


def decoder(*, message: int = 100, most: int = 300, budget: ReceiveBudget | None = None) -> Decoder:
    return Decoder(max_message_bytes=message, max_frame_bytes=most, budget=budget or ReceiveBudget(10_000))


def events(dec: Decoder, *pieces: bytes) -> list[WireEvent]:
    found: list[WireEvent] = []
    for piece in pieces:
        dec.feed(memoryview(piece))
        while (event := dec.next_event()) is not None:
            found.append(event)
        dec.keep()
    return found


@pytest.mark.parametrize("size", [101, 125, 126, 300])
def test_too_large_is_drained_and_the_next_one_is_read(size: int) -> None:
    sent = frame(TEXT, b"\xff" * size) + frame(TEXT, b"next")
    assert events(decoder(), sent) == [TooLargeMessage(size), TextMessage(bytearray(b"next"))]
    assert events(decoder(), *(sent[i : i + 1] for i in range(len(sent)))) == [
        TooLargeMessage(size),
        TextMessage(bytearray(b"next")),
    ]


def test_too_large_in_fragments_gives_its_memory_back_at_once() -> None:
    budget = ReceiveBudget(10_000)
    dec = decoder(budget=budget)
    pieces = fragments(BINARY, b"x" * 250, 50)
    assert events(dec, *pieces[:2]) == []
    assert budget.used >= 100
    assert events(dec, pieces[2][:7]) == []
    assert budget.used == 0
    assert dec.unfinished_bytes == 150
    assert events(dec, pieces[2][7:], *pieces[3:], frame(PING), frame(TEXT, b"next"))[0] == TooLargeMessage(250)


def test_above_the_frame_limit_is_fatal_also_in_fragments() -> None:
    with pytest.raises(FrameTooLarge):
        events(decoder(), frame(BINARY, b"x" * 301))
    with pytest.raises(FrameTooLarge):
        events(decoder(), *fragments(BINARY, b"x" * 301, 60))
    # The limit is on the message so far and the frame announced, before any of it has come.
    dec = decoder()
    with pytest.raises(FrameTooLarge):
        events(dec, frame(BINARY, b"x" * 90, fin=False), frame(CONTINUATION, b"x" * 211)[:4])
    assert dec.ended


def test_the_message_limit_may_change_between_messages_and_within_one() -> None:
    dec = decoder(message=10, most=300)
    assert events(dec, frame(TEXT, b"x" * 11)) == [TooLargeMessage(11)]
    assert events(dec, frame(BINARY, b"a" * 10, fin=False)) == []
    dec.max_message_bytes = 100
    assert events(dec, frame(CONTINUATION, b"b" * 20, fin=False)) == []
    assert events(dec, frame(CONTINUATION, b"c")) == [BinaryMessage(bytearray(b"a" * 10 + b"b" * 20 + b"c"))]
    assert events(dec, frame(TEXT, b"x" * 100)) == [TextMessage(bytearray(b"x" * 100))]
    dec.max_message_bytes = 1000
    assert dec.max_message_bytes == 300


def test_exactly_the_message_limit_is_taken() -> None:
    assert events(decoder(), frame(BINARY, b"x" * 100)) == [BinaryMessage(bytearray(b"x" * 100))]
    [message] = events(decoder(), *fragments(BINARY, b"x" * 100, 7))
    assert isinstance(message, BinaryMessage)
    assert bytes(message.data) == b"x" * 100


def test_the_budget_counts_the_beginning_of_a_frame_as_soon_as_it_is_announced() -> None:
    budget = ReceiveBudget(150)
    first, second = decoder(budget=budget), decoder(budget=budget)
    assert events(first, frame(BINARY, b"x" * 100)[:6]) == []
    assert budget.used == 100
    with pytest.raises(BudgetExceeded):
        events(second, frame(BINARY, b"y" * 51)[:6])
    assert second.ended
    assert budget.used == 100
    events(first, frame(BINARY, b"x" * 100)[6:])
    assert budget.used == 0
    assert budget.peak == 100


@pytest.mark.parametrize("fin", [True, False])
def test_announcements_alone_do_not_use_up_the_budget(fin: bool) -> None:
    budget = ReceiveBudget(2_000_000)
    announced = frame(BINARY, b"x" * 1_000_000, fin=fin)
    waiting = [Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=budget) for _ in range(100)]
    for other in waiting:
        assert events(other, announced[:14]) == []
    assert budget.used == 100 * 4096
    dec = Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=budget)
    [message] = events(dec, *(frame(BINARY, b"x" * 1_000_000)[i : i + 5000] for i in range(0, 1_000_014, 5000)))
    assert message == BinaryMessage(bytearray(b"x" * 1_000_000))
    for other in waiting:
        other.abandon()
    assert budget.used == 0


def test_bytes_that_come_are_counted_and_end_with_the_budget() -> None:
    budget = ReceiveBudget(150_000)
    sent = frame(BINARY, b"x" * 100_000)
    first, second = (Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=budget) for _ in range(2))
    for i in range(0, 90_000, 10_000):
        assert events(first, sent[i : i + 10_000]) == []
        came = i + 10_000 - 14
        assert came <= budget.used <= min(2 * came, 100_000)
    assert budget.used == 100_000
    assert events(second, sent[:14]) == []
    target = second.target()
    assert target is not None
    with pytest.raises(BudgetExceeded):
        second.filled(50_001)
    assert second.ended
    assert budget.used == 100_000


def test_a_fragmented_message_reserves_before_it_grows() -> None:
    budget = ReceiveBudget(2000)
    dec = Decoder(max_message_bytes=100_000, max_frame_bytes=100_000, budget=budget)
    with pytest.raises(BudgetExceeded):
        events(dec, *fragments(BINARY, b"x" * 5000, 500))
    assert budget.used == 0


def test_fragments_grow_the_buffer_geometrically() -> None:
    budget = ReceiveBudget(10**9)
    dec = Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=budget)
    sizes = set()
    for piece in fragments(BINARY, b"x" * 300_000, 100)[:-1]:
        events(dec, piece)
        sizes.add(budget.used)
    assert sorted(sizes) == [1024 * 2**i for i in range(9)] + [524288]
    assert dec.unfinished_bytes == 299_900


def test_growth_stops_at_the_message_limit() -> None:
    budget = ReceiveBudget(10**9)
    dec = Decoder(max_message_bytes=1500, max_frame_bytes=10**6, budget=budget)
    events(dec, frame(BINARY, b"x" * 1200, fin=False))
    events(dec, frame(CONTINUATION, b"x" * 200, fin=False))
    assert budget.used == 1500


def test_the_buffer_grows_though_a_view_of_it_is_still_held() -> None:
    dec = Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=ReceiveBudget(10**6))
    events(dec, frame(BINARY, b"a" * 1100, fin=False, key=b"\0\0\0\0")[:100])
    held = dec.target()
    assert held is not None
    held[:] = b"b" * len(held)
    dec.filled(len(held))
    [message] = events(dec, frame(CONTINUATION, b"c" * 5000))
    assert isinstance(message, BinaryMessage)
    assert bytes(message.data) == b"a" * 92 + b"b" * 1008 + b"c" * 5000


def test_payload_is_received_straight_into_the_message() -> None:
    dec = Decoder(max_message_bytes=10**6, max_frame_bytes=10**6, budget=ReceiveBudget(10**6))
    sent = frame(TEXT, b"0123456789" * 100)
    assert events(dec, sent[:10]) == []
    target = dec.target()
    assert target is not None
    assert len(target) == 998
    target[:8] = sent[10:18]
    dec.filled(8)
    assert not dec.has_input
    target = dec.target()
    assert target is not None
    target[:] = sent[18:]
    dec.filled(len(target))
    assert dec.target() is None
    assert dec.has_input
    assert dec.next_event() == TextMessage(bytearray(b"0123456789" * 100))
    assert dec.next_event() is None


def test_a_wrong_byte_received_straight_is_fatal() -> None:
    budget = ReceiveBudget(1000)
    dec = decoder(budget=budget)
    events(dec, frame(TEXT, b"a\xffa", key=b"\0\0\0\0")[:7])
    target = dec.target()
    assert target is not None
    target[:] = b"\xffa"
    with pytest.raises(InvalidPayload):
        dec.filled(2)
    assert dec.ended
    assert budget.used == 0
    assert dec.next_event() is None


def test_no_target_while_input_waits_or_a_message_is_dropped() -> None:
    dec = decoder()
    assert dec.target() is None
    events(dec, frame(BINARY, b"x" * 200)[:50])
    assert dec.target() is None


def test_only_message_takes_one_whole_message_alone() -> None:
    dec = decoder()
    assert dec.only_message(memoryview(frame(TEXT, b"hi"))) == TextMessage(bytearray(b"hi"))
    assert dec.only_message(memoryview(frame(BINARY, b"hi"))) == BinaryMessage(bytearray(b"hi"))
    for other in (
        b"",
        frame(TEXT, b"hi")[:-1],
        frame(TEXT, b"hi") + b"\x81",
        frame(PING),
        frame(TEXT, b"hi", fin=False),
        frame(TEXT, b"\xff"),
        frame(TEXT, b"x" * 101),
    ):
        assert dec.only_message(memoryview(other)) is None
    assert dec.unfinished_bytes is None


def test_only_message_leaves_alone_what_is_under_way() -> None:
    hi = memoryview(frame(TEXT, b"hi"))
    begun = decoder()
    events(begun, frame(TEXT, b"a", fin=False))
    dropping = decoder()
    events(dropping, frame(TEXT, b"x" * 200, fin=False))
    waiting = decoder()
    events(waiting, b"\x81")
    ended = decoder()
    events(ended, close(1000))
    for dec in (begun, dropping, waiting, ended):
        assert dec.only_message(hi) is None


def test_unfinished_bytes() -> None:
    dec = decoder()
    assert dec.unfinished_bytes is None
    events(dec, b"\x81")
    assert dec.unfinished_bytes == 1
    events(dec, frame(TEXT, b"x" * 50)[1:20])
    assert dec.unfinished_bytes == 50
    events(dec, frame(TEXT, b"x" * 50)[20:])
    assert dec.unfinished_bytes is None


def test_nothing_after_a_close_frame() -> None:
    dec = decoder()
    assert events(dec, close(1000, "bye") + frame(TEXT, b"late")) == [CloseFrame(1000, "bye")]
    assert events(dec, frame(TEXT, b"later")) == []
    assert not dec.has_input


def test_a_pong_is_an_event() -> None:
    assert events(decoder(), frame(PONG, b"back")) == [PongFrame(b"back")]


def test_a_message_owns_its_bytes() -> None:
    scratch = bytearray(frame(TEXT, b"first") + frame(TEXT, b"second"))
    dec = decoder()
    dec.feed(memoryview(scratch))
    first = dec.next_event()
    dec.keep()
    scratch[:] = b"?" * len(scratch)
    assert first == TextMessage(bytearray(b"first"))
    assert dec.next_event() == TextMessage(bytearray(b"second"))
    dec.keep()
    scratch.clear()  # no view of it is left


@given(
    st.lists(
        st.tuples(st.sampled_from([TEXT, BINARY]), st.integers(0, 400), st.integers(1, 150)), min_size=1, max_size=6
    ),
    st.data(),
)
def test_any_messages_in_any_pieces(messages: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Whatever is sent, within the limits: the same messages come out, and all memory is given back."""
    budget = ReceiveBudget(10**6)
    dec = decoder(message=300, most=500, budget=budget)
    sent = b""
    want: list[tuple[type, bytes | int]] = []
    for opcode, size, chop in messages:
        payload = ("é" * size).encode()[: size - size % 2] if opcode == TEXT else bytes(i % 256 for i in range(size))
        sent += b"".join(fragments(opcode, payload, chop))
        if len(payload) > 300:
            want.append((TooLargeMessage, len(payload)))
        else:
            want.append((TextMessage if opcode == TEXT else BinaryMessage, payload))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10)))
    found = events(dec, *(sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)))
    assert [
        (type(event), event.size if isinstance(event, TooLargeMessage) else bytes(event.data))  # type: ignore[union-attr]
        for event in found
    ] == want
    assert budget.used == 0
    assert dec.unfinished_bytes is None


@given(st.binary(max_size=400))
def test_no_bytes_break_it(garbage: bytes) -> None:
    from csgate.wire import WireViolation

    budget = ReceiveBudget(10**6)
    dec = decoder(budget=budget)
    try:
        events(dec, garbage)
    except WireViolation:
        assert dec.ended
    dec.abandon()
    assert budget.used == 0
