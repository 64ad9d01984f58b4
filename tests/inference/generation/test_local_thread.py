"""The engine's thread with a stepper made of orders: who gets in, what goes wrong, and who is told."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from csgate.errors import EngineUnavailable, ModelError, Overloaded
from csgate.inference.generation.local_step import Step
from csgate.inference.generation.local_text import TextStream
from csgate.inference.generation.local_thread import Answer, EngineThread
from csgate.inference.generation.request import Sampling
from csgate.telemetry import Telemetry


class Panic(BaseException):
    """What a library in Rust raises when it panics is no ``Exception``."""


def letters(ids: Sequence[int]) -> str:
    """Token 0x110000 cannot be decoded; at 0x110001 the library panics."""
    if 0x110001 in ids:
        raise Panic("no such token")
    return "".join(map(chr, ids))


class Letters:
    """Writes a, b, c … for each answer, a letter a step, and a step for each ``allow``."""

    provider = "Paper"

    def __init__(self, places: int = 2) -> None:
        self.places = places
        self.known: dict[int, list[int]] = {}
        self.added: list[Sequence[int]] = []
        self.removed: list[int] = []
        self.broken: BaseException | None = None
        self.stuck: BaseException | None = None
        self.closed = False
        self._permits = threading.Semaphore(0)

    def allow(self, steps: int = 1) -> None:
        self._permits.release(steps)

    def room(self) -> int:
        return self.places - len(self.known)

    def add(self, key: int, ids: Sequence[int], sampling: Sampling, limit: int) -> None:
        if not ids:
            raise ValueError("nothing to go on")
        if ids[0] == 14:
            raise Panic("an unlucky number")
        self.added.append(ids)
        self.known[key] = [0, limit, ids[0]]

    def remove(self, key: int) -> None:
        self.removed.append(key)
        if self.stuck is not None:
            raise self.stuck
        del self.known[key]

    def step(self) -> list[Step]:
        assert self._permits.acquire(timeout=10)
        if self.broken is not None:
            raise self.broken
        steps = []
        for key, state in list(self.known.items()):
            state[0] += 1
            if state[2] == 13:
                steps.append(Step(key, None, "failed"))
            elif state[0] > state[1]:
                steps.append(Step(key, None, "stop"))
            else:
                odd = {98: 0x110001, 99: 0x110000}.get(state[2])
                steps.append(Step(key, odd or ord("a") - 1 + state[0]))
            if steps[-1].end is not None:
                del self.known[key]
        return steps

    def close(self) -> None:
        self.closed = True
        if self.broken is not None:
            raise self.broken


class Bench:
    def __init__(self, thread: EngineThread, made: list[Letters]) -> None:
        self.thread = thread
        self.made = made

    @property
    def letters(self) -> Letters:
        return self.made[-1]

    def answer(self, limit: int = 3, first: int = 1, **changes: Any) -> Answer:
        """Submits a request whose answer has ``limit`` letters."""
        fields: dict[str, Any] = {"principal": "p", "priority": 1, "on_text": lambda text: None} | changes
        stops = fields.pop("stops", ())
        answer = Answer(
            fields.pop("ids", [first]), Sampling(), limit, stream=TextStream(letters, stops), arrived=0.0, **fields
        )
        self.thread.submit(answer)
        return answer

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for the other thread, a turn at a time."""
        with trio.fail_after(10):
            while not true():  # noqa: ASYNC110  the other thread knows nothing of Trio
                await trio.sleep(0.001)


@pytest.fixture
async def bench(telemetry: Telemetry) -> AsyncIterator[Bench]:
    async with open_bench(telemetry) as bench:
        yield bench


@asynccontextmanager
async def open_bench(telemetry: Telemetry, refusals: Sequence[BaseException | None] = ()) -> AsyncIterator[Bench]:
    made: list[Letters] = []
    tries = iter(refusals)

    def build() -> Letters:
        error = next(tries, None)
        if error is not None:
            raise error
        made.append(Letters())
        return made[-1]

    thread = EngineThread("paper", build, telemetry, places=2, queue_items=3)
    try:
        with trio.fail_after(10):
            await thread.start()
        yield Bench(thread, made)
    finally:
        thread.stop()
        for stepper in made:
            stepper.allow(100)
        assert await trio.to_thread.run_sync(thread.join)


async def ended(answer: Answer) -> Answer:
    with trio.fail_after(10):
        await answer.ended.wait()
    return answer


async def test_an_answer_comes_piece_by_piece(bench: Bench, telemetry: Telemetry) -> None:
    pieces: list[str] = []
    answer = bench.answer(3, on_text=pieces.append)
    bench.letters.allow(4)
    await ended(answer)
    assert pieces == ["a", "b", "c"]
    assert (answer.text, answer.finish, answer.tokens, answer.error) == (pieces, "stop", 3, None)
    assert bench.thread.provider == "Paper"
    rendered = telemetry.metrics.render().decode()
    assert 'csgate_generation_tokens_total{model="paper"} 3.0' in rendered
    assert 'csgate_generation_running{model="paper"} 0.0' in rendered


async def test_a_stop_string_ends_it_and_frees_its_place(bench: Bench) -> None:
    answer = bench.answer(9, stops=("cd",))
    bench.letters.allow(4)
    await ended(answer)
    assert ("".join(answer.text), answer.finish, answer.tokens) == ("ab", "stop", 4)
    await bench.until(lambda: len(bench.letters.removed) == 1)


async def test_what_waits_is_taken_by_priority_and_principals_in_turn(bench: Bench, telemetry: Telemetry) -> None:
    first = [bench.answer(1, 1), bench.answer(1, 2)]
    await bench.until(lambda: len(bench.letters.added) == 2)
    waiting = [
        bench.answer(1, 3, principal="a"),
        bench.answer(1, 4, principal="a"),
        bench.answer(1, 5, principal="b", priority=0),
    ]
    with pytest.raises(Overloaded) as caught:
        bench.answer(1, 6)
    assert caught.value.retry_after is not None
    assert 'csgate_generation_waiting{model="paper"} 3.0' in telemetry.metrics.render().decode()
    bench.letters.allow(20)
    for answer in (*first, *waiting):
        await ended(answer)
    assert [ids[0] for ids in bench.letters.added][2] == 5
    assert 'csgate_generation_waiting{model="paper"} 0.0' in telemetry.metrics.render().decode()


async def test_an_abandoned_answer_is_out_before_the_next_step(bench: Bench) -> None:
    pieces: list[str] = []
    gone, stays = bench.answer(5, on_text=pieces.append), bench.answer(5)
    bench.letters.allow()
    await bench.until(lambda: pieces == ["a"] and bool(stays.text))
    bench.thread.abandon(gone)
    bench.letters.allow(10)  # the step that had begun may still count it
    await ended(stays)
    assert pieces == ["a"]
    assert len(bench.letters.removed) == 1
    assert not gone.ended.is_set()


async def test_an_abandoned_answer_leaves_the_queue_at_once(bench: Bench) -> None:
    running = [bench.answer(1), bench.answer(1)]
    await bench.until(lambda: len(bench.letters.added) == 2)
    bench.thread.abandon(bench.answer(1, 7))
    bench.letters.allow(10)
    for answer in running:
        await ended(answer)
    last = bench.answer(1, 8)
    await ended(last)
    assert [ids[0] for ids in bench.letters.added] == [1, 1, 8]


async def test_abandoning_what_has_ended_does_nothing(bench: Bench) -> None:
    answer = bench.answer(1)
    bench.letters.allow(2)
    await ended(answer)
    bench.thread.abandon(answer)
    other = bench.answer(1)
    bench.letters.allow(2)
    await ended(other)
    assert bench.letters.removed == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": []}, "refused a request"),
        ({"first": 14}, "refused a request"),
        ({"first": 13}, "could not go on"),
        ({"first": 99}, "cannot be decoded"),
        ({"first": 98}, "cannot be decoded"),
    ],
)
async def test_one_request_s_error_leaves_the_others_alone(bench: Bench, changes: dict[str, Any], words: str) -> None:
    good, bad = bench.answer(3), bench.answer(3, **changes)
    bench.letters.allow(10)
    await ended(bad)
    await ended(good)
    assert isinstance(bad.error, EngineUnavailable)
    assert words in bad.error.detail
    assert "".join(good.text) == "abc"
    assert len(bench.made) == 1


async def test_a_caller_that_raises_gets_its_own_error_back(bench: Bench) -> None:
    error = LookupError("no such screen")

    def on_text(text: str) -> None:
        raise error

    good, bad = bench.answer(3), bench.answer(3, on_text=on_text)
    bench.letters.allow(10)
    await ended(bad)
    await ended(good)
    assert bad.error is error
    assert "".join(good.text) == "abc"


@pytest.mark.parametrize("kind", [RuntimeError, Panic])
async def test_an_engine_that_throws_is_made_anew(bench: Bench, kind: type[BaseException]) -> None:
    hit = [bench.answer(5), bench.answer(5)]
    bench.letters.allow()
    await bench.until(lambda: all(answer.text for answer in hit))
    waiting = bench.answer(2, 7)
    bench.letters.broken = kind("device lost")
    bench.letters.allow(10)
    for answer in hit:
        await ended(answer)
        assert isinstance(answer.error, EngineUnavailable)
    await bench.until(lambda: len(bench.made) == 2)
    assert bench.made[0].closed
    bench.letters.allow(10)
    await ended(waiting)
    assert ("".join(waiting.text), waiting.error) == ("ab", None)


async def test_an_engine_that_does_not_let_go_of_an_answer_is_made_anew(bench: Bench) -> None:
    gone, stays = bench.answer(50), bench.answer(50)
    bench.letters.allow()
    await bench.until(lambda: bool(gone.text and stays.text))
    bench.letters.stuck = RuntimeError("no such turn")
    bench.thread.abandon(gone)
    bench.letters.allow()
    assert isinstance((await ended(stays)).error, EngineUnavailable)
    after = bench.answer(1)
    await bench.until(lambda: len(bench.made) == 2)
    bench.letters.allow(5)
    assert (await ended(after)).finish == "stop"


async def test_what_ended_before_the_engine_broke_has_ended_well(bench: Bench) -> None:
    first, second = bench.answer(50, stops=("b",)), bench.answer(50)
    bench.letters.stuck = RuntimeError("no such turn")
    bench.letters.allow(2)
    assert ((await ended(first)).finish, "".join(first.text), first.error) == ("stop", "a", None)
    assert isinstance((await ended(second)).error, EngineUnavailable)


@pytest.mark.parametrize("kind", [OSError, Panic])
async def test_an_engine_that_cannot_be_made_anew_refuses_until_it_can(
    telemetry: Telemetry, kind: type[BaseException]
) -> None:
    refusals = [None, kind("no memory"), kind("no memory"), None]
    async with open_bench(telemetry, refusals) as bench:
        hit = bench.answer(5)
        await bench.until(lambda: len(bench.letters.added) == 1)
        bench.letters.broken = RuntimeError("device lost")
        bench.letters.allow()
        await ended(hit)
        refused = await ended(bench.answer(5))
        assert isinstance(refused.error, EngineUnavailable)
        served: list[Answer] = []

        def asked_again() -> bool:
            if len(bench.made) == 1 and (not served or served[-1].ended.is_set()):
                served.append(bench.answer(1))
            return len(bench.made) == 2

        await bench.until(asked_again)
        bench.letters.allow(5)
        assert (await ended(served[-1])).finish == "stop"


async def test_an_engine_that_cannot_be_made_at_all(telemetry: Telemetry) -> None:
    with pytest.raises(OSError, match="no memory"):
        async with open_bench(telemetry, [OSError("no memory")]):
            raise AssertionError("it opened")


async def test_an_engine_that_panics_when_it_is_made(telemetry: Telemetry) -> None:
    with pytest.raises(ModelError, match="no memory") as caught:
        async with open_bench(telemetry, [Panic("no memory")]):
            raise AssertionError("it opened")
    assert isinstance(caught.value.__cause__, Panic)


async def test_closing_tells_those_who_wait_and_those_who_run(bench: Bench) -> None:
    answers = [bench.answer(5), bench.answer(5), bench.answer(5)]
    await bench.until(lambda: len(bench.letters.added) == 2)
    bench.thread.stop()
    bench.letters.allow(5)
    for answer in answers:
        await ended(answer)
        assert isinstance(answer.error, EngineUnavailable)
    with pytest.raises(EngineUnavailable):
        bench.answer(1)
    assert await trio.to_thread.run_sync(bench.thread.join)
    assert bench.letters.closed


def test_a_thread_whose_trio_has_ended_ends_as_well(telemetry: Telemetry) -> None:
    made = Letters()
    threads: list[EngineThread] = []

    async def main() -> None:
        thread = EngineThread("paper", lambda: made, telemetry, places=2, queue_items=3)
        threads.append(thread)
        await thread.start()
        Bench(thread, [made]).answer(50)
        while not made.added:  # noqa: ASYNC110  as above
            await trio.sleep(0.001)

    trio.run(main)
    made.allow(100)
    assert threads[0].join()
