"""The simple mode over memory streams: one frame in, one frame out, in order."""

import json
import weakref
from typing import Any

import pytest
import trio
from tests.gateway.conftest import Gate, OpenGate
from tests.wire.client_frames import TEXT, frame

from csgate.errors import RateLimited
from csgate.gateway.chat_simple import MAX_SLOTS, ChatSimple
from csgate.gateway.websocket import CloseInfo, TextMessage, WebSocketClosed


async def test_one_reply_for_each_message_and_nothing_else(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple()
    await client.say(text="stream a b c")
    await client.say(text="hello")
    first, second = await client.receive(), await client.receive()
    assert [first["type"], first["text"]] == ["reply", "re: stream a b c"]
    assert [second["type"], second["text"]] == ["reply", "re: hello"]
    await client.leave()
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()


async def test_errors_wait_for_their_turn(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple()
    await client.say(text="sleep 2")
    await client.say(b"{")
    await client.say(type="ping", t=1)
    await client.say_binary(b"", type="message", text="x")
    await client.say(text="fail")
    await client.say(text="hello")
    answers = [await client.receive() for _ in range(6)]
    assert [answer.get("code", answer["type"]) for answer in answers] == [
        "reply",
        "bad_json",
        "unknown_type",
        "bad_envelope",
        "internal",
        "reply",
    ]


async def test_as_text(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple(query={"format": "text"})
    await client.say(text="hello")
    assert await client.text() == "re: hello"
    await client.say(b"{")
    assert await client.text() == "⚠ The message is not valid JSON."


async def test_sixteen_may_wait(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple()
    for _ in range(18):
        await client.say(text="hold")
    await trio.sleep(1)
    gate.release.set()
    answers = [await client.receive() for _ in range(18)]
    assert [answer.get("code", "reply") for answer in answers] == ["reply"] * 16 + ["overloaded"] * 2
    await client.say(text="hello")
    assert (await client.receive())["type"] == "reply"


async def test_frames_without_end_are_abuse(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple()
    for _ in range(MAX_SLOTS + 1):
        await client.say(text="hold")
    assert await client.close_code() == 4503
    gate.release.set()
    await gate.until(lambda: gate.ended == 1 and gate.conversations.open_turns == 0)
    await trio.sleep(1)
    gate.assert_nothing_is_left()


async def test_rates(autojump_clock: Any, open_gate: OpenGate) -> None:
    async with open_gate(limits={"messages_burst": 1}) as gate:
        client = await gate.simple()
        await client.say(text="hello")
        await client.say(text="hello")
        assert [(await client.receive()).get("code") for _ in range(2)] == [None, RateLimited.code]


async def test_a_message_too_large(autojump_clock: Any, open_gate: OpenGate) -> None:
    async with open_gate(limits={"max_message_bytes": 100, "max_frame_bytes": 200}) as gate:
        client = await gate.simple()
        await client.say(text="x" * 120)
        assert (await client.receive())["code"] == "too_large"


@pytest.mark.parametrize(
    ("credentials", "code", "close_code"),
    [(None, "unauthorized", 4502), ("nonsense", "unauthorized", 4500), ("old", "expired", 4501)],
)
async def test_credentials_belong_in_the_handshake(
    autojump_clock: Any, gate: Gate, credentials: str | None, code: str, close_code: int
) -> None:
    token = gate.token(lifetime=-100) if credentials == "old" else credentials
    client = await gate.open("csgate.simple", token=token)
    assert (await client.receive())["code"] == code
    assert await client.close_code() == close_code
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()


async def test_a_ticket_and_log_lines_that_name_the_conversation(autojump_clock: Any, gate: Gate) -> None:
    auth = gate.services.auth
    ticket = auth.issue_ticket(await auth.verify(gate.token(), now=gate.now()), gate.now())
    client = await gate.open(query={"ticket": ticket})
    await client.say(b"{")
    assert (await client.receive())["code"] == "bad_json"
    (line,) = [entry for entry in gate.log if entry["event"] == "error_told"]
    assert line["conversation"] == chat_conversation(gate)


async def test_a_principal_has_its_share_of_connections(autojump_clock: Any, open_gate: OpenGate) -> None:
    async with open_gate(limits={"connections_per_principal": 1}) as gate:
        first = await gate.simple()
        await first.say(text="hello")
        await first.receive()
        second = await gate.simple()
        assert (await second.receive())["code"] == "overloaded"
        assert await second.close_code() == 1013
        await first.leave()
        await gate.until(lambda: gate.ended == 2)
        gate.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("settings", "claims", "code", "close_code"),
    [
        ({}, {"role": "agent"}, "forbidden", 1008),
        ({}, {"conversation": "not-there"}, "not_found", 1008),
        ({"max_conversations": 1}, {}, "overloaded", 1013),
    ],
)
async def test_no_conversation_to_be_had(
    autojump_clock: Any, open_gate: OpenGate, settings: Any, claims: Any, code: str, close_code: int
) -> None:
    async with open_gate(session=settings) as gate:
        other = await gate.simple("bob")
        await other.say(text="hello")
        await other.receive()
        client = await gate.open(token=gate.token(**claims))
        assert (await client.receive())["code"] == code
        assert await client.close_code() == close_code
        await other.leave()
        await gate.until(lambda: gate.ended == 2)
        gate.assert_nothing_is_left()


async def test_a_token_for_one_conversation_may_come_back_to_it(autojump_clock: Any, gate: Gate) -> None:
    """Its messages have ids of their own, whatever earlier connections said there."""
    v1, welcome = await gate.v1()
    await v1.ask("m1")
    for text in ("one", "two"):
        client = await gate.open(token=gate.token(conversation=welcome["conversation"]))
        await client.say(text=text)
        assert (await client.receive())["text"] == f"re: {text}"
        await client.leave()


async def test_a_token_that_runs_out(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open(token=gate.token(lifetime=100))
    assert (await client.receive())["code"] == "expired"
    assert await client.close_code() == 4501
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()


async def test_an_unexpected_failure(autojump_clock: Any, gate: Gate) -> None:
    class Broken:
        async def attach(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("secret words")

    gate.change(conversations=Broken())
    client = await gate.simple()
    error = await client.receive()
    assert error["code"] == "internal"
    assert await client.close_code() == 1011
    assert error["ref"] in [entry.get("ref") for entry in gate.log if entry["event"] == "connection_failed"]


async def test_no_message_is_kept_while_waiting_for_the_next(autojump_clock: Any, gate: Gate) -> None:
    data = memoryview(bytearray(json.dumps({"text": "hi", "image": "AAAA"}).encode()))
    alive = weakref.ref(data)
    messages = [TextMessage(data)]
    del data
    waiting = trio.Event()

    class Scripted:
        closed = None

        async def receive(self) -> TextMessage:
            if messages:
                return messages.pop(0)
            waiting.set()
            await trio.sleep(100)
            raise WebSocketClosed(CloseInfo(1000, "", by_peer=True))

        def send_text(self, data: bytes) -> None:
            pass

    upgrade = gate.upgrade(trio.testing.memory_stream_pair()[0], token=gate.token())
    gate.nursery.start_soon(ChatSimple(Scripted(), upgrade, gate.services).run)  # type: ignore[arg-type]
    await waiting.wait()
    await trio.sleep(1)  # the answer is out
    assert alive() is None


async def test_events_of_others_have_no_place(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.simple()
    await client.say(text="hello")
    await client.receive()
    other, _ = await gate.v1(conversation=chat_conversation(gate))
    await other.expect("history")
    await other.ask("m1")
    await other.say(type="typing", on=True)
    await client.send(frame(TEXT, b'{"text":"again"}'))
    assert (await client.receive())["text"] == "re: again"


def chat_conversation(gate: Gate) -> str:
    (conversation,) = gate.conversations._office.live
    return str(conversation)
