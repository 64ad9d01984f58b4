"""The ears of a process that shares its store: what others did, brought to the conversations that are in memory."""

from collections.abc import Sequence

from csgate.events import LiveEvent, LogEvent
from csgate.session.office import Office
from csgate.session.reopening import take_up
from csgate.session.store import Reopened


class Hearing:
    """See :class:`csgate.session.shared.Ears`."""

    __slots__ = ("_office",)

    def __init__(self, office: Office) -> None:
        self._office = office

    def logged(self, conversation: str, event: LogEvent) -> None:
        known = self._office.live.get(conversation)
        if known is not None:
            known.hear(event)

    def told(self, conversation: str, event: LiveEvent) -> None:
        known = self._office.live.get(conversation)
        if known is not None:
            known.hear_live(event)

    def asked_for_snapshot(self, conversation: str) -> None:
        known = self._office.live.get(conversation)
        snapshot = None if known is None or known.actor is None else known.actor.snapshot()
        if snapshot is not None and self._office.shared is not None:
            self._office.shared.tell(conversation, snapshot)

    def cancelled(self, conversation: str, id: str) -> None:
        known = self._office.live.get(conversation)
        if known is not None and known.actor is not None and not self._office.closed:
            known.actor.cancel(id)

    def listening(self) -> Sequence[str]:
        return list(self._office.live)

    def behind(self, conversation: str, offset: int) -> None:
        known = self._office.live.get(conversation)
        if known is not None:
            known.fall_behind(offset)

    def given(self, turns: Sequence[Reopened]) -> None:
        if not self._office.closed:
            take_up(self._office, turns)

    def lost(self, conversation: str) -> None:
        known = self._office.live.get(conversation)
        # Closed, there is nothing left to stop, and no nursery that would keep the pictures of what is stopped.
        if known is not None and known.actor is not None and not self._office.closed:
            known.actor.give_up()
            known.watch()
