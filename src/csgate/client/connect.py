"""The way in: ``async with connect(…)``. Its nursery owns all that a client does; nothing runs after its exit."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from csgate.client.address import parse_address
from csgate.client.backoff import Backoff, Draw
from csgate.client.client import Client
from csgate.client.dial import Dial, talk
from csgate.client.director import Director
from csgate.client.guest import guest
from csgate.client.journal import Journal
from csgate.client.outbox import Outbox
from csgate.client.pace import Pace
from csgate.client.roster import Roster
from csgate.client.timeline import Place
from csgate.client.tokens import Tokens, TokenSource

MAX_UNANSWERED: Final = 64
MAX_UNANSWERED_BYTES: Final = 64 * 1024 * 1024
_DEFAULT_PACE: Final = Pace()


@asynccontextmanager
async def connect(
    urls: str | Sequence[str],
    *,
    token: str | TokenSource | None = None,
    locale: str | None = None,
    place: Place | None = None,
    outbox: str | Path | None = None,
    standby: bool = False,
    agent: bool = False,
    keep_trying: bool = True,
    max_unanswered: int = MAX_UNANSWERED,
    draw: Draw = random.uniform,
    pace: Pace = _DEFAULT_PACE,
    dial: Dial = talk,
) -> AsyncIterator[Client]:
    """Opens a conversation and keeps it open across broken connections until the block is left.

    The block is entered at once, connected or not. What ends the conversation for good comes out of the client's
    ``receive``, ``send`` and iteration, and of ``final`` of what was sent.

    Args:
        urls: one address or several, the preferred one first: ``ws://127.0.0.1:8080/ws``, or ``127.0.0.1:8080``. More
            are learned from the gateway.
        token: who this is; a string, or an async function that gives a new token each time it is called. Without one it
            is a guest, as :func:`csgate.client.guest` makes them.
        locale: language tag such as ``zh-CN``, for what the gateway says where a message does not tell its language.
        place: an earlier conversation to go on with.
        outbox: a file in which messages survive this process, together with the place. For one process at a time.
        standby: keep a second, silent connection to another node, to switch to when the first one breaks.
        agent: the token is that of a person of the shop, whose messages get no answer.
        keep_trying: False: if no address answers the first time, the conversation ends in ``ChatUnreachable``.
        max_unanswered: messages without an answer that may wait; one more makes ``send`` wait.
        draw: the source of randomness; uniform between two bounds.
        pace: deadlines.
        dial: how connections are opened.

    Raises:
        ConfigError: an address is none, or the outbox file cannot be used.
    """
    addresses = [parse_address(url) for url in ([urls] if isinstance(urls, str) else urls)]
    roster = Roster(addresses)
    tokens = Tokens(guest(*[address.http for address in addresses]) if token is None else token)
    journal = None if outbox is None else await trio.to_thread.run_sync(Journal, Path(outbox))
    failure: Exception | None = None
    try:
        client = Client(
            tokens,
            Outbox(max_unanswered, MAX_UNANSWERED_BYTES),
            Backoff(draw),
            journal=journal,
            place=place,
            locale=locale,
            agent=agent,
        )
        director = Director(client, roster, lambda: Backoff(draw), dial, pace, standby=standby, patient=keep_trying)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(director.run)
            try:
                yield client
            except Exception as error:
                # Raised below: the nursery would wrap it in a group, though nothing of the client's has failed.
                failure = error
            finally:
                client.close()
                director.closing.set()
                nursery.cancel_scope.deadline = trio.current_time() + pace.close_s + 1.0
    finally:
        if journal is not None:
            journal.close()
    if failure is not None:
        raise failure
