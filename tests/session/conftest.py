"""A rig for sessions: recording sinks, a scripted answerer, a store that takes its time, a wall clock on Trio's."""

import io
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.config import SessionSettings
from csgate.errors import BadImage
from csgate.events import Draft, Event, Principal
from csgate.session import Answerer, Conversations, MemoryStore, Store, Turn, open_conversations
from csgate.session.keeping import Keep
from csgate.session.sqlite import SqliteStore
from csgate.session.sqlite_file import migrate
from csgate.session.sqlite_ledger import Ledger
from csgate.telemetry import Telemetry, open_logger

START = datetime(2026, 1, 1, tzinfo=UTC)


class Recorder:
    """A sink that keeps what it gets, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.given_up = 0
        self._more = trio.Event()

    def deliver(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()
        self._more = trio.Event()

    def detached(self) -> None:
        self.given_up += 1

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def kinds(self) -> list[str]:
        return [type(event).__name__.removesuffix("Event").lower() for event in self.events]

    async def wait(self, *kinds: type, count: int = 1, match: Callable[[Any], bool] = lambda _: True) -> Any:
        """Waits for the ``count``-th event of these kinds that matches; fails after 1,000 (virtual) seconds."""
        with trio.fail_after(1000):
            while True:
                found = [event for event in self.of(*kinds) if match(event)]
                if len(found) >= count:
                    return found[count - 1]
                await self._more.wait()


async def scripted(turn: Turn) -> Draft:
    """Does what the message says: ``sleep 2``, ``stream a b c`` (0.021 s each), ``fail``, ``refuse``, ``person``."""
    word, *rest = turn.text.split() or ["picture"]
    match word:
        case "sleep":
            await trio.sleep(float(rest[0]))
        case "stream":
            for piece in rest:
                turn.delta(piece)
                await trio.sleep(0.021)  # no multiple of it meets one of the deltas' interval
            return Draft(text="".join(rest), source="generated")
        case "fail":
            raise ValueError("secret detail")
        case "refuse":
            raise BadImage("the third chunk lies")
        case "person":
            return Draft(text="A person comes.", hand_over=True)
    return Draft(text=f"re: {turn.text}")


class SlowStore:
    """A memory store that yields before and after each change, as a real one does."""

    def __init__(self, inner: MemoryStore | None = None, seconds: Callable[[], float] = lambda: 0.001) -> None:
        self.inner = inner or MemoryStore()
        self.seconds = seconds
        self.fail: set[str] = set()
        self.failure: Exception = OSError("the disk is gone")

    @property
    def memory_bytes(self) -> int:
        return self.inner.memory_bytes

    @property
    def trouble(self) -> None:
        return None

    def listen(self, gone: Callable[[Sequence[str]], None]) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            await trio.sleep(self.seconds())
            if name in self.fail:
                raise self.failure
            value = await method(*args, **kwargs)
            await trio.sleep(self.seconds())
            return value

        return slowly


class OtherStore(MemoryStore):
    """A memory store that does not promise never to yield: the conversations use a task each to change the log."""


class InlineDesk:
    """Does a job of the SQLite store at once, in the caller's task, so that tests can play with the clock."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.trouble: str | None = None
        self.on_erased: Callable[[list[str]], None] = lambda _: None

    async def ask(self, run: Callable[[Ledger], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return run(self.ledger)

    def litter(self) -> None:
        while self.ledger.tidy(3):
            pass


def inline_sqlite(max_events: int = 1_000) -> SqliteStore:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, Path("csgate.db"))
    desk = InlineDesk(Ledger(connection, max_events, open_logger()))
    return SqliteStore(desk, desk, SessionSettings())


class Rig:
    def __init__(self, store: Any = None) -> None:
        self.stream = io.StringIO()
        self.telemetry = Telemetry(log=open_logger(stream=self.stream))
        self.store: Any = store or MemoryStore()
        self.answer: Answerer = scripted
        self.keep: Keep | None = None
        self.recorder = Recorder
        self.slow_store = SlowStore

    @asynccontextmanager
    async def open(self, store: Store | None = None, **settings: Any) -> AsyncIterator[Conversations]:
        async with open_conversations(
            store or self.store,
            self.answer,
            SessionSettings(**settings),
            self.telemetry,
            now=lambda: START + timedelta(seconds=trio.current_time()),
            keep=self.keep,
        ) as conversations:
            yield conversations

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def sample(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(name, labels) or 0.0

    async def log_of(self, conversation: str) -> list[Any]:
        inner = self.store.inner if isinstance(self.store, SlowStore) else self.store
        page = await inner.read(conversation)
        return list(page.events)


@pytest.fixture(params=[MemoryStore, OtherStore, inline_sqlite])
def make_store(request: pytest.FixtureRequest) -> Callable[..., Any]:
    made: Callable[..., Any] = request.param
    return made


@pytest.fixture
def rig(make_store: Callable[..., Any]) -> Rig:
    """Tests name ``autojump_clock`` themselves: pytest-trio takes a clock only from a test's own arguments."""
    return Rig(make_store())


@pytest.fixture(params=[MemoryStore, OtherStore])
def memory_rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param())


@pytest.fixture(scope="session")
def bare_rig() -> type[Rig]:
    """For tests that run Trio themselves, many times."""
    return Rig


@pytest.fixture
def ann() -> Principal:
    return Principal(subject="ann", issuer="shop", tenant="t1")


@pytest.fixture
def agent() -> Principal:
    return Principal(subject="gus", issuer="desk", tenant="t1", role="agent")
