"""Asking a server that behaves, one that is busy, and leaving it in the middle."""

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
import trustme
from tests.inference.generation_remote.conftest import KEY, Log, OpenRemote, Outcome, ask, asked
from tests.inference.generation_remote.faulty_server import (
    Exchange,
    FaultyServer,
    answers,
    drips,
    drops,
    events,
    faulty_server,
    stalls,
    status,
)

from csgate.config import GenerationSettings
from csgate.errors import BadBase64, BadEnvelope, ConfigError, EngineUnavailable, Overloaded, TurnTimeout
from csgate.events import Picture
from csgate.inference.generation import GenerationRequest, Sampling, Utterance
from csgate.inference.generation.remote import open_remote_generator
from csgate.inference.generation.remote_places import Places
from csgate.telemetry import Telemetry

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.metrics.registry.get_sample_value(name, {"model": "m", **labels})


# --- What is asked, and what comes back -----------------------------------------------------------------------------


async def test_an_answer(remote: OpenRemote, skipping_clock: trio.testing.MockClock, telemetry: Telemetry) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(content_type="text/event-stream; charset=utf-8", set_cookie="who=you; Path=/")
        await exchange.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        await trio.sleep(0.5)
        await exchange.text("你的")
        await trio.sleep(1)
        await exchange.text("包裹 😀")
        await exchange.finish("length", {"prompt_tokens": 12, "completion_tokens": 5})

    async with faulty_server(behave) as server, remote(server.url) as generator:
        outcome = await ask(generator)
        answer = outcome.generated
        assert outcome.pieces == ["你的", "包裹 😀"]
        assert answer is not None
        assert (answer.finish, answer.model, answer.prompt_tokens, answer.completion_tokens) == ("length", "m", 12, 5)
        assert answer.first_token_s == pytest.approx(0.5)
        assert answer.total_s == pytest.approx(1.5)
        await ask(generator)
        assert server.connections == 1
        await server.until(lambda seen: seen.ends["answered"] == 2)
        assert "cookie" not in server.requests[1].headers
    assert sample(telemetry, "csgate_generations_total", outcome="length") == 2
    assert sample(telemetry, "csgate_generation_tokens_total") == 10
    assert sample(telemetry, "csgate_generation_first_token_seconds_sum") == pytest.approx(1.0)
    assert sample(telemetry, "csgate_generation_tokens_per_second_sum") == pytest.approx(8.0)


async def test_the_request(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    request = GenerationRequest(
        (
            Utterance("system", "Be kind."),
            Utterance("user", "Hi"),
            Utterance("assistant", "Hello"),
            Utterance("user", "?"),
        ),
        Sampling(temperature=0.5, top_p=0.8, max_tokens=40, seed=7, stop=("\n\n", "User:")),
    )
    async with faulty_server(answers("Yes"), path="/api/v1/") as server, remote(server.url) as generator:
        await ask(generator, request)
        await ask(generator, asked(temperature=0.0))
    first, second = server.requests
    assert (first.method, first.target) == ("POST", "/api/v1/chat/completions")
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["accept"] == "text/event-stream"
    assert first.headers["accept-encoding"] == "identity"
    assert first.json == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "?"},
        ],
        "temperature": 0.5,
        "top_p": 0.8,
        "max_tokens": 40,
        "seed": 7,
        "stop": ["\n\n", "User:"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert second.json["temperature"] == 0
    assert not {"seed", "stop", "tools"} & set(second.json)


async def test_without_a_key_and_a_model(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(answers("Yes")) as server, remote(server.url, api_key=None, model="") as generator:
        assert generator.info.name == "127.0.0.1"
        outcome = await ask(generator)
    assert outcome.generated is not None
    assert outcome.generated.model == "127.0.0.1"
    assert "authorization" not in server.requests[0].headers
    assert "model" not in server.requests[0].json


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Yes.", "\n", "\nUser: no"), "Yes."),
        (("Yes. User", "s like it. ", "User"), "Yes. Users like it. User"),
        (("Yes. ", "Us", "er:", " and on"), "Yes. "),
        (("Yes.\n",), "Yes.\n"),
    ],
)
@pytest.mark.parametrize("finish", ["stop", None])
async def test_stop_strings_that_the_server_does_not_know(
    pieces: tuple[str, ...], text: str, finish: str | None, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        for piece in pieces:
            await exchange.text(piece)
            await trio.sleep(0.01)
        if finish is not None:
            await exchange.finish(finish)
        else:
            await exchange.event("[DONE]")
            await trio.sleep_forever()

    async with faulty_server(behave) as server, remote(server.url) as generator:
        outcome = await ask(generator, asked(stop=("\n\n", "User:")))
        assert outcome.generated is not None
        assert (outcome.text, outcome.generated.finish) == (text, "stop")
        await server.until(lambda seen: seen.answering == 0)


async def test_an_answer_is_no_longer_than_the_settings_say(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(answers("Yes")) as server, remote(server.url, max_tokens=50) as generator:
        for wanted in (40, 4000):
            await ask(generator, asked(max_tokens=wanted))
    assert [request.json["max_tokens"] for request in server.requests] == [40, 50]


@pytest.mark.parametrize("size", [20, 200_000])
async def test_pictures(size: int, remote: OpenRemote) -> None:  # by the real clock: a thread prepares large ones
    jpeg = b"\xff\xd8\xff\xe0" + b"\1" * size
    prefixed = b"data:text/html;base64," + base64.b64encode(jpeg)
    utterance = Utterance("user", "This?", (Picture(PNG, "binary"), Picture(memoryview(prefixed), "base64")))
    wordless = Utterance("user", "", (Picture(PNG, "binary"),))
    async with faulty_server(answers("Yes")) as server:
        async with remote(server.url, pictures=True) as generator:
            assert generator.info.pictures
            assert (await ask(generator, GenerationRequest((wordless, utterance)))).text == "Yes"
        async with remote(server.url) as generator:
            assert not generator.info.pictures
            await ask(generator, GenerationRequest((utterance,)))
    png_part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}
    jpeg_part = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}}
    assert server.requests[0].json["messages"] == [
        {"role": "user", "content": [png_part]},
        {"role": "user", "content": [{"type": "text", "text": "This?"}, png_part, jpeg_part]},
    ]
    assert server.requests[1].json["messages"] == [{"role": "user", "content": "This?"}]


async def test_requests_that_cannot_be_put(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    broken = GenerationRequest((Utterance("user", "?", (Picture(b"!!!!", "base64"),)),))
    async with faulty_server(answers("Yes")) as server, remote(server.url, pictures=True, concurrency=1) as generator:
        assert isinstance((await ask(generator, broken)).error, BadBase64)
        assert isinstance((await ask(generator, asked("\ud800"))).error, BadEnvelope)
        assert isinstance((await ask(generator, asked(stop=("a", "b", "c", "d", "e")))).error, BadEnvelope)
        assert not server.requests
        assert (await ask(generator)).text == "Yes"


async def test_what_it_is(remote: OpenRemote) -> None:
    async with remote("https://host.example/v1", prompt_tokens=500) as generator:
        info = generator.info
        assert (info.name, info.kind, info.style, info.provider) == ("m", "remote", "chat", "openai-compatible")
        assert info.prompt_tokens == 500
        assert generator.count_tokens("") == 0
        assert generator.count_tokens("Where is my order?") == 5
        assert generator.count_tokens("我的包裹呢 ok") == 6


async def test_token_counts_that_are_lies(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    told: list[Any] = [{"prompt_tokens": -5, "completion_tokens": 10**30}, {"prompt_tokens": True}, "many", [1]]
    for usage in told:
        async with faulty_server(answers("Yes", usage=usage)) as server, remote(server.url) as generator:
            answer = (await ask(generator)).generated
            assert answer is not None
            assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


async def test_token_counts_beside_no_choices(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    end = {"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]}
    counts = {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    async with faulty_server(events(end, counts, "[DONE]")) as server, remote(server.url) as generator:
        answer = (await ask(generator)).generated
    assert answer is not None
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("Yes", 7, 2)


# --- Trying again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "pause"),
    [
        (status(429), 0.125),
        (status(503), 0.125),
        (status(500, retry_after="3"), 3.125),
        (status(429, retry_after="0"), 0.125),
        (status(429, retry_after="Fri, 15 Jan 2027 08:00:04 GMT"), 4.125),
        (status(429, retry_after="soon"), 0.125),
        (drops(head=False), 0.125),
        (drops(), 0.125),
        (events(), 0.125),
        (events({"error": {"code": "overloaded"}}), 0.125),
        (stalls(), 10.125),
    ],
)
async def test_a_second_try(
    first: Any, pause: float, remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    # 1,800,000,000 is 08:00:00 of that day.
    async with faulty_server(first, answers("Here ", "now")) as server, remote(server.url, retries=1) as generator:
        outcome = await ask(generator)
        assert outcome.text == "Here now"
        assert outcome.took == pytest.approx(pause, abs=0.01)
        assert len(server.requests) == 2


@pytest.mark.parametrize("first", [drops("Half "), stalls("Half "), events({"choices": "lie"}), status(400)])
async def test_no_second_try(first: Any, remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(first, answers("No")) as server, remote(server.url, retries=3) as generator:
        outcome = await ask(generator)
        assert isinstance(outcome.error, EngineUnavailable)
        assert outcome.text in ("", "Half ")
        assert len(server.requests) == 1


async def test_a_pause_beyond_the_deadline_is_not_begun(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(status(429, retry_after="600")) as server, remote(server.url, retries=3) as generator:
        outcome = await ask(generator)
        assert isinstance(outcome.error, Overloaded)
        assert outcome.error.retry_after == 30
        assert outcome.took < 0.1
        assert len(server.requests) == 1


async def test_the_deadline_passes_between_tries(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    async with faulty_server(stalls()) as server, remote(server.url, retries=5, total_seconds=25) as generator:
        outcome = await ask(generator)
        assert isinstance(outcome.error, TurnTimeout)
        assert outcome.took == pytest.approx(25, abs=0.01)
        assert len(server.requests) == 3
        late = await ask(generator, asked(deadline=trio.current_time()))
        assert isinstance(late.error, TurnTimeout)
        assert len(server.requests) == 3


# --- Leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [stalls(head=False), stalls(), stalls("Your "), drips("a", 0.1)])
async def test_cancelling_aborts_the_request(
    behaviour: Any, remote: OpenRemote, skipping_clock: trio.testing.MockClock, telemetry: Telemetry
) -> None:
    async with faulty_server(behaviour) as server, remote(server.url, breaker_failures=1) as generator:
        for _ in range(3):
            began = trio.current_time()
            with trio.move_on_after(1.0) as scope:
                await generator.generate(asked(), lambda _: None)
            assert scope.cancelled_caught
            assert trio.current_time() - began == pytest.approx(1.0)
            await server.until(lambda seen: seen.open == 0)
        assert server.aborted == 3
    assert sample(telemetry, "csgate_generations_total", outcome="cancelled") == 3


async def test_nothing_is_left_behind_by_those_who_leave(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    async with faulty_server(drips("a", 0.05)) as server, remote(server.url, concurrency=4) as generator:

        async def leave(after: float) -> None:
            with trio.move_on_after(after):
                await generator.generate(asked(), lambda _: None)

        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(leave, number * 0.05)
        await server.until(lambda seen: seen.open == 0)
        assert server.most_answering <= 4
        pool = generator._upstream._http._transport._pool  # type: ignore[attr-defined]
        assert pool.connections == []
        assert (generator._places.taken, generator._places.waiting) == (0, 0)


async def test_closing_fails_what_still_runs(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    outcomes: list[Outcome] = []

    async def one(generator: Any) -> None:
        outcomes.append(await ask(generator))

    async with faulty_server(stalls("Your ")) as server, trio.open_nursery() as nursery:
        async with remote(server.url, concurrency=1, retries=2) as generator:
            nursery.start_soon(one, generator)
            nursery.start_soon(one, generator)
            await server.until(lambda seen: seen.answering == 1)
            await trio.testing.wait_all_tasks_blocked(0.01)
    outcomes.append(await ask(generator))
    assert [type(outcome.error) for outcome in outcomes] == [EngineUnavailable] * 3


# --- Many at once ---------------------------------------------------------------------------------------------------


async def test_so_many_at_once_and_so_many_waiting(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock, telemetry: Telemetry
) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        await trio.sleep(2)
        await exchange.text("Yes")
        await exchange.finish()

    async with faulty_server(behave) as server:
        async with remote(server.url, concurrency=3, queue_items=4) as generator:
            outcomes: list[Outcome] = []

            async def one() -> None:
                outcomes.append(await ask(generator))

            async with trio.open_nursery() as nursery:
                for _ in range(9):
                    nursery.start_soon(one)
                await server.until(lambda seen: seen.answering == 3)
                assert sample(telemetry, "csgate_generation_running") == 3
                assert sample(telemetry, "csgate_generation_waiting") == 4
            refused = [outcome.error for outcome in outcomes if outcome.error is not None]
            assert [type(error) for error in refused] == [Overloaded] * 2
            assert refused[0].retry_after == pytest.approx(0.7)
            assert sum(outcome.text == "Yes" for outcome in outcomes) == 7
            assert server.most_answering == 3
            assert server.connections == 3
            assert sample(telemetry, "csgate_generation_running") == 0


async def test_the_urgent_first_and_principals_in_turn(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock
) -> None:
    go = trio.Event()

    async def behave(exchange: Exchange) -> None:
        await go.wait()
        await answers("Yes")(exchange)

    async with faulty_server(behave) as server, remote(server.url, concurrency=1) as generator:
        errors: list[Any] = []

        async def one(name: str, principal: str, priority: int, deadline: float = float("inf")) -> None:
            request = asked(name, principal=principal, priority=priority, deadline=deadline)
            errors.append((await ask(generator, request)).error)

        async with trio.open_nursery() as nursery:
            hasty = trio.current_time() + 1
            waiting = [("first", "a", 1), ("a1", "a", 1), ("a2", "a", 1), ("b", "b", 1), ("vip", "c", 0)]
            for name, principal, priority in waiting:
                nursery.start_soon(one, name, principal, priority)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(one, "hasty", "d", 0, hasty)
            await trio.sleep_until(hasty + 0.1)
            assert [type(error) for error in errors] == [TurnTimeout]
            go.set()
        assert [request.json["messages"][0]["content"] for request in server.requests] == [
            "first",
            "vip",
            "a1",
            "b",
            "a2",
        ]
        assert errors[1:] == [None] * 5


async def test_a_waiter_expires_in_the_step_in_which_its_turn_comes(autojump_clock: trio.testing.MockClock) -> None:
    places = Places(1, 10)
    order: list[str] = []

    async def one(name: str, deadline: float) -> None:
        with trio.move_on_at(deadline):
            async with places.place(name, 1, deadline):
                order.append(name)
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, deadline in (("first", 9.0), ("late", 1.0), ("next", 9.0)):
            nursery.start_soon(one, name, deadline)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["first", "next"]
    assert (places.taken, places.waiting) == (0, 0)


# --- Connections ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_is_verified(
    authority: trustme.CA, remote: OpenRemote, skipping_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(pem)
    async with faulty_server(answers("Yes"), stalls("Your "), tls=tls_of(authority, "127.0.0.1")) as server:
        async with remote(server.url, ca_file=pem) as generator:
            assert (await ask(generator)).text == "Yes"
            with trio.move_on_after(1):
                await ask(generator)
            await server.until(lambda seen: seen.aborted == 1)
        async with remote(server.url) as generator:
            assert "CERTIFICATE_VERIFY_FAILED" in str((await ask(generator)).error)
    async with faulty_server(answers("No"), tls=tls_of(authority, "other.example")) as server:
        async with remote(server.url, ca_file=pem) as generator:
            assert isinstance((await ask(generator)).error, EngineUnavailable)
        assert not server.requests


async def test_redirects_are_not_followed(remote: OpenRemote, skipping_clock: trio.testing.MockClock, log: Log) -> None:
    async with faulty_server(answers("No")) as other:
        for code in (301, 302, 307, 308):
            async with faulty_server(status(code, location=f"{other.url}/chat/completions")) as server:
                async with remote(server.url, retries=2) as generator:
                    assert isinstance((await ask(generator)).error, EngineUnavailable)
                assert len(server.requests) == 1
        assert not other.requests
    assert "redirects are not followed" in log.getvalue()


async def test_proxies_of_the_environment_are_not_used(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with faulty_server(answers("Direct")) as server, faulty_server(answers("By proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with remote(server.url) as generator:
            assert (await ask(generator)).text == "Direct"
        async with remote(server.url, proxy=proxy.url) as generator:
            assert (await ask(generator)).text == "By proxy"
        assert len(server.requests) == len(proxy.requests) == 1


async def test_reaching_the_server_takes_too_long(remote: OpenRemote, skipping_clock: trio.testing.MockClock) -> None:
    class Unreachable(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.sleep(request.extensions["timeout"]["connect"])
            raise httpx.ConnectTimeout("")

    async with remote("http://10.255.255.1/v1", transport=Unreachable(), connect_seconds=2) as generator:
        outcome = await ask(generator)
        assert isinstance(outcome.error, EngineUnavailable)
        assert "ConnectTimeout" in outcome.error.detail
        assert outcome.took == pytest.approx(2)


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/v1", "must be a URL such as"),
        ("host/v1", "must be a URL such as"),
        ("https://", "must be a URL such as"),
        ("https://host:99999/v1", "must be a URL such as"),
        ("https://host:port/v1", "not a usable URL"),
        ("https://ho\nst/v1", "not a usable URL"),
        ("https://me:sesame@host/v1", "must not contain a user name"),
        ("https://host/v1?key=sesame", "base URL"),
        ("https://host/v1#x", "base URL"),
    ],
)
async def test_bad_urls(url: str, sentence: str, remote: OpenRemote) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        async with remote(url):
            pass
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://h/v1/chat/completions", "http://h/v1/chat/completions/", "http://h/v1//"])
async def test_urls_that_say_more(url: str) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://h/v1/chat/completions"
        return httpx.Response(500)

    settings = GenerationSettings(retries=0)
    async with open_remote_generator(url, settings, Telemetry(), transport=httpx.MockTransport(answer)) as generator:
        assert "HTTP 500" in str((await ask(generator)).error)


async def test_the_key_may_be_in_a_file(
    remote: OpenRemote, skipping_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    async with faulty_server(answers("Yes")) as server:
        async with remote(server.url, api_key=None, api_key_file=file) as generator:
            file.unlink()  # read once, at the start
            assert (await ask(generator)).text == "Yes"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"Cannot read generation\.api_key_file .*: No such file"),
        (b" \n", "holds no key"),
        (b"sesame one\nsesame two", "one line of plain ASCII"),
        (b"sesame" * 1000, "one line of plain ASCII"),
        (b"sesame\xff", "not plain text"),
    ],
    ids=["missing", "empty", "two lines", "long", "not text"],
)
async def test_bad_key_files(content: bytes | None, sentence: str, remote: OpenRemote, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        async with remote("https://host/v1", api_key=None, api_key_file=file):
            pass
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "sesame\r\nX-Evil: 1", "sésame"])
async def test_bad_keys(key: str, remote: OpenRemote) -> None:
    with pytest.raises(ConfigError, match=r"generation\.api_key holds no") as caught:
        async with remote("https://host/v1", api_key=key):
            pass
    assert "same" not in str(caught.value)


async def test_bad_authorities_and_proxies(remote: OpenRemote, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"Cannot read generation\.ca_file"):
        async with remote("https://host/v1", ca_file=file):
            pass
    file.write_text("no certificate")
    with pytest.raises(ConfigError, match="holds no PEM certificates"):
        async with remote("https://host/v1", ca_file=file):
            pass
    for proxy in ("gopher://me:sesame@proxy", "http://me:sesame@proxy:x"):
        with pytest.raises(ConfigError, match=r"generation\.proxy must be a URL") as caught:
            async with remote("https://host/v1", proxy=proxy):
                pass
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://10.1.2.3/v1", True),
        ("http://inference/v1", True),
        ("http://localhost:1/v1", False),
        ("http://[::1]:1/v1", False),
        ("https://inference/v1", False),
    ],
)
async def test_a_key_over_plain_http_is_told(url: str, warned: bool, remote: OpenRemote, log: Log) -> None:
    async with remote(url):
        pass
    async with remote(url, api_key=None):
        pass
    assert log.count("generation.key_unencrypted") == warned


def test_what_a_request_looks_like_to_a_script() -> None:
    """The faulty server hands out behaviours in turn, the last one for ever."""
    one, two = answers("1"), answers("2")
    server = FaultyServer((one, two), "http://x")
    seen = []
    for _ in range(3):
        server.requests.append(None)  # type: ignore[arg-type]
        seen.append(server.behaviour())
    assert seen == [one, two, two]
    assert json.dumps(server.url) == '"http://x"'
