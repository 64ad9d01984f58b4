"""The way to Redis: a few connections, and one place where its failures become ours.

What many tasks ask at the same time waits in one queue. Each connection has a carrier that takes what waits, sends it
with one write, and comes back with the answers to all of it (pipelining); so the busier it gets, the larger the loads
and the less each command costs. More than one connection, so that Redis works while the next load is packed, and so
that a large picture, which travels alone, does not hold up everything. coredis's own pool is not used: it loses a place
for each connection that dies while it is lent, or that is given up while it is being made.
"""

import hashlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import trio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, WouldBlock
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
# Commands that travel together.
LOAD: Final = 64

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


class Line(NamedTuple):
    """A command as :meth:`coredis.connection.BaseConnection.create_request_batch` reads it."""

    name: bytes
    serialized_arguments: tuple[Any, ...]
    decode: bool = False


class Errand:
    """Commands that somebody waits for; ``answers`` has one for each, an exception where it failed."""

    __slots__ = ("answers", "bulky", "done", "lines", "since")

    def __init__(self, commands: Sequence[Command], bulky: bool) -> None:
        self.lines = [Line(command[0], command[1:]) for command in commands]
        self.bulky = bulky
        self.since = trio.current_time()
        self.answers: list[Any] = []
        self.done = trio.Event()

    def fail(self, error: BaseException) -> None:
        self.answers = [error] * len(self.lines)
        self.done.set()


class Link:
    """``trouble``: in a sentence, why Redis cannot be used; None where the last write went well. ``log``: where to."""

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
        self._queue: deque[Errand] = deque()
        # Carriers without work; ``_called``: one of them is on its way.
        self._idle = trio.lowlevel.ParkingLot()
        self._called = False
        self._seconds = settings.command_seconds
        self.log = telemetry.log
        self._texts = {script.sha: script.text for script in scripts}
        for _ in range(settings.connections):
            nursery.start_soon(self._carry)

    async def ask(self, *commands: Command, bulky: bool = False) -> list[Any]:
        """Sends ``commands`` over one connection, in order, and returns their answers.

        They are carried out whatever becomes of the caller.

        Args:
            bulky: they are so large that nothing else should wait behind them.

        Raises:
            StoreUnavailable: Redis could not be reached, did not answer in time, or refused one of them. Each of them
                may have been carried out all the same.
        """
        answers = await self._have(Errand(commands, bulky))
        if any(isinstance(answer, BaseException) for answer in answers):
            return await self._mend(commands, answers)
        return answers

    async def one(self, command: Command) -> Any:
        """The same for a single command."""
        answers = await self._have(Errand((command,), False))
        if isinstance(answers[0], BaseException):
            answers = await self._mend((command,), answers)
        return answers[0]

    async def _mend(self, commands: Sequence[Command], answers: list[Any]) -> list[Any]:
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A Redis that was started anew knows none.
            texts = {commands[at][1] for at in unknown}
            loading: list[Command] = [(b"SCRIPT LOAD", self._texts[sha]) for sha in texts]
            await self._have(Errand(loading, False))
            again = await self._have(Errand([commands[at] for at in unknown], True))
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise self.failed(answer) from answer
        return answers

    async def connect(self) -> BaseConnection:
        """A new connection, of the caller's own; it is to invalidate it in the end.

        Raises:
            StoreUnavailable: it cannot be had.
        """
        try:
            return await self._connect()
        except Exception as error:
            raise self.failed(error) from error

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
        elif isinstance(error, RedisError) and not isinstance(error, RedisConnectionError):
            trouble = None
            self.log.error("redis_refused", detail=text)
        else:
            trouble = UNREACHABLE
        if trouble is not None:
            if trouble != self.trouble:
                self.log.error("store_in_trouble", reason=trouble, detail=text)
            self.trouble = trouble
        return StoreUnavailable(f"{type(error).__name__}: {text}", retry_after=RETRY_S)

    def recovered(self) -> None:
        """A write went well."""
        if self.trouble is not None:
            self.log.info("store_recovered", reason=self.trouble)
            self.trouble = None

    async def _connect(self) -> BaseConnection:
        connection = self._make()
        await self._nursery.start(_run, connection)
        return connection

    async def _have(self, errand: Errand) -> list[Any]:
        """The answers, those that failed among them as exceptions."""
        self._queue.append(errand)
        if self._idle and not self._called:
            self._call()
        await errand.done.wait()
        return errand.answers

    def _call(self) -> None:
        """One carrier comes, if there is one without work."""
        self._called = bool(self._idle.unpark())

    async def _carry(self) -> None:
        """A carrier: takes what waits and brings the answers, for ever, over a connection that it makes when needed."""
        connection: BaseConnection | None = None
        while True:
            while not self._queue:
                await self._idle.park()
                self._called = False
            load, left = self._load()
            if self._queue and self._idle:
                self._call()
            try:
                if load:
                    if connection is None or not connection.usable:
                        connection = await self._connect()
                    await self._bring(connection, load, left)
            except Exception as error:
                # A connection that ends, or does not come to be, may raise nearly anything: whatever its own tasks met
                # with last, a stream that was closed, that it never began.
                if connection is not None:
                    connection.invalidate("it failed")
                    connection = None
                for errand in load:
                    errand.fail(error)
            finally:
                for errand in load:
                    if not errand.done.is_set():  # this is the end of all carriers
                        errand.fail(RedisConnectionError("closed"))

    def _load(self) -> tuple[list[Errand], float]:
        """What goes next, and how many seconds it may take; what has waited for too long fails."""
        load: list[Errand] = []
        now, size = trio.current_time(), 0
        while self._queue and size < LOAD and not (load and (self._queue[0].bulky or load[0].bulky)):
            errand = self._queue.popleft()
            if now - errand.since >= self._seconds:
                errand.fail(TimeoutError(f"not sent within {self._seconds} seconds"))
            else:
                load.append(errand)
                size += len(errand.lines)
        return load, self._seconds - (now - load[0].since if load else 0.0)

    async def _bring(self, connection: BaseConnection, load: Sequence[Errand], left: float) -> None:
        lines: list[Any] = load[0].lines if len(load) == 1 else [line for errand in load for line in errand.lines]
        # Without all answers in time it gives the connection up: what still comes over it would be too late.
        answers = await connection.create_request_batch(lines, timeout=left)
        at = 0
        for errand in load:
            errand.answers = answers[at : at + len(errand.lines)]
            at += len(errand.lines)
            errand.done.set()


async def pushed(connection: BaseConnection) -> AsyncGenerator[list[Any], None]:
    """What Redis says unasked over ``connection``.

    coredis's ``push_messages`` lets all other tasks run before each message; this does so before each load of them.

    Raises:
        RedisError: the connection was lost.
    """
    buffer = connection._push_message_buffer_out
    try:
        while True:
            yield await buffer.receive()
            with suppress(WouldBlock):
                while True:
                    yield buffer.receive_nowait()
    except (EndOfStream, BrokenResourceError, ClosedResourceError) as error:
        raise RedisConnectionError("connection lost") from error


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
