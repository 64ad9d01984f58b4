"""Who answers: the leases of this node on the turns of conversations, and the search for turns that nobody answers.

A conversation with open turns has a lease of ``lease_seconds``, which the node that answers renews every
``renew_seconds``. Each new owner gets a higher number, the fencing token, under which it must end the turns; so a node
that was away for longer than its lease may wake up and finish, and nothing comes of it.

A turn that this version cannot read (a newer node's, say) stays as it was, for a node that can: it is told of once, and
where no other is open the lease is let go of.
"""

import random
from collections.abc import Sequence
from typing import Final

import trio

from csgate.cluster.codec import decode_header, decode_state, decode_turn
from csgate.cluster.keys import Keys
from csgate.cluster.link import Command, Link
from csgate.cluster.scripts import DELIST, RELEASE, RENEW, TAKE, TURNS, UNCOUNT
from csgate.config import ClusterSettings
from csgate.errors import StoreUnavailable
from csgate.session import Ears, Reopened
from csgate.telemetry import Telemetry

# Of one search. Enough for a node's turns to be taken over within a lease or two, by several others at once.
SEARCH: Final = 1_000
TAKEN_AT_ONCE: Final = 64


class Lease:
    """``turns``: those that the session has been given and has not ended. ``lost``: ending them is of no use.

    ``unread``: those beside them that this version cannot read.
    """

    __slots__ = ("fence", "lost", "ticket", "turns", "unread")

    def __init__(self, fence: str, ticket: int) -> None:
        self.fence = fence
        self.ticket = ticket
        self.turns: set[str] = set()
        self.unread: set[str] = set()
        self.lost = False

    @property
    def known(self) -> int:
        """How many of the open turns are accounted for."""
        return len(self.turns) + len(self.unread)

    def wants_a_look(self, open: int) -> bool:
        """With ``open`` turns in the store: there are others, or only such as are not answered here."""
        return open > self.known or (open > 0 and not self.turns)


class Leases:
    """By conversation; an entry stays until all its turns are ended, also when it was lost."""

    def __init__(self, link: Link, keys: Keys, node: str, settings: ClusterSettings, telemetry: Telemetry) -> None:
        self.held: dict[str, Lease] = {}
        # Turns that this node is opening: whether they are its own, the answer on its way will tell.
        self.opening: set[tuple[str, str]] = set()
        self.ears: Ears | None = None
        self.lease_ms = int(settings.lease_seconds * 1000)
        self._every_s = settings.renew_seconds
        self._link = link
        self._keys = keys
        self._node = node
        self._log = telemetry.log
        # Open turns as the last search saw them: a conversation that is still there was not just begun.
        self._seen: dict[str, int] = {}
        self._wanted: set[str] = set()
        self._wake = trio.Event()
        self._delist: dict[str, int] = {}
        # Turns that this version cannot read and that were told of, by conversation.
        self._told: dict[str, set[str]] = {}
        # Conversations with no others, and their tickets: not taken again before another message comes.
        self._set_aside: dict[str, int] = {}

    # --- What the store notes ---------------------------------------------------------------------------------------

    def opened(self, conversation: str, id: str, fence: str, ticket: int) -> None:
        """The turn ``id`` is this node's."""
        lease = self.held.get(conversation)
        if lease is None:
            lease = self.held[conversation] = Lease(fence, ticket)
        lease.ticket = max(lease.ticket, ticket)
        lease.turns.add(id)

    def give(self, conversation: str, head: bytes, state: bytes | None, turns: Sequence[bytes]) -> None:
        """The open turns of a conversation that this node holds, as the store has them."""
        if self.ears is None:
            return
        self._give(conversation, self.held[conversation], head, state, turns)

    def closed(self, conversation: str, id: str, left: int | None) -> None:
        """The turn has ended; ``left`` are open in the store (None: not known)."""
        lease = self.held.get(conversation)
        if lease is None:
            return
        lease.turns.discard(id)
        if left is not None and lease.wants_a_look(left) and not lease.lost:
            self.look(conversation)
        elif not lease.turns:
            del self.held[conversation]
            if left == 0:
                self._delist[conversation] = lease.ticket

    def lose(self, conversation: str) -> None:
        """Another node has taken it over."""
        lease = self.held.get(conversation)
        if lease is not None and not lease.lost:
            lease.lost = True
            self._log.warning("lease_lost", conversation=conversation, turns=len(lease.turns))
            if self.ears is not None:
                self.ears.lost(conversation)

    def forget(self, conversation: str) -> None:
        """The conversation is gone, and its turns with it."""
        self.held.pop(conversation, None)

    def look(self, conversation: str) -> None:
        """Another node accepted a message here, perhaps; if this one holds the conversation it is to answer it."""
        if conversation in self.held:
            self._wanted.add(conversation)
            self._wake.set()

    def fence(self, conversation: str) -> str:
        """Of a lease that is held and not lost; empty otherwise."""
        lease = self.held.get(conversation)
        return "" if lease is None or lease.lost else lease.fence

    # --- Tasks ------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Renews what is held, for ever."""
        while True:
            await trio.sleep(self._every_s)
            try:
                await self._renew()
            except StoreUnavailable:
                continue  # the link tells of it; what was lost meanwhile is found out when it is back
            except Exception:
                # What goes wrong here in a way that nobody foresaw ends no node; the next round may do better.
                self._log.exception("leases_not_renewed")

    async def _renew(self) -> None:
        held = [(conversation, lease) for conversation, lease in self.held.items() if not lease.lost]
        if not held:
            return
        answers = await self._link.ask(
            *(
                RENEW.call(self._keys.of(conversation, "htl"), self._node, lease.fence, self.lease_ms)
                for conversation, lease in held
            )
        )
        for (conversation, lease), open_ in zip(held, answers, strict=True):
            if self.held.get(conversation) is not lease:
                continue
            if open_ < 0:
                self.lose(conversation)
            elif lease.wants_a_look(open_):
                self.look(conversation)
            elif not lease.turns:
                del self.held[conversation]

    async def fetch(self) -> None:
        """Takes up turns of messages that other nodes accepted into conversations which this one holds, for ever."""
        while True:
            while not self._wanted:
                self._wake = trio.Event()
                await self._wake.wait()
            wanted, self._wanted = self._wanted, set()
            for conversation in wanted:
                try:
                    await self._fetch(conversation)
                except StoreUnavailable:
                    continue  # the next renewal counts again
                except Exception:
                    self._log.exception("turns_not_fetched", conversation=conversation)  # the same

    async def _fetch(self, conversation: str) -> None:
        lease = self.held.get(conversation)
        if lease is None or lease.lost:
            return
        keys = self._keys.of(conversation, "htl")
        answer = await self._link.one(TURNS.call(keys, self._node, lease.fence))
        if self.held.get(conversation) is not lease:
            return
        if answer:
            self._give(conversation, lease, answer[0], answer[1], answer[2])
        if not lease.turns:
            del self.held[conversation]
            if lease.unread:
                await self._link.ask(*self._aside(conversation, lease))

    async def search(self) -> None:
        """Looks for turns that nobody answers and takes them over, for ever."""
        while True:
            await trio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311  spread over the nodes
            try:
                await self.take_abandoned()
            except StoreUnavailable:
                self._seen.clear()
            except Exception:
                self._log.exception("turns_not_searched_for")

    async def take_abandoned(self, *, at_once: bool = False) -> int:
        """One search. ``at_once``: also what was not there at the last one.

        Returns:
            How many conversations were taken over.

        Raises:
            StoreUnavailable: Redis cannot be asked.
        """
        await self._delist_ended()
        if self.ears is None:
            return 0  # nobody yet to give them to
        found = await self._link.one((b"ZRANGE", self._keys.open, 0, SEARCH - 1, b"WITHSCORES"))
        now_open = {name.decode(): int(ticket) for name, ticket in found}
        self._told = {name: ids for name, ids in self._told.items() if name in now_open or name in self.held}
        self._set_aside = {name: at for name, at in self._set_aside.items() if now_open.get(name) == at}
        old = [
            name
            for name, ticket in now_open.items()
            if name not in self.held and name not in self._set_aside and (at_once or self._seen.get(name) == ticket)
        ]
        self._seen = now_open
        if not old:
            return 0
        free = await self._link.ask(*((b"EXISTS", *self._keys.of(name, "l")) for name in old))
        abandoned = [name for name, held in zip(old, free, strict=True) if not held]
        random.shuffle(abandoned)
        taken = 0
        for name in abandoned[:TAKEN_AT_ONCE]:
            taken += await self._take(name, now_open[name])
        return taken

    async def _take(self, conversation: str, ticket: int) -> bool:
        if conversation in self.held:
            return False
        assert self.ears is not None
        await self.before_taking(conversation)
        try:
            answer = await self._link.one(TAKE.call(self._keys.of(conversation, "htl"), self._node, self.lease_ms))
        except StoreUnavailable:
            self.after_not_taking(conversation)
            raise
        if answer[0] != b"taken":
            if answer[0] == b"none":
                self._delist[conversation] = ticket
            self.after_not_taking(conversation)
            return False
        lease = self.held[conversation] = Lease(answer[1].decode(), ticket)
        self._give(conversation, lease, answer[2], answer[3], answer[4])
        taken = bool(lease.turns) or not lease.unread  # a turn that is being opened here is neither
        if taken:
            self._log.info("turns_taken_over", conversation=conversation, turns=len(lease.turns))
        if not lease.unread:
            return taken
        commands = self._uncount(conversation, lease, answer[4])
        if not taken:
            del self.held[conversation]
            self.after_not_taking(conversation)
            commands += self._aside(conversation, lease)
        if commands:
            await self._link.ask(*commands)
        return taken

    def _uncount(self, conversation: str, lease: Lease, turns: Sequence[bytes]) -> list[Command]:
        """Of turns that were taken, the first has an attempt more; not where this node will not make it."""
        id, value = min(zip(turns[::2], turns[1::2], strict=True), key=lambda turn: turn[1][:16])
        if _name(id) not in lease.unread:
            return []
        attempt = b"%02d" % (int(value[16:18]) - 1)
        keys = self._keys.of(conversation, "tl")
        return [(b"EVAL", UNCOUNT.text, UNCOUNT.keys, *keys, self._node, lease.fence, id, attempt)]

    def _aside(self, conversation: str, lease: Lease) -> list[Command]:
        """For another node to take; not for this one, until something is added that it can read."""
        self._set_aside[conversation] = lease.ticket
        return [RELEASE.call(self._keys.of(conversation, "l"), self._node, lease.fence)]

    async def before_taking(self, conversation: str) -> None:
        """Replaced by the store: it joins, so that nothing is missed from then on."""

    def after_not_taking(self, conversation: str) -> None:
        """Replaced by the store."""

    def _give(self, conversation: str, lease: Lease, head: bytes, state: bytes | None, turns: Sequence[bytes]) -> None:
        given: list[Reopened] = []
        lease.unread = set()
        for id, value in zip(map(_name, turns[::2]), turns[1::2], strict=True):
            if id not in lease.turns and (conversation, id) not in self.opening:
                try:
                    given.append(_reopened(head, state, value))
                except Exception as error:
                    lease.unread.add(id)
                    self._tell(conversation, id, error)
        if not given:
            return
        given.sort(key=lambda one: one.offset)
        lease.turns |= {one.turn.id for one in given}
        assert self.ears is not None
        self.ears.given(given)

    def _tell(self, conversation: str, id: str, error: Exception) -> None:
        told = self._told.setdefault(conversation, set())
        if id not in told:
            told.add(id)
            self._log.error("turn_unreadable", conversation=conversation, turn=id, error=repr(error))

    async def _delist_ended(self) -> None:
        ended, self._delist = self._delist, {}
        if ended:
            commands: list[Command] = [
                DELIST.call([self._keys.open], conversation, ticket) for conversation, ticket in ended.items()
            ]
            await self._link.ask(*commands)

    async def release(self) -> None:
        """Lets go of everything, so that others need not wait for the end of the leases.

        Raises:
            StoreUnavailable: then they wait.
        """
        held, self.held = self.held, {}
        commands = [
            RELEASE.call(self._keys.of(conversation, "l"), self._node, lease.fence)
            for conversation, lease in held.items()
            if not lease.lost
        ]
        if commands:
            await self._link.ask(*commands)


def _name(id: bytes) -> str:
    return id.decode(errors="replace")


def _reopened(head: bytes, state: bytes | None, value: bytes) -> Reopened:
    """An open turn as the store has it. What is malformed, or a newer version's, may raise nearly anything."""
    turn = decode_turn(value[18:], int(value[16:18]))
    return Reopened(decode_header(head), decode_state(state), int(value[:16]), turn)
