"""Events on their way to the program: bounded, in order, and no burden to one that never asks for them."""

from collections import deque
from typing import Final

import trio

from csgate.client.notices import ClientEvent

FULL: Final = 64
"""From so many waiting events on, connections are not read any further: the gateway's bounds then hold."""
KEPT_UNASKED: Final = 256
"""A program that only awaits its replies never asks for events; of these the newest are kept, should it ever."""


class Mailbox:
    """A queue whose ``put`` never waits; whoever reads connections waits for ``room`` between two frames."""

    __slots__ = ("_asked", "_closed", "_emptied", "_error", "_events", "_filled")

    def __init__(self) -> None:
        self._events: deque[ClientEvent] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._asked = False
        self._closed = False
        self._error: Exception | None = None

    def put(self, event: ClientEvent) -> None:
        """Adds an event."""
        self._events.append(event)
        if not self._asked and len(self._events) > KEPT_UNASKED:
            self._events.popleft()
        self._filled.set()

    async def room(self) -> None:
        """Waits until the program has taken enough."""
        while self._asked and len(self._events) >= FULL and not self._closed:
            self._emptied = trio.Event()
            await self._emptied.wait()

    async def get(self) -> ClientEvent:
        """The next event.

        Raises:
            Exception: what the mailbox was closed with, once it is empty.
            trio.EndOfChannel: it was closed without a reason.
        """
        self._asked = True
        while not self._events:
            if self._closed:
                raise trio.EndOfChannel if self._error is None else self._error
            self._filled = trio.Event()
            await self._filled.wait()
        event = self._events.popleft()
        if len(self._events) < FULL:
            self._emptied.set()
        return event

    def close(self, error: Exception | None = None) -> None:
        """There will be no more. Idempotent; the first reason counts."""
        if not self._closed:
            self._closed, self._error = True, error
        self._filled.set()
        self._emptied.set()
