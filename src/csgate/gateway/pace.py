"""Large reads, new connections and requests take turns: no pass of the event loop gets long, however many there are."""

from typing import Final

import trio

A_PASS: Final = 4
"""Turns in one pass of the loop. One is 0.3 ms or more: half a MiB read and unmasked, a handshake, a request."""

_pace: "trio.lowlevel.RunVar[Pace]" = trio.lowlevel.RunVar("csgate.pace")


class Pace:
    """Gives out the turns of one event loop, first come, first served. See :func:`take_turn`."""

    __slots__ = ("_left", "_waiting")

    def __init__(self) -> None:
        self._left = A_PASS
        self._waiting = trio.lowlevel.ParkingLot()

    async def take(self) -> None:
        if not self._left:
            await self._waiting.park()
            return
        self._left -= 1
        if not self._left:  # no earlier: what few do costs them nothing
            trio.lowlevel.current_trio_token().run_sync_soon(self._refill)

    def _refill(self) -> None:
        """In a later pass: as many turns again, those who wait first."""
        woken = self._waiting.unpark(count=A_PASS)
        self._left = A_PASS - len(woken)
        if not self._left:
            trio.lowlevel.current_trio_token().run_sync_soon(self._refill)


async def take_turn() -> None:
    """Waits until a pass of the loop has room for one more. Returns at once, without a checkpoint, where it has."""
    try:
        pace = _pace.get()
    except LookupError:
        pace = Pace()
        _pace.set(pace)
    await pace.take()
