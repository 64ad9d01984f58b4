"""One connection of a client: greeting, reading, writing, signs of life. What it means is decided at the desk."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from csgate.client.address import ChatAddress
from csgate.client.dial import ABNORMAL, Dial, Wire, WireClosed
from csgate.client.frames import text_frame
from csgate.client.outbox import Entry
from csgate.client.pace import SEND_BYTES_PER_S, SEND_S, Pace
from csgate.client.refusals import ChatRefused, ChatUnreachable
from csgate.client.tokens import Tokens
from csgate.errors import CloseCode
from csgate.events import ErrorEvent, Event
from csgate.protocol import Draining, History, Pong, ServerEnvelope, TokenExpiring, Welcome

_DECODER: Final = msgspec.json.Decoder(ServerEnvelope)
JUST_RENEWED_S: Final = 45.0
"""Longer than half of the 60 s ahead of its end that a token is told of."""
_FINAL_REFUSALS: Final = frozenset({"bad_envelope", "forbidden", "not_found"})
"""Errors before the welcome after which the same hello would fail again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended.

    ``unreachable``: nobody was there. ``refused``: coming back changes nothing, unless ``elsewhere``. ``left``: it was
    our own wish.
    """

    code: int
    reason: str
    unreachable: bool = False
    refused: ChatRefused | None = None
    elsewhere: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """A message was refused for now, and is to be sent once more after ``delay`` seconds."""

    entry: Entry
    delay: float


class Desk(Protocol):
    """Where the connections of a client come together."""

    tokens: Tokens

    def hello(self) -> str:
        """The frame that opens or resumes the conversation."""
        ...

    def welcomed(self, link: "Link", welcome: Welcome) -> bool:
        """Whether ``link`` is of use; it is the one in use from now on, unless it is a spare one."""
        ...

    def gone(self, link: "Link") -> bool:
        """The conversation is not to be found there. Whether ``link`` shall begin another."""
        ...

    def take(self, link: "Link", event: Event | TokenExpiring) -> Again | None:
        """An event has come."""
        ...

    def draining(self, link: "Link", seconds: float) -> None:
        """The node of ``link`` goes away, and wants its clients back after ``seconds``."""
        ...

    def expects_ack(self, link: "Link") -> bool:
        """Whether something sent over ``link`` should be acknowledged by now."""
        ...

    async def room(self) -> None:
        """Waits until more events can be taken."""
        ...


class Link:
    """From dialling to the end of the socket.

    Attributes:
        settled: there is a welcome, or an end.
        over: nothing it says counts any more; the socket may still be closing.
        benched: a spare link is none any more: over, or in use.
        done: its task has finished.
        wait: seconds after which a draining node wants its clients back.
    """

    __slots__ = (
        "_desk",
        "_dial",
        "_dialling",
        "_heard",
        "_last_error",
        "_leave",
        "_pace",
        "_queue",
        "_queued",
        "_renewed_at",
        "_stirred",
        "_talking",
        "_wake",
        "address",
        "benched",
        "done",
        "ended",
        "over",
        "settled",
        "spare",
        "token",
        "wait",
        "welcome",
    )

    def __init__(self, address: ChatAddress, desk: Desk, dial: Dial, pace: Pace, *, spare: bool) -> None:
        self.address = address
        self.spare = spare
        self.token: str | None = None
        self.welcome: Welcome | None = None
        self.wait: float | None = None
        self.ended: Ended | None = None
        self.settled = trio.Event()
        self.over = trio.Event()
        self.benched = trio.Event()
        self.done = trio.Event()
        self._desk = desk
        self._dial = dial
        self._pace = pace
        self._queue: deque[str | bytes] = deque()
        self._wake = trio.Event()
        self._leave = trio.Event()
        self._dialling = trio.CancelScope()
        self._talking = False
        self._renewed_at = float("-inf")
        self._stirred = trio.Event()
        self._heard = self._queued = 0.0
        self._last_error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be used."""
        return self.welcome is not None and not self.over.is_set()

    # --- what the desk does ------------------------------------------------------------------------------------------

    def queue(self, frame: str | bytes) -> None:
        """Sends ``frame`` after those before it. Bounded by whoever calls: outbox and requests are."""
        self._queue.append(frame)
        self._queued = trio.current_time()
        self._wake.set()
        self._stirred.set()

    def promote(self) -> None:
        """A spare link is in use from now on."""
        self.spare = False
        self.benched.set()

    def leave(self, reason: str) -> None:
        """Closes in good manners; from now on nothing it says counts."""
        self._end(Ended(CloseCode.NORMAL, reason, left=True))
        self._leave.set()
        if not self._talking:
            self._dialling.cancel()

    # --- its life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """To the end of the connection; never raises but for bugs."""
        try:
            if not await self._take_token():
                return
            assert self.token is not None
            with self._dialling:
                code, reason = await self._dial(self.address, self.token, self._talk)
            if self._dialling.cancelled_caught:
                return
            if code >= CloseCode.BAD_TOKEN and self._last_error is not None:
                reason = self._last_error
            if code == ABNORMAL and self.welcome is None:
                reason = f"{self.address.websocket} hangs up before there is a conversation; is it csgate?"
            self._end(Ended(code, reason, unreachable=code == ABNORMAL and self.welcome is None))
        except ChatUnreachable as error:
            self._end(Ended(ABNORMAL, str(error), unreachable=True))
        except ChatRefused as error:
            self._end(Ended(0, str(error), refused=error, elsewhere=True))
        finally:
            self._end(Ended(ABNORMAL, "cancelled"))
            self.done.set()

    async def _take_token(self) -> bool:
        try:
            self.token = await self._desk.tokens.current()
        except ChatUnreachable as error:
            self._end(Ended(0, str(error), unreachable=True))
        except ChatRefused as error:
            self._end(Ended(0, str(error), refused=error))
        return self.token is not None

    def _end(self, ended: Ended) -> None:
        if self.ended is None:
            self.ended = ended
        self.over.set()
        self.settled.set()
        self.benched.set()

    async def _talk(self, wire: Wire) -> None:
        self._talking = True
        async with trio.open_nursery() as nursery:

            async def until_leaving() -> None:
                await self._leave.wait()
                with trio.move_on_after(self._pace.close_s):
                    await wire.close()
                nursery.cancel_scope.cancel()

            self._heard = trio.current_time()
            nursery.start_soon(until_leaving)
            with suppress(WireClosed):
                if await self._greet(wire):
                    nursery.start_soon(self._write, wire)
                    nursery.start_soon(self._watch)
                    await self._read(wire, nursery)
            if self._leave.is_set():
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    async def _greet(self, wire: Wire) -> bool:
        """Says hello until there is a welcome; false where there will be none of use."""
        with trio.move_on_after(self._pace.welcome_s):
            while not self.over.is_set():
                with suppress(WireClosed):
                    # A gateway that refuses may be quicker than this; its reason still waits to be read.
                    await wire.send(self._desk.hello())
                if await self._welcome(wire):
                    return True
            return False
        self._lose(f"no welcome within {self._pace.welcome_s:g} seconds")
        return False

    async def _welcome(self, wire: Wire) -> bool:
        """Whether there is one; false: say hello again, or it is over."""
        while True:
            match _decoded(await wire.receive()):
                case Welcome() as welcome:
                    self._heard = trio.current_time()
                    self.welcome = welcome
                    if self._desk.welcomed(self, welcome):
                        self.settled.set()
                        return True
                    self.welcome = None
                    self.leave("the conversation is not the same there")
                    return False
                case Draining(reconnect_after_ms=ms):
                    self.wait = ms / 1000
                case ErrorEvent(code="not_found") if self._desk.gone(self):
                    return False
                case ErrorEvent() as error:
                    self._last_error = error.message
                    if error.code in _FINAL_REFUSALS:
                        self._end(Ended(0, error.message, refused=ChatRefused(f"The gateway refuses: {error.message}")))
                        self._leave.set()
                        return False
                case _:
                    pass

    async def _read(self, wire: Wire, nursery: trio.Nursery) -> None:
        while True:
            data = await wire.receive()
            self._heard = trio.current_time()
            if self.over.is_set():
                continue
            match _decoded(data):
                case History(events=events):
                    for missed in events:
                        self._desk.take(self, missed)
                case TokenExpiring(seconds=left) if self._desk.tokens.renewable:
                    nursery.start_soon(self._refresh, left)
                case Draining(reconnect_after_ms=ms):
                    self.wait = ms / 1000
                    self._desk.draining(self, self.wait)
                case None | Pong() | Welcome():
                    pass
                case event:
                    if isinstance(event, ErrorEvent):
                        self._last_error = event.message
                    again = self._desk.take(self, event)
                    if again is not None:
                        nursery.start_soon(self._send_again, again)
            await self._desk.room()

    async def _send_again(self, again: Again) -> None:
        await trio.sleep(again.delay)
        if not again.entry.acked:
            self.queue(again.entry.frame)

    async def _refresh(self, left: float) -> None:
        """A new token before the old one ends. Without one the connection closes then, and the next is asked for.

        Tokens that live for less than a minute end soon from the start: half of the time ``left`` is waited for.
        """
        now = trio.current_time()
        again, self._renewed_at = now - self._renewed_at < JUST_RENEWED_S, now
        if again:
            await trio.sleep(max(1.0, left / 2))
        assert self.token is not None
        with suppress(ChatRefused, ChatUnreachable):
            self.token = await self._desk.tokens.after(self.token)
            self.queue(text_frame("refresh", token=self.token))

    async def _write(self, wire: Wire) -> None:
        while True:
            while self._queue:
                frame = self._queue.popleft()
                with trio.move_on_after(SEND_S + len(frame) / SEND_BYTES_PER_S) as sending:
                    try:
                        await wire.send(frame)
                    except WireClosed:
                        return
                if sending.cancelled_caught:
                    self._lose("what is sent does not get through")
                    return
            self._wake = trio.Event()
            await self._wake.wait()

    async def _watch(self) -> None:
        """Asks for a sign of life after a silence; the protocol's ping, as a proxy would answer WebSocket's own."""
        pace = self._pace
        number = 0
        while True:
            self._stirred = trio.Event()
            due = self._heard + pace.ping_after_s
            if self._desk.expects_ack(self):
                due = min(due, max(self._heard, self._queued) + pace.ack_after_s)
            now = trio.current_time()
            if now < due:
                with trio.move_on_at(due):
                    await self._stirred.wait()
                continue
            number += 1
            self.queue(text_frame("ping", t=number))
            await trio.sleep(pace.pong_s)
            if self._heard < now:
                self._lose("the gateway gives no sign of life")
                return

    def _lose(self, reason: str) -> None:
        self._end(Ended(ABNORMAL, reason))
        self._leave.set()


def _decoded(data: str | bytes) -> ServerEnvelope | None:
    try:
        envelope: ServerEnvelope = _DECODER.decode(data)
    except msgspec.DecodeError:
        return None  # A later version of the protocol may say more than we know.
    return envelope
