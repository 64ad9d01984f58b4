"""Whatever the server does, each request has one outcome by its deadline: text, or a typed error."""

import itertools
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing
from tests.inference.generation_remote.conftest import KEY, Log, OpenRemote, Outcome, ask, asked
from tests.inference.generation_remote.faulty_server import (
    Behaviour,
    Exchange,
    answers,
    drips,
    drops,
    events,
    faulty_server,
    floods,
    raw,
    stalls,
    status,
)

from csgate.errors import CsgateError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.inference.generation.breaker import BreakerState

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def said(text: str, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, **choice}]}


async def compressed(exchange: Exchange) -> None:
    await exchange.head(content_encoding="gzip")
    await exchange.chunk(b"\x1f\x8b\x08" + b"\0" * 50)
    await exchange.end()


async def endless_informational(exchange: Exchange) -> None:
    while True:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await trio.sleep(0.5)


async def good_after_a_comment(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(b": hello\r\n\r\nda")
    await exchange.chunk(b"ta: " + json.dumps(said("ok")).encode() + b"\r\n\r")
    await exchange.chunk(b"\n")
    await exchange.finish()


async def drops_after_the_end(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("done", finish_reason="stop")
    exchange.drop()


async def dripping_error(exchange: Exchange) -> None:
    await exchange.head(500, content_type="application/json")
    while True:
        await exchange.chunk(b" ")
        await trio.sleep(0.3)


# What each behaviour does, and the error and text that come of it. Nothing is tried again here.
FAULTS: dict[str, tuple[Behaviour, type[CsgateError], str]] = {
    "drops before the head": (drops(head=False), EngineUnavailable, ""),
    "resets before the head": (drops(head=False, reset=True), EngineUnavailable, ""),
    "half a head": (raw(b"HTTP/1.1 200 O"), EngineUnavailable, ""),
    "half a head, then silence": (raw(b"HTTP/1.1 200 O", close=False), EngineUnavailable, ""),
    "a head without end": (raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000), EngineUnavailable, ""),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), EngineUnavailable, ""),
    "informational responses without end": (endless_informational, EngineUnavailable, ""),
    "drops after the head": (drops(), EngineUnavailable, ""),
    "drops in the middle": (drops("Your ", "parcel"), EngineUnavailable, "Your parcel"),
    "resets in the middle": (drops("Your ", reset=True), EngineUnavailable, "Your "),
    "ends without an end": (events(said("Your parcel")), EngineUnavailable, "Your parcel"),
    "ends at once": (events(), EngineUnavailable, ""),
    "a chunk cut short": (raw(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"40\r\ndata: {"), EngineUnavailable, ""),
    "a chunk size that is none": (raw(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"zz\r\n"), EngineUnavailable, ""),
    "less than its length": (raw(HEAD + b"content-length: 900\r\n\r\ndata: {"), EngineUnavailable, ""),
    "two lengths": (raw(HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc"), EngineUnavailable, ""),
    "stalls before the head": (stalls(head=False), EngineUnavailable, ""),
    "stalls before the first token": (stalls(), EngineUnavailable, ""),
    "stalls after it": (stalls("Your "), EngineUnavailable, "Your "),
    "comments for ever": (drips("", 1.0, comment=True), EngineUnavailable, ""),
    "empty pieces for ever": (drips("", 1.0), EngineUnavailable, ""),
    "drips slower than the deadline": (drips("a", 4.0), TurnTimeout, "aaaaa"),
    "not JSON": (events("Hello there"), EngineUnavailable, ""),
    "JSON of another kind": (events([1, 2]), EngineUnavailable, ""),
    "choices of another kind": (events({"choices": "many"}), EngineUnavailable, ""),
    "content of another kind": (events({"choices": [{"delta": {"content": 5}}]}), EngineUnavailable, ""),
    "no choices": (events({"object": "chat.completion.chunk"}), EngineUnavailable, ""),
    "half a surrogate pair": (events('{"choices":[{"delta":{"content":"\\ud83d"}}]}'), EngineUnavailable, ""),
    "nested without end": (events("[" * 30_000), EngineUnavailable, ""),
    "a lie after the truth": (events(said("Your "), "<html>"), EngineUnavailable, "Your "),
    "text after the end": (events(said("Yes", finish_reason="stop"), said("No")), EngineUnavailable, "Yes"),
    "a tool call": (events({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}), EngineUnavailable, ""),
    "the content filter": (events(said("I", finish_reason="content_filter")), EngineUnavailable, ""),
    "an error event": (events({"error": {"message": "no", "code": "overloaded"}}), EngineUnavailable, ""),
    "an error that is a word": (events({"error": "no"}), EngineUnavailable, ""),
    "an empty answer": (events(said("", finish_reason="stop"), "[DONE]"), EngineUnavailable, ""),
    "nothing but its end": (events("[DONE]"), EngineUnavailable, ""),
    "another index": (events({"choices": [{"index": 1, "delta": {"content": "x"}}]}, "[DONE]"), EngineUnavailable, ""),
    "a giant line": (floods(b"x" * 10_000), EngineUnavailable, ""),
    "events without end": (floods(b": nothing\n\n" * 500), EngineUnavailable, ""),
    "not UTF-8": (raw(HEAD + b'\r\ndata: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'), EngineUnavailable, ""),
    "not a stream": (status(200, b'{"choices": []}'), EngineUnavailable, ""),
    "a page": (status(200, b"<html>", content_type="text/html"), EngineUnavailable, ""),
    "compressed": (compressed, EngineUnavailable, ""),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"), EngineUnavailable, ""),
    "a redirect": (status(302, b"", location="/v1/elsewhere"), EngineUnavailable, ""),
    "400": (status(400), EngineUnavailable, ""),
    "401": (status(401), EngineUnavailable, ""),
    "403": (status(403), EngineUnavailable, ""),
    "404": (status(404), EngineUnavailable, ""),
    "500": (status(500, b"\xff\xfe not json"), EngineUnavailable, ""),
    "502, a long page": (status(502, b"x" * 100_000), EngineUnavailable, ""),
    "500 that drips": (dripping_error, EngineUnavailable, ""),
    "429": (status(429), Overloaded, ""),
    "429 with a time": (status(429, retry_after="7"), Overloaded, ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("retries", [0, 2])
async def test_one_outcome_by_the_deadline(
    fault: str, retries: int, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    behaviour, error, text = FAULTS[fault]
    async with faulty_server(behaviour) as server:
        async with remote(
            server.url, retries=retries, first_token_seconds=6, silence_seconds=5, total_seconds=19
        ) as generator:
            outcome = await ask(generator, asked(deadline=trio.current_time() + 30))
            assert outcome.generated is None
            assert type(outcome.error) is error
            assert outcome.text == text
            assert outcome.took < 19.1
            assert len(server.requests) == 1 or (retries and not text)
        await server.until(lambda seen: seen.open == 0)


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_next_answer_is_a_good_one(
    fault: str, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    behaviour, _, _ = FAULTS[fault]
    async with faulty_server(behaviour, answers("All ", "well")) as server:
        async with remote(server.url, retries=0, first_token_seconds=2, total_seconds=9) as generator:
            assert (await ask(generator)).error is not None
            assert (await ask(generator)).text == "All well"


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (good_after_a_comment, "ok"),
        (drops_after_the_end, "done"),
        (events(said("done"), {"choices": []}, said("", finish_reason="stop")), "done"),
        (events(said("done"), "[DONE]", "whatever comes then"), "done"),
        (events(said("done", finish_reason="eos"), {"error": {"code": "late"}}), "done"),
        (drops("x"), None),
        (raw(HEAD + b"\r\ndata: " + json.dumps(said("你好😀", finish_reason="stop")).encode() + b"\n\n"), "你好😀"),
        (
            raw(HEAD + b"\r\ndata: " + json.dumps(said("a", finish_reason="length")).encode() + b"\n\n", close=False),
            "a",
        ),
    ],
)
async def test_what_is_good_enough(
    behaviour: Behaviour, text: str | None, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(behaviour) as server, remote(server.url) as generator:
        outcome = await ask(generator)
        assert (outcome.text if outcome.generated else None) == text
        assert outcome.took < 0.5


async def test_what_comes_after_done_is_not_read_for_long(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("Yes")
        await exchange.event("[DONE]")
        while True:
            await exchange.chunk(b"x" * 5000)

    async with faulty_server(behave) as server, remote(server.url) as generator:
        outcome = await ask(generator)
        assert outcome.text == "Yes"
        assert outcome.error is None
        await server.until(lambda seen: seen.aborted == 1)


async def test_more_text_than_was_asked_for(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(floods(b"data: " + json.dumps(said("word " * 20)).encode() + b"\n\n")) as server:
        async with remote(server.url) as generator:
            outcome = await ask(generator, asked(max_tokens=10))
            assert isinstance(outcome.error, EngineUnavailable)
            assert 0 < len(outcome.text) <= 10 * 64 + 1024
            assert "more text" in outcome.error.detail


async def test_nobody_there(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(answers("x")) as server:
        url = server.url
    async with remote(url, retries=2) as generator:
        outcome = await ask(generator)
        assert isinstance(outcome.error, EngineUnavailable)
        assert "ConnectError" in outcome.error.detail
        # Two pauses, each half of 0.25 and 0.5 seconds.
        assert outcome.took == pytest.approx(0.375)


async def test_killed_in_the_middle_of_streams(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    """Sixteen streams, and the server goes away: some had text, some none, some were waiting for a place."""
    outcomes: list[Outcome] = []
    numbers = itertools.count()
    heard = 0
    all_heard = trio.Event()

    async def behave(exchange: Exchange) -> None:
        number = next(numbers)
        await exchange.head()
        if number % 2:
            await exchange.text("Your ")
        await trio.sleep_forever()

    async def one(generator: Any) -> None:
        outcome = Outcome()
        outcomes.append(outcome)

        def take(text: str) -> None:
            nonlocal heard
            outcome.pieces.append(text)
            heard += 1
            if heard == 4:
                all_heard.set()

        try:
            await generator.generate(asked(deadline=trio.current_time() + 20), take)
        except CsgateError as error:
            outcome.error = error

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        async with faulty_server(behave) as server:
            generator = await stack.enter_async_context(remote(server.url, concurrency=8, retries=1))
            for _ in range(16):
                nursery.start_soon(one, generator)
            await server.until(lambda seen: seen.answering == 8)
            await all_heard.wait()
    assert len(outcomes) == 16
    assert all(isinstance(outcome.error, EngineUnavailable) for outcome in outcomes)
    assert sorted(outcome.text for outcome in outcomes) == [""] * 12 + ["Your "] * 4


async def test_the_breaker_leaves_a_dead_server_alone(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock, log: Log
) -> None:
    async with faulty_server(status(500), status(503), drops(head=False), status(500), answers("Back")) as server:
        async with remote(server.url, breaker_failures=3, breaker_seconds=15) as generator:
            for _ in range(3):
                assert (await ask(generator)).error is not None
            assert generator.breaker_state is BreakerState.OPEN
            refused = await ask(generator)
            assert isinstance(refused.error, EngineUnavailable)
            assert refused.error.retry_after == pytest.approx(15, abs=0.5)
            assert refused.took == 0
            assert len(server.requests) == 3
            await trio.sleep(15)
            assert (await ask(generator)).error is not None  # the probe failed
            assert len(server.requests) == 4
            await trio.sleep(14)
            assert (await ask(generator)).error is not None
            assert len(server.requests) == 4
            await trio.sleep(1.1)
            assert (await ask(generator)).text == "Back"
            assert generator.breaker_state is BreakerState.CLOSED
    assert log.count("generation.breaker_open") == 2
    assert log.count("generation.breaker_closed") == 1


@pytest.mark.parametrize("code", [400, 401, 404, 429])
async def test_a_server_that_refuses_is_well(
    code: int, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(status(code)) as server, remote(server.url, breaker_failures=2) as generator:
        for _ in range(6):
            await ask(generator)
        assert generator.breaker_state is BreakerState.CLOSED
        assert len(server.requests) == 6


async def test_a_deadline_counts_against_the_server_only_if_it_had_time(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(drips("a", 1.0)) as server:
        async with remote(server.url, breaker_failures=1, first_token_seconds=5, total_seconds=20) as generator:
            hasty = await ask(generator, asked(deadline=trio.current_time() + 2))
            assert isinstance(hasty.error, TurnTimeout)
            assert generator.breaker_state is BreakerState.CLOSED
            slow = await ask(generator)
            assert isinstance(slow.error, TurnTimeout)
            assert slow.took == pytest.approx(20, abs=0.1)
            assert generator.breaker_state is BreakerState.OPEN


async def test_what_only_the_operator_can_mend_is_told_once(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock, log: Log
) -> None:
    body = json.dumps(
        {"error": {"message": f"Incorrect API key: {KEY}", "type": "invalid_request_error", "code": "invalid_api_key"}}
    )
    async with faulty_server(status(401, body.encode())) as server, remote(server.url) as generator:
        for _ in range(3):
            outcome = await ask(generator)
            assert isinstance(outcome.error, EngineUnavailable)
            assert "HTTP 401 (type invalid_request_error, code invalid_api_key)" in outcome.error.detail
        assert log.count("generation.remote_refuses") == 1
        await trio.sleep(3600)
        await ask(generator)
        assert log.count("generation.remote_refuses") == 2
    assert "check generation.api_key" in log.getvalue()
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
        status(200, content_type=KEY),
        status(403, json.dumps({"error": {"code": KEY}}).encode()),
        status(500, json.dumps({"error": {"type": KEY, "message": KEY}}).encode()),
        events({"error": {"code": KEY}}),
        events(KEY),
        status(200, content_type="x" * 260 + KEY),
    ],
)
async def test_a_server_that_repeats_the_key(
    behaviour: Behaviour, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    """Neither the error nor the log has it: ``ask`` and ``remote`` look."""
    async with faulty_server(behaviour) as server, remote(server.url) as generator:
        error = (await ask(generator)).error
        assert isinstance(error, EngineUnavailable)
        assert len(error.detail) < 400
        assert KEY[:10] not in error.detail
