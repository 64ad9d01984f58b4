"""The time that a customer waits for a person: when it is over and nobody came, the bot has the conversation back."""

import math
from typing import TYPE_CHECKING, Final

import trio

from csgate.errors import NotFound, StoreUnavailable
from csgate.events import MessageEvent
from csgate.session.handoff import Cue
from csgate.session.identity import new_notice_id
from csgate.session.wording import NOBODY_CAME

if TYPE_CHECKING:
    from csgate.session.actor import Actor

GIVE_BACK_AGAIN_S: Final = 6.0
"""After that failed. A cluster's node that gave up half-way has let go of the conversation by then."""


class Countdown:
    """``at``: when it is over, on Trio's clock; infinite while it does not run."""

    __slots__ = ("_told", "at")

    def __init__(self) -> None:
        self.at = math.inf
        self._told = False  # that nobody came

    def start(self, seconds: float) -> bool:
        """Whether it did not run already; if it did, it goes on."""
        if self.at != math.inf:
            return False
        self.at = trio.current_time() + seconds
        self._told = False
        return True

    def stop(self) -> None:
        self.at = math.inf

    async def give_back(self, actor: "Actor") -> None:
        """Nobody came: says so and gives the conversation back to the bot. Tried again where that fails.

        The sentence is a ``message`` with author "human" under an id of its own, before the ``state``: what clients
        show as said by the other side. A ``reply`` would be a second final event, or one of no message; a ``state``
        carries no text; and the protocol knows no third author.
        """
        self.at = math.inf
        office, conversation = actor.office, actor.conversation
        try:
            if office.shared is not None and not await office.shared.may_give_back(conversation.header.id):
                conversation.watch()
                return
            if not self._told:
                notice = MessageEvent(
                    id=new_notice_id(),
                    offset=0,
                    author="human",
                    text=NOBODY_CAME[conversation.language],
                    timestamp=office.timestamp(),
                )
                stored = await office.store.append(conversation.header, notice)
                self._told = True
                await actor.publish(stored)
            await actor.change_state(Cue.NOBODY_CAME)
        except NotFound:
            conversation.vanish()  # asked again, the store would begin its log anew
        except Exception as error:
            log = office.telemetry.log
            if isinstance(error, StoreUnavailable):
                log.warning("handoff_not_ended_yet", detail=error.detail, again_after_s=GIVE_BACK_AGAIN_S)
            else:
                log.exception("handoff_not_ended", again_after_s=GIVE_BACK_AGAIN_S)
            # A customer whom nobody comes to must not stay with a mute bot.
            self.at = trio.current_time() + GIVE_BACK_AGAIN_S
            conversation.watch()  # somebody may have come meanwhile
