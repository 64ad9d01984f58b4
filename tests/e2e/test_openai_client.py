"""OpenAI's own client against csgate: a real server for csgate itself, a real port with a scripted generator."""

import base64
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
import trio

from csgate.gateway.http_stream import HttpSide
from csgate.gateway.listener import Listener
from tests.gateway.completions_site import NAME, ScriptedGenerator, Site, open_site

from . import pictures
from .conftest import Server

_Result = TypeVar("_Result")
STICKER = "data:image/png;base64," + base64.b64encode(pictures.png()).decode()


def client_of(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)


def ask(client: openai.OpenAI, content: Any, *before: Any, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "csgate", "messages": [*before, {"role": "user", "content": content}], **options}
    )


# --- csgate serve ----------------------------------------------------------------------------------------------------


@pytest.fixture
def client(server: Server) -> Any:
    with client_of(server.http, server.token("crm", role="service")) as opened:
        yield opened


def test_models(client: openai.OpenAI) -> None:
    assert "csgate" in [model.id for model in client.models.list()]
    assert client.models.retrieve("csgate").owned_by == "csgate"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_an_answer_in_each_language(client: openai.OpenAI) -> None:
    english = ask(client, "Where is my order 12345?")
    chinese = ask(client, "我的订单12345在哪里？")
    assert "12345" in english.choices[0].message.content
    assert english.choices[0].finish_reason == "stop"
    assert english.usage is None
    assert english.csgate["intent"]["name"] == "track_order"
    assert "订单" in chinese.choices[0].message.content


def test_an_answer_to_a_picture(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": STICKER}}]
    assert ask(client, parts).csgate["tags"]
    assert ask(client, parts[1:]).choices[0].message.content


def test_what_a_reply_asked_for_is_understood_next_time(client: openai.OpenAI) -> None:
    question = {"role": "user", "content": "Where is my order?"}
    asked = ask(client, question["content"])
    assert asked.csgate["source"] == "ask"
    reply = {"role": "assistant", "content": asked.choices[0].message.content}
    answer = ask(client, "12345", question, reply)
    assert "12345" in answer.choices[0].message.content
    assert answer.csgate["intent"]["name"] == "track_order"


def test_a_stream(client: openai.OpenAI) -> None:
    with ask(client, "Where is my order 12345?", stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "12345" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert not chunks[-1].choices


@pytest.mark.parametrize(
    ("content", "options", "kind", "param"),
    [
        ("hi", {"model": "gpt-4o"}, openai.NotFoundError, "model"),
        ("hi", {"n": 2}, openai.BadRequestError, "n"),
        ("hi", {"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ("hi", {"temperature": 3}, openai.BadRequestError, "temperature"),
        ("", {}, openai.BadRequestError, "messages[0].content"),
        (
            [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}}],
            {},
            openai.BadRequestError,
            "messages[0].content[0].image_url.url",
        ),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,bm9uZQ=="}}], {}, openai.APIError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_the_clients_own_errors(
    client: openai.OpenAI, content: Any, options: Any, kind: type[openai.APIError], param: str | None, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        ask(client, content, stream=stream, **options)
    assert isinstance(caught.value, openai.APIStatusError)
    assert 400 <= caught.value.status_code < 500
    assert caught.value.param == param
    assert caught.value.code
    assert caught.value.request_id


def test_the_example_in_the_documentation(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "openai.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    ours = example.replace("http://127.0.0.1:8080", server.http)
    key = repr(server.token("crm", role="service"))
    exec(ours.replace('os.environ["KEY"]', key), {})
    assert "12345" in capsys.readouterr().out


def test_other_keys_are_refused(server: Server) -> None:
    for key, kind in [
        ("nonsense", openai.AuthenticationError),
        (server.token("crm", role="service", lifetime=-3600), openai.AuthenticationError),
        (server.token("ann"), openai.PermissionDeniedError),
        (server.token("joe", role="agent"), openai.PermissionDeniedError),
    ]:
        with client_of(server.http, key) as stranger, pytest.raises(kind):
            ask(stranger, [{"type": "image_url", "image_url": {"url": "data:," + "A" * 1_000_000}}])


def test_a_body_above_the_limit(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, [{"type": "image_url", "image_url": {"url": "data:," + "A" * (8 * 2**20)}}])
    assert caught.value.status_code == 413


# --- A port of this process, with a generator that does as it is told ------------------------------------------------


@asynccontextmanager
async def open_port(generator: ScriptedGenerator, **sections: Any) -> AsyncIterator[tuple[Site, str]]:
    async with open_site(generator, **sections) as site, trio.open_nursery() as nursery:
        limits = site.config.limits
        listener = Listener({}, HttpSide(site.app, limits.head_bytes), limits, site.telemetry)
        serve = partial(listener.serve, "127.0.0.1", 0, backlog=16, handler_nursery=nursery)
        host, port = await nursery.start(serve)
        yield site, f"http://{host}:{port}"
        nursery.cancel_scope.cancel()


async def in_thread(site: Site, url: str, work: Callable[[openai.OpenAI], _Result]) -> _Result:
    def run() -> _Result:
        with client_of(url, site.token()) as client:
            return work(client)

    return await trio.to_thread.run_sync(run)


async def test_the_generator_by_its_name() -> None:
    generator = ScriptedGenerator()
    async with open_port(generator) as (site, url):
        whole = await in_thread(site, url, lambda client: ask(client, "one two three", model=NAME, max_tokens=2))
        names = await in_thread(site, url, lambda client: [model.id for model in client.models.list()])

        def stream(client: openai.OpenAI) -> Any:
            options = {"model": NAME, "stream": True, "stream_options": {"include_usage": True}}
            return list(ask(client, "one two three", temperature=0.5, seed=3, stop=["END"], **options))

        chunks = await in_thread(site, url, stream)
    assert names == ["csgate", NAME]
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("one two", "length")
    assert whole.usage.total_tokens == 5
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert chunks[-1].usage.completion_tokens == 3
    sampling = generator.requests[-1].sampling
    assert (sampling.temperature, sampling.seed, sampling.stop) == (0.5, 3, ("END",))


async def test_many_answers_one_after_the_other() -> None:
    async with open_port(ScriptedGenerator(), limits={"messages_burst": 1000}) as (site, url):

        def work(client: openai.OpenAI) -> None:
            for number in range(30):
                answer = ask(client, f"answer {number}", model=NAME)
                assert answer.choices[0].message.content == f"answer {number}"
                assert list(ask(client, "again", model=NAME, stream=True))[-1].choices[0].finish_reason == "stop"

        await in_thread(site, url, work)
        accepted = {entry["ref"] for entry in site.log if entry["event"] == "completion" and entry["finish"] == "stop"}
    assert len(accepted) == 60


async def test_errors_before_and_after_the_first_piece() -> None:
    kinds: dict[str, type[openai.APIStatusError]] = {
        "overloaded: x": openai.RateLimitError,
        "unavailable: x": openai.InternalServerError,
        "late: x": openai.InternalServerError,
        "broken: x": openai.InternalServerError,
        "too much: x": openai.BadRequestError,
    }
    async with open_port(ScriptedGenerator()) as (site, url):

        def work(client: openai.OpenAI) -> list[tuple[int, str | None]]:
            told = []
            for said, kind in kinds.items():
                with pytest.raises(kind) as caught:
                    ask(client, said, model=NAME, stream=True)
                told.append((caught.value.status_code, caught.value.response.headers.get("retry-after")))
            return told

        told = await in_thread(site, url, work)

        def later(client: openai.OpenAI) -> str:
            text = ""
            try:
                for chunk in ask(client, "fail: unavailable x", model=NAME, stream=True):
                    text += chunk.choices[0].delta.content or ""
            except openai.APIError as error:
                return f"{text}, then {error.code}"
            return text

        assert await in_thread(site, url, later) == "fail: unavailable, then engine_unavailable"
    assert told == [(429, "3"), (503, None), (504, None), (500, None), (400, None)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_generation(stream: bool) -> None:
    generator = ScriptedGenerator()
    async with open_port(generator) as (site, url):
        held = threading.Event()

        def work() -> None:
            with client_of(url, site.token()) as client:
                if not stream:
                    with pytest.raises(openai.APITimeoutError):
                        ask(client, "hold it", model=NAME, timeout=0.5)
                    return
                with ask(client, "hold it", model=NAME, stream=True) as chunks:
                    assert next(iter(chunks)).choices[0].delta.role == "assistant"
                    held.wait(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, work)
            await generator.held.wait()
            assert not generator.cancelled.is_set()
            held.set()
        with trio.fail_after(2):
            await generator.cancelled.wait()
            await site.completions.room.empty()
    assert not [entry for entry in site.log if entry["event"] in ("http_failed", "connection_failed")]


async def test_a_peer_that_closes_its_side_has_left() -> None:
    generator = ScriptedGenerator()
    async with open_port(generator) as (site, url):
        body = b'{"model": "%s", "messages": [{"role": "user", "content": "hold it"}]}' % NAME.encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.token()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(head.encode() + body)
            await generator.held.wait()
            await stream.send_eof()
            with trio.fail_after(2):
                await generator.cancelled.wait()
                assert b"HTTP/1.1 200" not in b"".join([bytes(data) async for data in stream])
