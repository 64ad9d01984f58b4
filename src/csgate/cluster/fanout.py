"""What nodes tell one another, by publish and subscribe: a channel for each conversation that is in memory somewhere.

Logged events are published by the scripts that log them, so that each comes after the one before it. Live events go
out in batches, and none of an answer after its final event. Nothing here is relied upon: a conversation sees gaps by
the offsets, and after a lost connection every conversation is compared with its log.

A message on a channel is a letter, the sender's name (16 characters) and

====== ==========================================================
``L``  an event of the log: offset (16 digits), ``t`` where it opens a turn or ``-``, event
``V``  a live event
``S``  a snapshot is wanted
``C``  an answer is not wanted any more: the message's id
``G``  the conversation was forgotten
====== ==========================================================
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal

import trio
from anyio import BrokenResourceError, ClosedResourceError
from coredis.connection import BaseConnection
from coredis.exceptions import RedisError

from csgate.cluster.codec import TravelEvent, decode_event, decode_travel, encode
from csgate.cluster.keys import Keys
from csgate.cluster.link import Command, Link, pushed
from csgate.errors import StoreUnavailable
from csgate.events import LiveEvent
from csgate.session import Ears

NODE_CHARS: Final = 16
MAX_WAITING: Final = 10_000
BATCH: Final = 256
JOIN_S: Final = 2.0
RETRY_S: Final = 0.25
PROBE_S: Final = 1.0

_L, _V, _S, _C, _G = b"L", b"V", b"S", b"C", b"G"


class Fanout:
    """One subscribed connection, and the queue of what this node tells."""

    def __init__(self, link: Link, node: str, prefix: str, *, sharded: bool) -> None:
        assert len(node) == NODE_CHARS
        self.publish_command = publish_command(sharded=sharded)
        self.ears: Ears | None = None
        self.on_turn: Callable[[str], None] = _nobody
        self.on_gone: Callable[[Sequence[str]], None] = _nobody
        self.last_offsets: Callable[[Sequence[str]], Any] | None = None
        self._link = link
        self._node = node.encode()
        self._keys = Keys(prefix)
        self._s = b"S" if sharded else b""
        # Channels wanted; which of them are subscribed is Redis's and the connection's business.
        self._wanted: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        self._connection: BaseConnection | None = None
        # In the order in which the confirmations will come.
        self._confirmations: deque[tuple[bytes, trio.Event]] = deque()
        self._queue: deque[tuple[str, bytes]] = deque()
        self._more = trio.Event()
        self._underway: set[str] = set()
        self._sent = trio.Event()
        # Channels on which something came that this version cannot read; told of once, until they are left.
        self._strange: set[bytes] = set()

    # --- Channels ---------------------------------------------------------------------------------------------------

    def channel(self, conversation: str) -> bytes:
        return self._keys.channel(conversation)

    def agents_channel(self, conversation: str) -> bytes:
        """Nobody publishes there: that somebody has subscribed says that an agent is attached."""
        return self._keys.of(conversation, ("agents",))[0].encode()

    async def join(self, channel: bytes) -> None:
        """Returns once everything that is published from then on is heard.

        Raises:
            StoreUnavailable: not in time.
        """
        self._wanted.add(channel)
        if channel in self._subscribed:
            return
        with trio.move_on_after(JOIN_S):
            while self._connection is None:
                if self._link.trouble is not None:
                    break
                await trio.sleep(0.02)  # the subscriber is about to connect
            confirmed = self._subscribe(channel)
            if confirmed is not None:
                await confirmed.wait()
        if channel not in self._subscribed:
            raise StoreUnavailable("not subscribed in time", retry_after=JOIN_S)

    def want(self, channel: bytes) -> None:
        """The same without waiting."""
        if channel not in self._wanted:
            self._wanted.add(channel)
            self._subscribe(channel)

    def leave(self, channel: bytes) -> None:
        """Hears no more of it."""
        if channel in self._wanted:
            self._wanted.discard(channel)
            self._subscribed.discard(channel)
            self._strange.discard(channel)
            if self._connection is not None:
                self._command(b"UNSUBSCRIBE", channel)

    async def listeners(self, channels: Sequence[bytes]) -> list[int]:
        """How many connections are subscribed to each, this node's own not counted.

        Raises:
            StoreUnavailable: Redis cannot be asked.
        """
        name = b"PUBSUB SHARDNUMSUB" if self._s else b"PUBSUB NUMSUB"
        answer = await self._link.one((name, *channels))
        counts = dict(answer.items()) if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        return [int(counts[channel]) - (channel in self._subscribed) for channel in channels]

    def _subscribe(self, channel: bytes) -> trio.Event | None:
        if self._connection is None:
            return None
        event = trio.Event()
        self._confirmations.append((channel, event))
        self._command(b"SUBSCRIBE", channel)
        return event

    def _command(self, name: bytes, *channels: bytes) -> None:
        assert self._connection is not None
        try:
            self._connection.send_command(self._s + name, *channels)
        except (RedisError, OSError, ClosedResourceError, BrokenResourceError):
            self._connection = None  # the subscriber notices as well, and begins anew

    # --- Hearing ----------------------------------------------------------------------------------------------------

    async def hear(self) -> None:
        """The subscriber: connects, subscribes to all that is wanted, hands on what comes; and again, for ever."""
        while True:
            try:
                await self._listen()
            except StoreUnavailable:
                pass  # the link tells of it
            except Exception as error:
                # A connection that ends may raise nearly anything. There is nothing to it but to make another one.
                self._link.log.info("subscriber_lost", error=repr(error))
            finally:
                self._connection = None
                self._subscribed.clear()
                self._strange.clear()
                confirmations, self._confirmations = self._confirmations, deque()
                for _, event in confirmations:
                    event.set()
            await trio.sleep(RETRY_S)

    async def _listen(self) -> None:
        connection = await self._link.connect()
        try:
            async with trio.open_nursery() as nursery:
                self._connection = connection
                for channel in tuple(self._wanted):
                    self._subscribe(channel)
                behind = [event for _, event in self._confirmations]
                nursery.start_soon(self._compare, behind)
                nursery.start_soon(self._probe, connection)
                async with aclosing(pushed(connection)) as messages:
                    async for message in messages:
                        self._take(message)
        finally:
            self._connection = None
            connection.invalidate("the subscriber ends")

    async def _probe(self, connection: BaseConnection) -> None:
        """A connection that died silently says nothing, as one does on which nothing happens."""
        while True:
            await trio.sleep(PROBE_S)
            with trio.fail_after(2 * PROBE_S):
                await connection.create_request(b"PING")

    async def _compare(self, subscribed: Sequence[trio.Event]) -> None:
        """After the subscriptions were made anew: what was logged meanwhile is missing."""
        for event in subscribed:
            await event.wait()
        if self.ears is None or self.last_offsets is None or not subscribed:
            return
        for conversation, last in await self.last_offsets(self.ears.listening()):
            self.ears.behind(conversation, last)

    def _take(self, message: Any) -> None:
        kind, channel, data = message[0], message[1], message[2]
        if kind in (b"subscribe", b"ssubscribe"):
            asked, event = self._confirmations.popleft()
            assert asked == channel
            if channel in self._wanted:
                self._subscribed.add(channel)
            event.set()
        elif kind in (b"message", b"smessage") and self.ears is not None:
            conversation = channel.partition(b"{")[2].rpartition(b"}")[0].decode()
            try:
                if data[1 : 1 + NODE_CHARS] != self._node:
                    self._hand_on(conversation, data[:1], data[1 + NODE_CHARS :])
            except Exception as error:
                # One that this version cannot read (a newer node's, say) costs no other: the next offset shows the gap.
                if channel not in self._strange:
                    self._strange.add(channel)
                    self._link.log.warning("message_not_understood", conversation=conversation, error=repr(error))

    def _hand_on(self, conversation: str, kind: bytes, rest: bytes) -> None:
        assert self.ears is not None
        if kind == _L:
            self.ears.logged(conversation, decode_event(int(rest[:16]), rest[17:]))
            if rest[16:17] == b"t":
                self.on_turn(conversation)
        elif kind == _V:
            self.ears.told(conversation, decode_travel(rest))
        elif kind == _S:
            self.ears.asked_for_snapshot(conversation)
        elif kind == _C:
            self.ears.cancelled(conversation, rest.decode())
        elif kind == _G:
            self.on_gone([conversation])

    # --- Telling ----------------------------------------------------------------------------------------------------

    def tell(self, conversation: str, kind: Literal[b"V", b"S", b"C"], rest: bytes = b"") -> None:
        """Queues a message; with too many waiting the oldest is dropped."""
        if len(self._queue) >= MAX_WAITING:
            self._queue.popleft()
        self._queue.append((conversation, kind + self._node + rest))
        self._more.set()

    def tell_event(self, conversation: str, event: LiveEvent) -> None:
        if isinstance(event, TravelEvent):
            self.tell(conversation, b"V", encode(event))

    async def quiet(self, conversation: str) -> None:
        """Before a final event: pieces of an answer that were not sent yet need not be, and none comes later."""
        if any(waiting == conversation for waiting, _ in self._queue):
            self._queue = deque(item for item in self._queue if item[0] != conversation or item[1][:1] != _V)
        while conversation in self._underway:
            await self._sent.wait()

    async def speak(self) -> None:
        """Sends what is queued, for ever."""
        while True:
            while not self._queue:
                self._more = trio.Event()
                await self._more.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._underway = {conversation for conversation, _ in batch}
            self._sent = trio.Event()
            commands: list[Command] = [
                (self.publish_command, self.channel(conversation), message) for conversation, message in batch
            ]
            try:
                await self._link.ask(*commands)
            except StoreUnavailable:
                self._queue.clear()  # stale before it could be sent
            finally:
                self._underway = set()
                self._sent.set()


def publish_command(*, sharded: bool) -> bytes:
    """``sharded``: Redis has sharded channels, from 7.0 on."""
    return b"SPUBLISH" if sharded else b"PUBLISH"


def _nobody(_: object) -> None:
    """Nobody wants to know yet."""
