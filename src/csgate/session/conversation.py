"""A conversation in memory, while somebody is attached to it or work is pending.

Idle it is this one small object: the actor that does the work is made when there is some and goes with it.
"""

from typing import TYPE_CHECKING, Any

from csgate.errors import Overloaded
from csgate.events import (
    ConversationState,
    DeltaEvent,
    ErrorEvent,
    Language,
    LiveEvent,
    LogEvent,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
)
from csgate.session.actor import Actor
from csgate.session.handoff import needs_agent
from csgate.session.office import Office
from csgate.session.store import Header

if TYPE_CHECKING:
    from csgate.session.attachment import Attachment


class Conversation:
    """Who is attached, who answers, and the way to the actor. ``notes`` are the answerer's.

    ``vanished``: its log is there no more; it only ends what it had begun.

    With a shared store, what is published comes from several processes: ``published`` is the offset up to which
    everybody attached was given the log (None: nobody was yet), ``heard`` one that the log is known to have reached.
    """

    __slots__ = (
        "_answer",
        "actor",
        "attachments",
        "header",
        "heard",
        "language",
        "notes",
        "office",
        "published",
        "said",
        "state_event",
        "vanished",
    )

    def __init__(self, office: Office, header: Header, state_event: StateEvent | None, *, said: bool) -> None:
        self.office = office
        self.header = header
        self.state_event = state_event
        self.said = said
        self.language: Language = "en"
        self.attachments: tuple[Attachment, ...] = ()
        self.actor: Actor | None = None
        self.notes: dict[str, Any] | None = None  # until the first turn
        self.vanished = False
        self.published: int | None = None if said else 0
        self.heard = 0
        # The id and attempt of the answer that pieces came of last; attempt 0: it has ended.
        self._answer = ("", 0)
        office.live[header.id] = self

    @property
    def state(self) -> ConversationState:
        """Who answers, as the newest state event says."""
        return "bot" if self.state_event is None else self.state_event.state

    # --- Who listens ---

    def enter(self, attachment: "Attachment") -> None:
        """Pins the conversation: while somebody is attached it is not evicted, and no grace time runs."""
        self.attachments += (attachment,)
        if self.actor is not None:
            self.actor.stop_grace()
        self._attend()
        self.watch()

    def leave(self, attachment: "Attachment") -> None:
        """The last one to leave starts the grace time of the open turns; without any, the conversation goes."""
        self.attachments = tuple(other for other in self.attachments if other is not attachment)
        self._attend()
        self.watch()
        if self.attachments:
            return
        if self.actor is not None:
            self.actor.start_grace()
        else:
            self.rest()

    @property
    def has_agent(self) -> bool:
        return any(attachment.principal.role == "agent" for attachment in self.attachments)

    def publish(self, event: LogEvent, sender: "Attachment | None" = None) -> None:
        """Gives a logged event to everybody attached but its ``sender``, who gets an ack instead."""
        if self.office.shared is not None and not self._next(event):
            return
        for attachment in self.attachments:
            attachment.receive(event, shown=attachment is not sender)

    def broadcast(self, event: LiveEvent, sender: "Attachment | None" = None) -> None:
        """Gives an event that is not logged to everybody attached but its ``sender``."""
        if self.office.shared is not None:
            if self._outdated(event):
                return
            self.office.shared.tell(self.header.id, event)
        for attachment in self.attachments:
            if attachment is not sender:
                attachment.deliver(event)

    # --- What other processes do ---

    def hear(self, event: LogEvent) -> None:
        """Another process has logged ``event``."""
        if self.published is not None and event.offset == self.published + 1:
            self.publish(event)
            self._heed(event)
        else:
            self.fall_behind(event.offset)

    def hear_live(self, event: LiveEvent) -> None:
        """Another process has told an event that is not logged."""
        if not self._outdated(event):
            for attachment in self.attachments:
                attachment.hear(event)

    def fall_behind(self, offset: int) -> None:
        """The log reaches to ``offset`` at least: what was missed of it is read and published."""
        self.heard = max(self.heard, offset)
        if self.behind and not self.office.closed:
            self.work().rouse()

    @property
    def behind(self) -> bool:
        """Whether something is in the log that those attached were not given."""
        return self.published is not None and self.heard > self.published and not self.vanished

    def read_to(self, last: int) -> None:
        """Somebody was given a page of the log that ends with offset ``last``."""
        if self.office.shared is not None and self.published is None:
            self.published = last
            self.fall_behind(self.heard)

    async def catch_up(self, before: int | None = None) -> None:
        """Publishes what is in the log after ``published``, up to an offset ``before``. Only the actor calls this.

        What the page leaves out cannot be read by this version: it is stepped over, and nobody here is given it.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        assert self.published is not None
        page = await self.office.store.read(self.header.id, after=self.published)
        if page is None or page.first > self.published + 1:
            # Forgotten meanwhile.
            self.start_anew(0 if page is None else page.last)
            return
        if page.last < self.heard and before is None:
            self.heard = page.last
        for event in page.events:
            if before is not None and event.offset >= before:
                break
            # Others may have come while the log was read.
            self.published = max(self.published, event.offset - 1)
            self.publish(event)
            self._heed(event)
        self.published = max(self.published, page.last if before is None else min(before - 1, page.last))

    def start_anew(self, last: int = 0) -> None:
        """Nobody can be given all that is in the log up to ``last``: who comes back gets a page to start from."""
        self.published = max(self.heard, last)
        for attachment in self.attachments:
            attachment.put_out()

    def _next(self, event: LogEvent) -> bool:
        """Whether it is what comes next; what comes later is read from the log in its turn."""
        if self.published is None or event.offset != self.published + 1:
            if self.published is None or event.offset > self.published:
                self.fall_behind(event.offset)
            return False
        self.published = event.offset
        if isinstance(event, ReplyEvent | ErrorEvent):
            self._answer = (event.id or "", 0)
        return True

    def _heed(self, event: LogEvent) -> None:
        """What an event that was made elsewhere changes here."""
        if isinstance(event, StateEvent) and (self.state_event is None or event.offset > self.state_event.offset):
            self.state_event = event
            if event.state == "human" and self.actor is not None:
                self.actor.mute()
            self.watch()

    def _outdated(self, event: LiveEvent) -> bool:
        """Whether it is a piece of an answer that has ended, or that is being made anew by another process."""
        if not isinstance(event, DeltaEvent | SnapshotEvent):
            return False
        id, attempt = self._answer
        if event.id == id and (attempt == 0 or event.attempt < attempt):
            return True
        self._answer = (event.id, event.attempt)
        return False

    def _attend(self) -> None:
        if self.office.shared is not None:
            self.office.shared.attend(self.header.id, self.has_agent)

    def speak(self) -> None:
        """Its first event is in the store."""
        if not self.said:
            self.said = True
            self.office.count(said=1, unsaid=-1)

    # --- What is to be done ---

    def work(self) -> Actor:
        """The actor, made if there was none; it is to be given something to do.

        Raises:
            Overloaded: the conversations are closed.
        """
        if self.office.closed:
            raise Overloaded("the conversations are closed")
        if self.actor is None:
            self.actor = Actor(self)
        return self.actor

    def watch(self) -> None:
        """Starts or stops the countdown after which a customer who waits for a person gets the bot back."""
        if needs_agent(self.state) and not self.has_agent and not self.vanished:
            if not self.office.closed:
                self.work().start_countdown()
        elif self.actor is not None:
            self.actor.stop_countdown()

    def vanish(self) -> None:
        """The log is gone: puts everybody out, and stops the answers, whose final events nobody will find."""
        self.vanished = True
        if self.actor is not None:
            self.actor.give_up()
        for attachment in self.attachments:
            attachment.put_out()

    def rest(self) -> None:
        """With nobody attached and nothing to do, only the store keeps the conversation, if anything was said."""
        if self.attachments or self.actor is not None:
            return
        del self.office.live[self.header.id]
        if self.office.shared is not None:
            self.office.shared.leave(self.header.id)
        if not self.said:
            self.office.count(unsaid=-1)
