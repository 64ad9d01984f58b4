"""A conversation over connections that break in every way."""

import httpx
import pytest
import trio

from csgate.client import ChatRefused, ChatUnreachable, Connected, Disconnected, open_chat, parse_address
from csgate.client import chat as chat_module
from csgate.client.backoff import Backoff
from csgate.client.guest import GuestTokens
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    MessageEvent,
    RateEvent,
    ReplyEvent,
    StateEvent,
    TypingEvent,
)
from csgate.protocol import Draining, History, Pong, TokenExpiring

from .scripted import Peer, all_events, next_of, run_gateway, welcome

WHEN = "2026-01-01T00:00:00Z"


def reply(message_id: str, offset: int, text: str = "done") -> ReplyEvent:
    return ReplyEvent(
        id=message_id,
        offset=offset,
        text=text,
        intent=None,
        sentiment=None,
        tags=(),
        analysis="",
        source="canned",
        timestamp=WHEN,
    )


async def answer_all(peer: Peer, offset: int = 0) -> None:
    """Acknowledges and answers every message of this connection."""
    while True:
        message = await peer.read()
        if message["type"] == "message":
            await peer.send(
                AckEvent(message["id"], offset + 1), reply(message["id"], offset + 2, message.get("text", ""))
            )
            offset += 2


async def greeted(peer: Peer) -> None:
    assert (await peer.read())["type"] == "hello"
    await peer.send(welcome())
    await answer_all(peer)


async def test_a_message_is_acknowledged_and_answered() -> None:
    async with run_gateway(greeted) as gateway, gateway.chat(locale="zh-CN") as chat:
        connected = await next_of(chat, Connected)
        assert not connected.resumed
        sent = await chat.send("hello")
        assert (await next_of(chat, AckEvent)).id == sent
        assert (await next_of(chat, ReplyEvent)).text == "hello"
    assert gateway.peers[0].headers["authorization"] == "Bearer guest-1"
    assert gateway.guest_requests == [{}]


async def test_a_token_of_ones_own_needs_no_guest() -> None:
    async def script(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "locale": "en"}
        await peer.send(welcome())
        assert await peer.until_closed() == 1000

    async with run_gateway(script) as gateway:
        async with gateway.chat(token="mine", locale="en") as chat:
            await next_of(chat, Connected)
    assert gateway.peers[0].headers["authorization"] == "Bearer mine"
    assert gateway.guest_requests == []


async def test_a_picture_goes_as_a_binary_frame() -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for _ in range(2):
            got.append(await peer.read())
            await peer.send(reply(got[-1]["id"], len(got)))

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        first = await chat.send("see", b"\x89PNG\x00\xff")
        await next_of(chat, ReplyEvent)
        await chat.send(picture=b"GIF")
        await next_of(chat, ReplyEvent)
    assert got[0] == {"type": "message", "id": first, "text": "see", "image": b"\x89PNG\x00\xff"}
    assert got[1]["image"] == b"GIF"
    assert "text" not in got[1]


async def test_the_other_requests() -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        got.extend([await peer.read() for _ in range(3)])
        await peer.close(4500)

    async with run_gateway(script) as gateway, gateway.chat(token="mine") as chat:
        await next_of(chat, Connected)
        chat.cancel("m1")
        chat.rate("m1", 5, "kind")
        chat.handoff()
        await all_events(chat)
    assert got == [
        {"type": "cancel", "id": "m1"},
        {"type": "rate", "reply": "m1", "score": 5, "comment": "kind"},
        {"type": "handoff"},
    ]


async def test_events_come_once_and_in_order() -> None:
    events = (
        MessageEvent(id="x", offset=1, author="human", text="hi", timestamp=WHEN),
        StateEvent(state="human", offset=2, timestamp=WHEN),
        RateEvent(reply="x", score=5, offset=3, timestamp=WHEN),
        ErrorEvent(code="internal", message="no", ref="r", id="y", offset=4),
    )

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), History(events=events), *events)
        await peer.send(TypingEvent(on=True), Pong(t=1), DeltaEvent("z", 1, 1, "a"))
        await peer.ws.send_message('{"type": "a type of tomorrow"}')
        await peer.close(4500)

    async with run_gateway(script) as gateway, gateway.chat(token="mine") as chat:
        got = await all_events(chat)
    assert got[1:] == [*events, TypingEvent(on=True), DeltaEvent("z", 1, 1, "a")]


async def test_a_broken_connection_is_resumed_and_what_is_not_acknowledged_is_sent_again() -> None:
    got = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        acked, unacked = await peer.read(), await peer.read()
        got.extend([acked["id"], unacked["id"]])
        await peer.send(AckEvent(acked["id"], 1))
        await peer.close(1011)

    async def second(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "conversation": "c1", "epoch": "e1", "offset": 0}
        await peer.send(welcome(recovered=True, offset=2), History(events=(reply(got[0], 2),)))
        again = await peer.read()
        got.append(again["id"])
        await peer.send(AckEvent(again["id"], 3), reply(again["id"], 4))
        await peer.until_closed()

    async with run_gateway(first, second) as gateway, gateway.chat() as chat:
        one, two = await chat.send("one"), await chat.send("two")
        assert (await next_of(chat, Disconnected)).retry_in == 0.0
        assert (await next_of(chat, Connected)).resumed
        assert (await next_of(chat, ReplyEvent)).id == one
        assert (await next_of(chat, ReplyEvent)).id == two
    assert got == [one, two, two]
    assert gateway.waits == [(0.0, 0.5)]
    assert gateway.guest_requests == [{}]


async def test_a_lost_log_gets_everything_without_an_answer_again() -> None:
    got = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        await peer.send(AckEvent(message["id"], 1))
        await peer.close(1001)

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(epoch="e2"))
        message = await peer.read()
        got.append(message["id"])
        await peer.send(reply(message["id"], 1))
        await peer.until_closed()

    async with run_gateway(first, second) as gateway, gateway.chat() as chat:
        sent = await chat.send("one")
        await next_of(chat, Disconnected)
        assert not (await next_of(chat, Connected)).resumed
        assert (await next_of(chat, ReplyEvent)).id == sent
    assert got == [sent]


async def test_a_conversation_that_is_gone_is_begun_anew_on_the_same_connection() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(offset=7), reply("old", 7))
        await peer.close(1001)

    async def second(peer: Peer) -> None:
        assert (await peer.read())["conversation"] == "c1"
        await peer.send(ErrorEvent(code="not_found", message="gone", ref="r"))
        assert await peer.read() == {"type": "hello"}
        await peer.send(welcome(conversation="c2", epoch="e2"), reply("new", 1))
        await peer.until_closed()

    async with run_gateway(first, second) as gateway, gateway.chat() as chat:
        await next_of(chat, Disconnected)
        assert (await next_of(chat, Connected)).welcome.conversation == "c2"
        assert (await next_of(chat, ReplyEvent)).id == "new"


async def test_a_draining_gateway_names_the_time_to_come_back() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), Draining(reconnect_after_ms=20))
        await peer.close(4001, "draining")

    async with run_gateway(first, greeted) as gateway, gateway.chat() as chat:
        gone = await next_of(chat, Disconnected)
        assert (gone.reason, gone.retry_in) == ("draining", 0.02)
        await next_of(chat, Connected)
    assert gateway.waits == [(0.0, 0.5)]


@pytest.mark.parametrize("code", [1002, 1007, 1009, 4502, 4503, 4504, 4505])
async def test_codes_that_say_do_not_come_back(code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), ErrorEvent(code="unauthorized", message="Not you.", ref="r"))
        await peer.close(code, "why")

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        await next_of(chat, ErrorEvent)
        with pytest.raises(ChatRefused, match=f"(Not you|why) .close code {code}") as caught:
            await chat.receive()
        assert caught.value.number == code
        with pytest.raises(ChatRefused):
            await chat.send("too late")


async def test_an_expired_guest_is_renewed() -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.close(4501)

    async with run_gateway(first, greeted) as gateway, gateway.chat() as chat:
        assert (await next_of(chat, Disconnected)).reason == "close code 4501"
        await next_of(chat, Connected)
    assert gateway.guest_requests == [{}, {"token": "guest-1"}]
    assert gateway.peers[1].headers["authorization"] == "Bearer guest-2"


async def test_a_guest_that_is_never_admitted_gives_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.close(4500, "no")

    async with run_gateway(*[script] * 4) as gateway, gateway.chat() as chat:
        with pytest.raises(ChatRefused, match=r"no .close code 4500"):
            await next_of(chat, ReplyEvent)
    assert len(gateway.guest_requests) == 4


async def test_an_expired_token_of_ones_own_ends_the_chat() -> None:
    async def script(peer: Peer) -> None:
        await peer.close(4501)

    async with run_gateway(script) as gateway, gateway.chat(token="mine") as chat:
        with pytest.raises(ChatRefused, match=r"no reason given .close code 4501"):
            await chat.receive()


async def test_a_refusal_that_is_quicker_than_hello_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(ErrorEvent(code="unauthorized", message="Not valid.", ref="r"))
        await peer.close(4500)

    async with run_gateway(script) as gateway, gateway.chat(token="mine") as chat:
        assert (await next_of(chat, ErrorEvent)).message == "Not valid."
        with pytest.raises(ChatRefused, match="Not valid"):
            await chat.receive()


async def test_a_token_that_runs_out_is_refreshed_on_the_way() -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), TokenExpiring(seconds=60))
        got.append(await peer.read())
        await peer.close(4503)

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        await all_events(chat)
    assert got == [{"type": "refresh", "token": "guest-2"}]


async def test_a_refresh_that_fails_waits_for_the_end_of_the_token() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        gateway.guest_status = 503
        await peer.send(welcome(), TokenExpiring(seconds=60))
        await answer_all(peer)

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        while len(gateway.guest_requests) < 2:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await chat.send("still here")
        await next_of(chat, ReplyEvent)


async def test_a_message_refused_for_now_is_sent_again() -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        got.append(message["id"])
        await peer.send(ErrorEvent(code="rate_limited", message="slow", ref="r", id=message["id"], retry_after=0.01))
        again = await peer.read()
        got.append(again["id"])
        await peer.send(reply(again["id"], 1))
        await peer.until_closed()

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        sent = await chat.send("one")
        while not isinstance(event := await chat.receive(), ReplyEvent):
            assert not isinstance(event, ErrorEvent)
    assert got == [sent, sent]


async def test_a_message_refused_too_often_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        while True:
            message = await peer.read()
            await peer.send(ErrorEvent(code="overloaded", message="no", ref="r", id=message["id"], retry_after=0.0001))

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        sent = await chat.send("one")
        error = await next_of(chat, ErrorEvent)
    assert (error.id, error.code) == (sent, "overloaded")
    assert len(gateway.waits) == chat_module.MAX_REFUSALS


async def test_what_may_wait_for_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "MAX_UNANSWERED", 2)
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await go_on.wait()
        await answer_all(peer)

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        await chat.send("one")
        await chat.send("two")
        with trio.move_on_after(0.05) as scope:
            await chat.send("three")
        assert scope.cancelled_caught
        go_on.set()
        await next_of(chat, ReplyEvent)
        await chat.send("three")


async def test_a_gateway_that_goes_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "PING_AFTER_S", 0.02)
    monkeypatch.setattr(chat_module, "PONG_S", 0.02)
    monkeypatch.setattr(chat_module, "CLOSE_S", 0.05)
    asleep = trio.Event()

    async def silent(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        monkeypatch.setattr(peer.ws, "_send", _swallow)
        await asleep.wait()

    async def _swallow(event: object) -> None:
        # The pong that never leaves. From here on no other connection may be found silent, however slow this machine.
        monkeypatch.setattr(chat_module, "PING_AFTER_S", 30.0)

    async with run_gateway(silent, greeted) as gateway, gateway.chat() as chat:
        await next_of(chat, Disconnected)
        await next_of(chat, Connected)


async def test_a_gateway_that_answers_pings_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_module, "PING_AFTER_S", 0.01)
    pings = 0
    three = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        original = peer.ws._send

        async def counting(event: object) -> None:
            nonlocal pings
            pings += type(event).__name__ == "Pong"
            if pings == 3:
                three.set()
            await original(event)

        monkeypatch.setattr(peer.ws, "_send", counting)
        await answer_all(peer)

    async with run_gateway(script) as gateway, gateway.chat() as chat:
        await next_of(chat, Connected)
        await three.wait()
        await chat.send("hello")
        await next_of(chat, ReplyEvent)
    assert len(gateway.peers) == 1


async def test_nobody_there_is_said_at_once() -> None:
    async with open_chat(parse_address("127.0.0.1:1"), token="mine") as chat:
        with pytest.raises(ChatUnreachable, match=r"Nobody answers at ws://127.0.0.1:1/ws .*refused"):
            await chat.receive()


async def test_a_gateway_that_comes_back_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 0

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.close(1001)

    real = trio.open_tcp_stream

    async def sometimes(host: str, port: int) -> trio.SocketStream:
        nonlocal failures
        if gateway.peers and failures < 3:
            failures += 1
            raise OSError(111, "Connection refused")
        return await real(host, port)

    monkeypatch.setattr(trio, "open_tcp_stream", sometimes)
    async with run_gateway(first, greeted) as gateway, gateway.chat() as chat:
        reasons = [(await next_of(chat, Disconnected)).reason for _ in range(4)]
        await next_of(chat, Connected)
    assert all("Connection refused" in reason for reason in reasons[1:])
    assert gateway.waits == [(0.0, 0.5), (0.0, 1.0), (0.0, 2.0), (0.0, 4.0)]


@pytest.mark.parametrize(("status", "kind"), [(404, ChatRefused), (503, ChatUnreachable), (429, ChatUnreachable)])
async def test_an_http_answer_instead_of_a_handshake(status: int, kind: type[Exception]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        port = listener.socket.getsockname()[1]
        async with open_chat(parse_address(f"127.0.0.1:{port}"), token="mine") as chat:
            with pytest.raises(kind, match=f"HTTP {status}"):
                await chat.receive()
        nursery.cancel_scope.cancel()


async def test_leaving_while_events_wait_leaves_no_task_behind() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for number in range(200):
            await peer.send(DeltaEvent("m", 1, number + 1, "x"))
        await peer.until_closed()

    async with run_gateway(script) as gateway:
        async with gateway.chat() as chat:
            await next_of(chat, DeltaEvent)
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await gateway.peers[0].until_closed()


async def test_leaving_during_a_wait_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.close(1001)

    async with run_gateway(script) as gateway:
        monkeypatch.setattr(gateway, "draw", lambda low, high: 3600.0)
        with trio.fail_after(5):
            async with gateway.chat() as chat:
                await next_of(chat, Disconnected)


async def test_guests_refused_end_the_chat() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(403, json={"message": "Please sign in."}))
    guests = GuestTokens("http://gate.example", lambda: httpx.AsyncClient(transport=transport))
    async with open_chat(parse_address("gate.example"), guests=guests, backoff=Backoff()) as chat:
        with pytest.raises(ChatRefused, match="Please sign in"):
            await chat.receive()
