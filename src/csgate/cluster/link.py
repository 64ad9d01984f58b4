"""The way to Redis: a few connections, and one place where its failures become ours.

Each connection carries the commands of many tasks at once (pipelining), so a few are enough; more than one, so that a
large picture does not hold up everything. coredis's own pool is not used: it loses a place for each connection that
dies while it is lent, or that is given up while it is being made.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from anyio import BrokenResourceError, ClosedResourceError
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from coredis.connection import BaseConnection
from coredis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError
from coredis.exceptions import ConnectionError as RedisConnectionError
from coredis.pool import ConnectionPool

from csgate.config import RedisSettings
from csgate.errors import ConfigError, StoreUnavailable
from csgate.telemetry import Telemetry

DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
CONNECT_S: Final = 1.0
RETRY_S: Final = 2.0

UNREACHABLE: Final = "conversations cannot be stored: Redis does not answer"
# By a word of Redis's own error. The rest is a mistake of ours, and says nothing of the next command.
_AILMENTS: Final = {
    "OOM": "conversations cannot be stored: Redis has reached its maxmemory",
    "MISCONF": "conversations cannot be stored: Redis cannot write to its disk",
    "READONLY": "conversations cannot be stored: this Redis is a read-only replica",
    "LOADING": "conversations cannot be stored: Redis is still reading its file",
    "NOREPLICAS": "conversations cannot be stored: Redis misses its replicas",
}

Command = tuple[Any, ...]


class Script:
    """A Lua script, called by the hash of its text. ``keys``: how many of its arguments are keys."""

    __slots__ = ("keys", "sha", "text")

    def __init__(self, keys: int, text: str) -> None:
        self.keys = keys
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str | bytes], *arguments: Any) -> Command:
        """The command that runs it."""
        assert len(keys) == self.keys
        return (b"EVALSHA", self.sha, self.keys, *keys, *arguments)


class Link:
    """``trouble``: in a sentence, why Redis cannot be used; None where the last write went well."""

    def __init__(
        self,
        make: Callable[[], BaseConnection],
        nursery: trio.Nursery,
        settings: RedisSettings,
        telemetry: Telemetry,
        scripts: Sequence[Script],
    ) -> None:
        self.trouble: str | None = None
        self._make = make
        self._nursery = nursery
        self._pool: list[BaseConnection | None] = [None] * settings.connections
        self._locks = [trio.Lock() for _ in self._pool]
        self._next = 0
        self._seconds = settings.command_seconds
        self._log = telemetry.log
        self._texts = {script.sha: script.text for script in scripts}

    async def ask(self, *commands: Command) -> list[Any]:
        """Sends ``commands`` over one connection, in order, and returns their answers.

        Once sent they are carried out whatever becomes of the caller.

        Raises:
            StoreUnavailable: Redis could not be reached, did not answer in time, or refused one of them. Each of them
                may have been carried out all the same.
        """
        answers = await self._send(commands)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A Redis that was started anew knows none.
            texts = {commands[at][1] for at in unknown}
            await self._send([(b"SCRIPT LOAD", self._texts[sha]) for sha in texts])
            again = await self._send([commands[at] for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise self.failed(answer) from answer
        return answers

    async def one(self, command: Command) -> Any:
        """The same for a single command."""
        (answer,) = await self.ask(command)
        return answer

    async def connect(self) -> BaseConnection:
        """A new connection, of the caller's own; it is to invalidate it in the end.

        Raises:
            StoreUnavailable: it cannot be had.
        """
        connection = self._make()
        try:
            await self._nursery.start(_run, connection)
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        return connection

    def failed(self, error: BaseException) -> StoreUnavailable:
        """Notes the trouble, and tells it as ours."""
        text = str(error)
        if isinstance(error, BusyLoadingError):
            text = f"LOADING {text}"
        elif isinstance(error, ReadOnlyError):
            text = f"READONLY {text}"
        ailments = [sentence for word, sentence in _AILMENTS.items() if word in text]
        if ailments:
            trouble: str | None = ailments[0]
        elif isinstance(error, OSError | RedisConnectionError | ClosedResourceError | BrokenResourceError):
            trouble = UNREACHABLE
        else:
            trouble = None
            self._log.error("redis_refused", detail=text)
        if trouble is not None:
            if trouble != self.trouble:
                self._log.error("store_in_trouble", reason=trouble, detail=text)
            self.trouble = trouble
        return StoreUnavailable(f"{type(error).__name__}: {text}", retry_after=RETRY_S)

    def recovered(self) -> None:
        """A write went well."""
        if self.trouble is not None:
            self._log.info("store_recovered", reason=self.trouble)
            self.trouble = None

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        connection = await self._usable()
        try:
            requests = [
                connection.create_request(name, *arguments, raise_exceptions=False, timeout=self._seconds)
                for name, *arguments in commands
            ]
        except (RedisError, OSError, ClosedResourceError, BrokenResourceError) as error:
            raise self.failed(error) from error
        answers: list[Any] = [await request for request in requests]
        if any(isinstance(answer, TimeoutError) for answer in answers):
            # What still comes over it would be too late, and others must not wait behind.
            connection.invalidate("no answer in time")
        return answers

    async def _usable(self) -> BaseConnection:
        """The next connection of the pool, made where there is none."""
        at = self._next = (self._next + 1) % len(self._pool)
        connection = self._pool[at]
        if connection is None or not connection.usable:
            async with self._locks[at]:
                connection = self._pool[at]
                if connection is None or not connection.usable:
                    connection = self._pool[at] = await self.connect()
        return connection


async def _run(connection: BaseConnection, *, task_status: trio.TaskStatus[None]) -> None:
    started = _Started(task_status)
    try:
        await connection.run(task_status=started)
    except Exception:
        # Before it was there, whoever wanted it is told; later, those whose commands are under way know already.
        if not started.told:
            raise
    finally:
        # coredis does so only where the connection came to be; otherwise the garbage collector would complain.
        for part in vars(connection).values():
            if isinstance(part, MemoryObjectSendStream | MemoryObjectReceiveStream):
                part.close()


class _Started:
    """Passes on that a connection is there, and remembers it."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self.told = False
        self._status = status

    def started(self, value: None = None) -> None:
        self.told = True
        self._status.started(value)


@asynccontextmanager
async def open_link(settings: RedisSettings, telemetry: Telemetry, scripts: Sequence[Script]) -> AsyncIterator[Link]:
    """Owns the nursery of the connections; none is made before the first command.

    Raises:
        ConfigError: ``redis.url`` is none.
    """
    logging.getLogger("coredis").setLevel(logging.CRITICAL + 1)  # its failures are ours to tell, once
    url = DEFAULT_URL if settings.url is None else settings.url.get_secret_value()
    try:
        # Only to read the address; it is never opened.
        pool: ConnectionPool[Any] = ConnectionPool.from_url(
            url, decode_components=True, connect_timeout=CONNECT_S, stream_timeout=settings.command_seconds
        )
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError("redis.url is not an address of Redis; write redis://host:6379/0, say.") from error
    location = pool.location
    if location is None:
        raise ConfigError("redis.url names no host; write redis://host:6379/0, or unix:///path/to/redis.sock.")
    options: dict[str, Any] = {**pool.connection_kwargs}
    async with trio.open_nursery() as nursery:
        yield Link(lambda: pool.connection_class(location, **options), nursery, settings, telemetry, scripts)
        nursery.cancel_scope.cancel()
