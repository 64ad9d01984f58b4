"""Generators against a server that misbehaves, on a clock that skips what nobody wants to wait for."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio.testing

from csgate.config import GenerationSettings
from csgate.errors import CsgateError
from csgate.inference.generation import Generated, GenerationRequest, Generator, Sampling, Utterance
from csgate.inference.generation.remote import RemoteGenerator, open_remote_generator
from csgate.telemetry import Telemetry, open_logger

KEY = "sk-a-secret-that-nobody-may-see"
SETTINGS: dict[str, Any] = {"model": "m", "api_key": KEY, "retries": 0}


@pytest.fixture
def skipping_clock() -> trio.testing.MockClock:
    """Jumps once nothing has happened for a while: bytes between two sockets of this process are there by then."""
    return trio.testing.MockClock(autojump_threshold=0.05)


class Log(io.StringIO):
    """What was written to the log."""

    def count(self, event: str) -> int:
        return self.getvalue().count(f'"event": "{event}"')


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def telemetry(log: Log) -> Telemetry:
    return Telemetry(log=open_logger("debug", stream=log))


OpenRemote = Callable[..., AbstractAsyncContextManager[RemoteGenerator]]


@pytest.fixture
def remote(telemetry: Telemetry, log: Log) -> OpenRemote:
    """``remote(url, retries=2, …)`` opens a generator without jitter. The key must stay out of the log."""

    @asynccontextmanager
    async def opened(
        url: str, *, transport: Any = None, unix_time: float = 1.8e9, **settings: Any
    ) -> AsyncIterator[Any]:
        chosen = GenerationSettings(**{**SETTINGS, **settings})
        async with open_remote_generator(
            url, chosen, telemetry, transport=transport, jitter=lambda: 0.5, unix_time=lambda: unix_time
        ) as generator:
            yield generator
        assert KEY not in log.getvalue()

    return opened


def asked(text: str = "Where is my parcel?", *, deadline: float = float("inf"), **options: Any) -> GenerationRequest:
    sampling = {name: options.pop(name) for name in list(options) if name in Sampling.__struct_fields__}
    return GenerationRequest((Utterance("user", text),), Sampling(**sampling), deadline=deadline, **options)


class Outcome:
    """What became of one request: exactly one of ``generated`` and ``error``, and what was heard on the way."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.generated: Generated | None = None
        self.error: CsgateError | None = None
        self.took = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)


async def ask(generator: Generator, request: GenerationRequest | None = None) -> Outcome:
    """One answer or one typed error, by the deadline; anything else fails the test."""
    request = request or asked()
    outcome = Outcome()
    began = trio.current_time()
    try:
        outcome.generated = await generator.generate(request, outcome.pieces.append)
    except CsgateError as error:
        outcome.error = error
    outcome.took = trio.current_time() - began
    assert trio.current_time() <= request.deadline + 0.1
    if outcome.error is not None:
        assert KEY not in f"{outcome.error!r}{outcome.error}{outcome.error.detail}{outcome.error.__cause__!r}"
    if outcome.generated is not None:
        assert outcome.generated.text == outcome.text
        assert outcome.text
    return outcome
