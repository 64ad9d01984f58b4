"""``csgate.v1`` through outside clients and the raw one: acknowledgement, idempotency, resume, tabs, tokens."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import picows

from . import pictures
from .conftest import Server
from .raw import Closed, RawWebSocket, ask, final, open_v1


def test_aiohttp_client(server: Server) -> None:
    async def talk() -> list[dict[str, Any]]:
        events = []
        async with aiohttp.ClientSession() as session:
            protocols = ("csgate.v1", f"csgate.bearer.{server.token()}")
            async with session.ws_connect(server.http + "/ws", protocols=protocols) as socket:
                assert socket.protocol == "csgate.v1"
                await socket.send_json({"type": "hello", "locale": "en"})
                picture = pictures.base64_text(pictures.png())
                await socket.send_json({"type": "message", "id": "m1", "text": "I love it", "image": picture})
                async for message in socket:
                    events.append(json.loads(message.data))
                    if events[-1]["type"] in ("reply", "error"):
                        await socket.close()
        return events

    events = asyncio.run(talk())
    kinds = [event["type"] for event in events]
    assert kinds[0] == "welcome"
    assert kinds[-1] == "reply"
    assert kinds.index("ack") < kinds.index("reply")
    assert events[-1]["tags"]
    assert events[-1]["sentiment"]["label"] == "positive"


def test_picows_client(server: Server) -> None:
    class Listener(picows.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.events: list[dict[str, Any]] = []
            self.done = asyncio.get_running_loop().create_future()

        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            transport.send(picows.WSMsgType.TEXT, b'{"type": "hello"}')
            transport.send(
                picows.WSMsgType.TEXT, '{"type": "message", "id": "m1", "text": "我的订单12345在哪里？"}'.encode()
            )

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                event = json.loads(frame.get_payload_as_bytes())
                self.events.append(event)
                if event["type"] in ("reply", "error"):
                    self.done.set_result(event)

    async def talk() -> dict[str, Any]:
        transport, listener = await picows.ws_connect(
            Listener,
            server.ws,
            extra_headers={
                "Authorization": f"Bearer {server.token()}",
                "Sec-WebSocket-Protocol": "csgate.v1",
            },
        )
        reply: dict[str, Any] = await asyncio.wait_for(listener.done, 20)
        transport.disconnect()
        return reply

    reply = asyncio.run(talk())
    assert reply["intent"]["name"] == "track_order"
    assert "12345" in reply["text"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in reply["text"])


def test_welcome_says_what_runs(server: Server) -> None:
    client, welcome = open_v1(server)
    with client:
        assert welcome["engine"]["provider"] == "CPUExecutionProvider"
        assert {"intent", "sentiment", "tagger"} <= set(welcome["engine"]["models"])
        assert welcome["recovered"] is False
        assert welcome["offset"] == 0
        assert len(welcome["conversation"]) >= 22


def test_reply_carries_what_the_protocol_lists(server: Server) -> None:
    client, _ = open_v1(server)
    with client:
        reply = ask(
            client, "m1", "This is terrible, my parcel 12345 came broken!", image=pictures.base64_text(pictures.png())
        )
        assert {
            "id", "offset", "text", "format", "intent", "sentiment", "tags", "analysis", "quick_replies", "source",
            "timing", "timestamp",
        } <= set(reply)  # fmt: skip
        assert reply["format"] == "markdown"
        assert reply["sentiment"]["label"] == "negative"
        assert reply["analysis"]
        assert reply["timestamp"].endswith("Z")
        assert all({"name", "label", "score"} <= set(tag) for tag in reply["tags"])


def test_a_resend_is_harmless(server: Server) -> None:
    client, _ = open_v1(server)
    with client:
        message = {"type": "message", "id": "m1", "text": "hello"}
        client.send_json(message)
        ack = client.expect("ack")
        reply = final(client, "m1")
        client.send_json(message)
        assert client.expect("ack", "reply", "error") == ack
        assert ask(client, "m2", "thanks")["offset"] == reply["offset"] + 2


def test_resume_brings_exactly_what_was_missed(server: Server) -> None:
    client, welcome = open_v1(server)
    with client:
        first = ask(client, "m1", "hello")
        client.send_json({"type": "message", "id": "m2", "text": "where is my order 777?"})
        client.expect("ack")
    deadline = time.monotonic() + 10
    while True:
        again, resumed = open_v1(
            server, conversation=welcome["conversation"], epoch=welcome["epoch"], offset=first["offset"]
        )
        with again:
            assert resumed["recovered"] is True
            missed = again.expect("history")["events"]
            if len(missed) == 2:
                break
            final(again, "m2")
        assert time.monotonic() < deadline
    assert [(event["type"], event["offset"]) for event in missed] == [("message", 3), ("reply", 4)]
    assert missed[0]["text"] == "where is my order 777?"


def test_resume_under_another_epoch_pretends_nothing(server: Server) -> None:
    client, welcome = open_v1(server)
    with client:
        ask(client, "m1", "hello")
    again, resumed = open_v1(server, conversation=welcome["conversation"], epoch="other", offset=1)
    with again:
        assert resumed["recovered"] is False
        assert [event["offset"] for event in again.expect("history")["events"]] == [1, 2]


def test_two_tabs_see_the_same(server: Server) -> None:
    one, welcome = open_v1(server)
    two, _ = open_v1(server, conversation=welcome["conversation"])
    with one, two:
        reply = ask(one, "m1", "hello")
        seen = two.expect("message")
        assert (seen["id"], seen["text"], seen["author"]) == ("m1", "hello", "customer")
        assert final(two, "m1") == reply


def test_a_conversation_is_its_owners(server: Server) -> None:
    client, welcome = open_v1(server, "ann")
    with client:
        ask(client, "m1", "hello")
        for subject, conversation in [("eve", welcome["conversation"]), ("ann", "no-such-conversation")]:
            other = RawWebSocket(server.port, protocols=("csgate.v1",), token=server.token(subject))
            with other:
                other.send_json({"type": "hello", "conversation": conversation})
                error = other.receive()
                assert error["code"] == "not_found"


def test_cancel_a_message_that_waits(server: Server) -> None:
    photo = pictures.base64_text(pictures.jpeg(3000, 2000))
    client, _ = open_v1(server)
    with client:
        for i in range(8):
            client.send_json({"type": "message", "id": f"m{i}", "image": photo})
        client.send_json({"type": "cancel", "id": "m7"})
        cancelled = final(client, "m7")
        assert cancelled.get("code") == "cancelled" or cancelled.get("stopped")
        assert ask(client, "m8", "hello")["type"] == "reply"


def test_a_token_that_expires_while_connected(server: Server) -> None:
    token = server.token(lifetime=61.0)
    client = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{token}"))
    with client:
        client.send_json({"type": "hello"})
        client.expect("welcome")
        expiring = client.expect("token_expiring")
        assert 55 < expiring["seconds"] <= 60.5
        client.send_json({"type": "refresh", "token": server.token("eve")})
        assert client.expect("error")["code"] == "forbidden"
        client.send_json({"type": "refresh", "token": server.token("ann", lifetime=600)})
        assert ask(client, "m1", "hello")["type"] == "reply"
    almost = server.token(lifetime=-24.0)  # within the leeway, and refresh is accepted until 25 s after
    client = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{almost}"))
    with client:
        client.send_json({"type": "hello"})
        try:
            while client.receive()["type"] != "error":
                pass
        except Closed:
            raise AssertionError("closed without saying why") from None
        assert client.close_code() == 4501


def test_rate_and_typing_and_ping(server: Server) -> None:
    one, welcome = open_v1(server)
    two, _ = open_v1(server, conversation=welcome["conversation"])
    with one, two:
        reply = ask(one, "m1", "hello")
        one.send_json({"type": "typing", "on": True})
        assert two.expect("typing")["on"] is True
        one.send_json({"type": "rate", "reply": reply["id"], "score": 5, "comment": "lovely"})
        rated = two.expect("rate")
        assert (rated["score"], rated["comment"]) == (5, "lovely")
        one.send_json({"type": "ping", "t": 42})
        assert one.expect("pong")["t"] == 42


def test_an_agent_takes_over(server: Server) -> None:
    customer, welcome = open_v1(server)
    with customer:
        ask(customer, "m1", "hello")
        customer.send_json({"type": "handoff", "reason": "please"})
        assert customer.expect("state")["state"] == "waiting"
        token = server.token("agent-1", role="agent")
        agent = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{token}"))
        with agent:
            agent.send_json({"type": "hello", "conversation": welcome["conversation"]})
            agent.expect("welcome")
            agent.send_json({"type": "message", "id": "a1", "text": "Hi, I am Maria."})
            heard = customer.expect("message")
            assert (heard["author"], heard["text"]) == ("human", "Hi, I am Maria.")
            customer.send_json({"type": "message", "id": "m2", "text": "where is my order?"})
            assert agent.expect("message")["text"] == "where is my order?"
