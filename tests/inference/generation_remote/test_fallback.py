"""The second generator answers where the first could not begin, and never in the middle."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from tests.inference.generation_remote.conftest import Log, OpenRemote, ask, asked
from tests.inference.generation_remote.faulty_server import Behaviour, answers, drops, faulty_server, stalls, status

from csgate.errors import (
    BadBase64,
    BadEnvelope,
    CsgateError,
    EngineUnavailable,
    Overloaded,
    TurnTimeout,
    UnsupportedImage,
)
from csgate.inference.generation import Generated, GenerationRequest, Generator, GeneratorInfo
from csgate.inference.generation.fallback import FallbackGenerator
from csgate.telemetry import Telemetry, open_logger


class Scripted:
    """Takes ``seconds``, says ``pieces``, then ends or fails."""

    def __init__(self, name: str, *pieces: str, error: CsgateError | None = None, seconds: float = 0.0) -> None:
        self.name = name
        self.pieces = pieces
        self.error = error
        self.seconds = seconds
        self.requests: list[GenerationRequest] = []

    @property
    def info(self) -> GeneratorInfo:
        return GeneratorInfo(self.name, "local", "chat", "cpu", 100)

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def generate(self, request: GenerationRequest, on_text: Callable[[str], None]) -> Generated:
        self.requests.append(request)
        with trio.move_on_at(request.deadline):
            await trio.sleep(self.seconds)
            for piece in self.pieces:
                on_text(piece)
            if self.error is not None:
                raise self.error
            first = self.seconds if self.pieces else None
            return Generated("".join(self.pieces), "stop", self.name, first_token_s=first, total_s=self.seconds)
        raise TurnTimeout(self.name)


def both(first: Generator, second: Generator, **options: Any) -> FallbackGenerator:
    return FallbackGenerator(first, second, **options)


async def test_the_first_answers(autojump_clock: trio.testing.MockClock) -> None:
    second = Scripted("second", "no")
    generator = both(Scripted("first", "A", "B"), second)
    outcome = await ask(generator)
    assert outcome.pieces == ["A", "B"]
    assert not second.requests
    assert generator.info.name == "first"
    assert generator.count_tokens("four") == 4


@pytest.mark.parametrize("error", [EngineUnavailable("x"), Overloaded("x"), TurnTimeout("x")])
async def test_the_second_answers(error: CsgateError, autojump_clock: trio.testing.MockClock, log: Log) -> None:
    telemetry = Telemetry(log=open_logger(stream=log))
    first, second = Scripted("first", error=error, seconds=2), Scripted("second", "B", seconds=3)
    outcome = await ask(both(first, second, telemetry=telemetry), asked(deadline=trio.current_time() + 20))
    assert outcome.generated is not None
    assert (outcome.text, outcome.generated.model) == ("B", "second")
    assert outcome.generated.first_token_s == pytest.approx(5)
    assert outcome.generated.total_s == pytest.approx(5)
    assert first.requests == second.requests
    assert log.count("generation.fallback") == 1


async def test_an_empty_answer_of_the_second(autojump_clock: trio.testing.MockClock) -> None:
    answer = await both(Scripted("first", error=Overloaded()), Scripted("second")).generate(asked(), lambda _: None)
    assert answer.first_token_s is None


async def test_after_the_first_word_the_error_stands(autojump_clock: trio.testing.MockClock) -> None:
    second = Scripted("second", "B")
    outcome = await ask(both(Scripted("first", "A", error=EngineUnavailable("broke")), second))
    assert outcome.text == "A"
    assert isinstance(outcome.error, EngineUnavailable)
    assert not second.requests


@pytest.mark.parametrize("error", [BadEnvelope("x"), BadBase64("x"), UnsupportedImage("x")])
async def test_a_request_that_is_at_fault_is_not_asked_twice(
    error: CsgateError, autojump_clock: trio.testing.MockClock
) -> None:
    second = Scripted("second", "B")
    assert (await ask(both(Scripted("first", error=error), second))).error is error
    assert not second.requests


async def test_both_fail(autojump_clock: trio.testing.MockClock) -> None:
    outcome = await ask(
        both(Scripted("first", error=Overloaded("1")), Scripted("second", error=EngineUnavailable("2")))
    )
    assert isinstance(outcome.error, EngineUnavailable)
    assert outcome.text == ""


async def test_no_time_is_left(autojump_clock: trio.testing.MockClock) -> None:
    second = Scripted("second", "B")
    generator = both(Scripted("first", seconds=50), second)
    assert isinstance((await ask(generator, asked(deadline=trio.current_time() + 5))).error, TurnTimeout)
    assert not second.requests
    slow = both(Scripted("first", error=Overloaded(), seconds=4), Scripted("second", seconds=4))
    outcome = await ask(slow, asked(deadline=trio.current_time() + 5))
    assert isinstance(outcome.error, TurnTimeout)
    assert outcome.took == pytest.approx(5)


@pytest.mark.parametrize("fault", [status(500), status(401), status(429), drops(head=False), stalls()])
async def test_a_remote_that_fails_is_replaced_within_the_deadline(
    fault: Behaviour, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(fault) as server, remote(server.url, retries=2, total_seconds=25) as generator:
        outcome = await ask(both(generator, Scripted("here", "B", seconds=1)), asked(deadline=trio.current_time() + 30))
        assert outcome.generated is not None
        assert outcome.generated.model == "here"


async def test_a_remote_that_breaks_off_is_not(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(drops("A "), answers("Whole")) as server, remote(server.url) as generator:
        chain = both(generator, Scripted("here", "B"))
        outcome = await ask(chain)
        assert (outcome.text, type(outcome.error)) == ("A ", EngineUnavailable)
        assert (await ask(chain)).text == "Whole"
