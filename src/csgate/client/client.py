"""One conversation that outlives its connections: what a program does with it, and what events do to it.

Nothing that was handed over is lost, nothing is answered twice, and every event comes once and in order: messages are
kept until their final event and sent again under their ids, connections resume after the last event seen.
"""

import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from csgate.client.backoff import Backoff
from csgate.client.frames import message_frame, text_frame
from csgate.client.journal import Journal
from csgate.client.link import Again, Link
from csgate.client.mailbox import Mailbox
from csgate.client.notices import ClientEvent, Connected, NotRecovered
from csgate.client.outbox import Entry, Outbox, Sent
from csgate.client.refusals import ChatRefused, ChatUnreachable
from csgate.client.timeline import Place, Timeline
from csgate.client.tokens import Tokens
from csgate.errors import Overloaded, TooLarge
from csgate.events import AckEvent, ErrorEvent, Event, MessageEvent, ReplyEvent
from csgate.protocol import TokenExpiring, Welcome

MAX_REQUESTS: Final = 64
"""Ratings and calls for a person that wait for a connection."""
MAX_REFUSALS: Final = 10
MAX_DOUBLINGS: Final = 4
HEADER_BYTES: Final = 4 + 1024
"""What a binary frame holds besides text and picture, at most."""

Failure = ChatRefused | ChatUnreachable


class Client:
    """What ``connect`` yields. Requests never wait for the network; ``send`` waits for room, ``receive`` for an event.

    Attributes:
        tokens: the token in use.
        unfinished: what an outbox file held when it was opened; these messages are sent again.
    """

    __slots__ = (
        "_active",
        "_agent",
        "_backoff",
        "_failure",
        "_journal",
        "_limits",
        "_locale",
        "_lost",
        "_mailbox",
        "_outbox",
        "_requests",
        "_timeline",
        "on_draining",
        "on_welcome",
        "tokens",
        "unfinished",
    )

    def __init__(
        self,
        tokens: Tokens,
        outbox: Outbox,
        backoff: Backoff,
        *,
        journal: Journal | None = None,
        place: Place | None = None,
        locale: str | None = None,
        agent: bool = False,
    ) -> None:
        """For ``connect``."""
        self.tokens = tokens
        self.unfinished: list[Sent] = []
        # What keeps the connections is told here (csgate.client.director).
        self.on_welcome: Callable[[Link, Welcome], None] = lambda link, welcome: None
        self.on_draining: Callable[[Link, float], None] = lambda link, seconds: None
        self._outbox = outbox
        self._backoff = backoff
        self._journal = journal
        self._locale = locale
        self._agent = agent
        self._timeline = Timeline(place or (None if journal is None else journal.place))
        self._mailbox = Mailbox()
        self._requests: deque[str] = deque()
        self._active: Link | None = None
        self._limits: dict[str, int] = {}
        self._lost: NotRecovered | None = None
        self._failure: Failure | None = None
        for message_id, frame in ({} if journal is None else journal.frames).items():
            entry = Entry(message_id, frame, Sent(message_id))
            outbox.add(entry)
            self.unfinished.append(entry.sent)

    # --- what a program does -----------------------------------------------------------------------------------------

    async def send(self, text: str | None = None, image: bytes | None = None, *, id: str | None = None) -> Sent:
        """Hands over a message: text, a picture (JPEG, PNG, WebP or GIF as in its file), or both.

        Returns as soon as it is kept, connected or not; waits while too much has no answer yet. ``id`` is made up
        unless given: up to 64 printable characters, never used before in this conversation.

        Raises:
            TooLarge: the gateway would not take it.
            ValueError: there is neither text nor picture.
            OSError: the outbox file cannot be written.
            ChatRefused, ChatUnreachable: the client has ended.
        """
        if not (text and text.strip()) and not image:
            raise ValueError("A message needs text or an image.")
        message_id = id or secrets.token_urlsafe(12)
        frame = message_frame(message_id, text, image)
        self._check(frame, text)
        while not self._outbox.has_room(len(frame)) and self._failure is None:
            await self._outbox.changed()
        if self._failure is not None:
            raise self._failure
        entry = Entry(message_id, frame, Sent(message_id), kept=self._journal is None)
        self._outbox.add(entry)
        if self._journal is not None:
            try:
                await trio.to_thread.run_sync(self._journal.add, message_id, frame)
            except BaseException:
                self._outbox.finish(message_id, None)
                raise
            entry.kept = True
        if self._active is not None and self._active.ready:
            self._active.queue(frame)
        return entry.sent

    def cancel(self, message_id: str) -> None:
        """Asks to stop answering a message; one of this client's again on a new connection, until it has its end."""
        entry = self._outbox.get(message_id)
        if entry is not None:
            entry.cancelled = True
        self._tell(text_frame("cancel", id=message_id))

    def rate(self, reply: str, score: int, comment: str | None = None) -> None:
        """Says how good the reply to the message of that id was, 1 to 5.

        Raises:
            Overloaded: too much waits for a connection.
        """
        self._request(text_frame("rate", reply=reply, score=score, comment=comment))

    def handoff(self, reason: str | None = None) -> None:
        """Asks for a person.

        Raises:
            Overloaded: too much waits for a connection.
        """
        self._request(text_frame("handoff", reason=reason))

    def typing(self, on: bool = True) -> None:
        """Shows the other side that somebody writes. Nothing happens without a connection."""
        self._tell(text_frame("typing", on=on))

    def refresh(self, token: str) -> None:
        """A new token for the same person, for a client that was given a fixed one."""
        self.tokens.replace(token)
        self._tell(text_frame("refresh", token=token))

    async def receive(self) -> ClientEvent:
        """The next event.

        Raises:
            ChatRefused, ChatUnreachable: there will be no more.
        """
        return await self._mailbox.get()

    def __aiter__(self) -> AsyncIterator[ClientEvent]:
        return self

    async def __anext__(self) -> ClientEvent:
        try:
            return await self._mailbox.get()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def flush(self) -> None:
        """Waits until every message that was handed over is acknowledged.

        Raises:
            ChatRefused, ChatUnreachable: the client has ended before that.
        """
        while self._outbox.unacked and self._failure is None:
            await self._outbox.changed()
        if self._failure is not None:
            raise self._failure

    def partial(self, message_id: str) -> str:
        """The answer to that message so far, put together from its pieces; empty where none is in progress."""
        return self._timeline.partial(message_id)

    @property
    def place(self) -> Place | None:
        """Where in which conversation this is, for another ``connect`` to resume. None before there is one."""
        return self._timeline.place

    @property
    def address(self) -> str | None:
        """What the connection in use goes to; None without one."""
        return self._active.address.websocket if self._active is not None and self._active.ready else None

    # --- what connections tell (csgate.client.link.Desk) -------------------------------------------------------------

    def hello(self) -> str:
        return text_frame("hello", locale=self._locale, **self._timeline.hello())

    def welcomed(self, link: Link, welcome: Welcome) -> bool:
        if link.spare:
            if not self._timeline.agrees(welcome):
                return False
            self.on_welcome(link, welcome)
            return True
        before = self._timeline.conversation
        lost = self._timeline.begin(welcome)
        if lost is not None:
            self._lost = NotRecovered(lost)
        elif before != welcome.conversation and self._journal is not None:
            self._journal.move(self._timeline.place)
        self.on_welcome(link, welcome)
        return True

    def gone(self, link: Link) -> bool:
        if link.spare or self._timeline.conversation is None:
            return False
        self._timeline.forget()
        self._lost = NotRecovered("gone")
        return True

    def take(self, link: Link, event: Event | TokenExpiring) -> Again | None:
        live = link is self._active
        if isinstance(event, TokenExpiring):
            if live:
                self._mailbox.put(event)
            return None
        new = self._timeline.take(event, live=live)
        match new:
            case None:
                return None
            case MessageEvent() if self._outbox.is_own(new.id):
                # The log tells of what this client wrote itself: as good as the ack, if that was lost.
                self._acknowledged(AckEvent(new.id, new.offset))
                return None
            case AckEvent():
                self._acknowledged(new)
                return None
            case ErrorEvent(offset=0, id=str()):
                again = self._come_back(new)
                if again is not None:
                    return again
                self._finish(new)
            case ReplyEvent() | ErrorEvent():
                self._finish(new)
            case _:
                pass
        self._mailbox.put(new)
        return None

    def draining(self, link: Link, seconds: float) -> None:
        self.on_draining(link, seconds)

    def expects_ack(self, link: Link) -> bool:
        return link is self._active and self._outbox.unacked > 0

    async def room(self) -> None:
        await self._mailbox.room()

    # --- what keeps the connections does -----------------------------------------------------------------------------

    @property
    def active(self) -> Link | None:
        """The connection in use, which may have ended."""
        return self._active

    @property
    def known(self) -> bool:
        """Whether there is a conversation to which a second connection could go."""
        return self._timeline.epoch is not None

    @property
    def idle(self) -> bool:
        """Whether no acknowledged message waits for its answer."""
        return self._outbox.awaited == 0

    async def changed(self) -> None:
        """Waits for the next ack or answer."""
        await self._outbox.changed()

    def activate(self, link: Link, welcome: Welcome, *, resumed: bool, standby: bool) -> None:
        """From now on ``link`` is the connection in use: it is told what the one before it may not have been."""
        self._active = link
        self._limits = welcome.limits
        lost, self._lost = self._lost, None
        self._mailbox.put(Connected(welcome, resumed, link.address.websocket, standby))
        if lost is not None:
            self._mailbox.put(lost)
        for entry in self._outbox.to_resend(log_lost=lost is not None and lost.reason != "gap"):
            for frame in entry.frames():
                link.queue(frame)
        while self._requests:
            link.queue(self._requests.popleft())

    def tell(self, event: ClientEvent) -> None:
        """A notice for the program."""
        self._mailbox.put(event)

    def fail(self, failure: Failure) -> None:
        """There is no going on."""
        self._failure = failure
        self._mailbox.close(failure)
        self._outbox.fail(failure)

    def close(self) -> None:
        """The program has left."""
        self._mailbox.close()
        self._outbox.fail(ChatUnreachable("The client was closed."))

    # --- inner -------------------------------------------------------------------------------------------------------

    def _tell(self, frame: str) -> bool:
        if self._active is None or not self._active.ready:
            return False
        self._active.queue(frame)
        return True

    def _request(self, frame: str) -> None:
        if self._tell(frame):
            return
        if len(self._requests) >= MAX_REQUESTS:
            raise Overloaded("too many requests wait for a connection")
        self._requests.append(frame)

    def _check(self, frame: str | bytes, text: str | None) -> None:
        """Refuses here what the gateway would, whose error could not always name the message."""
        max_chars, max_bytes = self._limits.get("max_text_chars"), self._limits.get("max_message_bytes")
        if max_chars is not None and text is not None and len(text) > max_chars:
            raise TooLarge(public=f"The text is longer than {max_chars} characters.")
        if max_bytes is not None and len(frame if isinstance(frame, bytes) else frame.encode()) > max_bytes:
            raise TooLarge(public=f"The message is larger than {max_bytes} bytes.", max_bytes=max_bytes)

    def _acknowledged(self, ack: AckEvent) -> None:
        if not self._outbox.acknowledge(ack.id):
            return
        self._mailbox.put(ack)
        if self._agent:  # Nobody answers a person of the shop: this is the end.
            self._end(ack.id, None)

    def _finish(self, final: ReplyEvent | ErrorEvent) -> None:
        if final.id is not None:
            self._end(final.id, final)

    def _end(self, message_id: str, final: ReplyEvent | ErrorEvent | None) -> None:
        if self._outbox.finish(message_id, final) and self._journal is not None:
            self._journal.done(message_id, self._timeline.place, empty=not len(self._outbox))

    def _come_back(self, error: ErrorEvent) -> Again | None:
        """When to send a message again that was refused only for now; None: it is refused for good."""
        entry = self._outbox.get(error.id)
        if entry is None or entry.acked or error.retry_after is None or entry.refusals >= MAX_REFUSALS:
            return None
        # A node may refuse for as long as it drains: half a minute is more than ten times its second.
        wait = self._backoff.spread(error.retry_after * 2.0 ** min(entry.refusals, MAX_DOUBLINGS))
        entry.refusals += 1
        return Again(entry, wait)
