"""Pictures of acknowledged messages: kept whatever becomes of their turn, as the log refers to them."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from csgate.errors import CsgateError, Overloaded, PeerError
from csgate.events import Picture
from csgate.telemetry import Telemetry

Keep = Callable[[str, Picture], Awaitable[None]]
"""Keeps a picture under its reference, for a conversation. Raises :class:`~csgate.errors.Overloaded` where it cannot
now; doing it again costs nothing and harms nobody."""

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
MARGIN_S: Final = 0.5
"""Before the deadline, so that the customer is told what was wrong rather than that it took long."""


async def keep_by(
    keep: Keep, conversation: str, picture: Picture | None, deadline: float, telemetry: Telemetry
) -> None:
    """Has ``picture`` kept, if there is one to keep; tries again until shortly before ``deadline`` (Trio's clock).

    Raises:
        Overloaded: it could not be kept in that time.
        PeerError: it is no picture.
    """
    if picture is None or picture.reference is None:
        return
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            await keep(conversation, picture)
        except Overloaded as error:
            if trio.current_time() + pause_s > deadline - MARGIN_S:
                raise
            telemetry.log.warning("picture_not_kept_yet", detail=error.detail, again_after_s=pause_s)
        else:
            return
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def keep_anyway(keep: Keep, conversation: str, picture: Picture, deadline: float, telemetry: Telemetry) -> None:
    """The same for a turn that has ended otherwise; nobody is there to be told, so the log is."""
    try:
        with trio.move_on_at(deadline):
            await keep_by(keep, conversation, picture, deadline, telemetry)
            return
        telemetry.log.error("picture_lost", conversation=conversation, detail="no answer from the store")
    except PeerError:
        pass  # there is no picture in what was sent
    except CsgateError as error:
        telemetry.log.error("picture_lost", conversation=conversation, detail=error.detail)
    except Exception:
        telemetry.log.exception("picture_lost", conversation=conversation)
