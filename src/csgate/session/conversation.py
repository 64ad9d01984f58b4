"""A conversation in memory, while somebody is attached to it or work is pending.

Idle it is this one small object: the actor that does the work is made when there is some and goes with it.
"""

from typing import TYPE_CHECKING, Any

from csgate.errors import Overloaded
from csgate.events import ConversationState, Language, LiveEvent, LogEvent, StateEvent
from csgate.session.actor import Actor
from csgate.session.handoff import needs_agent
from csgate.session.office import Office
from csgate.session.store import Header

if TYPE_CHECKING:
    from csgate.session.attachment import Attachment


class Conversation:
    """Who is attached, who answers, and the way to the actor. ``notes`` are the answerer's.

    ``vanished``: its log is there no more; it only ends what it had begun.
    """

    __slots__ = ("actor", "attachments", "header", "language", "notes", "office", "said", "state_event", "vanished")

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
        self.watch()

    def leave(self, attachment: "Attachment") -> None:
        """The last one to leave starts the grace time of the open turns; without any, the conversation goes."""
        self.attachments = tuple(other for other in self.attachments if other is not attachment)
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
        for attachment in self.attachments:
            attachment.receive(event, shown=attachment is not sender)

    def broadcast(self, event: LiveEvent, sender: "Attachment | None" = None) -> None:
        """Gives an event that is not logged to everybody attached but its ``sender``."""
        for attachment in self.attachments:
            if attachment is not sender:
                attachment.deliver(event)

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
        if not self.said:
            self.office.count(unsaid=-1)
