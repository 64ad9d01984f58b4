"""The OpenAI-compatible endpoint, asked over ASGI: who may, what is answered and how, what is refused."""

import base64
import json
from typing import Any

import pytest
import trio
from tests.gateway.completions_site import NAME, NOW, ScriptedGenerator, open_site, read_events, said_in

from csgate.events import Draft, MessageEvent, ReplyEvent
from csgate.gateway.completions import THREAD_PARSE_BYTES, Room
from csgate.gateway.completions_answer import unsaid

PICTURE = "data:image/png;base64," + base64.b64encode(b"a picture").decode()


def image(url: str = PICTURE) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [part if isinstance(part, dict) else text(part) for part in parts]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# --- Who may, and which models ---------------------------------------------------------------------------------------


async def test_models_are_csgate_and_its_generator() -> None:
    async with open_site(ScriptedGenerator()) as site:
        listed = await site.client.get("/v1/models")
        one = await site.client.get(f"/v1/models/{NAME}")
        none = await site.client.get("/v1/models/other")
    assert listed.json() == {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": int(NOW), "owned_by": "csgate"} for name in ("csgate", NAME)
        ],
    }
    assert one.json() == listed.json()["data"][1]
    assert one.headers["x-request-id"]
    assert none.status_code == 404
    assert none.json()["error"] == {
        "message": f"There is no such model; there are csgate, {NAME}.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_without_a_generator_there_is_csgate_alone() -> None:
    async with open_site() as site:
        listed = await site.client.get("/v1/models")
        refused = await site.ask("hello", model=NAME)
    assert [one["id"] for one in listed.json()["data"]] == ["csgate"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/csgate", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("role", "lifetime", "status", "kind", "code"),
    [
        (None, 0, 401, "authentication_error", "unauthorized"),
        ("", 0, 401, "authentication_error", "unauthorized"),
        ("service", -3600, 401, "authentication_error", "expired"),
        ("customer", 60, 403, "permission_error", "forbidden"),
        ("agent", 60, 403, "permission_error", "forbidden"),
    ],
)
async def test_only_services_may(
    path: str, role: str | None, lifetime: float, status: int, kind: str, code: str
) -> None:
    async with open_site(ScriptedGenerator()) as site:
        del site.client.headers["authorization"]
        key = site.token("eve", role, lifetime) if role else "nonsense"
        headers = {} if role is None else {"Authorization": f"Bearer {key}"}
        method = "POST" if "chat" in path else "GET"
        response = await site.client.request(method, path, headers=headers, content=b"{" if method == "POST" else b"")
        assert not site.turns
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (kind, code, None)
    assert error["message"]
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert key not in site.stream_text


async def test_errors_have_openais_form_at_its_addresses_alone() -> None:
    async with open_site() as site:
        wrong = await site.client.get("/v1/chat/completions")
        elsewhere = await site.client.get("/v1/nothing")
        chinese = await site.client.get("/v1/models", headers={"Authorization": "", "Accept-Language": "zh-CN"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert elsewhere.json()["code"] == "not_found"
    assert "密钥" in chinese.json()["error"]["message"]


# --- csgate itself ---------------------------------------------------------------------------------------------------


async def test_csgate_answers_the_last_message() -> None:
    async with open_site(session={"turn_seconds": 12}) as site:
        began = trio.current_time()
        response = await site.ask(user("Where is it?", image()), max_tokens=1, user="ann")
        (turn,) = site.turns
    body = response.json()
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["created"], body["model"]) == ("chat.completion", int(NOW), "csgate")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "re: Where is it?", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert "usage" not in body
    assert body["csgate"]["intent"] == {"name": "track_order", "confidence": 0.9}
    assert body["csgate"]["tags"] == [{"name": "angry", "label": "angry", "score": 0.8}]
    assert turn.picture is not None
    assert bytes(turn.picture.data).decode() == PICTURE
    assert turn.principal.subject == "crm"
    assert began < turn.deadline <= trio.current_time() + 12


async def test_the_messages_before_are_the_history() -> None:
    async with open_site() as site:
        await site.ask({"role": "system", "content": "Be kind."}, user("Hi", image()))
        (first,) = site.turns
        answered = (await site.ask("Where is my order?")).json()["choices"][0]["message"]["content"]
        await site.ask("Where is my order?", answered, "12345", headers={"Accept-Language": "zh-CN,en;q=0.5"})
        foreign = {"Authorization": f"Bearer {site.token('other')}"}
        await site.ask("Where is my order?", answered, "12345", headers=foreign)
    assert first.history == ()  # what a system says is not said by the customer
    known, stranger = site.turns[2:]
    assert known.language == "zh"
    for turn in (known, stranger):
        question, reply = turn.history
        assert isinstance(question, MessageEvent)
        assert isinstance(reply, ReplyEvent)
        assert (question.text, question.author, question.offset) == ("Where is my order?", "customer", 1)
        assert (reply.text, reply.offset) == (answered, 2)
    # What csgate meant by its reply is remembered, for whoever got it.
    assert isinstance(known.history[1], ReplyEvent)
    assert isinstance(stranger.history[1], ReplyEvent)
    assert (known.history[1].source, known.history[1].quick_replies) == ("ask", ("Yes",))
    assert (stranger.history[1].source, stranger.history[1].intent) == ("canned", None)


async def test_known_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from csgate.gateway import completions_answer

    monkeypatch.setattr(completions_answer, "MAX_KNOWN_REPLIES", 2)
    async with open_site() as site:
        for words in ("one", "two", "three"):
            await site.ask(words)
        for words in ("one", "three"):
            await site.ask(words, f"re: {words}", "and now?")
        forgotten, known = [turn.history[1] for turn in site.turns[3:]]
    assert isinstance(forgotten, ReplyEvent)
    assert isinstance(known, ReplyEvent)
    assert (forgotten.source, known.source) == ("canned", "ask")


async def test_csgate_streams_in_one_piece_or_in_several() -> None:
    async with open_site() as site:
        whole = await site.stream("hello")
        pieces = await site.stream("stream: a b c")
        longer = await site.stream("stream part: a b")
        other = await site.stream("stream and change: a b")
        escaped = await site.stream("stream and escape: a b")
    first, words, last, done = whole
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert words["choices"][0]["delta"] == {"content": "re: hello"}
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert last["csgate"]["source"] == "ask"
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in whole[:3]}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in whole[:3])
    assert said_in(pieces) == "abc"
    assert said_in(longer) == "ab, and more"
    assert said_in(other) == "ab\n\nOther words."
    assert said_in(escaped) == "ab"


@pytest.mark.parametrize(
    ("shown", "final", "rest"),
    [
        ("By mail. ", "By mail.\n\n*Source: Returns*", "\n\n*Source: Returns*"),
        ("\n By mail.", "By mail.\n\n*Source: Returns*", "\n\n*Source: Returns*"),
        (" By mail.\n", "By mail.", ""),
        ("By mail. And then", "By mail.", ""),
        (" ", "By mail.", "By mail."),
    ],
)
def test_what_follows_a_model_s_words(shown: str, final: str, rest: str) -> None:
    assert unsaid(shown, Draft(final, source="generated")) == rest


async def test_a_turn_has_one_picture() -> None:
    async with open_site() as site:
        refused = await site.ask(user("see", image(), image()))
        earlier = await site.ask(user("see", image()), "I see", user(image()))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages[0].content")
    assert earlier.status_code == 200


# --- The generator ---------------------------------------------------------------------------------------------------


async def test_the_generator_gets_the_messages_as_they_are() -> None:
    generator = ScriptedGenerator(pictures=True)
    async with open_site(generator, session={"turn_seconds": 7}) as site:
        response = await site.ask(
            {"role": "developer", "content": "Be kind."},
            user("one", image(), "two"),
            {"role": "assistant", "content": None},
            {"role": "user", "content": "three four", "name": "ann"},
            model=NAME,
            temperature=0.9,
            top_p=0.5,
            max_tokens=50,
            max_completion_tokens=40,
            seed=7,
            stop="END",
        )
        (request,) = generator.requests
    body = response.json()
    assert (body["model"], body["choices"][0]["message"]["content"]) == (NAME, "three four")
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert "csgate" not in body
    assert [(one.speaker, one.text, len(one.pictures)) for one in request.utterances] == [
        ("system", "Be kind.", 0),
        ("user", "one\ntwo", 1),
        ("assistant", "", 0),
        ("user", "three four", 0),
    ]
    s = request.sampling
    assert (s.temperature, s.top_p, s.max_tokens, s.seed, s.stop) == (0.9, 0.5, 40, 7, ("END",))
    assert (request.principal, request.priority) == (("", "crm"), 1)
    assert request.deadline < trio.current_time() + 7


async def test_the_configuration_decides_where_the_request_does_not() -> None:
    generator = ScriptedGenerator()
    settings = {"temperature": 0.7, "top_p": 0.8, "max_tokens": 3, "seed": 5, "stop": ("\n",)}
    async with open_site(generator, generation=settings) as site:
        short = await site.ask("one two three four", model=NAME)
        await site.ask("hi", model=NAME, max_tokens=4000, stop=[], top_p=0, n=1, temperature=None)
    ours, mixed = (request.sampling for request in generator.requests)
    assert (ours.temperature, ours.top_p, ours.max_tokens, ours.seed, ours.stop) == (0.7, 0.8, 3, 5, ("\n",))
    assert (mixed.max_tokens, mixed.stop) == (3, ())
    assert (mixed.temperature, mixed.top_p) == (0.0, 1.0)  # no share of the likeliest but the likeliest itself
    choice = short.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two three", "length")


async def test_the_generator_streams() -> None:
    async with open_site(ScriptedGenerator()) as site:
        chunks = await site.stream("one two three", model=NAME, stream_options={"include_usage": True}, max_tokens=2)
        uncounted = await site.stream("uncounted: a", model=NAME, stream_options={"include_usage": True})
        other = await site.stream("fall back: a", model=NAME)
    assert said_in(chunks) == "one two"
    usage = chunks[-2]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 5)
    assert all(chunk["usage"] is None for chunk in chunks[:-2])
    assert chunks[-3]["choices"][0]["finish_reason"] == "length"
    assert (uncounted[-2]["choices"], uncounted[-2]["usage"]) == ([], None)
    assert [chunk["model"] for chunk in other[:-1]] == [NAME] * (len(other) - 2) + ["fallback"]


async def test_who_answered_is_told() -> None:
    async with open_site(ScriptedGenerator()) as site:
        response = await site.ask("fall back: a", model=NAME)
    assert response.json()["model"] == "fallback"


async def test_pictures_go_to_models_that_take_them() -> None:
    async with open_site(ScriptedGenerator()) as site:
        response = await site.ask(user("see", image()), model=NAME)
    assert (response.status_code, response.json()["error"]["message"]) == (400, "This model takes no pictures.")


async def test_a_generator_named_csgate_is_not_listed_twice() -> None:
    async with open_site(ScriptedGenerator("csgate")) as site:
        assert site.completions.models == ("csgate",)


# --- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["csgate", NAME])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "status", "code", "retry"),
    [
        ("overloaded: x", 429, "overloaded", "3"),
        ("unavailable: x", 503, "engine_unavailable", None),
        ("late: x", 504, "timeout", None),
        ("broken: x", 500, "internal", None),
        ("bad picture: x", 400, "bad_image", None),
    ],
)
async def test_a_failure_before_the_first_piece_has_a_status(
    model: str, stream: bool, said: str, status: int, code: str, retry: str | None
) -> None:
    async with open_site(ScriptedGenerator()) as site:
        response = await site.ask(said, model=model, stream=stream)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    assert response.headers.get("retry-after") == retry
    assert "inner reason" not in response.text
    assert site.metric("csgate_errors_total", code=code) == 1
    assert any(entry.get("ref") == response.headers["x-request-id"] for entry in site.log)


async def test_a_prompt_above_the_context_says_so() -> None:
    async with open_site(ScriptedGenerator()) as site:
        response = await site.ask("too much: x", model=NAME)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


@pytest.mark.parametrize(("how", "code"), [("unavailable", "engine_unavailable"), ("broken", "internal")])
async def test_a_failure_later_is_an_event(how: str, code: str) -> None:
    async with open_site(ScriptedGenerator()) as site:
        response = await site.ask(f"fail: {how} x", model=NAME, stream=True)
        assert response.status_code == 200
        events = read_events(response.text)
    assert said_in(events[:-1]) == f"fail: {how}"
    assert events[-1]["error"]["code"] == code
    assert "[DONE]" not in response.text
    assert "inner reason" not in response.text
    assert site.metric("csgate_errors_total", code=code) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_has_a_deadline(stream: bool, autojump_clock: trio.abc.Clock) -> None:
    generator = ScriptedGenerator()
    async with open_site(generator, session={"turn_seconds": 9}) as site:
        own = await site.ask("hold: x", stream=stream)
        took = trio.current_time()
        raw = await site.ask("hold it", model=NAME, stream=stream)
        assert generator.cancelled.is_set()
        assert site.cancelled.is_set()
    assert (own.status_code, own.json()["error"]["code"]) == (504, "timeout")
    assert 9 <= took < 10
    if stream:
        assert read_events(raw.text)[-1]["error"]["code"] == "timeout"
    else:
        assert raw.status_code == 504


@pytest.mark.parametrize("model", ["csgate", NAME])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_answer_at_once(
    model: str, stream: bool, autojump_clock: trio.abc.Clock
) -> None:
    generator = ScriptedGenerator()
    async with open_site(generator) as site:
        sent: list[Any] = []
        send_body, receive_body = trio.open_memory_channel[dict[str, Any]](2)
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hold: it"}]}
        if model == NAME:
            body["messages"] = [{"role": "user", "content": "hold it"}]
        await send_body.send({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.app, site.scope(), receive_body.receive, send)
            await trio.sleep(1)
            assert not generator.cancelled.is_set()
            await send_body.send({"type": "http.disconnect"})
        assert trio.current_time() == pytest.approx(1, abs=0.1)
        assert (generator if model == NAME else site).cancelled.is_set()
        assert site.completions.room.count == 0
    assert bool(sent) == (stream and model == NAME)
    assert not [entry for entry in site.log if entry["event"] in ("http_failed", "http_error")]


# --- Bounds ----------------------------------------------------------------------------------------------------------


async def test_a_principal_has_a_rate(autojump_clock: trio.abc.Clock) -> None:
    limits = {
        "messages_per_second": 0.5,
        "messages_burst": 2,
        "picture_bytes_per_second": 10,
        "picture_bytes_burst": 40,
    }
    async with open_site(limits=limits) as site:
        assert [(await site.ask("hi")).status_code for _ in range(2)] == [200, 200]
        refused = await site.ask("hi")
        other = await site.ask("hi", headers={"Authorization": f"Bearer {site.token('other')}"})
        await trio.sleep(2)
        again = await site.ask(user(image()))
        await trio.sleep(2)
        too_many_pictures = await site.ask(user(image()))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert (other.status_code, again.status_code) == (200, 200)
    assert (too_many_pictures.status_code, too_many_pictures.headers["retry-after"]) == (429, "1")


async def test_an_address_has_a_rate() -> None:
    async with open_site() as site:
        site.request_wait = 3.0
        refused = await site.client.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")


async def test_places_and_bytes_are_bounded(autojump_clock: trio.abc.Clock) -> None:
    async with open_site(room=Room(1, 300)) as site:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.ask, "hold: x")
            await trio.sleep(1)
            full = await site.ask("hi")
        heavy = await site.post([b" " * 200, b" " * 101])
        light = await site.ask("hi")
    assert (full.status_code, full.headers["retry-after"]) == (429, "1")
    assert (heavy.status_code, heavy.json()["error"]["code"]) == (429, "overloaded")
    assert light.status_code == 200


async def test_a_draining_node_takes_none() -> None:
    async with open_site() as site:
        site.draining = True
        refused = await site.ask("hi")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_body_has_a_size_announced_or_not() -> None:
    async with open_site(limits={"max_message_bytes": 200_000}) as site:
        announced = await site.ask(user("hi", image(PICTURE + "A" * 200_000)))

        streamed = await site.post([b" " * 10_000] * 21)
        large = await site.ask(user("hi", image(PICTURE + "A" * 150_000)))
    for refused in (announced, streamed):
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
        assert refused.headers["connection"] == "close"
    assert large.status_code == 200
    assert THREAD_PARSE_BYTES < 150_000


async def test_a_body_that_trickles_in_is_given_up(autojump_clock: trio.abc.Clock) -> None:
    async with open_site(limits={"message_seconds": 5, "message_bytes_per_second": 10}) as site:

        async def chunks(pause: float) -> Any:
            for byte in json.dumps({"model": "csgate", "messages": [{"role": "user", "content": "hi"}]}).encode():
                yield bytes((byte,))
                await trio.sleep(pause)

        slow = await site.client.post("/v1/chat/completions", content=chunks(1.0))
        steady = await site.client.post("/v1/chat/completions", content=chunks(0.09))
    assert (slow.status_code, slow.json()["error"]["code"]) == (504, "timeout")
    assert steady.status_code == 200
