"""The store that several nodes share: conversations in Redis."""

import time
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

import msgspec
import trio

from csgate.cluster.codec import decode_event, decode_header, decode_state, encode, encode_turn
from csgate.cluster.fanout import Fanout
from csgate.cluster.keys import Keys
from csgate.cluster.leases import Leases
from csgate.cluster.link import Link
from csgate.cluster.scripts import ACCEPT, APPEND, ENLIST, FINISH, FORGET, READ
from csgate.config import SessionSettings
from csgate.errors import DuplicateMismatch, NotFound, Overloaded, StoreUnavailable
from csgate.events import ErrorEvent, LiveEvent, LogEvent, MessageEvent, RateEvent, StateEvent
from csgate.session import (
    Accepted,
    Ears,
    FinalEvent,
    Finished,
    Header,
    OpenTurn,
    Page,
    Record,
    Reopened,
    SharedStore,
    Stored,
)

FLUSH_S: Final = 0.5
# A picture that would hold up other commands of the same load.
BULKY_BYTES: Final = 32 * 1024
PRUNE_SLICE: Final = 64
COMPARE_SLICE: Final = 256
FULL_RETRY_S: Final = 2.0
GIVE_BACK_MS: Final = 5_000
# Events that this version cannot read and that were told of.
MOST_TOLD: Final = 10_000
# Should the index of conversations be lost, nothing stays for ever.
SPARE_S: Final = 7 * 86_400

_OUTCOMES: Final[dict[bytes, Any]] = {b"o": "open", b"r": "reply", b"e": "error", b"u": "unanswered"}


class RedisStore(SharedStore):
    """A :class:`~csgate.session.Store` in Redis; made by :func:`csgate.cluster.open_cluster`."""

    __slots__ = ("_common", "_dirty", "_fanout", "_keys", "_leases", "_link", "_node", "_score", "_settings", "_told")

    def __init__(
        self, link: Link, keys: Keys, node: str, settings: SessionSettings, leases: Leases, fanout: Fanout
    ) -> None:
        self._link = link
        self._keys = keys
        self._node = node
        self._settings = settings
        self._leases = leases
        self._fanout = fanout
        ttl_ms = int((settings.max_age_seconds + SPARE_S) * 1000)
        self._common = (fanout.publish_command, node, settings.max_events, ttl_ms)
        # When conversations were last active, still to be told to the index; and the last score given.
        self._dirty: dict[str, int] = {}
        self._score = 0
        self._told: set[tuple[str, int]] = set()
        fanout.on_turn = leases.look
        fanout.last_offsets = self._last_offsets
        leases.before_taking = self.join  # type: ignore[method-assign]
        leases.after_not_taking = self._not_taken  # type: ignore[method-assign]

    # --- Store ------------------------------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        return 0

    @property
    def trouble(self) -> str | None:
        return self._link.trouble

    def listen(self, gone: Callable[[Sequence[str]], None]) -> None:
        self._fanout.on_gone = gone

    async def load(self, conversation: str) -> Stored | None:
        head, state = await self._link.one((b"HMGET", *self._keys.of(conversation, "h"), b"head", b"state"))
        return None if head is None else Stored(decode_header(head), decode_state(state))

    async def read(self, conversation: str, *, after: int = 0, limit: int | None = None) -> Page | None:
        """As :meth:`csgate.session.Store.read`; leaves out what this version cannot read (a newer node's, say)."""
        command = READ.call(self._keys.of(conversation, "he"), after, 0 if limit is None else limit)
        answer = await self._link.one(command)
        if not answer:
            return None
        first, last, entries = answer
        events: list[LogEvent] = []
        for id, fields in entries:
            offset = int(id.partition(b"-")[0])
            try:
                events.append(decode_event(offset, fields[1]))
            except Exception as error:
                self._tell(conversation, offset, error)
        if limit is not None:
            events.reverse()
        return Page(first, last, tuple(events))

    async def recall(self, conversation: str, id: str) -> Record | None:
        record = await self._link.one((b"HGET", *self._keys.of(conversation, "r"), id))
        return None if record is None else Record(int(record[1:17]), record[17:], _OUTCOMES[record[:1]])

    async def accept(self, header: Header, event: MessageEvent, digest: bytes, turn: OpenTurn | None) -> Accepted:
        leases = self._leases
        lease = leases.held.get(header.id)
        lost = lease is not None and lease.lost
        head = encode(header)
        command = ACCEPT.call(
            self._keys.of(header.id),
            *self._change(header.id),
            head,
            event.id,
            digest,
            encode(event),
            event.timestamp,
            b"" if turn is None else encode_turn(turn),
            leases.lease_ms,
            0 if lost else 1,
            leases.fence(header.id),
            self._settings.max_waiting,
            0 if lease is None else lease.known,
        )
        ticket = 0
        if turn is None:
            answer = await self._link.one(command)
        else:
            # Enlisted before, on the same connection: a turn that is open can be found.
            enlist = ENLIST.call([self._keys.open, self._keys.tickets], header.id)
            opening = (header.id, event.id)
            leases.opening.add(opening)
            try:
                bulky = turn.picture is not None and memoryview(turn.picture.data).nbytes > BULKY_BYTES
                ticket, answer = await self._link.ask(enlist, command, bulky=bulky)
            finally:
                leases.opening.discard(opening)
        if answer[0] == b"mismatch":
            raise DuplicateMismatch
        if answer[0] == b"full":
            raise Overloaded("turns of the conversation, at all nodes", retry_after=FULL_RETRY_S)
        if answer[0] == b"gone":
            raise NotFound("erased")
        if answer[0] == b"known":
            return Accepted(answer[1], new=False)
        self._touch(header.id)
        if turn is None:
            return Accepted(answer[1], new=True)
        if answer[2]:
            leases.opened(header.id, event.id, answer[2].decode(), ticket)
            if len(answer) > 3:
                leases.give(header.id, head, answer[3], answer[4])
        return Accepted(answer[1], new=True, here=bool(answer[2]))

    async def append(self, header: Header, event: StateEvent | RateEvent | MessageEvent) -> LogEvent:
        is_state = 1 if isinstance(event, StateEvent) else 0
        command = APPEND.call(
            self._keys.of(header.id), *self._change(header.id), encode(header), encode(event), event.timestamp, is_state
        )
        offset = await self._link.one(command)
        if not offset:
            raise NotFound("erased")
        self._touch(header.id)
        return _placed(event, offset)

    async def finish(
        self, header: Header, id: str, event: FinalEvent, state: StateEvent | None = None
    ) -> Finished | None:
        leases, conversation = self._leases, header.id
        fence = leases.fence(conversation)
        if not fence:
            # Not this node's to end: another has it, or will.
            leases.closed(conversation, id, None)
            return None
        await self._fanout.quiet(conversation)
        answer = await self._link.one(
            FINISH.call(
                self._keys.of(conversation),
                *self._change(conversation),
                id,
                fence,
                encode(event),
                event.timestamp or "",
                "e" if isinstance(event, ErrorEvent) else "r",
                b"" if state is None else encode(state),
                "" if state is None else state.timestamp,
            )
        )
        if answer[0] != b"done":
            if answer[0] == b"fenced":
                leases.lose(conversation)
            leases.closed(conversation, id, None)
            if leases.ears is not None:
                # Where the final event was logged by a try that seemed to have failed, it is still to be published.
                leases.ears.behind(conversation, answer[1])
            return None
        leases.closed(conversation, id, answer[2])
        self._touch(conversation)
        final = _placed(event, answer[1])
        changed = None if state is None else _placed(state, answer[1] + 1)
        assert isinstance(final, FinalEvent)
        assert changed is None or isinstance(changed, StateEvent)
        return Finished(final, changed)

    async def reopen(self) -> Sequence[Reopened]:
        """Nothing: what nobody answers is found by the search of every node."""
        return ()

    async def count(self) -> int:
        await self.flush()
        return int(await self._link.one((b"ZCARD", self._keys.active)))

    async def prune(self, keep: Container[str], *, now: str, before: str, at_most: int) -> int:
        await self.flush()
        forgotten, walked, total = 0, 0, await self._link.one((b"ZCARD", self._keys.active))
        while walked < total and forgotten < at_most:
            names = await self._link.one((b"ZRANGE", self._keys.active, 0, PRUNE_SLICE - 1))
            if not names:
                break
            ids = [name.decode() for name in names]
            touched = await self._link.ask(*((b"HGET", *self._keys.of(id, "h"), b"touched") for id in ids))
            elsewhere = await self._fanout.listeners([self._fanout.channel(id) for id in ids])
            for id, when, listeners in zip(ids, touched, elsewhere, strict=True):
                if forgotten == at_most or (when is not None and when.decode() >= before) or walked == total:
                    return forgotten
                walked += 1
                if when is None:
                    # It was never written, or is gone already.
                    await self._link.one((b"ZREM", self._keys.active, id))
                elif id in keep or listeners > 0:
                    await self._refresh(id, now)
                elif await self._forget(id):
                    forgotten += 1
                else:
                    await self._refresh(id, now)
        return forgotten

    # --- SharedStore ------------------------------------------------------------------------------------------------

    def connect(self, ears: Ears) -> None:
        self._fanout.ears = self._leases.ears = ears

    async def join(self, conversation: str) -> None:
        await self._fanout.join(self._fanout.channel(conversation))

    def leave(self, conversation: str) -> None:
        self._fanout.leave(self._fanout.channel(conversation))

    def tell(self, conversation: str, event: LiveEvent) -> None:
        self._fanout.tell_event(conversation, event)

    def ask_for_snapshot(self, conversation: str) -> None:
        self._fanout.tell(conversation, b"S")

    def cancel(self, conversation: str, id: str) -> None:
        self._fanout.tell(conversation, b"C", id.encode())

    def attend(self, conversation: str, here: bool) -> None:
        channel = self._fanout.agents_channel(conversation)
        if here:
            self._fanout.want(channel)
        else:
            self._fanout.leave(channel)

    async def listened_elsewhere(self, conversation: str) -> bool:
        try:
            (others,) = await self._fanout.listeners([self._fanout.channel(conversation)])
        except StoreUnavailable:
            return True
        return others > 0

    async def may_give_back(self, conversation: str) -> bool:
        (agents,) = await self._fanout.listeners([self._fanout.agents_channel(conversation)])
        if agents > 0:
            return False
        key = self._keys.of(conversation, ("giving",))[0]
        return await self._link.one((b"SET", key, self._node, b"NX", b"PX", GIVE_BACK_MS)) is not None

    # --- What the index is told -------------------------------------------------------------------------------------

    async def flush_for_ever(self) -> None:
        """Tells the index which conversations were active, every half second."""
        while True:
            await trio.sleep(FLUSH_S)
            try:
                await self.flush()
            except StoreUnavailable:
                continue

    async def flush(self) -> None:
        """The same at once.

        Raises:
            StoreUnavailable: later, then.
        """
        dirty, self._dirty = self._dirty, {}
        if not dirty:
            return
        scores = [part for id, score in dirty.items() for part in (score, id)]
        try:
            await self._link.one((b"ZADD", self._keys.active, *scores))
        except StoreUnavailable:
            self._dirty = dirty | self._dirty
            raise

    def _touch(self, conversation: str) -> None:
        # The wall clock, so that nodes agree more or less; never the same twice here.
        self._score = max(self._score + 1, time.time_ns() // 1000)
        self._dirty[conversation] = self._score

    async def _refresh(self, conversation: str, now: str) -> None:
        """It is in use: active now, as far as forgetting goes."""
        keys = self._keys.of(conversation)
        ttl_ms = self._common[3]
        self._touch(conversation)
        score = self._dirty.pop(conversation)
        await self._link.ask(
            (b"HSET", keys[0], b"touched", now),
            *((b"PEXPIRE", key, ttl_ms) for key in keys[:5]),
            (b"ZADD", self._keys.active, score, conversation),
        )

    async def _forget(self, conversation: str) -> bool:
        command = FORGET.call(
            self._keys.of(conversation),
            self._fanout.channel(conversation),
            self._fanout.publish_command,
            self._node,
        )
        if not await self._link.one(command):
            return False
        await self._link.one((b"ZREM", self._keys.active, conversation))
        self._leases.forget(conversation)
        return True

    # --- Small things -----------------------------------------------------------------------------------------------

    def _change(self, conversation: str) -> tuple[Any, ...]:
        return (self._fanout.channel(conversation), *self._common)

    async def _last_offsets(self, conversations: Sequence[str]) -> list[tuple[str, int]]:
        """How far the logs reach; of conversations that are not known (any more) nothing."""
        found: list[tuple[str, int]] = []
        for start in range(0, len(conversations), COMPARE_SLICE):
            slice = conversations[start : start + COMPARE_SLICE]
            lasts = await self._link.ask(*((b"HGET", *self._keys.of(id, "h"), b"last") for id in slice))
            found += [(id, int(last)) for id, last in zip(slice, lasts, strict=True) if last is not None]
        return found

    def _tell(self, conversation: str, offset: int, error: Exception) -> None:
        if (conversation, offset) in self._told:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add((conversation, offset))
        self._link.log.error("event_unreadable", conversation=conversation, offset=offset, error=repr(error))

    def _not_taken(self, conversation: str) -> None:
        ears = self._leases.ears
        if ears is not None and conversation not in ears.listening():
            self.leave(conversation)


def _placed(event: LogEvent, offset: int) -> LogEvent:
    return msgspec.structs.replace(event, offset=offset)
