"""Calls of a socket that never wait."""

import socket
from collections.abc import Iterator
from types import ModuleType

import pytest

from csgate._fast import pure_sockets, sockets

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[pure_sockets, sockets], ids=["pure", "native"])
def calls(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.mark.parametrize("data", [b"hello", bytearray(b"hello"), memoryview(b"-hello-")[1:-1]])
def test_what_is_sent_arrives(calls: ModuleType, pair: Pair, data: bytes) -> None:
    ours, theirs = pair
    assert calls.send_now(ours, data) == 5
    assert theirs.recv(100) == b"hello"


@pytest.mark.parametrize("room", [100, 200_000])
def test_what_is_there_is_received_into_its_place(calls: ModuleType, pair: Pair, room: int) -> None:
    ours, theirs = pair
    theirs.sendall(b"hello")
    place = bytearray(room)
    assert calls.receive_now(ours, memoryview(place)[2:]) == 5
    assert place[:8] == b"\0\0hello\0"


def test_nothing_there_is_no_end(calls: ModuleType, pair: Pair) -> None:
    ours, theirs = pair
    assert calls.receive_now(ours, bytearray(10)) == -1
    theirs.close()
    assert calls.receive_now(ours, bytearray(10)) == 0


def test_a_full_socket_takes_a_part_and_then_nothing(calls: ModuleType, pair: Pair) -> None:
    ours, theirs = pair
    block = b"x" * 300_000
    sent = 0
    while (now := calls.send_now(ours, block)) > 0:
        sent += now
    assert now == -1
    assert calls.send_now(ours, b"x") == -1
    got = 0
    theirs.settimeout(1)
    while got < sent:
        got += len(theirs.recv(1 << 20))
    assert calls.send_now(ours, b"x") == 1


def test_a_peer_that_is_gone_is_told_by_the_right_exception(calls: ModuleType, pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        calls.send_now(ours, b"hello")
    ours.close()
    for call in (lambda: calls.send_now(ours, b"x"), lambda: calls.receive_now(ours, bytearray(1))):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()


def test_a_socket_that_blocks_is_not_waited_for_either() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert sockets.receive_now(ours, bytearray(10)) == -1


def test_what_is_no_buffer_is_refused(calls: ModuleType, pair: Pair) -> None:
    with pytest.raises((TypeError, BufferError)):
        calls.send_now(pair[0], "text")
    with pytest.raises((TypeError, BufferError)):
        calls.receive_now(pair[0], b"read-only")
