"""Conversations in Redis as an operator sees them, beside nodes that serve from it.

What an operator does is a plain function, as with the SQLite file; it runs in a thread beside the connections.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec
import trio

from csgate.cluster import scripts
from csgate.cluster.codec import decode_event, decode_header, decode_state
from csgate.cluster.fanout import NODE_CHARS, publish_command
from csgate.cluster.keys import Keys
from csgate.cluster.link import Command, Link, open_link
from csgate.cluster.safety import SHARDED_SINCE, inspect
from csgate.config import Config
from csgate.errors import CsgateError, NotFound, StoreUnavailable
from csgate.session.archive import Archive, Kept
from csgate.telemetry import Telemetry

T = TypeVar("T")

SLICE: Final = 256
# Nobody is called so: every node hears of what was erased.
OPERATOR: Final = "-" * NODE_CHARS
GONE_MS: Final = 60_000


class RedisArchive(Archive):
    """Made by :func:`in_archive`; its methods are for that thread only."""

    def __init__(self, ask: Callable[..., list[Any]], keys: Keys, publish: bytes) -> None:
        self._ask = ask
        self._keys = keys
        self._publish = publish

    def newest(self, limit: int, subject: str | None = None) -> list[Kept]:
        """As the index knows them, which nodes tell every half second."""
        found: dict[str, Kept] = {}
        start = 0
        while len(found) < limit:
            (names,) = self._ask((b"ZREVRANGE", self._keys.active, start, start + SLICE - 1))
            if not names:
                break
            start += SLICE
            found |= {kept.id: kept for kept in self._read(names) if subject is None or kept.subject == subject}
        return list(found.values())[:limit]

    def find(self, conversation: str) -> Kept:
        found = self._read([conversation.encode()])
        if not found:
            raise NotFound(public=f"There is no conversation '{conversation}'.")
        return found[0]

    def events(self, kept: Kept) -> Iterator[dict[str, Any]]:
        (stream,) = self._keys.of(kept.id, "e")
        at = kept.first
        while True:
            (entries,) = self._ask((b"XRANGE", stream, f"{at}-0", "+", b"COUNT", SLICE))
            for id, fields in entries:
                at = int(id.partition(b"-")[0])
                yield msgspec.to_builtins(decode_event(at, fields[1]))
            if len(entries) < SLICE:
                return
            at += 1

    def of_subject(self, subject: str) -> list[Kept]:
        """Also what the index does not know (yet, or any more): all keys are looked at."""
        found: dict[str, Kept] = {}
        cursor = b"0"
        while True:
            (answer,) = self._ask((b"SCAN", cursor, b"MATCH", self._keys.of("*", "h")[0], b"COUNT", SLICE))
            cursor, names = answer
            ids = [self._keys.conversation(name) for name in names]
            found |= {kept.id: kept for kept in self._read(ids) if kept.subject == subject}
            if cursor == b"0":
                return sorted(found.values(), key=lambda kept: (kept.touched, kept.id))

    def erase(self, subject: str, tenant: str | None = None, issuer: str | None = None) -> list[str]:
        """As :meth:`Archive.erase`; each conversation at once, and every node is told."""
        erased: list[str] = []
        # Again until none is left: the customer may be talking.
        while owned := self.owned(subject, tenant, issuer):
            for kept in owned:
                channel = self._keys.channel(kept.id)
                (known, *_) = self._ask(
                    scripts.ERASE.call(self._keys.of(kept.id), channel, self._publish, OPERATOR, GONE_MS),
                    (b"DEL", *self._keys.of(kept.id, ("giving",))),
                    (b"ZREM", self._keys.active, kept.id),
                    (b"ZREM", self._keys.open, kept.id),
                )
                if known:
                    erased.append(kept.id)
        return erased

    def _read(self, names: Sequence[bytes]) -> list[Kept]:
        """Of these conversations what there is of them now."""
        fields = (b"head", b"first", b"last", b"touched", b"state")
        ids = [name.decode() for name in names]
        commands: list[Command] = [(b"HMGET", *self._keys.of(id, "h"), *fields) for id in ids]
        found = []
        for head, first, last, touched, state in self._ask(*commands) if commands else ():
            if head is None:
                continue  # gone meanwhile
            header, state_event = decode_header(head), decode_state(state)
            found.append(
                Kept(
                    header.id,
                    header.issuer,
                    header.tenant,
                    header.subject,
                    header.epoch,
                    int(first or 1),
                    int(last),
                    touched.decode(),
                    "bot" if state_event is None else state_event.state,
                )
            )
        return found


def in_archive(config: Config, telemetry: Telemetry, work: Callable[[RedisArchive], T]) -> T:
    """Does ``work`` on the Redis of ``config``.

    Raises:
        ConfigError: Redis cannot be used.
        CsgateError: it fails in the middle; or what ``work`` raised.
    """
    return trio.run(_in_archive, config, telemetry, work)


async def _in_archive(config: Config, telemetry: Telemetry, work: Callable[[RedisArchive], T]) -> T:
    # What it may lose is not the business of somebody who reads or erases.
    settings = config.redis.model_copy(update={"accept_loss": True})
    keys = Keys(config.redis.prefix)
    failure: Exception
    async with open_link(settings, telemetry, scripts.ALL) as link:
        try:
            version = await inspect(link, settings, telemetry)
            archive = RedisArchive(_asking(link), keys, publish_command(sharded=version >= SHARDED_SINCE))
            return await trio.to_thread.run_sync(lambda: work(archive))
        except StoreUnavailable as error:
            failure = CsgateError(f"The conversations in Redis cannot be read or changed: {error.detail}.")
        except Exception as error:
            # Raised below: the nursery of the connections would wrap it in a group.
            failure = error
    raise failure


def _asking(link: Link) -> Callable[..., list[Any]]:
    return lambda *commands: trio.from_thread.run(lambda: link.ask(*commands))
