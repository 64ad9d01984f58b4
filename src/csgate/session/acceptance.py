"""Whether a message is taken into the log: the bounds that it may meet, and what is known of its id."""

from typing import TYPE_CHECKING, Final

from csgate.errors import DuplicateMismatch, Overloaded
from csgate.events import MessageEvent
from csgate.session.store import Accepted, OpenTurn

if TYPE_CHECKING:
    from csgate.session.conversation import Conversation

RETRY_SOON_S: Final = 2.0
RETRY_ELSEWHERE_S: Final = 1.0


async def accept_customer(
    conversation: "Conversation", event: MessageEvent, digest: bytes, opened: OpenTurn, held: int, waiting: int
) -> Accepted:
    """Puts a customer's message into the store and opens its turn, which is counted from then on.

    Args:
        held: bytes of the message's picture, which its turn holds until it is finished.
        waiting: how many turns of this conversation wait.

    Raises:
        Overloaded: a bound is met, or the node drains; not for a message that is known.
        DuplicateMismatch: its id was used with other content.
    """
    office = conversation.office
    # First, as it may yield: no two conversations take the last place.
    room = await office.make_room()
    lack: tuple[str, float] | None = None
    if waiting >= office.settings.max_waiting:
        lack = "turns waiting", RETRY_SOON_S
    elif office.open_turns >= office.settings.max_open_turns:
        lack = "turns open", RETRY_SOON_S
    elif held and office.open_bytes + held > office.settings.max_open_bytes:
        lack = "pictures open", RETRY_SOON_S
    elif office.draining:
        lack = "draining", RETRY_ELSEWHERE_S
    elif not room:
        lack = "log in memory", RETRY_SOON_S
    if lack is not None:
        return await _known(conversation, event.id, digest, *lack)
    office.open_turn(held)
    accepted = None
    try:
        accepted = await office.store.accept(conversation.header, event, digest, opened)
    finally:
        if accepted is None or not accepted.new or not accepted.here:
            office.close_turn(held)
    return accepted


async def accept_agent(conversation: "Conversation", event: MessageEvent, digest: bytes) -> Accepted:
    """Puts an agent's message, which asks for no answer, into the store.

    Raises:
        Overloaded: the logs take too much memory, or the node drains; not for a message that is known.
        DuplicateMismatch: its id was used with other content.
    """
    office = conversation.office
    if office.draining:
        return await _known(conversation, event.id, digest, "draining", RETRY_ELSEWHERE_S)
    if not await office.make_room():
        return await _known(conversation, event.id, digest, "log in memory", RETRY_SOON_S)
    return await office.store.accept(conversation.header, event, digest, None)


async def _known(conversation: "Conversation", id: str, digest: bytes, lacking: str, retry_after: float) -> Accepted:
    """There is no room for a new message; one that was accepted before is acknowledged again all the same."""
    record = await conversation.office.store.recall(conversation.header.id, id)
    if record is None:
        # Made here: an exception that a frame on its way holds would keep the refused picture, by its traceback,
        # until the collector of cycles comes by.
        raise Overloaded(lacking, retry_after=retry_after)
    if record.digest != digest:
        raise DuplicateMismatch
    return Accepted(record.offset, new=False)
