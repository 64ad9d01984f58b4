"""One turn as a task: asks the answerer, and makes a final event of whatever comes of it."""

from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import trio
from structlog import contextvars

from csgate.errors import CsgateError, Internal, PeerError, TurnTimeout
from csgate.events import Draft, LogEvent, MessageEvent, ProgressEvent
from csgate.session import finals
from csgate.session.identity import new_reference
from csgate.session.keeping import keep_by
from csgate.session.persistence import until_stored
from csgate.session.store import FinalEvent
from csgate.session.turn import PendingTurn, Turn

if TYPE_CHECKING:
    from csgate.session.conversation import Conversation

KEPT_WITHIN_S: Final = 0.5
"""A turn that was stopped, or failed, waits so long for its picture; beyond that, it is kept in the background."""
_OFFSET: Final = attrgetter("offset")


async def answer_turn(conversation: "Conversation", pending: PendingTurn, wake: Callable[[], None]) -> None:
    """Sets ``pending.final``, whatever happens short of the end of the nursery.

    The scope of ``pending`` is entered here; cancelling it removes everything that works for this turn. One that was
    muted before it began is only here to have its picture kept.

    Args:
        wake: called when deltas are held back, which have to be sent later.
    """
    contextvars.bind_contextvars(conversation=conversation.header.id, turn=pending.open.id)
    office = conversation.office
    final: FinalEvent | None = None
    failure: Exception | None = None
    silent = pending.stop is not None
    try:
        with pending.scope:
            if silent:
                await _keep(conversation, pending)
                final = _stopped(conversation, pending)
            else:
                draft = await _answer(conversation, pending, wake)
                final = finals.answered(pending.open.id, draft, office.timestamp())
                pending.hand_over = draft.hand_over
    except Exception as error:
        # The edge of the turn: what goes wrong in one ends that one.
        final, failure = None, _sole(error)
    if pending.stop is not None and not silent:
        # Also when the answerer finished in spite of it: nobody wants that answer any more.
        if failure is not None:
            _report(conversation, failure, new_reference())
        pending.hand_over = False
        final = _stopped(conversation, pending)
        keep_anyway(conversation, pending)
    elif final is None:
        failure = TurnTimeout() if failure is None else failure
        ref = new_reference()
        _report(conversation, failure, ref)
        if not isinstance(failure, PeerError):
            keep_anyway(conversation, pending)
        told = failure if isinstance(failure, CsgateError) else Internal()
        final = finals.failed(pending.open.id, told, pending.open.language, ref, office.timestamp())
    pending.final = final


async def _answer(conversation: "Conversation", pending: PendingTurn, wake: Callable[[], None]) -> Draft:
    """Answers, and has the picture kept meanwhile."""
    office = conversation.office
    turn = await _turn(conversation, pending, wake)
    if office.keep is None or turn.picture is None or turn.picture.reference is None:
        return await office.answer(turn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep, conversation, pending)
        return await office.answer(turn)


async def _keep(conversation: "Conversation", pending: PendingTurn) -> None:
    office = conversation.office
    if office.keep is not None:
        id, picture, deadline = conversation.header.id, pending.open.picture, pending.scope.deadline
        await keep_by(office.keep, id, picture, deadline, office.telemetry)


def keep_anyway(conversation: "Conversation", pending: PendingTurn) -> None:
    """Has the picture of a turn kept that ends otherwise: the log shows it, whatever became of the answer."""
    if not conversation.vanished:
        pending.kept_by = trio.current_time() + KEPT_WITHIN_S
        pending.kept = conversation.office.keep_anyway(conversation.header.id, pending.open.picture)


def _stopped(conversation: "Conversation", pending: PendingTurn) -> FinalEvent:
    assert pending.stop is not None
    opened, now = pending.open, conversation.office.timestamp()
    return finals.stopped(opened.id, pending.stop, pending.stream.text, opened.language, new_reference(), now)


async def _turn(conversation: "Conversation", pending: PendingTurn, wake: Callable[[], None]) -> Turn:
    office, opened = conversation.office, pending.open

    def progress(event: ProgressEvent) -> None:
        if pending.final is None and pending.stop is None:
            conversation.broadcast(event)

    def delta(text: str) -> None:
        if pending.final is not None or pending.stop is not None:
            return
        now = trio.current_time()
        waited = pending.stream.flush_at
        event = pending.stream.add(text, now)
        if event is not None:
            conversation.broadcast(event)
        elif pending.stream.flush_at != waited:
            wake()  # the actor has a new deadline

    read = partial(office.store.read, conversation.header.id, limit=office.settings.page_events)
    # A store elsewhere may be away for a moment; that is no reason to fail what was acknowledged.
    page = await (read() if office.shared is None else until_stored(read, office.telemetry))
    if conversation.notes is None:
        conversation.notes = {}
    return Turn(
        conversation=conversation.header.id,
        id=opened.id,
        text=opened.text,
        picture=opened.picture,
        principal=opened.principal,
        deadline=pending.scope.deadline,
        attempt=opened.attempt,
        language=opened.language,
        history=() if page is None else _before(page.events, pending.offset),
        notes=conversation.notes,
        on_progress=progress,
        on_delta=delta,
    )


def _before(events: tuple[LogEvent, ...], offset: int) -> tuple[LogEvent, ...]:
    """Those that precede the turn of the message at ``offset``: not itself, not the messages that wait behind it."""
    if events and events[-1].offset == offset:
        return events[:-1]
    own = bisect_left(events, offset, key=_OFFSET)
    later = [event for event in events[own:] if not (isinstance(event, MessageEvent) and event.author == "customer")]
    return (*events[:own], *later)


def _sole(error: Exception) -> Exception:
    """Out of the groups that nurseries wrap exceptions in; of several, what nobody expected, then the peer's doing."""
    while isinstance(error, ExceptionGroup):
        error = min(error.exceptions, key=_by_whom)
    return error


def _by_whom(error: Exception) -> int:
    if isinstance(error, CsgateError):
        return 1 if isinstance(error, PeerError) else 2
    return 0


def _report(conversation: "Conversation", error: Exception, ref: str) -> None:
    log = conversation.office.telemetry.log
    if not isinstance(error, CsgateError) or error.code == Internal.code:
        log.error("turn_failed", ref=ref, exc_info=error)
    elif isinstance(error, PeerError):
        log.info("turn_refused", ref=ref, code=error.code, detail=error.detail)
    else:
        log.warning("turn_failed", ref=ref, code=error.code, detail=error.detail)
