"""The cases of RFC 6455 on the codec alone."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.conformance import BYTEWISE, CASES, LARGE, SMALL, Case
from tests.wire.echo import EchoPeer

by_name = pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.section} {case.name}")


def check(case: Case, peer: EchoPeer) -> None:
    assert peer.back == case.back
    assert peer.ended == case.ends
    if case.ends:
        assert peer.budget.used == 0


def test_there_are_enough_cases_of_every_kind() -> None:
    assert len(CASES) >= 301
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.section for case in CASES} >= {
        "5.1",
        "5.2",
        "5.3",
        "5.4",
        "5.5",
        "5.5.1",
        "5.5.2",
        "5.5.3",
        "7.4",
        "8.1",
    }


@by_name
def test_whole(case: Case) -> None:
    peer = EchoPeer()
    peer.receive(case.sent)
    check(case, peer)


@pytest.mark.parametrize("case", BYTEWISE, ids=lambda case: f"{case.section} {case.name}")
def test_byte_by_byte_and_as_early_as_can_be(case: Case) -> None:
    peer = EchoPeer()
    whole_at = None
    for i in range(len(case.sent)):
        peer.receive(case.sent[i : i + 1])
        if whole_at is None and peer.back == case.back:
            whole_at = i + 1
    check(case, peer)
    if case.at is not None:
        assert whole_at == case.at


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_split(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(SMALL))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(case.sent)), max_size=8)))
    peer = EchoPeer()
    peer.receive_all(case.sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(case.sent)], strict=True))
    check(case, peer)


@by_name
def test_a_split_of_its_own(case: Case) -> None:
    """Every case in pieces, other ones than the bytes: their sizes follow from its name."""
    sizes = random.Random(case.name)
    peer = EchoPeer()
    position = 0
    while position < len(case.sent):
        size = sizes.choice((1, 2, 3, 5, 8, 13, 200, 70000))
        peer.receive(case.sent[position : position + size])
        position += size
    check(case, peer)


@by_name
def test_bytes_behind_do_not_change_what_came_before(case: Case) -> None:
    peer = EchoPeer()
    peer.receive(case.sent + b"\x89\x81\x00\x00\x00\x00x")
    if case.ends:
        check(case, peer)
    else:
        assert peer.back == case.back + b"\x8a\x01x"


@pytest.mark.parametrize("case", LARGE, ids=lambda case: f"{case.section} {case.name}")
def test_large_in_reads_of_64_kib(case: Case) -> None:
    peer = EchoPeer()
    peer.receive_all(case.sent[i : i + 65536] for i in range(0, len(case.sent), 65536))
    check(case, peer)
    assert peer.budget.used == 0


@pytest.mark.parametrize("size", [1000, 4096, 2**20])
def test_large_in_reads_of_other_sizes(size: int) -> None:
    for case in LARGE:
        if len(case.sent) <= 2**20:
            peer = EchoPeer()
            peer.receive_all(case.sent[i : i + size] for i in range(0, len(case.sent), size))
            check(case, peer)
