"""``csgate.v1`` over memory streams: hello, messages, resume, tokens, misuse."""

import json
import weakref
from typing import Any

import pytest
import trio
from tests.gateway.conftest import ENGINE, Client, Gate, OpenGate

from csgate.errors import Overloaded
from csgate.gateway.admission import Buckets
from csgate.gateway.chat import BAD_MESSAGES_BURST, RATE_LIMITED_COST, THREAD_DECODE_BYTES
from csgate.gateway.chat_v1 import ChatV1
from csgate.gateway.websocket import CloseInfo, TextMessage, WebSocketClosed
from csgate.protocol import Hello
from csgate.session import MemoryStore

V1 = "csgate.v1"


async def closes_with(gate: Gate, client: Any, code: str, close_code: int) -> Any:
    """The client is told ``code`` and closed with ``close_code``, and nothing of it is left."""
    error = await client.expect("error")
    assert error["code"] == code
    assert await client.close_code() == close_code
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()
    return error


# --- Hello -----------------------------------------------------------------------------------------------------------


async def test_welcome_ack_and_reply_in_this_order(autojump_clock: Any, gate: Gate) -> None:
    client, welcome = await gate.v1(locale="en-GB")
    limits = gate.config.limits
    assert welcome | {"conversation": "", "epoch": ""} == {
        "type": "welcome",
        "conversation": "",
        "epoch": "",
        "offset": 0,
        "recovered": False,
        "limits": {
            "max_message_bytes": limits.max_message_bytes,
            "max_text_chars": limits.max_text_chars,
            "max_pixels": gate.config.inference.max_pixels,
        },
        "nodes": ["wss://other.example/ws"],
        "engine": ENGINE,
    }
    await client.say(type="message", id="m1", text="hello")
    assert await client.receive() == {"type": "ack", "id": "m1", "offset": 1}
    reply = await client.expect("reply")
    assert (reply["id"], reply["offset"], reply["text"]) == ("m1", 2, "re: hello")
    await client.leave()
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()
    assert gate.metric("csgate_closes_total", code="1000") == 1


@pytest.mark.parametrize("way", ["header", "protocol", "hello", "ticket"])
async def test_every_way_to_bring_a_token(autojump_clock: Any, gate: Gate, way: str) -> None:
    token = gate.token()
    hello = {"type": "hello"}
    match way:
        case "header":
            client = await gate.open(V1, token=token)
        case "protocol":
            client = await gate.open(V1, f"csgate.bearer.{token}")
        case "hello":
            client = await gate.open(V1)
            hello["token"] = token
        case _:
            auth = gate.services.auth
            ticket = auth.issue_ticket(await auth.verify(token, now=gate.now()), gate.now())
            client = await gate.open(V1, query={"ticket": ticket})
    await client.say(hello)
    assert (await client.receive())["type"] == "welcome"
    assert [entry for entry in gate.log if token in json.dumps(entry)] == []


async def ticket_of(gate: Gate, subject: str) -> str:
    auth = gate.services.auth
    return auth.issue_ticket(await auth.verify(gate.token(subject), now=gate.now()), gate.now())


async def speaks_for(gate: Gate, client: Any, **hello: Any) -> str:
    """Whose connection it is, once welcome."""
    await client.say(type="hello", **hello)
    await client.expect("welcome")
    (chat,) = gate.services.live
    assert chat.principal is not None
    return chat.principal.subject


async def test_a_token_in_hello_goes_before_the_address_and_spares_its_ticket(autojump_clock: Any, gate: Gate) -> None:
    ticket = await ticket_of(gate, "ticket")
    client = await gate.open(V1, query={"ticket": ticket})
    assert await speaks_for(gate, client, token=gate.token("hello")) == "hello"
    await client.leave()
    client = await gate.open(V1, query={"ticket": ticket})
    assert await speaks_for(gate, client) == "ticket"
    await client.leave()
    client = await gate.open(V1, query={"ticket": ticket})
    await client.say(type="hello")
    assert (await client.receive())["code"] == "unauthorized"
    assert await client.close_code() == 4500


async def test_the_head_goes_before_hello(autojump_clock: Any, gate: Gate) -> None:
    query = {"ticket": await ticket_of(gate, "ticket")}
    client = await gate.open(V1, token=gate.token("head"), query=query)
    assert await speaks_for(gate, client, token=gate.token("hello")) == "head"


async def test_a_ticket_holds_for_the_hello_after_a_wrong_one(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open(V1, query={"ticket": await ticket_of(gate, "ticket")})
    await client.say(type="hello", conversation="not-there")
    assert (await client.receive())["code"] == "not_found"
    assert await speaks_for(gate, client) == "ticket"


async def test_the_head_of_the_request_is_not_kept(autojump_clock: Any, gate: Gate) -> None:
    """An idle connection is to cost little, and a token is better forgotten."""
    ours, theirs = trio.testing.memory_stream_pair()
    upgrade = gate.upgrade(theirs, V1, token=gate.token(), query={"format": "text"})
    gate.nursery.start_soon(gate._serve, upgrade)
    client = Client(ours)
    await client.head()
    await client.say(type="hello")
    await client.expect("welcome")
    assert (upgrade.handshake.headers, upgrade.handshake.query) == ([], {})
    assert [chat._handshake for chat in gate.services.live] == [None]


async def test_log_lines_name_the_conversation(autojump_clock: Any, gate: Gate) -> None:
    client, welcome = await gate.v1()
    await client.say(b"{")
    await client.expect("error")
    (line,) = [entry for entry in gate.log if entry["event"] == "error_told"]
    assert line["conversation"] == welcome["conversation"]


@pytest.mark.parametrize("lifetime", [-100.0, 10.0])
async def test_wrong_credentials_in_the_handshake(autojump_clock: Any, gate: Gate, lifetime: float) -> None:
    token = gate.token(lifetime=lifetime)
    client = await gate.open(V1, token=token if lifetime < 0 else token[:-4])
    await closes_with(gate, client, *(("expired", 4501) if lifetime < 0 else ("unauthorized", 4500)))


async def test_hello_without_a_token(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open(V1)
    await client.say(type="hello", locale="zh-CN")
    error = await closes_with(gate, client, "unauthorized", 4500)
    assert error["message"] == "令牌缺失或无效。"


async def test_before_hello_only_pings_are_answered(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open(V1, token=gate.token())
    await client.say(type="ping", t=7)
    assert await client.receive() == {"type": "pong", "t": 7}
    await client.say(type="message", id="m1", text="hello")
    error = await client.receive()
    assert (error["code"], error["id"]) == ("bad_envelope", "m1")
    await client.say(b"{")
    assert (await client.receive())["code"] == "bad_json"
    await client.say(type="hello", conversation="not-there")
    assert (await client.receive())["code"] == "not_found"
    await client.say(type="hello")
    assert (await client.receive())["type"] == "welcome"


async def test_a_stranger_may_say_little_at_once(open_gate: OpenGate) -> None:
    """Or every unknown peer could make the node hold the largest message. On the real clock, because of threads."""
    async with open_gate() as gate:
        client = await gate.open(V1)
        await client.say(type="hello", token=gate.token() + "x" * 100_000)
        error = await client.receive()
        assert (error["code"], error["max_bytes"]) == ("too_large", 32_768)
        await client.say(type="hello", token=gate.token())
        await client.say_binary(b"x" * 1_000_000, type="message", id="m1", text="look")  # not waiting for welcome
        await client.expect("welcome")
        assert (await client.expect("reply"))["id"] == "m1"


@pytest.mark.parametrize(("authenticated", "code"), [(False, 4502), (True, 4504)])
async def test_no_hello_in_time(autojump_clock: Any, gate: Gate, authenticated: bool, code: int) -> None:
    client = await gate.open(V1, token=gate.token() if authenticated else None)
    began = trio.current_time()
    assert await client.close_code() == code
    assert trio.current_time() - began == pytest.approx(10)
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()


async def test_a_deadline_in_the_middle_of_hello_leaves_nothing(open_gate: OpenGate, autojump_clock: Any) -> None:
    class Stuck(MemoryStore):
        async def read(self, *_: Any, **__: Any) -> Any:
            await trio.sleep_forever()

    async with open_gate(store=Stuck(100)) as gate:
        client = await gate.open(V1, token=gate.token())
        await client.say(type="hello")
        await trio.sleep(5)
        assert gate.conversations.live == 1
        assert await client.close_code() == 4504
        await gate.until(lambda: gate.ended == 1)
        gate.assert_nothing_is_left()


async def test_hello_twice(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    await client.say(type="hello")
    assert (await client.receive())["message"] == "This connection has said hello already."
    assert (await client.ask("m1"))["type"] == "reply"


async def test_a_principal_has_its_share_of_connections(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(limits={"connections_per_principal": 1}) as gate:
        first, _ = await gate.v1()
        for token in (gate.token(), None):
            second = await gate.open(V1, token=token)
            if token is None:
                await second.say(type="hello", token=gate.token())
            error = await second.expect("error")
            assert (error["code"], error["retry_after"]) == ("overloaded", 5.0)
            assert await second.close_code() == 1013
        await first.leave()
        await gate.until(lambda: gate.ended == 3)
        gate.assert_nothing_is_left()
        await gate.v1()


async def test_no_room_for_an_attachment(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(session={"max_attachments": 1}) as gate:
        first, welcome = await gate.v1()
        second = await gate.open(V1, token=gate.token())
        await second.say(type="hello", conversation=welcome["conversation"])
        assert (await second.expect("error"))["code"] == "overloaded"
        assert await second.close_code() == 1013
        await first.leave()
        await gate.until(lambda: gate.ended == 2)
        gate.assert_nothing_is_left()


async def test_keys_that_cannot_be_had(autojump_clock: Any, gate: Gate) -> None:
    class NoKeys:
        async def verify(self, token: str, *, now: float) -> Any:
            raise Overloaded("the key set cannot be fetched", retry_after=2.0)

    token = gate.token()
    gate.change(auth=NoKeys())
    client = await gate.open(V1, token=token)
    await closes_with(gate, client, "overloaded", 1013)


async def test_a_second_token_in_a_second_hello_is_who_speaks(autojump_clock: Any, gate: Gate) -> None:
    client = await gate.open(V1)
    await client.say(type="hello", token=gate.token("ann"), conversation="not-there")
    assert (await client.receive())["code"] == "not_found"
    await client.say(type="hello", token=gate.token("ann"), conversation="not-there")
    assert (await client.receive())["code"] == "not_found"
    assert gate.services.places._principals == {("", "", "ann"): 1}
    await client.say(type="hello", token=gate.token("bob"))
    await client.expect("welcome")
    assert list(gate.services.places._principals) == [("", "", "bob")]
    await client.say(type="refresh", token=gate.token("ann"))
    assert (await client.receive())["code"] == "forbidden"
    await client.say(type="refresh", token=gate.token("bob"))
    await client.leave()
    await gate.until(lambda: gate.ended == 1)
    gate.assert_nothing_is_left()


# --- Resume ----------------------------------------------------------------------------------------------------------


async def test_resume_gives_welcome_then_history_then_snapshot_then_live(autojump_clock: Any, gate: Gate) -> None:
    first, welcome = await gate.v1()
    await first.ask("m1")
    await first.say(type="message", id="m2", text="stream " + " ".join("abcdefghij"))
    await first.expect("delta")
    second, again = await gate.v1(conversation=welcome["conversation"], epoch=welcome["epoch"], offset=1)
    assert again["recovered"]
    history, snapshot = await second.receive(), await second.receive()
    assert history["type"] == "history"
    assert [(event["type"], event["offset"]) for event in history["events"]] == [("reply", 2), ("message", 3)]
    assert snapshot["type"] == "snapshot"
    assert snapshot["id"] == "m2"
    delta = await second.receive()
    assert delta["type"] == "delta"
    assert delta["seq"] > snapshot["seq"]
    assert (await second.expect("reply"))["id"] == "m2"
    page, welcome = await gate.v1(conversation=welcome["conversation"], epoch="other", offset=1)
    assert not welcome["recovered"]
    assert len((await page.receive())["events"]) == 4


async def test_who_answers_is_told_behind_the_history(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(session={"page_events": 2}) as gate:
        first, welcome = await gate.v1()
        await first.say(type="handoff")
        waiting = await first.expect("state")
        for message_id in ("m1", "m2"):
            await first.say(type="message", id=message_id, text="hello")
            await first.expect("reply")
        second, _ = await gate.v1(conversation=welcome["conversation"])
        assert [event["type"] for event in (await second.receive())["events"]] != []
        assert await second.receive() == waiting
        await first.ask("m3")
        assert (await second.receive())["type"] == "message"


async def test_history_comes_for_a_restricted_token_too_and_is_not_kept(autojump_clock: Any, gate: Gate) -> None:
    first, welcome = await gate.v1()
    await first.ask("m1")
    restricted, again = await gate.v1(claims={"conversation": welcome["conversation"]})
    assert again["conversation"] == welcome["conversation"]
    assert len((await restricted.receive())["events"]) == 2
    assert all(chat._attachment.history == () for chat in gate.services.live)  # type: ignore[attr-defined]


async def test_events_before_welcome_wait_for_it(autojump_clock: Any, gate: Gate) -> None:
    sent: list[Any] = []

    class Silent:
        closed = None

        def send_text(self, data: bytes, *, more: bool = False) -> None:
            sent.append(json.loads(data))

    chat = ChatV1(Silent(), gate.upgrade(trio.testing.memory_stream_pair()[0]), gate.services)  # type: ignore[arg-type]
    talker, welcome = await gate.v1()
    await talker.ask("m1")
    attach = gate.conversations.attach

    class Eager:
        async def attach(self, principal: Any, sink: Any, **wanted: Any) -> Any:
            attachment = await attach(principal, sink, **wanted)
            await talker.ask("m2")
            return attachment

    gate.change(conversations=Eager())
    chat.s = gate.services
    await chat._hello(Hello(token=gate.token(), conversation=welcome["conversation"]), None, None)
    assert [event["type"] for event in sent] == ["welcome", "history", "message", "reply"]


# --- Messages --------------------------------------------------------------------------------------------------------


async def test_a_message_too_large_costs_only_itself(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(limits={"max_message_bytes": 2_000, "max_frame_bytes": 4_000}) as gate:
        client, _ = await gate.v1()
        await client.say(type="message", id="m1", text="x" * 3_000)
        error = await client.receive()
        assert (error["code"], error["max_bytes"]) == ("too_large", 2_000)
        assert (await client.ask("m2"))["type"] == "reply"
        await client.say(type="message", id="m3", text="x" * 5_000)
        assert await client.close_code() == 1009


async def test_binary_frames_carry_pictures(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    await client.say_binary(b"\x89PNG", type="message", id="m1", text="what is this")
    assert (await client.receive())["type"] == "ack"
    assert (await client.expect("reply"))["id"] == "m1"
    await client.say_binary(b"", type="message", id="m2")
    error = await client.receive()
    assert (error["code"], error["id"]) == ("bad_envelope", "m2")
    assert gate.metric("csgate_messages_total", kind="binary") == 2


async def test_a_large_text_is_decoded_in_a_thread(open_gate: OpenGate) -> None:
    """On the real clock: the other one does not wait for threads."""
    async with open_gate() as gate:
        client, _ = await gate.v1()
        await client.say(type="message", id="m1", text="look", image="A" * (THREAD_DECODE_BYTES + 4))
        assert (await client.receive())["type"] == "ack"
        assert (await client.expect("reply"))["text"] == "re: look"
        await client.say(type="message", id="m2", text="x" * (THREAD_DECODE_BYTES + 4))
        error = await client.receive()
        assert error["code"] == "too_large"
        assert "id" not in error  # not looked for in so much


async def test_rates_are_the_principals_own(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(
        limits={"messages_burst": 2, "picture_bytes_burst": 10, "picture_bytes_per_second": 1}
    ) as gate:
        client, _ = await gate.v1()
        await client.ask("m1")
        await client.ask("m2")
        error = await client.ask("m3")
        assert (error["code"], error["retry_after"]) == ("rate_limited", 0.2)
        other, _ = await gate.v1("bob")
        assert (await other.ask("m1"))["type"] == "reply"
        await trio.sleep(1)
        await client.say_binary(b"x" * 10, type="message", id="m4")
        assert (await client.expect("reply"))["id"] == "m4"
        await client.say_binary(b"x" * 4, type="message", id="m5")
        error = await client.expect("error")
        assert (error["code"], error["id"]) == ("rate_limited", "m5")


async def test_the_same_id_again(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    await client.ask("m1")
    await client.say(type="message", id="m1", text="hello")
    assert await client.receive() == {"type": "ack", "id": "m1", "offset": 1}
    await client.say(type="message", id="m1", text="other")
    assert (await client.receive())["code"] == "duplicate_mismatch"


async def test_cancel_typing_rate_and_handoff(autojump_clock: Any, gate: Gate) -> None:
    client, welcome = await gate.v1()
    await client.ask("m1")
    watcher, _ = await gate.v1(conversation=welcome["conversation"])
    await watcher.expect("history")
    await client.say(type="typing", on=True)
    assert await watcher.expect("typing") == {"type": "typing", "on": True, "author": "customer"}
    await client.say(type="rate", reply="m1", score=5, comment="thanks")
    assert (await watcher.expect("rate"))["score"] == 5
    await client.say(type="rate", reply="m9", score=5)
    assert (await client.expect("error"))["code"] == "not_found"
    await client.say(type="message", id="m2", text="hold")
    await client.expect("ack")
    await client.say(type="cancel", id="m2")
    assert (await client.expect("error"))["code"] == "cancelled"
    await client.say(type="handoff", reason="a person, please")
    assert (await client.expect("state"))["state"] == "waiting"
    await client.say(type="ping", t="now")
    assert (await client.expect("pong"))["t"] == "now"


async def test_typing_is_passed_on_when_it_changes_and_not_too_often(autojump_clock: Any, gate: Gate) -> None:
    client, welcome = await gate.v1()
    await client.ask("m1")
    watcher, _ = await gate.v1(conversation=welcome["conversation"])
    await watcher.expect("history")
    for on in (False, True, True, False, False, *([True, False] * 100)):
        await client.say(type="typing", on=on)
    await trio.sleep(1)
    await client.say(type="typing", on=True)
    await client.ask("m2")
    seen = [await watcher.expect("typing", "message")]
    while seen[-1]["type"] == "typing":
        seen.append(await watcher.expect("typing", "message"))
    assert [event.get("on") for event in seen] == [True, False, True, None]


async def test_a_flood_of_bad_messages_is_abuse(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    for _ in range(1_001):
        await client.say(b"{")
    assert await client.close_code() == 4503


async def test_a_flood_beyond_the_rate_is_told_and_costs_no_connection(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    for i in range(1_100):
        await client.say(type="message", id=f"m{i}", text="hold")
    await client.say(type="ping", t=1)
    while (event := await client.expect("error", "pong"))["type"] == "error":
        assert event["code"] in ("rate_limited", "overloaded")
    assert event["t"] == 1


async def test_a_flood_beyond_the_rate_without_end_is_abuse(open_gate: OpenGate, autojump_clock: Any) -> None:
    async with open_gate(limits={"messages_burst": 1}) as gate:
        gate.change(misuse=Buckets(1.0, 10.01, trio.current_time))
        client, _ = await gate.v1()
        for i in range(201):
            await client.say(type="message", id=f"m{i}", text="hold")
        await client.say(type="ping", t=1)
        await client.expect("pong")  # one was taken and two hundred limited
        await client.say(type="message", id="last", text="hold")
        assert await client.close_code() == 4503
    assert BAD_MESSAGES_BURST / RATE_LIMITED_COST == 20_000


async def test_the_session_lets_go(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    (chat,) = gate.services.live
    chat.detached()
    assert await client.close_code() == 4004


async def test_no_message_is_kept_while_waiting_for_the_next(autojump_clock: Any, gate: Gate) -> None:
    """A picture of megabytes must not stay with a connection that idles for hours."""
    data = memoryview(bytearray(b'{"type":"message","id":"m1","text":"hi","image":"AAAA"}'))
    alive = weakref.ref(data)
    messages = [TextMessage(memoryview(b'{"type":"hello"}')), TextMessage(data)]
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

        def send_text(self, data: bytes, *, more: bool = False) -> None:
            pass

    upgrade = gate.upgrade(trio.testing.memory_stream_pair()[0], token=gate.token())
    gate.nursery.start_soon(ChatV1(Scripted(), upgrade, gate.services).run)  # type: ignore[arg-type]
    await waiting.wait()
    await trio.sleep(1)  # the answer is out
    assert alive() is None


# --- Tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_that_runs_out(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1(claims={"lifetime": 100})
    began = trio.current_time()
    warning = await client.expect("token_expiring")
    assert warning["seconds"] == pytest.approx(60, abs=1)
    assert trio.current_time() - began == pytest.approx(40, abs=1)
    await closes_with(gate, client, "expired", 4501)
    assert trio.current_time() - began == pytest.approx(125, abs=1)


async def test_refresh_moves_the_end(autojump_clock: Any, gate: Gate) -> None:
    client, welcome = await gate.v1(claims={"lifetime": 100})
    await client.expect("token_expiring")
    for wrong in (
        gate.token("bob", 1_000),
        gate.token("ann", 1_000, role="service"),
        gate.token("ann", 1_000, conversation="another"),
    ):
        await client.say(type="refresh", token=wrong)
        assert (await client.expect("error"))["code"] == "forbidden"
    await client.say(type="refresh", token=gate.token("ann", 1_000, conversation=welcome["conversation"]))
    began = trio.current_time()
    await client.expect("token_expiring")
    assert trio.current_time() - began > 900
    await client.say(type="refresh", token=gate.token()[:-3])
    await closes_with(gate, client, "unauthorized", 4500)


# --- Failures --------------------------------------------------------------------------------------------------------


async def test_an_unexpected_failure_ends_one_connection_only(autojump_clock: Any, gate: Gate) -> None:
    class Broken:
        async def attach(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("secret words")

    other, _ = await gate.v1()
    conversations = gate.conversations
    gate.change(conversations=Broken())
    client = await gate.open(V1, token=gate.token())
    await client.say(type="hello")
    error = await client.expect("error")
    assert error["code"] == "internal"
    assert "secret" not in json.dumps(error)
    assert await client.close_code() == 1011
    (line,) = [entry for entry in gate.log if entry["event"] == "connection_failed"]
    assert line["ref"] == error["ref"]
    assert (await other.ask("m1"))["type"] == "reply"
    gate.change(conversations=conversations)
    await other.leave()


async def test_a_peer_that_vanishes(autojump_clock: Any, gate: Gate) -> None:
    client, _ = await gate.v1()
    await client.say(type="message", id="m1", text="sleep 1")
    await client.expect("ack")
    await client.stream.aclose()
    await gate.until(lambda: gate.ended == 1)
    await trio.sleep(5)
    gate.assert_nothing_is_left()
    assert not any("failed" in entry["event"] for entry in gate.log)
