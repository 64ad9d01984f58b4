"""``csgate.v1``: hello, then messages with ids, acknowledgements, resume."""

from typing import Final, assert_never

import structlog
import trio

from csgate.auth import Credentials
from csgate.errors import (
    BadEnvelope,
    CloseCode,
    CsgateError,
    Expired,
    Forbidden,
    Overloaded,
    Unauthorized,
)
from csgate.events import ErrorEvent, Event, Principal, ProgressEvent
from csgate.gateway.chat import Chat, ChatServices
from csgate.gateway.expiry import Watch
from csgate.gateway.listener import Upgrade
from csgate.gateway.pace import take_turn
from csgate.gateway.pictures import addressed
from csgate.gateway.websocket import WebSocket
from csgate.protocol import (
    Cancel,
    ClientEnvelope,
    Draining,
    Handoff,
    Hello,
    History,
    Message,
    Ping,
    Pong,
    Rate,
    Refresh,
    TokenExpiring,
    Typing,
    Welcome,
    encode,
)
from csgate.session import Attachment

TYPING_EVERY_S: Final = 1.0


class ChatV1(Chat):
    """One connection under the subprotocol ``csgate.v1``."""

    __slots__ = ("_attachment", "_held", "_typing", "_typing_again_at", "_watch")

    def __init__(self, ws: WebSocket, upgrade: Upgrade, services: ChatServices) -> None:
        super().__init__(ws, upgrade, services)
        self._attachment: Attachment | None = None
        self._watch: Watch | None = None
        self._held: list[Event] | None = []
        self._typing = False
        self._typing_again_at = 0.0

    # --- what the session calls (session.Sink) -----------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Sends an event of the conversation; those that come before ``welcome`` wait for it."""
        if self._held is not None:
            self._held.append(event)
        else:
            # Progress is soon followed by something; it may share its system call.
            self.ws.send_text(encode(addressed(event, self.s.album)), more=isinstance(event, ProgressEvent))

    # --- what the expiry watch calls ---------------------------------------------------------------------------------

    def token_expiring(self, seconds_left: float) -> None:
        self.ws.send_text(encode(TokenExpiring(seconds=round(seconds_left, 1))))

    def token_expired(self) -> None:
        self.refuse(Expired())

    # --- the connection ----------------------------------------------------------------------------------------------

    def announce_drain(self, reconnect_after_ms: int) -> None:
        self.ws.send_text(encode(Draining(reconnect_after_ms=reconnect_after_ms)))

    def send_error(self, event: ErrorEvent) -> None:
        self.ws.send_text(encode(event))

    async def _converse(self) -> None:
        try:
            with trio.move_on_after(self.s.config.limits.authenticate_seconds) as deadline:
                await self._open()
            if deadline.cancelled_caught:
                known = self.principal is not None
                self.ws.close(CloseCode.PROTOCOL_MISUSE if known else CloseCode.NOT_AUTHENTICATED, "no hello in time")
            while True:
                message = await self.ws.receive()
                try:
                    with self.holding(message):
                        await self._handle(await self.decode(message))
                except Unauthorized as error:
                    self.refuse(error)
                except CsgateError as error:
                    self.tell(error, self.id_in(message))
                del message  # it may hold a picture, and the next one may be hours away
        finally:
            if self._watch is not None:
                self.s.expiry.stop(self._watch)
            if self._attachment is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                    await self._attachment.detach()
                # It holds this connection, which would be freed by nobody but the collector of cycles.
                self._attachment = None

    async def _open(self) -> None:
        """Waits for a hello that can be granted. A wrong one costs nothing but its error until the deadline."""
        try:
            in_head, in_address = self.take_credentials()
            principal = None if in_head is None else await self.verify(in_head)
            if principal is not None:
                self.admit(principal)
        except (Unauthorized, Overloaded) as error:
            self.refuse(error)
            return
        while self._attachment is None and not self.ws.closed:
            message = await self.ws.receive()
            await take_turn()
            try:
                envelope = await self.decode(message)
                if isinstance(envelope, Hello):
                    await self._hello(envelope, principal, in_address)
                elif isinstance(envelope, Ping):
                    self.ws.send_text(encode(Pong(t=envelope.t)))
                else:
                    raise BadEnvelope(public="Say hello first.", public_zh="请先发送 hello。")
            except (Unauthorized, Overloaded) as error:
                self.refuse(error)
                return
            except CsgateError as error:
                self.tell(error, self.id_in(message))

    async def _hello(self, hello: Hello, principal: Principal | None, in_address: Credentials | None) -> None:
        """Opens or resumes. Who it is, is said by the request's head (``principal``), or hello, or the address."""
        self.language = "zh" if (hello.locale or "").lower().startswith("zh") else "en"
        if principal is None:
            if hello.token is not None:
                principal = await self.s.auth.verify(hello.token, now=self.s.now())
            elif self.principal is not None:  # proved by an earlier hello, perhaps with a ticket
                principal = self.principal
            elif in_address is not None:
                principal = await self.verify(in_address)
            else:
                raise Unauthorized("hello without a token")
            self.admit(principal)
        attachment = await self.s.conversations.attach(
            principal,
            self,
            conversation=hello.conversation,
            epoch=hello.epoch,
            offset=hello.offset,
            locale=hello.locale,
        )
        self._attachment = attachment
        structlog.contextvars.bind_contextvars(conversation=attachment.conversation)
        self._watch = self.s.expiry.add(self, principal.expires_at)
        limits = self.s.config.limits
        self.ws.send_text(
            encode(
                Welcome(
                    conversation=attachment.conversation,
                    epoch=attachment.epoch,
                    offset=attachment.offset,
                    recovered=attachment.recovered,
                    limits={
                        "max_message_bytes": limits.max_message_bytes,
                        "max_text_chars": limits.max_text_chars,
                        "max_pixels": self.s.config.inference.max_pixels,
                        **self.s.limits,
                    },
                    nodes=tuple(self.s.nodes()),
                    engine=self.s.engine(),
                )
            )
        )
        if hello.conversation is not None or attachment.history:
            events = tuple([addressed(event, self.s.album) for event in attachment.history])
            self.ws.send_text(encode(History(events=events)))
            attachment.history = ()
        if attachment.state_event is not None:
            self.ws.send_text(encode(attachment.state_event))
            attachment.state_event = None
        if attachment.snapshot is not None:
            self.ws.send_text(encode(attachment.snapshot))
            attachment.snapshot = None
        held, self._held = self._held or [], None
        for event in held:
            self.ws.send_text(encode(addressed(event, self.s.album)))

    async def _handle(self, envelope: ClientEnvelope) -> None:
        attachment = self._attachment
        assert attachment is not None
        match envelope:
            case Message(id=message_id):
                assert message_id is not None
                await self.submit(attachment, message_id, envelope)
            case Cancel():
                attachment.cancel(envelope.id)
            case Typing():
                self._typing_to(attachment, envelope.on)
            case Rate():
                self.check_rate(None)
                await attachment.rate(envelope.reply, envelope.score, envelope.comment)
            case Handoff():
                self.check_rate(None)
                await attachment.handoff(envelope.reason)
            case Refresh():
                await self._refresh(envelope.token)
            case Ping():
                self.ws.send_text(encode(Pong(t=envelope.t)))
            case Hello():
                raise BadEnvelope(
                    public="This connection has said hello already.", public_zh="该连接已经发送过 hello。"
                )
            case _:
                assert_never(envelope)

    def _typing_to(self, attachment: Attachment, on: bool) -> None:
        """Passes on changes, two a second: one ``on``, and the ``off`` that ends it. The rest is dropped silently."""
        if on is self._typing:
            return
        if on:
            now = trio.current_time()
            if now < self._typing_again_at:
                return
            self._typing_again_at = now + TYPING_EVERY_S
        self._typing = on
        attachment.typing(on)

    async def _refresh(self, token: str) -> None:
        assert self.principal is not None
        assert self._attachment is not None
        assert self._watch is not None
        principal = await self.s.auth.verify(token, now=self.s.now())
        if principal.owner != self.principal.owner or principal.role != self.principal.role:
            raise Forbidden("a refresh with somebody else's token")
        if principal.conversation not in (None, self._attachment.conversation):
            raise Forbidden("a refresh with a token for another conversation")
        self.principal = principal
        self.s.expiry.stop(self._watch)
        self._watch = self.s.expiry.add(self, principal.expires_at)
