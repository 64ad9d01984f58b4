"""One connection's hold on one conversation: what it was told, and what it may do."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from csgate.errors import Forbidden
from csgate.events import (
    AckEvent,
    Author,
    ConversationState,
    DeltaEvent,
    Event,
    LogEvent,
    Picture,
    Principal,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.session.digest import content_digest
from csgate.session.store import Page

if TYPE_CHECKING:
    from csgate.session.actor import Actor
    from csgate.session.conversation import Conversation

T = TypeVar("T")


class Sink(Protocol):
    """The receiving end of an attachment; a connection's outbound queue. It picks the events that its mode shows."""

    def deliver(self, event: Event) -> None:
        """Takes an event, in order. Called on the event loop; must neither block nor call back into the session."""
        ...

    def detached(self) -> None:
        """The session gives up on this sink, which raised in :meth:`deliver`: it gets nothing any more.

        Called once, and not after :meth:`Attachment.detach`; under the same rules as :meth:`deliver`. A connection
        closes, so that its client comes back and resumes without a gap.
        """
        ...


class Attachment:
    """Made by :meth:`csgate.session.Conversations.attach`.

    Attributes:
        recovered: the client's epoch and offset were good: ``history`` is exactly what it missed.
        history: the missed events, or a starting page. The holder may set it to ``()`` once sent, to free it.
        snapshot: the answer in progress as of ``history``, if some of it was sent.
        state_event: the newest state event, to be sent after ``history`` (with its own, older offset) to a client that
            would otherwise not learn that a person is wanted or answers: None where the bot answers, or where
            ``history`` tells.
        offset: that of the newest logged event given to this attachment; right after the attach, the log's last.
    """

    __slots__ = (
        "_ahead",
        "_attached",
        "_conversation",
        "_sink",
        "_wants_snapshot",
        "history",
        "locale",
        "offset",
        "principal",
        "recovered",
        "snapshot",
        "state_event",
    )

    def __init__(self, conversation: "Conversation", principal: Principal, sink: Sink, locale: str | None) -> None:
        self._conversation = conversation
        self._sink = sink
        # Logged events that came while the history was read; None once the attachment is live.
        self._ahead: list[LogEvent] | None = []
        self._attached = True
        self._wants_snapshot = False
        self.principal = principal
        self.locale = locale
        self.recovered = False
        self.history: tuple[LogEvent, ...] = ()
        self.snapshot: SnapshotEvent | None = None
        self.state_event: StateEvent | None = None
        self.offset = 0
        conversation.enter(self)

    # --- What is given to it ---

    def go_live(self, page: Page, recovered: bool) -> None:
        """Ends the joining: history and what came meanwhile become one, and from now on events go to the sink.

        Runs in the task of whoever attaches, without a checkpoint before that task goes on: it can send the history
        before any live event.
        """
        assert self._ahead is not None
        self.history = page.events + tuple(event for event in self._ahead if event.offset > page.last)
        self._ahead = None
        # An event may be in the store, thus in the page, while its publication is still to come: receive() drops it.
        self.offset = max(self.offset, page.last)
        self.recovered = recovered
        actor = self._conversation.actor
        self.snapshot = None if actor is None else actor.snapshot()
        self._conversation.read_to(page.last)
        shared = self._conversation.office.shared
        if shared is not None and self.snapshot is None and page.last:
            # The answer may be in progress at another process.
            self._wants_snapshot = True
            shared.ask_for_snapshot(self.conversation)
        if self.state != "bot" and not any(isinstance(event, StateEvent) for event in self.history):
            self.state_event = self._conversation.state_event

    def receive(self, event: LogEvent, *, shown: bool = True) -> None:
        """Takes a logged event unless it was given already. ``shown`` False: counts it as given, no more."""
        if event.offset <= self.offset:
            return
        self.offset = event.offset
        if self._ahead is not None:
            self._ahead.append(event)
        elif shown:
            self._give(event)

    def deliver(self, event: Event) -> None:
        """Takes an event that has no place in the log; dropped while joining, when the snapshot will cover it."""
        if self._ahead is None:
            self._give(event)

    def hear(self, event: Event) -> None:
        """Takes an event without a place in the log that another process tells.

        Of an answer that had begun before this attachment, the snapshot that it asked for comes first.
        """
        if isinstance(event, SnapshotEvent):
            if not self._wants_snapshot:
                return
            self._wants_snapshot = False
        elif isinstance(event, DeltaEvent) and self._wants_snapshot:
            if event.seq > 1:
                return
            self._wants_snapshot = False
        self.deliver(event)

    def _give(self, event: Event) -> None:
        if not self._attached:
            return
        try:
            self._sink.deliver(event)
        except Exception:
            # The edge towards one connection: its failure must not end the conversations.
            self._conversation.office.telemetry.log.exception("sink_failed", conversation=self.conversation)
            self.put_out()

    def put_out(self) -> None:
        """Ends it from this side."""
        self._leave()
        self._give_up()

    def _give_up(self) -> None:
        try:
            self._sink.detached()
        except Exception:
            self._conversation.office.telemetry.log.exception("sink_failed", conversation=self.conversation)

    # --- What it may do ---

    @property
    def conversation(self) -> str:
        return self._conversation.header.id

    @property
    def epoch(self) -> str:
        return self._conversation.header.epoch

    @property
    def state(self) -> ConversationState:
        """Who answers now."""
        return self._conversation.state

    @property
    def author(self) -> Author:
        return "human" if self.principal.role == "agent" else "customer"

    async def submit(self, id: str, text: str | None, picture: Picture | None, *, ack: bool = True) -> AckEvent:
        """Puts a message into the log and has it answered. Returns once it is durable.

        The sink gets the ack (unless ``ack`` is False) before any other event of that id. A resent message gets the
        same ack again and no second answer. A message of an agent mutes the bot and gets no final event; every other
        accepted one gets exactly one, also when this call is cancelled.

        Raises:
            DuplicateMismatch: the id was used with other content.
            Overloaded: too many messages wait here; too many turns, or too large pictures, are open in all; the logs
                take too much memory; or the node drains.
            StoreUnavailable: it could not be stored.
            trio.ClosedResourceError: after :meth:`detach`.
        """
        digest = content_digest(text, picture)
        return await self._ask(lambda actor: actor.accept(self, id, text or "", picture, digest, ack=ack), id)

    def cancel(self, id: str) -> None:
        """Stops answering message ``id``, running or waiting. Nothing happens if it is unknown or has ended."""
        if self._conversation.actor is not None:
            self._conversation.actor.cancel(id)
        if self._conversation.office.shared is not None:
            self._conversation.office.shared.cancel(self.conversation, id)

    async def rate(self, reply: str, score: int, comment: str | None = None) -> None:
        """Logs the customer's satisfaction with a reply.

        Args:
            reply: the id of the message that was replied to, which is the reply's id.
            score: 1..5.

        Raises:
            NotFound: there is no such reply here (any more).
            BadEnvelope: the score is not in 1..5.
            Forbidden: an agent may not rate.
            Overloaded: the logs take too much memory.
        """
        self._customer_only()
        await self._ask(lambda actor: actor.rate(self, reply, score, comment))

    async def handoff(self, reason: str | None = None) -> None:
        """Asks for a person. Nothing happens if one was asked for already.

        Raises:
            Forbidden: an agent may not.
        """
        self._customer_only()
        await self._ask(lambda actor: actor.ask_for_person(reason))

    def typing(self, on: bool) -> None:
        """Shows the others that somebody writes. Not logged."""
        self._conversation.broadcast(TypingEvent(on=on, author=self.author), sender=self)

    async def detach(self) -> None:
        """Lets go. Idempotent; does not yield, so that it works in a cancelled scope."""
        self._leave()

    def _leave(self) -> None:
        if self._attached:
            self._attached = False
            self._conversation.leave(self)

    async def _ask(self, job: Callable[["Actor"], Awaitable[T]], coming: str | None = None) -> T:
        if not self._attached:
            raise trio.ClosedResourceError("detached")
        return await self._conversation.work().ask(job, coming)

    def _customer_only(self) -> None:
        if self.principal.role == "agent":
            raise Forbidden
