"""Turns that an earlier process left open are run again, as a higher attempt, so that each gets its final event."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import trio

from csgate.errors import Internal
from csgate.session import finals
from csgate.session.conversation import Conversation
from csgate.session.identity import new_reference
from csgate.session.office import Office
from csgate.session.store import Reopened
from csgate.session.turn import PendingTurn

# The process died with it twice: a third time might be its doing as well.
MAX_ATTEMPTS: Final = 2

_HEADER: Final = attrgetter("header")


async def reopen_turns(office: Office) -> None:
    """Takes up every open turn of the store; their principals need not be valid any more, they were when they asked.

    Nobody is attached yet, so the grace time runs.

    Raises:
        StoreUnavailable: the store cannot be asked.
    """
    reopened = await office.store.reopen()
    if not reopened:
        return
    office.telemetry.log.info("turns_reopened", turns=len(reopened))
    for _, turns in groupby(reopened, _HEADER):
        take_up(office, list(turns))


def take_up(office: Office, reopened: Sequence[Reopened]) -> None:
    """Takes up turns of one conversation; the grace time runs unless somebody is attached."""
    header = reopened[0].header
    conversation = office.live.get(header.id)
    if conversation is None:
        conversation = Conversation(office, header, reopened[0].state_event, said=True)
    conversation.language = reopened[-1].turn.language
    actor = conversation.work()
    actor.take_up([_pending(office, one) for one in reopened])
    if not conversation.attachments:
        actor.start_grace()


def _pending(office: Office, reopened: Reopened) -> PendingTurn:
    turn = reopened.turn
    held = 0 if turn.picture is None else memoryview(turn.picture.data).nbytes
    office.open_turn(held)
    pending = PendingTurn(turn, reopened.offset, trio.current_time(), held)
    if turn.attempt > MAX_ATTEMPTS:
        ref = new_reference()
        office.telemetry.log.error(
            "turn_given_up", ref=ref, conversation=reopened.header.id, turn=turn.id, attempts=MAX_ATTEMPTS
        )
        pending.final = finals.failed(turn.id, Internal(), turn.language, ref, office.timestamp())
    return pending
