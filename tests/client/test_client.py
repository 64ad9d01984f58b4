"""A conversation over connections that break in every way, under a clock that jumps."""

from itertools import pairwise
from typing import Any

import pytest
import trio

from csgate.client import ChatRefused, ChatUnreachable, Connected, Disconnected, NotRecovered, Place
from csgate.client import client as client_module
from csgate.client.pace import Pace
from csgate.errors import Overloaded, TooLarge
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    MessageEvent,
    ProgressEvent,
    RateEvent,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.protocol import Draining, History, Pong, TokenExpiring

from .scripted import Gone, Net, Peer, all_events, next_of, run_gateway, welcome

WHEN = "2026-01-01T00:00:00Z"


def reply(message_id: str, offset: int, text: str = "done") -> ReplyEvent:
    return ReplyEvent(message_id, offset, text, None, None, (), "", "canned", WHEN)


def said(message_id: str, offset: int, author: Any = "customer") -> MessageEvent:
    return MessageEvent(message_id, offset, author, "hi", WHEN)


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


# --- One connection --------------------------------------------------------------------------------------------------


async def test_a_message_is_acknowledged_and_answered(autojump_clock: Any) -> None:
    net = Net(a=[greeted])
    async with net.connect(locale="zh-CN") as client:
        assert client.address is None
        assert client.place is None
        sent = await client.send("hello")
        await sent.acked()
        assert (await sent.final()).text == "hello"  # type: ignore[union-attr]
        events = [await client.receive() for _ in range(3)]
        assert client.address == "ws://a.example/ws"
        assert client.place == Place("c1", "e1", 2)
    assert events == [
        Connected(welcome(), False, "ws://a.example/ws"),
        AckEvent(sent.id, 1),
        reply(sent.id, 2, "hello"),
    ]
    assert net.tokens == ["mine"]
    with pytest.raises(trio.EndOfChannel):
        await client.receive()
    assert [event async for event in client] == []


async def test_over_a_real_socket_with_a_guests_token() -> None:
    async def script(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "locale": "en"}
        await peer.send(welcome())
        message = await peer.read()
        assert (message["text"], message["image"]) == ("see", b"\x89PNG\x00\xff")
        await peer.send(reply(message["id"], 1))
        assert await peer.until_closed() == 1000

    async with run_gateway(script) as gateway, gateway.chat(locale="en") as client:
        await (await client.send("see", b"\x89PNG\x00\xff")).final()
    assert gateway.peers[0].headers["authorization"] == "Bearer guest-1"
    assert gateway.guest_requests == [{}]


async def test_the_other_requests_wait_for_a_connection(autojump_clock: Any) -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        got.extend([await peer.read() for _ in range(8)])
        await peer.close(4503)

    net = Net(a=[script])
    async with net.connect() as client:
        client.typing()  # There is nobody to see it, and no later.
        client.rate("m1", 5, "kind")
        client.handoff()
        message = await client.send("one")
        await next_of(client, Connected)
        client.cancel("unknown")
        client.cancel(message.id)
        client.typing()
        client.typing(False)
        client.refresh("newer")
        await all_events(client)
    assert sorted(frame["type"] for frame in got[:3]) == ["handoff", "message", "rate"]
    assert got[3:] == [
        {"type": "cancel", "id": "unknown"},
        {"type": "cancel", "id": message.id},
        {"type": "typing", "on": True},
        {"type": "typing", "on": False},
        {"type": "refresh", "token": "newer"},
    ]


async def test_what_waits_for_a_connection_is_bounded(autojump_clock: Any) -> None:
    async with Net().connect() as client:
        for _ in range(client_module.MAX_REQUESTS):
            client.handoff()
        with pytest.raises(Overloaded):
            client.rate("m1", 1)


async def test_events_come_once_and_in_order(autojump_clock: Any) -> None:
    events = (
        said("x", 1, "human"),
        StateEvent(state="human", offset=2, timestamp=WHEN),
        RateEvent(reply="x", score=5, offset=3, timestamp=WHEN),
        ErrorEvent(code="internal", message="no", ref="r", id="y", offset=4),
    )
    passing = ErrorEvent(code="bad_envelope", message="no", ref="r")

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), History(events=events), *events, Pong(t=1), welcome())
        await peer.send(TypingEvent(on=True), ProgressEvent("z", "answering"), DeltaEvent("z", 1, 1, "a"), passing)
        await peer.ws.send_message('{"type": "a type of tomorrow"}')
        await peer.send(TokenExpiring(60))
        await peer.close(4503)

    async with Net(a=[script]).connect() as client:
        got = await all_events(client)
    assert got[1:] == [
        *events,
        TypingEvent(on=True),
        ProgressEvent("z", "answering"),
        DeltaEvent("z", 1, 1, "a"),
        passing,
        TokenExpiring(60),
    ]


async def test_a_message_of_ones_own_must_say_something(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(limits={"max_text_chars": 5, "max_message_bytes": 100}))
        await peer.until_closed()

    async with Net(a=[script]).connect() as client:
        for empty in (None, "", " \n"):
            with pytest.raises(ValueError, match="text or an image"):
                await client.send(empty)
        await next_of(client, Connected)
        with pytest.raises(TooLarge, match="5 characters"):
            await client.send("123456")
        with pytest.raises(TooLarge, match="100 bytes") as caught:
            await client.send(image=b"1" * 100)
        assert caught.value.max_bytes == 100


async def test_what_may_wait_for_an_answer_is_bounded(autojump_clock: Any) -> None:
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await go_on.wait()
        await answer_all(peer)

    async with Net(a=[script]).connect(max_unanswered=2) as client:
        await client.send("one")
        await client.send("two")
        with trio.move_on_after(3) as scope:
            await client.send("three")
        assert scope.cancelled_caught
        go_on.set()
        assert (await (await client.send("three")).final()).text == "three"  # type: ignore[union-attr]
        await client.flush()


async def test_an_agents_message_is_done_with_its_ack(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for number in (1, 2):
            await peer.send(AckEvent((await peer.read())["id"], number))
        await peer.until_closed()

    async with Net(a=[script]).connect(agent=True, max_unanswered=1) as client:
        await (await client.send("one")).acked()
        await (await client.send("two")).acked()


# --- Coming back -----------------------------------------------------------------------------------------------------


async def test_a_broken_connection_is_resumed_and_what_is_not_acknowledged_is_sent_again(autojump_clock: Any) -> None:
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
        await peer.send(welcome(recovered=True, offset=2), History(events=(said(got[0], 1), reply(got[0], 2))))
        again = await peer.read()
        got.append(again["id"])
        await peer.send(AckEvent(again["id"], 3), reply(again["id"], 4))
        await peer.until_closed()

    net = Net(a=[first, second])
    async with net.connect() as client:
        one, two = await client.send("one"), await client.send("two")
        assert (await two.final()).offset == 4
        events = [await client.receive() for _ in range(7)]
    assert got == [one.id, two.id, two.id]
    assert events == [
        Connected(welcome(), False, "ws://a.example/ws"),
        AckEvent(one.id, 1),
        Disconnected("close code 1011", 0.0),
        Connected(welcome(recovered=True, offset=2), True, "ws://a.example/ws"),
        reply(one.id, 2),
        AckEvent(two.id, 3),
        reply(two.id, 4),
    ]
    assert net.draws == [(0.0, 0.5)]


async def test_an_ack_that_was_lost_is_read_from_the_log(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        got.append((await peer.read())["id"])
        peer.ws.end(1006, "")

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True, offset=1))
        assert (await peer.read())["id"] == got[0]  # sent before the history was read
        await peer.send(History(events=(said(got[0], 1),)), AckEvent(got[0], 1), reply(got[0], 2))
        await peer.until_closed()

    got: list[str] = []
    async with Net(a=[first, second]).connect() as client:
        sent = await client.send("one")
        await sent.final()
        events = [await client.receive() for _ in range(5)]
    assert events[3:] == [AckEvent(sent.id, 1), reply(sent.id, 2)]


async def test_a_cancel_is_asked_again(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        await peer.send(AckEvent(message["id"], 1))
        await peer.read()
        await peer.close(4002)

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True, offset=1))
        cancel = await peer.read()
        assert cancel["type"] == "cancel"
        await peer.send(ErrorEvent("cancelled", "Stopped.", "r", cancel["id"], 2))
        await peer.until_closed()

    async with Net(a=[first, second]).connect() as client:
        sent = await client.send("one")
        await sent.acked()
        client.cancel(sent.id)
        assert (await sent.final()).code == "cancelled"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("second_welcome", "reason", "again"),
    [
        (welcome(epoch="e2", offset=3), "new_log", True),
        (welcome(offset=1), "new_log", True),
        (welcome(offset=9), "gap", False),
    ],
)
async def test_what_could_not_be_recovered_is_said(
    autojump_clock: Any, second_welcome: Any, reason: Any, again: bool
) -> None:
    """Another log, a log that was set back, a log whose middle is gone."""
    got: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), said("x", 1), StateEvent("waiting", 2, WHEN), said("y", 3))
        message = await peer.read()
        await peer.send(AckEvent(message["id"], 4), said("z", 5))
        await peer.close(1001)

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(second_welcome, History(events=(said("z", 5), said("later", 6))))
        await peer.send(StateEvent("human", 4, WHEN))
        with trio.move_on_after(1):
            got.append(await peer.read())
        await peer.close(4503)

    async with Net(a=[first, second]).connect() as client:
        await client.send("one")
        await next_of(client, Disconnected)
        events = await all_events(client)
    assert isinstance(events[0], Connected)
    assert not events[0].resumed
    assert events[1] == NotRecovered(reason)
    assert events[2:-1] == ([said("z", 5)] if again else []) + [said("later", 6)]
    assert events[-1] == StateEvent("human", 4, WHEN)
    assert bool(got) is again


async def test_a_conversation_that_is_gone_is_begun_anew_on_the_same_connection(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(offset=7))
        got.append((await peer.read())["id"])
        await peer.send(AckEvent(got[0], 8))
        await peer.close(1001)

    async def second(peer: Peer) -> None:
        assert (await peer.read())["conversation"] == "c1"
        await peer.send(ErrorEvent(code="not_found", message="gone", ref="r"))
        assert await peer.read() == {"type": "hello"}
        await peer.send(welcome(conversation="c2", epoch="e2"))
        await answer_all(peer)

    got: list[str] = []
    async with Net(a=[first, second]).connect() as client:
        sent = await client.send("one")
        assert (await sent.final()).offset == 2
        await next_of(client, Disconnected)
        assert (await next_of(client, Connected)).welcome.conversation == "c2"
        assert await client.receive() == NotRecovered("gone")


async def test_an_earlier_place_is_resumed(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "conversation": "c1", "epoch": "e1", "offset": 4}
        await peer.send(welcome(recovered=True, offset=5), History(events=(said("x", 4), said("y", 5))))
        await peer.until_closed()

    async with Net(a=[script]).connect(place=Place("c1", "e1", 4)) as client:
        assert (await client.receive()).resumed  # type: ignore[union-attr]
        assert await client.receive() == said("y", 5)


async def test_a_place_without_an_epoch_brings_a_page(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "conversation": "c1"}
        await peer.send(welcome(offset=5), History(events=(said("y", 5),)))
        await peer.until_closed()

    async with Net(a=[script]).connect(place=Place("c1")) as client:
        assert not (await client.receive()).resumed  # type: ignore[union-attr]
        assert await client.receive() == said("y", 5)


async def test_an_answer_goes_on_after_a_snapshot(autojump_clock: Any) -> None:
    def scripts() -> list[Any]:
        async def first(peer: Peer) -> None:
            await peer.read()
            await peer.send(welcome(), DeltaEvent("m", 1, 1, "On "), DeltaEvent("m", 1, 2, "its "))
            await peer.send(DeltaEvent("m", 1, 2, "its "))
            await peer.close(4003)

        async def second(peer: Peer) -> None:
            await peer.read()
            await peer.send(welcome(recovered=True), SnapshotEvent("m", 1, 2, "On its "))
            await peer.send(DeltaEvent("m", 1, 3, "way"))
            await peer.close(4003)

        async def third(peer: Peer) -> None:
            await peer.read()
            await peer.send(welcome(recovered=True), SnapshotEvent("m", 1, 5, "On its way, soon"))
            await peer.close(4003)

        async def fourth(peer: Peer) -> None:
            await peer.read()
            await peer.send(welcome(recovered=True), SnapshotEvent("m", 2, 1, "It is"), DeltaEvent("m", 1, 9, "no"))
            await peer.send(DeltaEvent("m", 2, 2, " late"), reply("m", 2, "It is late."))
            await peer.send(DeltaEvent("m", 2, 3, "."), SnapshotEvent("m", 2, 3, "It is late."))
            await peer.close(4503)

        return [first, second, third, fourth]

    async with Net(a=scripts()).connect() as client:
        texts = []
        events = []
        with pytest.raises(ChatRefused):  # noqa: PT012
            async for event in client:
                if isinstance(event, DeltaEvent | SnapshotEvent | ReplyEvent):
                    events.append(event)
                    texts.append(client.partial("m"))
    assert events == [
        DeltaEvent("m", 1, 1, "On "),
        DeltaEvent("m", 1, 2, "its "),
        DeltaEvent("m", 1, 3, "way"),
        DeltaEvent("m", 1, 5, ", soon"),
        SnapshotEvent("m", 2, 1, "It is"),
        DeltaEvent("m", 2, 2, " late"),
        reply("m", 2, "It is late."),
    ]


async def test_waits_grow_with_full_jitter_and_start_over(autojump_clock: Any) -> None:
    net = Net()
    net.jitter = 1.0
    async with net.connect() as client:
        waits = [(await next_of(client, Disconnected)).retry_in for _ in range(8)]
        net.scripts["a"] = [greeted]
        await next_of(client, Connected)
        await net.peers[0].close(1001)
        assert (await next_of(client, Disconnected)).retry_in == 0.5
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    times = [when for _, when in net.dialled]
    assert [later - sooner for sooner, later in pairwise(times)][:6] == waits[:6]


async def test_a_draining_gateway_names_the_time_to_come_back(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), Draining(reconnect_after_ms=2000))
        await peer.close(4001, "draining")

    net = Net(a=[first, greeted])
    async with net.connect() as client:
        gone = await next_of(client, Disconnected)
        assert (gone.reason, gone.retry_in) == ("draining", 2.0)
        await next_of(client, Connected)
    assert net.draws == [(0.0, 2.0)]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013, 4000, 4002, 4003, 4004, 4006, 4499])
async def test_codes_that_say_come_back(autojump_clock: Any, code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.close(code)

    async with Net(a=[script, greeted]).connect() as client:
        await next_of(client, Disconnected)
        await next_of(client, Connected)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 4500, 4502, 4503, 4504, 4505, 4999])
async def test_codes_that_say_do_not_come_back(autojump_clock: Any, code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), ErrorEvent(code="unauthorized", message="Not you.", ref="r"))
        await peer.read()
        await peer.close(code, "why")

    async with Net(a=[script]).connect() as client:
        await next_of(client, ErrorEvent)
        sent = await client.send("hello")
        with pytest.raises(ChatRefused, match=f"(Not you|why) .close code {code}") as caught:  # noqa: PT012
            await client.receive()
            await client.receive()
        assert caught.value.number == code
        for ended in (client.send("too late"), sent.final(), sent.acked(), client.flush()):
            with pytest.raises(ChatRefused):
                await ended


@pytest.mark.parametrize("code", ["not_found", "forbidden", "bad_envelope"])
async def test_a_hello_that_will_never_be_granted(autojump_clock: Any, code: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(Pong(t=0), ErrorEvent(code=code, message="No such thing.", ref="r"))
        await peer.until_closed()

    async with Net(a=[script]).connect() as client:
        with pytest.raises(ChatRefused, match="refuses: No such thing"):
            await client.receive()


async def test_a_gateway_that_is_busy_is_come_back_to(autojump_clock: Any) -> None:
    async def busy(peer: Peer) -> None:
        await peer.read()
        await peer.send(ErrorEvent(code="overloaded", message="Later.", ref="r"), Draining(1500))
        await peer.close(1013)

    async with Net(a=[busy, greeted]).connect() as client:
        assert (await next_of(client, Disconnected)).retry_in == 1.5
        await next_of(client, Connected)


async def test_a_refusal_that_is_quicker_than_hello_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(ErrorEvent(code="unauthorized", message="Not valid.", ref="r"))
        await peer.close(4500)

    async with run_gateway(script) as gateway, gateway.chat(token="mine") as client:
        with pytest.raises(ChatRefused, match="Not valid"):
            await client.receive()


# --- Refused messages ------------------------------------------------------------------------------------------------


async def test_a_message_refused_for_now_is_sent_again(autojump_clock: Any) -> None:
    got: list[tuple[str, float]] = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for _ in range(3):
            message = await peer.read()
            got.append((message["id"], trio.current_time()))
            await peer.send(ErrorEvent("rate_limited", "slow", "r", id=message["id"], retry_after=2))
        message = await peer.read()
        await peer.send(reply(message["id"], 1))
        await peer.until_closed()

    async with Net(a=[script]).connect() as client:
        sent = await client.send("one")
        while not isinstance(event := await client.receive(), ReplyEvent):
            assert not isinstance(event, ErrorEvent)
    assert {name for name, _ in got} == {sent.id}
    assert [round(later - sooner) for (_, sooner), (_, later) in pairwise(got)] == [2, 4]


async def test_a_message_refused_too_often_or_for_good_is_given_up(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        while True:
            message = await peer.read()
            again = None if message["text"] == "never" else 0.1
            await peer.send(ErrorEvent("overloaded", "no", "r", id=message["id"], retry_after=again))

    net = Net(a=[script])
    async with net.connect() as client:
        sent = await client.send("one")
        error = await sent.final()
        assert isinstance(error, ErrorEvent)
        assert (error.id, error.code) == (sent.id, "overloaded")
        assert len(net.draws) == client_module.MAX_REFUSALS
        await (await client.send("never")).final()
        assert len(net.draws) == client_module.MAX_REFUSALS


async def test_a_message_that_was_taken_meanwhile_is_not_sent_again(autojump_clock: Any) -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        await peer.send(ErrorEvent("rate_limited", "slow", "r", id=message["id"], retry_after=2))
        await peer.send(AckEvent(message["id"], 1))
        with trio.move_on_after(10):
            got.append(await peer.read())
        await peer.close(4503)

    async with Net(a=[script]).connect() as client:
        await client.send("one")
        await all_events(client)
    assert got == []


# --- Tokens ----------------------------------------------------------------------------------------------------------


class Source:
    """Tokens t1, t2 …; or what it is told to raise."""

    def __init__(self) -> None:
        self.given = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.given += 1
        return f"t{self.given}"


@pytest.mark.parametrize("code", [4500, 4501])
async def test_a_token_that_is_refused_is_renewed_once(autojump_clock: Any, code: int) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.close(code, "no")

    net = Net(a=[refuse, greeted, refuse, refuse, refuse])
    async with net.connect(token=Source()) as client:
        assert (await client.receive()).reason == "no"  # type: ignore[union-attr]
        await next_of(client, Connected)
        await net.peers[-1].close(1001)
        with pytest.raises(ChatRefused, match=f"no .close code {code}"):
            await next_of(client, Connected)
    assert net.tokens == ["t1", "t2", "t2", "t3"]


async def test_an_expired_token_of_ones_own_ends_the_chat(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.close(4501)

    async with Net(a=[script]).connect() as client:
        with pytest.raises(ChatRefused, match=r"no reason given .close code 4501"):
            await client.receive()


async def test_a_token_that_runs_out_is_refreshed_on_the_way(autojump_clock: Any) -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), TokenExpiring(seconds=60))
        got.append(await peer.read())
        await peer.close(4503)

    async with Net(a=[script]).connect(token=Source()) as client:
        assert not [event for event in await all_events(client) if isinstance(event, TokenExpiring)]
    assert got == [{"type": "refresh", "token": "t2"}]


async def test_a_refresh_that_fails_waits_for_the_end_of_the_token(autojump_clock: Any) -> None:
    source = Source()

    async def script(peer: Peer) -> None:
        await peer.read()
        source.error = ChatUnreachable("Not now.")
        await peer.send(welcome(), TokenExpiring(seconds=60))
        with trio.move_on_after(60):
            await peer.until_closed()
        await peer.close(4501)

    net = Net(a=[script, greeted])
    async with net.connect(token=source) as client:
        assert (await next_of(client, Disconnected)).reason == "close code 4501"
        assert (await next_of(client, Disconnected)).reason == "Not now."
        source.error = None
        await next_of(client, Connected)
    assert net.tokens == ["t1", "t2"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("no route"), Disconnected),
        (trio.TooSlowError(), Disconnected),
        (ChatRefused("Sign in."), None),
        (ValueError("a bug"), None),
    ],
)
async def test_a_source_that_has_no_token(autojump_clock: Any, error: Exception, kind: Any) -> None:
    source = Source()
    source.error = error
    async with Net(a=[greeted]).connect(token=source) as client:
        if kind is None:
            with pytest.raises(ChatRefused, match=r"Sign in|There is no token .ValueError: a bug"):
                await client.receive()
        else:
            await next_of(client, Disconnected)
            source.error = None
            await next_of(client, Connected)


# --- Signs of life ---------------------------------------------------------------------------------------------------


async def test_a_gateway_that_goes_silent_is_left(autojump_clock: Any) -> None:
    async def silent(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await trio.sleep_forever()

    net = Net(a=[silent, greeted])
    async with net.connect() as client:
        gone = await next_of(client, Disconnected)
        assert gone.reason == "the gateway gives no sign of life"
        assert trio.current_time() - net.dialled[0][1] == pytest.approx(25 + 8)


async def test_a_message_without_an_ack_asks_sooner(autojump_clock: Any) -> None:
    async def silent(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await trio.sleep_forever()

    net = Net(a=[silent, greeted])
    async with net.connect() as client:
        await next_of(client, Connected)
        await trio.sleep(20)
        sent = await client.send("hello")
        await sent.final()
        assert trio.current_time() - net.dialled[0][1] == pytest.approx(20 + 5 + 8)


async def test_a_gateway_that_answers_pings_is_kept(autojump_clock: Any) -> None:
    net = Net(a=[greeted])
    async with net.connect() as client:
        await trio.sleep(600)
        await (await client.send("hello")).final()
    assert len(net.peers) == 1


async def test_no_welcome_in_time(autojump_clock: Any) -> None:
    async def mute(peer: Peer) -> None:
        await trio.sleep_forever()

    async with Net(a=[mute, greeted]).connect(pace=Pace(welcome_s=3)) as client:
        assert (await next_of(client, Disconnected)).reason == "no welcome within 3 seconds"
        await next_of(client, Connected)


async def test_what_does_not_get_through_is_given_up(autojump_clock: Any) -> None:
    async def stuck(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), Pong(t=1))

        async def send(frame: object) -> None:
            await trio.sleep_forever()

        peer.ws.send = send
        while True:
            await trio.sleep(5)
            await peer.send(Pong(t=1))

    async with Net(a=[stuck, greeted]).connect() as client:
        await next_of(client, Connected)
        sent = await client.send("hello")
        assert (await next_of(client, Disconnected)).reason == "what is sent does not get through"
        await sent.final()


async def test_a_write_on_a_closed_connection_is_no_failure(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        peer.ws.closed = (1001, "")  # closed, and not yet read
        await trio.sleep(1)
        peer.ws.down_send.close()

    async with Net(a=[script, greeted]).connect() as client:
        await next_of(client, Connected)
        await (await client.send("hello")).final()


# --- Leaving ---------------------------------------------------------------------------------------------------------


async def test_nobody_there_is_said_at_once_where_that_is_wanted(autojump_clock: Any) -> None:
    net = Net()
    async with net.connect("a", "b", keep_trying=False) as client:
        assert isinstance(await client.receive(), Disconnected)
        with pytest.raises(ChatUnreachable, match=r"Nobody answers at b"):
            await client.receive()
    assert [name for name, _ in net.dialled] == ["a", "b"]


async def test_something_that_hangs_up_is_no_gateway(autojump_clock: Any) -> None:
    async def hang_up(peer: Peer) -> None:
        peer.ws.end(1006, "")

    async with Net(a=[hang_up]).connect(keep_trying=False) as client:
        with pytest.raises(ChatUnreachable, match="hangs up before there is a conversation"):
            await client.receive()


async def test_leaving_while_events_wait_leaves_no_task_behind(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for number in range(500):
            await peer.send(DeltaEvent("m", 1, number + 1, "x"))
        codes.append(await peer.until_closed())

    codes: list[int] = []
    async with Net(a=[script]).connect() as client:
        await next_of(client, DeltaEvent)
        await trio.testing.wait_all_tasks_blocked()
    assert codes == [] or codes == [1000]


async def test_a_program_that_asks_for_no_events_is_served_all_the_same(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        for number in range(900):
            await peer.send(DeltaEvent(message["id"], 1, number + 1, "x"))
        await peer.send(reply(message["id"], 2))
        await peer.until_closed()

    async with Net(a=[script]).connect() as client:
        await (await client.send("hello")).final()
        assert (await client.receive()).seq > 600  # type: ignore[union-attr]


async def test_a_slow_program_slows_the_gateway_down(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        for number in range(500):
            await peer.send(said(f"m{number}", number + 1))
        await peer.until_closed()

    net = Net(a=[script])
    async with net.connect() as client:
        await next_of(client, Connected)
        await trio.testing.wait_all_tasks_blocked()
        assert net.peers[0].ws.down.statistics().current_buffer_used > 400
        offsets = [(await next_of(client, MessageEvent)).offset for _ in range(500)]
    assert offsets == list(range(1, 501))


async def test_leaving_during_a_wait_does_not_wait(autojump_clock: Any) -> None:
    net = Net()
    net.jitter = 1.0
    async with net.connect() as client:
        for _ in range(8):
            await next_of(client, Disconnected)
        before = trio.current_time()
    assert trio.current_time() == before


async def test_the_programs_own_failure_comes_out_as_it_is(autojump_clock: Any) -> None:
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with Net(a=[greeted]).connect() as client:
            await next_of(client, Connected)
            raise KeyError("mine")


async def test_a_gateway_that_does_not_close_is_not_waited_for(autojump_clock: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())

        async def close() -> None:
            await trio.sleep_forever()

        peer.ws.close = close
        await trio.sleep_forever()

    async with Net(a=[script]).connect() as client:
        await next_of(client, Connected)
        before = trio.current_time()
    assert trio.current_time() - before <= 3.0


async def test_gone_is_what_scripts_get() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        with pytest.raises(Gone):
            await peer.read()
        done.set()

    done = trio.Event()
    async with run_gateway(script) as gateway:
        async with gateway.chat(token="mine") as client:
            await next_of(client, Connected)
        await done.wait()
