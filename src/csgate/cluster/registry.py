"""Who else serves: every node writes down its address, zone, load and version, and goes on doing so while it lives."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import trio

from csgate.cluster.keys import Keys
from csgate.cluster.link import Link
from csgate.errors import StoreUnavailable

TTL_S: Final = 5.0
EVERY_S: Final = 1.0
# Redis answers meanwhile or not: the first sign that it is back should not wait for the next entry.
PROBE_S: Final = 0.25
MAX_NODES: Final = 256


class Member(msgspec.Struct, frozen=True):
    """A node as it describes itself. ``id`` names one life of it; ``load`` is connections and open turns."""

    id: str
    name: str
    address: str
    zone: str
    version: str
    load: dict[str, int]
    since: float
    draining: bool = False


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Member).decode


class Registry:
    """``members``: all nodes that were alive a moment ago, this one among them, by name."""

    def __init__(self, link: Link, keys: Keys, node: str, name: str, zone: str, version: str) -> None:
        self.members: tuple[Member, ...] = ()
        self._link = link
        self._keys = keys
        self._node = node
        self._name = name
        self._zone = zone
        self._version = version
        self._since = time.time()
        self._address = ""
        self._load: Callable[[], dict[str, int]] = dict
        self._entered = False
        self._draining = False

    def others(self) -> list[str]:
        """The addresses of nodes to fail over to: of the same zone first, then those with the fewest connections."""
        able = [one for one in self.members if one.id != self._node and not one.draining and one.address]
        able.sort(key=lambda one: (one.zone != self._zone, one.load.get("connections", 0), one.name))
        return [one.address for one in able]

    async def enter(self, address: str, load: Callable[[], dict[str, int]]) -> None:
        """From now on others may send clients here. Returns once they know, or in vain where Redis is away."""
        self._address, self._load, self._entered = address, load, True
        await self._sign_quietly()

    async def drain(self) -> None:
        """No more clients, please."""
        self._draining = True
        await self._sign_quietly()

    async def leave(self) -> None:
        """Not here any more."""
        self._entered = False
        try:
            await self._link.ask(
                (b"DEL", f"{self._keys.nodes}:{self._node}"), (b"ZREM", f"{self._keys.nodes}:all", self._node)
            )
        except StoreUnavailable:
            return  # the entry ends by itself

    async def run(self) -> None:
        """Signs and reads, for ever; what is written shows that Redis is well again after it was not."""
        while True:
            await self._sign_quietly()
            await trio.sleep(EVERY_S if self._link.trouble is None else PROBE_S)

    async def _sign_quietly(self) -> None:
        try:
            await self._sign()
        except StoreUnavailable:
            return  # the link tells of it

    async def _sign(self) -> None:
        now = time.time()
        index = f"{self._keys.nodes}:all"
        own = f"{self._keys.nodes}:{self._node}"
        ttl_ms = int(TTL_S * 1000)
        # Also before it serves: that something can be written is worth knowing.
        entry = _encode(self._describe()) if self._entered else b""
        commands: list[tuple[Any, ...]] = [(b"SET", own, entry, b"PX", ttl_ms)]
        if self._entered:
            commands.append((b"ZADD", index, now, self._node))
        commands.append((b"ZREMRANGEBYSCORE", index, b"-inf", now - 60 * TTL_S))
        commands.append((b"ZRANGE", index, 0, MAX_NODES - 1))
        *_, nodes = await self._link.ask(*commands)
        self._link.recovered()
        self.members = await self._read([node.decode() for node in nodes])

    async def _read(self, nodes: Sequence[str]) -> tuple[Member, ...]:
        if not nodes:
            return ()
        entries = await self._link.one((b"MGET", *(f"{self._keys.nodes}:{node}" for node in nodes)))
        found = []
        for entry in entries:
            try:
                found.append(_decode(entry or b""))
            except msgspec.DecodeError:
                continue  # gone, or of a version to come
        return tuple(sorted(found, key=lambda one: (one.name, one.id)))

    def _describe(self) -> Member:
        return Member(
            id=self._node,
            name=self._name,
            address=self._address,
            zone=self._zone,
            version=self._version,
            load=self._load(),
            since=self._since,
            draining=self._draining,
        )
