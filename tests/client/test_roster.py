"""Which address comes next."""

import pytest

from csgate.client.address import parse_address
from csgate.client.roster import Roster
from csgate.errors import ConfigError

A, B, C = (parse_address(f"wss://{name}.example") for name in "abc")


def test_in_a_circle_with_rounds() -> None:
    roster = Roster([A, B, A])
    assert (len(roster), roster.current, roster.home) == (2, A, A)
    assert not roster.failed(A)
    assert roster.current == B
    assert roster.failed(B)
    assert roster.current == A
    roster.failed(A)
    roster.arrived(B)
    assert roster.current == B
    assert not roster.failed(B)


def test_a_second_connection_goes_somewhere_else_if_it_can() -> None:
    roster = Roster([A, B, C])
    assert [roster.other(B, turn) for turn in range(3)] == [A, C, A]
    assert Roster([A]).other(A, 5) == A


def test_a_welcome_adds_nodes() -> None:
    roster = Roster([A])
    roster.learn(["wss://b.example/ws", "ws://plain.example/ws", "ftp://no.example", "wss://a.example"])
    assert [roster.other(A, 0), roster.other(A, 1)] == [B, B]
    roster.arrived(B)
    roster.learn(["wss://c.example"])
    assert len(roster) == 3  # what is in use stays
    roster.arrived(A)
    roster.learn([f"wss://{number}.example" for number in range(100)])
    assert len(roster) == 33
    plain = Roster([parse_address("ws://a.example")])
    plain.learn(["ws://b.example"])
    assert len(plain) == 2


def test_there_has_to_be_one() -> None:
    with pytest.raises(ConfigError, match="At least one"):
        Roster([])
