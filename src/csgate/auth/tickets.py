"""Tickets: single-use stand-ins for a token, for clients that can put nothing but a URL into a handshake."""

import secrets
from collections import Counter, OrderedDict
from typing import Final

from csgate.errors import Expired, Overloaded, RateLimited, Unauthorized
from csgate.events import Principal

TICKET_BYTES: Final = 32
MAX_TICKETS_A_PRINCIPAL: Final = 32
"""So that one principal cannot use up the places of all."""


class Tickets:
    """The tickets that are given and not yet used, at most ``limit`` of them.

    A ticket is 256 random bits, so looking it up in a dictionary gives nothing away. All live equally long, hence the
    order in which they were given is the order in which they expire.
    """

    __slots__ = ("_held", "_lifetime_s", "_limit", "_open")

    def __init__(self, lifetime_s: float, limit: int) -> None:
        self._lifetime_s = lifetime_s
        self._limit = limit
        self._open: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._held: Counter[tuple[str, str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def issue(self, principal: Principal, now: float) -> str:
        """A new ticket.

        Raises:
            RateLimited: this principal holds too many.
            Overloaded: all together do.
        """
        self._sweep(now)
        if self._held[principal.owner] >= MAX_TICKETS_A_PRINCIPAL:
            raise RateLimited("too many open tickets", retry_after=self._lifetime_s)
        if len(self._open) >= self._limit:
            raise Overloaded("max_tickets reached", retry_after=self._lifetime_s)
        ticket = secrets.token_urlsafe(TICKET_BYTES)
        self._open[ticket] = (principal, now + self._lifetime_s)
        self._held[principal.owner] += 1
        return ticket

    def redeem(self, ticket: str, now: float) -> Principal:
        """The principal that ``ticket`` was given to; it is used up by this.

        Raises:
            Unauthorized: unknown, used before, or too old.
            Expired: the token that it stands for has expired meanwhile.
        """
        self._sweep(now)
        if ticket not in self._open:
            raise Unauthorized(
                "unknown ticket", public="The ticket is not valid or was used.", public_zh="票据无效或已被使用。"
            )
        principal = self._forget(ticket)
        if principal.expires_at <= now:
            raise Expired("the token behind the ticket has expired")
        return principal

    def _sweep(self, now: float) -> None:
        while self._open:
            ticket = next(iter(self._open))
            if self._open[ticket][1] > now:
                return
            self._forget(ticket)

    def _forget(self, ticket: str) -> Principal:
        principal, _ = self._open.pop(ticket)
        self._held[principal.owner] -= 1
        if not self._held[principal.owner]:
            del self._held[principal.owner]
        return principal
