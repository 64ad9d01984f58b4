"""What must get into the store however long that takes: the final event of a message that was acknowledged."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from csgate.errors import StoreUnavailable
from csgate.telemetry import Telemetry

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


async def until_stored(change: Callable[[], Awaitable[T]], telemetry: Telemetry) -> T:
    """Tries ``change`` again for as long as the store is unavailable.

    It cannot happen twice: each change looks whether it is still to be made. Ends unfinished only with the process,
    and the next one finds the turn open.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await change()
        except StoreUnavailable as error:
            telemetry.log.warning("not_stored_yet", detail=error.detail, again_after_s=pause_s)
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
