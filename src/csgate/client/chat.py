"""One conversation that outlives its connections.

A task reconnects with full jitter, resumes after the last offset seen, and resends what was not acknowledged under the
same ids, so that nothing is lost and nothing is answered twice.
"""

import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from csgate.client.address import ChatAddress
from csgate.client.backoff import Backoff
from csgate.client.dial import ABNORMAL, talk
from csgate.client.frames import message_frame, text_frame
from csgate.client.guest import GuestTokens
from csgate.client.outbox import Entry, Outbox
from csgate.client.refusals import ChatRefused, ChatUnreachable
from csgate.errors import CloseCode
from csgate.events import AckEvent, ErrorEvent, MessageEvent, RateEvent, ReplyEvent, StateEvent
from csgate.protocol import Draining, History, Pong, ServerEnvelope, TokenExpiring, Welcome

MAX_UNANSWERED: Final = 64
MAX_EVENTS_WAITING: Final = 64  # A page of history is handed over without waiting for a slow screen.
CLOSE_S: Final = 2.0
PING_AFTER_S: Final = 30.0
PONG_S: Final = 10.0
MAX_REFUSALS: Final = 10
MAX_RENEWALS: Final = 3
_DECODER: Final = msgspec.json.Decoder(ServerEnvelope)
_TOKEN_REFUSED: Final = frozenset({CloseCode.BAD_TOKEN, CloseCode.TOKEN_EXPIRED})
_GONE_BY_OUR_FAULT: Final = frozenset(
    {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_PAYLOAD, CloseCode.POLICY_VIOLATION, CloseCode.TOO_BIG}
)


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection. ``resumed``: it continues the conversation where the last one broke off."""

    welcome: Welcome
    resumed: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is none; the next try comes in ``retry_in`` seconds."""

    reason: str
    retry_in: float


ChatEvent = ServerEnvelope | Connected | Disconnected


class Chat:
    """What ``open_chat`` yields: ``send`` and the other requests never wait for the network; ``receive`` does."""

    __slots__ = (
        "_address",
        "_backoff",
        "_closing",
        "_conversation",
        "_epoch",
        "_failed",
        "_guests",
        "_locale",
        "_offset",
        "_outbox",
        "_renewals",
        "_room",
        "_send_event",
        "_to_send",
        "_token",
        "_wake",
        "_welcomed",
        "events",
    )

    def __init__(
        self,
        address: ChatAddress,
        token: str | None,
        locale: str | None,
        backoff: Backoff,
        guests: GuestTokens,
    ) -> None:
        self._address = address
        self._token = token
        self._locale = locale
        self._backoff = backoff
        self._guests = guests if token is None else None
        self._conversation: str | None = None
        self._epoch: str | None = None
        self._offset = 0
        self._outbox = Outbox()
        self._room = trio.Semaphore(MAX_UNANSWERED)
        self._to_send: deque[str | bytes] = deque()
        self._wake = trio.Event()
        self._closing = trio.Event()
        self._failed: ChatRefused | ChatUnreachable | None = None
        self._welcomed = False
        self._renewals = 0
        self._send_event, self.events = trio.open_memory_channel[ChatEvent](MAX_EVENTS_WAITING)

    # --- what a person does ------------------------------------------------------------------------------------------

    async def send(self, text: str | None = None, picture: bytes | None = None) -> str:
        """Hands over a message and returns its id. Waits only while 64 messages have no answer yet.

        Raises:
            ChatRefused, ChatUnreachable: the chat has ended.
        """
        await self._room.acquire()
        if self._failed is not None:
            raise self._failed
        message_id = secrets.token_urlsafe(12)
        frame = message_frame(message_id, text, picture)
        self._outbox.add(Entry(message_id, frame))
        self._queue(frame)
        return message_id

    def cancel(self, message_id: str) -> None:
        """Asks to stop answering a message."""
        self._queue(text_frame("cancel", id=message_id))

    def rate(self, reply: str, score: int, comment: str | None = None) -> None:
        """Says how good a reply was, 1 to 5."""
        self._queue(text_frame("rate", reply=reply, score=score, comment=comment))

    def handoff(self, reason: str | None = None) -> None:
        """Asks for a person."""
        self._queue(text_frame("handoff", reason=reason))

    async def receive(self) -> ChatEvent:
        """The next event.

        Raises:
            ChatRefused, ChatUnreachable: there will be no more.
        """
        try:
            return await self.events.receive()
        except trio.EndOfChannel:
            assert self._failed is not None
            raise self._failed from None

    # --- connections -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connects until the chat is closed or refused; what refused it is raised by ``receive`` and ``send``."""
        async with self._send_event:
            try:
                while not self._closing.is_set():
                    await self._one_connection()
            except (ChatRefused, ChatUnreachable) as error:
                self._failed = error

    async def _one_connection(self) -> None:
        try:
            token = await self._current_token()
            code, reason, wait = await self._connect(token)
        except ChatUnreachable as error:
            if not self._welcomed:
                raise
            code, reason, wait = CloseCode.GOING_AWAY, str(error), None
        if self._closing.is_set():
            return
        if code == ABNORMAL and not self._welcomed:
            raise ChatUnreachable(f"{self._address.websocket} hangs up before there is a conversation; is it csgate?")
        if code in _TOKEN_REFUSED and self._guests is not None and self._renewals < MAX_RENEWALS:
            self._token = None
            self._renewals += 1
        elif code in _GONE_BY_OUR_FAULT or code >= 4500:
            said = reason.rstrip(".") or "no reason given"
            raise ChatRefused(f"The gateway closed the conversation: {said} (close code {int(code)}).", code)
        delay = self._backoff.next() if wait is None else self._backoff.spread(wait)
        await self._emit(Disconnected(reason or f"close code {code}", delay))
        with trio.move_on_after(delay):
            await self._closing.wait()

    async def _current_token(self) -> str:
        if self._token is None:
            assert self._guests is not None
            self._token = await self._guests.renew()
        return self._token

    async def _connect(self, token: str) -> tuple[int, str, float | None]:
        """One connection to its end. Returns close code, reason, and seconds to wait where the server named them."""
        connection = _Connection(self)
        code, reason = await talk(self._address, token, connection.run)
        if code >= 4500 and connection.last_error is not None:
            reason = connection.last_error
        return code, reason, connection.wait

    async def _emit(self, event: ChatEvent) -> None:
        # Broken: the chat was left, and nobody is there to hear of events.
        with suppress(trio.BrokenResourceError):
            await self._send_event.send(event)

    # --- state that outlives a connection --------------------------------------------------------------------------

    def _queue(self, frame: str | bytes) -> None:
        self._to_send.append(frame)
        self._wake.set()

    def _hello(self) -> str:
        known = self._conversation is not None
        return text_frame(
            "hello",
            locale=self._locale,
            conversation=self._conversation,
            epoch=self._epoch,
            offset=self._offset if known else None,
        )

    def _forget_conversation(self) -> None:
        self._conversation = self._epoch = None
        self._offset = 0

    async def _take_welcome(self, welcome: Welcome) -> None:
        resumed = welcome.recovered and self._conversation is not None
        log_lost = self._epoch is not None and welcome.epoch != self._epoch
        self._conversation, self._epoch = welcome.conversation, welcome.epoch
        if not welcome.recovered:
            self._offset = 0
        self._welcomed = True
        self._backoff.reset()
        self._renewals = 0
        self._to_send = deque(entry.frame for entry in self._outbox.to_resend(log_lost=log_lost))
        await self._emit(Connected(welcome, resumed))

    async def _deliver(self, event: ServerEnvelope) -> None:
        match event:
            case MessageEvent() | ReplyEvent() | StateEvent() | RateEvent():
                if event.offset <= self._offset:
                    return
                self._offset = event.offset
            case ErrorEvent() if event.offset:
                if event.offset <= self._offset:
                    return
                self._offset = event.offset
            case AckEvent():
                self._outbox.acknowledged(event.id)
        if isinstance(event, ReplyEvent | ErrorEvent) and self._outbox.finished(event.id):
            self._room.release()
        await self._emit(event)


class _Connection:
    """The tasks of one connection: reader, writer, heartbeat. The first to end ends the others."""

    __slots__ = ("_chat", "_heard", "_open", "last_error", "wait")

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._heard = 0.0
        self._open = trio.Event()
        self.last_error: str | None = None
        self.wait: float | None = None

    async def run(self, ws: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:

            async def until_closing() -> None:
                await self._chat._closing.wait()
                await _close(ws)

            nursery.start_soon(self._write, ws)
            nursery.start_soon(self._heartbeat, ws)
            nursery.start_soon(until_closing)
            with suppress(ConnectionClosed):
                await self._read(ws, nursery)
            nursery.cancel_scope.cancel()

    async def _read(self, ws: WebSocketConnection, nursery: trio.Nursery) -> None:
        chat = self._chat
        with suppress(ConnectionClosed):
            # A gateway that refuses may be quicker than this; its reason still waits to be read.
            await ws.send_message(chat._hello())
        while True:
            data = await ws.get_message()
            self._heard = trio.current_time()
            try:
                event = _DECODER.decode(data)
            except msgspec.DecodeError:
                continue  # A later version of the protocol may say more than we know.
            match event:
                case Welcome():
                    await chat._take_welcome(event)
                    self._open.set()
                case History():
                    for missed in event.events:
                        await chat._deliver(missed)
                case TokenExpiring() if chat._guests is not None:
                    nursery.start_soon(self._refresh)
                case Draining():
                    self.wait = event.reconnect_after_ms / 1000
                case Pong():
                    pass
                case ErrorEvent(code="not_found") if chat._conversation is not None and not self._open.is_set():
                    chat._forget_conversation()
                    await ws.send_message(chat._hello())
                case ErrorEvent() if self._come_back(event, nursery):
                    pass
                case _:
                    if isinstance(event, ErrorEvent):
                        self.last_error = event.message
                    await chat._deliver(event)

    def _come_back(self, error: ErrorEvent, nursery: trio.Nursery) -> bool:
        """Whether ``error`` refuses a message only for now; then it is sent again after the time that it names."""
        entry = self._chat._outbox.get(error.id)
        if entry is None or error.retry_after is None or error.offset or entry.refusals >= MAX_REFUSALS:
            return False
        entry.refusals += 1
        delay = self._chat._backoff.spread(error.retry_after)

        async def again() -> None:
            await trio.sleep(delay)
            self._chat._queue(entry.frame)

        nursery.start_soon(again)
        return True

    async def _refresh(self) -> None:
        chat = self._chat
        assert chat._guests is not None
        try:
            chat._token = await chat._guests.renew()
        except (ChatRefused, ChatUnreachable):
            return  # The connection closes when the token ends; then the loop tries again.
        chat._queue(text_frame("refresh", token=chat._token))

    async def _write(self, ws: WebSocketConnection) -> None:
        chat = self._chat
        # Nothing goes out before the welcome: it decides what has to be sent.
        await self._open.wait()
        while True:
            while chat._to_send:
                try:
                    await ws.send_message(chat._to_send.popleft())
                except ConnectionClosed:
                    return
            chat._wake = trio.Event()
            await chat._wake.wait()

    async def _heartbeat(self, ws: WebSocketConnection) -> None:
        self._heard = trio.current_time()
        while True:
            await trio.sleep_until(self._heard + PING_AFTER_S)
            if trio.current_time() < self._heard + PING_AFTER_S:
                continue
            try:
                with trio.fail_after(PONG_S):
                    await ws.ping()
            except ConnectionClosed:
                return
            except trio.TooSlowError:
                await _close(ws)
                return
            self._heard = trio.current_time()


async def _close(ws: WebSocketConnection) -> None:
    with trio.move_on_after(CLOSE_S):
        await ws.aclose()


@asynccontextmanager
async def open_chat(
    address: ChatAddress,
    *,
    token: str | None = None,
    locale: str | None = None,
    backoff: Backoff | None = None,
    guests: GuestTokens | None = None,
) -> AsyncIterator[Chat]:
    """Opens a conversation at ``address`` and keeps it open across broken connections until the block is left.

    Without a ``token`` it is a guest's, asked for over HTTP and renewed when it ends. ``locale`` is a language tag such
    as ``zh-CN``. Failures come out of ``receive`` and ``send``; a first connection that fails is not tried again.
    """
    chat = Chat(address, token, locale, backoff or Backoff(), guests or GuestTokens(address.http))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat._run)
        try:
            yield chat
        finally:
            chat._closing.set()
            chat.events.close()
            nursery.cancel_scope.deadline = trio.current_time() + CLOSE_S + 1.0
