"""The simple mode: one frame in, one frame out, in order. A few lines of JavaScript suffice."""

from collections import OrderedDict
from typing import Final, Literal

import structlog
import trio

from csgate.errors import CloseCode, CsgateError, Expired, Overloaded, Unauthorized
from csgate.events import ErrorEvent, Event, ReplyEvent
from csgate.gateway.chat import Chat, ChatServices
from csgate.gateway.listener import Upgrade
from csgate.gateway.pictures import addressed
from csgate.gateway.websocket import WebSocket
from csgate.protocol import ClientEnvelope, Message, encode_simple
from csgate.session import Attachment

MAX_WAITING: Final = 16
MAX_SLOTS: Final = 4_096


class ChatSimple(Chat):
    """One connection without a subprotocol, or under ``csgate.simple``: a conversation of its own.

    ``_slots`` holds, in the order of arrival, every frame that has not been answered on the wire; a value is the answer
    when it is there and waits only for its turn.
    """

    __slots__ = ("_count", "_format", "_slots")

    simple = True

    def __init__(self, ws: WebSocket, upgrade: Upgrade, services: ChatServices) -> None:
        super().__init__(ws, upgrade, services)
        self._format: Literal["json", "text"] = "text" if upgrade.handshake.query.get("format") == "text" else "json"
        self._slots: OrderedDict[str, ReplyEvent | ErrorEvent | None] = OrderedDict()
        self._count = 0

    def deliver(self, event: Event) -> None:
        """Keeps final events; everything else has no place in this mode."""
        if isinstance(event, ReplyEvent | ErrorEvent) and event.id is not None and event.id in self._slots:
            self._slots[event.id] = addressed(event, self.s.album)
            self._flush()

    def token_expiring(self, seconds_left: float) -> None:
        """There is no way to refresh a token in this mode."""

    def token_expired(self) -> None:
        self.refuse(Expired())

    def announce_drain(self, reconnect_after_ms: int) -> None:
        """The close code will say it."""

    def send_error(self, event: ErrorEvent) -> None:
        if event.id is not None and event.id in self._slots:
            self._slots[event.id] = event
            self._flush()
        else:
            self.ws.send_text(encode_simple(event, self._format))

    async def _converse(self) -> None:
        in_head, in_address = self.take_credentials()
        credentials = in_head or in_address
        if credentials is None:
            self.refuse(Unauthorized("no credentials in the handshake"), CloseCode.NOT_AUTHENTICATED)
            return
        principal = await self.verify(credentials)
        self.admit(principal)
        del in_head, in_address, credentials
        attachment = await self.s.conversations.attach(principal, self)
        structlog.contextvars.bind_contextvars(conversation=attachment.conversation)
        watch = self.s.expiry.add(self, principal.expires_at)
        try:
            while True:
                message = await self.ws.receive()
                waiting = len(self._slots)
                if waiting >= MAX_SLOTS:
                    self.ws.close(CloseCode.ABUSE, "too many messages")
                    return
                self._count += 1
                slot = f"{self.id}-{self._count}"  # a restricted token may open an older conversation
                self._slots[slot] = None
                try:
                    if waiting >= MAX_WAITING:
                        raise Overloaded("simple mode: too many messages wait", retry_after=1.0)
                    with self.holding(message):
                        await self._submit(attachment, slot, await self.decode(message))
                except CsgateError as error:
                    self.tell(error, slot)
                del message  # it may hold a picture, and the next one may be hours away
        finally:
            self.s.expiry.stop(watch)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await attachment.detach()

    async def _submit(self, attachment: Attachment, slot: str, envelope: ClientEnvelope) -> None:
        assert isinstance(envelope, Message)  # nothing else is decoded in this mode
        await self.submit(attachment, slot, envelope, ack=False)

    def _flush(self) -> None:
        while self._slots:
            slot, event = next(iter(self._slots.items()))
            if event is None:
                return
            del self._slots[slot]
            self.ws.send_text(encode_simple(event, self._format))
