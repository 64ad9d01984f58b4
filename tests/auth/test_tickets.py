"""Tickets work once, for a while, and in bounded number."""

from pathlib import Path

import pytest

from csgate.auth import Authenticator, open_authenticator
from csgate.auth.tickets import MAX_TICKETS_A_PRINCIPAL, Tickets
from csgate.config import AuthSettings
from csgate.errors import Expired, Overloaded, RateLimited, Unauthorized
from csgate.events import Principal

NOW = 1_800_000_000.0
ALICE = Principal("alice", tenant="shop", role="agent", expires_at=NOW + 1000)


def test_once() -> None:
    tickets = Tickets(30.0, 10)
    ticket = tickets.issue(ALICE, NOW)
    assert len(ticket) >= 43
    assert tickets.redeem(ticket, NOW + 29.9) == ALICE
    for wrong in (ticket, "", "nonsense", ticket[:-1]):
        with pytest.raises(Unauthorized):
            tickets.redeem(wrong, NOW + 29.9)
    assert len(tickets) == 0


def test_each_is_another() -> None:
    tickets = Tickets(30.0, 100)
    assert len({tickets.issue(ALICE, NOW) for _ in range(20)}) == 20


def test_thirty_seconds() -> None:
    tickets = Tickets(30.0, 10)
    ticket = tickets.issue(ALICE, NOW)
    with pytest.raises(Unauthorized) as caught:
        tickets.redeem(ticket, NOW + 30)
    assert type(caught.value) is Unauthorized
    assert len(tickets) == 0


def test_not_beyond_the_token_behind_it() -> None:
    tickets = Tickets(30.0, 10)
    ticket = tickets.issue(Principal("alice", expires_at=NOW + 10), NOW)
    with pytest.raises(Expired):
        tickets.redeem(ticket, NOW + 10)
    with pytest.raises(Unauthorized):
        tickets.redeem(ticket, NOW)


def test_bounded_in_all() -> None:
    tickets = Tickets(30.0, 3)
    for number in range(3):
        tickets.issue(Principal(f"p{number}"), NOW + number)
    with pytest.raises(Overloaded) as caught:
        tickets.issue(ALICE, NOW + 3)
    assert caught.value.retry_after == 30.0
    tickets.issue(ALICE, NOW + 30)  # the oldest one has gone
    assert len(tickets) == 3


def test_bounded_for_one_principal() -> None:
    tickets = Tickets(30.0, 1000)
    first = tickets.issue(ALICE, NOW)
    for _ in range(MAX_TICKETS_A_PRINCIPAL - 1):
        tickets.issue(ALICE, NOW)
    with pytest.raises(RateLimited):
        tickets.issue(ALICE, NOW)
    tickets.issue(Principal("bob"), NOW)
    tickets.redeem(first, NOW)
    tickets.issue(ALICE, NOW)


async def test_through_the_authenticator(tmp_path: Path) -> None:
    async with open_authenticator(AuthSettings(ticket_seconds=5, max_tickets=1), tmp_path) as authenticator:
        assert isinstance(authenticator, Authenticator)
        ticket = authenticator.issue_ticket(ALICE, NOW)
        with pytest.raises(Overloaded):
            authenticator.issue_ticket(Principal("bob"), NOW)
        assert authenticator.redeem_ticket(ticket, NOW + 4) == ALICE
        with pytest.raises(Unauthorized):
            authenticator.redeem_ticket(ticket, NOW + 4)
