"""Several nodes: the next one, the first one again, and a second connection that is there already."""

from typing import Any

import pytest
import trio

from csgate.client import ChatRefused, Connected, Disconnected, Pace
from csgate.events import AckEvent, DeltaEvent, ErrorEvent, MessageEvent, ProgressEvent, RateEvent, ReplyEvent
from csgate.protocol import Draining, History, TokenExpiring

from .scripted import Net, Peer, Script, next_of, welcome
from .test_client import WHEN, Source, answer_all, greeted, reply, said


def url(name: str) -> str:
    return f"ws://{name}.example/ws"


def resumes(offset: int = 0, *events: Any) -> Script:
    """Grants the resume of c1, then answers whatever comes."""

    async def script(peer: Peer) -> None:
        hello = await peer.read()
        assert hello["conversation"] == "c1"
        await peer.send(welcome(recovered=True, offset=offset), History(events=()), *events)
        await answer_all(peer, offset)

    return script


async def breaks(peer: Peer) -> None:
    await peer.read()
    await peer.send(welcome())
    await trio.sleep(1)
    peer.ws.end(1006, "the connection broke")


# --- One after the other ---------------------------------------------------------------------------------------------


async def test_the_next_address_is_tried_and_the_wait_grows_by_rounds(autojump_clock: Any) -> None:
    net = Net()
    net.jitter = 1.0
    async with net.connect("a", "b") as client:
        waits = [(await next_of(client, Disconnected)).retry_in for _ in range(6)]
    assert waits == [0.5, 0.5, 1, 1, 2, 2]
    assert [name for name, _ in net.dialled][:6] == ["a", "b"] * 3


async def test_a_node_that_dies_is_left_for_the_next(autojump_clock: Any) -> None:
    net = Net(a=[breaks], b=[resumes()])
    async with net.connect("a", "b") as client:
        sent = await client.send("lost on the way")
        events = [await client.receive() for _ in range(3)]
        assert isinstance(events[1], Disconnected)
        assert events[2] == Connected(welcome(recovered=True), True, url("b"))
        await sent.final()


async def test_a_welcome_names_nodes_to_fail_over_to(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(nodes=("ws://b.example/ws",)))
        await peer.close(4001)

    net = Net(a=[first], b=[resumes()])
    async with net.connect() as client:
        assert (await next_of(client, Connected)).address == url("a")
        assert (await next_of(client, Connected)).address == url("b")


async def test_an_http_refusal_of_one_is_not_that_of_all(autojump_clock: Any) -> None:
    net = Net(b=[greeted])
    real = net.dial

    async def dial(address: Any, token: str, conversation: Any) -> Any:
        if address.websocket == url("a"):
            raise ChatRefused("HTTP 404", 404)
        return await real(address, token, conversation)

    net.dial = dial  # type: ignore[method-assign]
    async with net.connect("a", "b") as client:
        assert (await next_of(client, Connected)).address == url("b")
        net.peers[0].ws.end(1006, "")
        with pytest.raises(ChatRefused, match="HTTP 404"):  # noqa: PT012
            await next_of(client, Connected)
            await next_of(client, Connected)


async def test_the_first_is_returned_to_without_a_pause(autojump_clock: Any) -> None:
    net = Net(a=[breaks], b=[resumes(0)])
    async with net.connect("a", "b") as client:
        await next_of(client, Disconnected)
        assert (await next_of(client, Connected)).address == url("b")
        begun = trio.current_time()
        await trio.sleep(20)
        assert client.address == url("b")
        net.scripts["a"] = [resumes(0)]
        back = await client.receive()
        assert isinstance(back, Connected)
        assert (back.address, back.resumed, back.standby) == (url("a"), True, True)
        assert trio.current_time() - begun == pytest.approx(15 + 30)
        await (await client.send("hello")).final()
        assert net.peers[1].ws.closed == (1000, "")
        await trio.sleep(3600)
        assert [name for name, _ in net.dialled] == ["a", "b", "a", "a"]


async def test_a_first_that_does_not_know_the_conversation_is_not_returned_to(autojump_clock: Any) -> None:
    async def empty(peer: Peer) -> None:
        await peer.read()
        await peer.send(ErrorEvent("not_found", "Nothing there.", "r"))
        await peer.until_closed()

    async def other_log(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(epoch="e2"))
        assert await peer.until_closed() == 1000

    net = Net(a=[breaks, empty, other_log], b=[resumes()])
    async with net.connect("a", "b") as client:
        await next_of(client, Disconnected)
        await next_of(client, Connected)
        await trio.sleep(500)
        assert client.address == url("b")
    assert net.scripts["a"] == []


async def test_a_draining_node_is_left_when_it_has_answered(autojump_clock: Any) -> None:
    async def drains(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        message = await peer.read()
        await peer.send(AckEvent(message["id"], 1), Draining(reconnect_after_ms=1000))
        await trio.sleep(5)
        await peer.send(reply(message["id"], 2))
        codes.append((await peer.until_closed(), trio.current_time() - begun))

    codes: list[Any] = []
    begun = trio.current_time()
    net = Net(a=[drains], b=[resumes(2)])
    net.jitter = 0.5
    async with net.connect("a", "b") as client:
        await (await client.send("hello")).final()
        gone = await next_of(client, Disconnected)
        assert (gone.reason, gone.retry_in) == ("draining", 0.0)
        assert (await next_of(client, Connected)).resumed
    assert codes == [(1000, 5.0)]
    assert net.draws[0] == (0.0, 1.0)


async def test_a_draining_node_that_closes_first_sends_its_clients_elsewhere_with_jitter(autojump_clock: Any) -> None:
    async def drains(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), Draining(reconnect_after_ms=4000))
        await trio.sleep(1)
        await peer.close(4001, "draining")

    net = Net(a=[drains], b=[resumes()])
    net.jitter = 0.5
    async with net.connect("a", "b") as client:
        assert (await next_of(client, Disconnected)).retry_in == 2.0
        await next_of(client, Connected)


async def test_a_draining_node_that_is_the_only_one_is_stayed_with(autojump_clock: Any) -> None:
    async def drains(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(), Draining(reconnect_after_ms=100))
        await answer_all(peer)

    async with Net(a=[drains]).connect() as client:
        await trio.sleep(5)
        await (await client.send("hello")).final()


# --- Two at once -----------------------------------------------------------------------------------------------------


async def test_a_standby_takes_over_at_once_and_nothing_comes_twice(autojump_clock: Any) -> None:
    """While both are there, each brings the same; the faster one is heard, whichever it is."""
    ready, dead = trio.Event(), trio.Event()
    got: list[Any] = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await ready.wait()
        message = await peer.read()
        got.append(message["id"])
        await peer.send(AckEvent(message["id"], 1), DeltaEvent(message["id"], 1, 1, "On "), said("tab", 2))
        await trio.sleep(1)
        got.append(trio.current_time())
        peer.ws.end(1006, "")
        dead.set()
        await trio.sleep_forever()

    async def second(peer: Peer) -> None:
        assert await peer.read() == {"type": "hello", "conversation": "c1", "epoch": "e1", "offset": 0}
        await peer.send(welcome(recovered=True), History(events=()))
        ready.set()
        await trio.sleep(0.5)
        (id,) = got
        await peer.send(said(id, 1), said("tab", 2), ProgressEvent(id, "answering"))
        await peer.send(DeltaEvent(id, 1, 1, "On "), DeltaEvent(id, 1, 2, "its "), said("later", 3))
        await dead.wait()
        await peer.send(DeltaEvent(id, 1, 3, "way"), reply(id, 4, "On its way"))
        await answer_all(peer, 4)

    net = Net(a=[first], b=[second])
    async with net.connect("a", "b", standby=True) as client:
        await ready.wait()
        sent = await client.send("hello")
        await sent.final()
        events = [await client.receive() for _ in range(9)]
        assert trio.current_time() == got[1]
        assert (await (await client.send("more")).final()).offset == 6
    # What the standby brings may be quicker than the notice of the switch.
    assert Connected(welcome(recovered=True), True, url("b"), standby=True) in events[6:]
    assert [event for event in events if not isinstance(event, Connected)] == [
        AckEvent(sent.id, 1),
        DeltaEvent(sent.id, 1, 1, "On "),
        said("tab", 2),
        DeltaEvent(sent.id, 1, 2, "its "),
        said("later", 3),
        DeltaEvent(sent.id, 1, 3, "way"),
        reply(sent.id, 4, "On its way"),
    ]


async def test_what_the_dead_node_never_had_goes_to_the_standby(autojump_clock: Any) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await peer.read()
        peer.ws.end(1006, "")

    net = Net(a=[first], b=[resumes()])
    async with net.connect("a", "b", standby=True) as client:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        assert isinstance(await (await client.send("hello")).final(), ReplyEvent)
        assert trio.current_time() == before
        events = [await client.receive() for _ in range(4)]
    assert [type(event) for event in events] == [Connected, Connected, AckEvent, ReplyEvent]


async def test_a_standby_that_is_lost_is_replaced_elsewhere(autojump_clock: Any) -> None:
    async def brief(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True))
        await peer.close(1001)

    net = Net(a=[greeted], b=[brief], c=[resumes()])
    async with net.connect("a", "b", "c", standby=True) as client:
        await (await client.send("hello")).final()
        await trio.sleep(10)
        await net.peers[0].close(4002)
        await client.send("more")
        await next_of(client, Connected)
        assert (await next_of(client, Connected)).address == url("c")


async def test_a_standby_that_comes_while_one_waits_is_taken(autojump_clock: Any) -> None:
    """The first dies while its standby is on its way; nobody waits for the whole backoff."""
    asked = trio.Event()

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await asked.wait()
        peer.ws.end(1006, "")

    async def slow(peer: Peer) -> None:
        await peer.read()
        asked.set()
        await trio.sleep(0.2)
        await peer.send(welcome(recovered=True))
        await answer_all(peer)

    net = Net(a=[first], b=[slow])
    net.jitter = 1.0
    async with net.connect("a", "b", standby=True) as client:
        assert (await next_of(client, Disconnected)).retry_in == 0.5
        begun = trio.current_time()
        assert (await next_of(client, Connected)).standby
        assert trio.current_time() - begun == pytest.approx(0.2)


async def test_a_standby_refreshes_its_token_too(autojump_clock: Any) -> None:
    got: list[Any] = []

    async def first(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        await trio.sleep(1)
        await peer.send(TokenExpiring(60))
        got.append(await peer.read())
        await answer_all(peer)

    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True))
        await trio.sleep(1)
        await peer.send(TokenExpiring(60))
        got.append(await peer.read())
        await peer.close(4501)

    net = Net(a=[first], b=[second, resumes()])
    async with net.connect("a", "b", standby=True, token=Source()):
        await trio.sleep(10)
    assert [frame["type"] for frame in got] == ["refresh", "refresh"]
    assert {frame["token"] for frame in got} == {"t2"}
    assert net.tokens == ["t1", "t1", "t3"], net.dialled


async def test_tokens_of_less_than_a_minute_are_not_renewed_all_the_time(autojump_clock: Any) -> None:
    renewed: list[float] = []

    async def short(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome())
        while True:
            await peer.send(TokenExpiring(40))
            assert (await peer.read())["type"] == "refresh"
            renewed.append(trio.current_time())

    async with Net(a=[short]).connect("a", token=Source()):
        began = trio.current_time()
        await trio.sleep(70)
    assert [round(at - began) for at in renewed] == [0, 20, 40, 60]


async def test_an_expiring_token_of_ones_own_is_told_once(autojump_clock: Any) -> None:
    async def expiring(peer: Peer) -> None:
        hello = await peer.read()
        await peer.send(welcome(recovered="epoch" in hello))
        await trio.sleep(1)
        await peer.send(TokenExpiring(60))
        await answer_all(peer)

    async with Net(a=[expiring], b=[expiring]).connect("a", "b", standby=True) as client:
        await trio.sleep(10)
        await (await client.send("hello")).final()
        events = [await client.receive() for _ in range(4)]
    assert [type(event) for event in events] == [Connected, TokenExpiring, AckEvent, ReplyEvent]


async def test_a_draining_standby_is_moved(autojump_clock: Any) -> None:
    async def drains(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True), Draining(reconnect_after_ms=1000))
        await peer.until_closed()

    net = Net(a=[greeted], b=[drains], c=[resumes()])
    async with net.connect("a", "b", "c", standby=True) as client:
        await trio.sleep(10)
        assert client.address == url("a")
        assert [name for name, _ in net.dialled] == ["a", "b", "c"]


async def test_a_standby_at_the_first_address_is_what_is_returned_to(autojump_clock: Any) -> None:
    net = Net(a=[breaks, resumes()], b=[resumes(), resumes()])
    async with net.connect("a", "b", standby=True, pace=Pace(home_after_s=5)) as client:
        assert (await next_of(client, Connected)).address == url("a")
        assert (await next_of(client, Connected)).address == url("b")
        assert (await next_of(client, Connected)).address == url("a")
        assert [name for name, _ in net.dialled][:3] == ["a", "b", "a"]
        await trio.sleep(1)
        assert client.address == url("a")


async def test_a_rating_comes_back_over_the_standby(autojump_clock: Any) -> None:
    async def second(peer: Peer) -> None:
        await peer.read()
        await peer.send(welcome(recovered=True))
        await trio.sleep(1)
        await peer.send(RateEvent("m", 5, 1, WHEN), said("old", 1))
        await peer.until_closed()

    async with Net(a=[greeted], b=[second]).connect("a", "b", standby=True) as client:
        assert await next_of(client, RateEvent) == RateEvent("m", 5, 1, WHEN)
        with trio.move_on_after(1):
            assert not isinstance(await client.receive(), MessageEvent)
