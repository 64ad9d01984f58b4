"""The close handshake from the server's side, step by step."""

import pytest

from csgate.wire import CloseInfo, Connection, ReceiveBudget, State, TextMessage, TooLargeMessage
from tests.wire.client_frames import PING, PONG, TEXT, answer, close, closed, frame


def connection() -> Connection:
    return Connection(max_message_bytes=1000, max_frame_bytes=2000, budget=ReceiveBudget(10_000))


def feed(conn: Connection, data: bytes) -> list[object]:
    conn.decoder.feed(memoryview(data))
    found = []
    while (message := conn.next_message()) is not None:
        found.append(message)
    conn.decoder.keep()
    return found


def output(conn: Connection) -> bytes:
    data, conn.output = conn.output, b""
    return data


def test_the_peer_closes() -> None:
    conn = connection()
    assert feed(conn, frame(TEXT, b"hi") + close(4000, "bye")) == [TextMessage(bytearray(b"hi"))]
    assert output(conn) == closed(4000)
    assert conn.state is State.CLOSED
    assert conn.close_info == CloseInfo(4000, "bye", by_peer=True)
    conn.end_of_stream()
    conn.close(1000)
    assert output(conn) == b""
    assert conn.state is State.CLOSED


def test_we_close_and_drop_what_comes_meanwhile() -> None:
    conn = connection()
    conn.close(4001, "draining")
    assert output(conn) == closed(4001, "draining")
    assert conn.state is State.CLOSING
    assert feed(conn, frame(TEXT, b"late") + frame(PING, b"late") + frame(TEXT, b"x" * 1500)) == []
    assert output(conn) == b""
    conn.ping()
    conn.close(1000)
    assert output(conn) == b""
    feed(conn, close(4001))
    assert output(conn) == b""
    assert conn.state is State.CLOSED
    assert conn.close_info == CloseInfo(4001, "draining", by_peer=False)


def test_a_code_that_may_not_be_sent_changes_nothing() -> None:
    conn = connection()
    with pytest.raises(ValueError, match="may not be sent"):
        conn.close(1006)
    assert conn.state is State.OPEN


def test_a_violation_fails_the_connection() -> None:
    conn = connection()
    assert feed(conn, b"\x83\x80\x00\x00\x00\x00") == []
    assert output(conn) == closed(1002, "reserved opcode")
    assert conn.state is State.FAILED
    assert conn.close_info == CloseInfo(1002, "reserved opcode", by_peer=False)
    assert feed(conn, frame(TEXT, b"late")) == []


def test_a_violation_while_closing_sends_no_second_close() -> None:
    conn = connection()
    conn.close(1001)
    output(conn)
    feed(conn, b"\x83")
    assert output(conn) == b""
    assert conn.state is State.FAILED
    assert conn.close_info == CloseInfo(1001, "", by_peer=False)


def test_a_violation_in_bytes_received_straight() -> None:
    conn = connection()
    feed(conn, frame(TEXT, b"abcdef", key=b"\0\0\0\0")[:8])
    target = conn.decoder.target()
    assert target is not None
    target[:] = b"\xff\xff\xff\xff"
    conn.filled(4)
    assert output(conn) == closed(1007, "text is not UTF-8")
    assert conn.state is State.FAILED


def test_the_peer_vanishes() -> None:
    conn = connection()
    feed(conn, frame(TEXT, b"half")[:7])
    conn.end_of_stream()
    assert conn.state is State.LOST
    assert conn.close_info == CloseInfo(1006, "", by_peer=True)
    assert output(conn) == b""


def test_the_peer_vanishes_after_our_close() -> None:
    conn = connection()
    conn.close(1000)
    conn.end_of_stream()
    assert conn.state is State.LOST
    assert conn.close_info == CloseInfo(1000, "", by_peer=False)


def test_a_message_too_large_is_told_while_open() -> None:
    assert feed(connection(), frame(TEXT, b"x" * 1500)) == [TooLargeMessage(1500)]


def test_ping_and_pong() -> None:
    conn = connection()
    conn.ping(b"still there?")
    assert output(conn) == answer(PING, b"still there?")
    assert feed(conn, frame(PONG, b"still there?") + frame(PING, b"and you?")) == []
    assert output(conn) == answer(PONG, b"and you?")
