"""The Python client against real servers that are killed, drained, replaced, and cut off."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from csgate.client import Client, ClientEvent, Connected, Disconnected, NotRecovered, connect, guest
from csgate.events import AckEvent, ErrorEvent, MessageEvent, ReplyEvent

from . import pictures
from .conftest import Server, start_server

SWITCHES = 10
SWITCH_GOAL_S = 0.2


def exactly_one_end(events: list[ClientEvent], ids: list[str]) -> None:
    """Of each message one ack and one final event, the offsets of what was said in order."""
    finals = [event.id for event in events if isinstance(event, ReplyEvent | ErrorEvent)]
    assert sorted(map(str, finals)) == sorted(ids)
    assert sorted(event.id for event in events if isinstance(event, AckEvent)) == sorted(ids)


async def collect(client: Client, into: list[ClientEvent]) -> None:
    async for event in client:
        into.append(event)


async def test_a_conversation_with_everything(server: Server) -> None:
    async with connect(server.ws, token=server.token("client"), locale="en") as client:
        reply = await (await client.send("I love it", pictures.png())).final()
        assert isinstance(reply, ReplyEvent)
        assert reply.tags
        client.rate(reply.id, 5, "kind")
        client.typing()
        client.handoff("please")
        while (event := await client.receive()).__class__.__name__ != "StateEvent":
            assert not isinstance(event, ErrorEvent)
        await client.flush()


async def test_a_guest_keeps_its_conversation(server: Server) -> None:
    source = guest(server.ws)
    async with connect(server.ws, token=source) as client:
        await (await client.send("hello")).final()
        place = client.place
    assert place is not None
    async with connect(server.ws, token=guest(server.ws, token=source.token), place=place) as client:
        connected = await client.receive()
        assert isinstance(connected, Connected)
        assert connected.resumed


@pytest.mark.parametrize("store", ["sqlite", "memory"])
async def test_kill_9_in_a_conversation(tmp_path: Path, store: str) -> None:
    """Killed at several moments of a conversation, and started again on the same port: no message goes without its one
    answer. With the store on disk nothing is lost, with the one in memory the client is told that the log is gone."""
    environment = {"CSGATE_SESSION__STORE": store}
    running = await trio.to_thread.run_sync(lambda: start_server(tmp_path / "data", **environment))
    port = running.port
    events: list[ClientEvent] = []
    ids: list[str] = []
    try:
        async with (
            connect(running.ws, token=running.token("client")) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(collect, client, events)
            with trio.fail_after(120):
                await (await client.send("hello")).final()
                await trio.testing.wait_all_tasks_blocked()
                events.clear()
                for kill in range(2 if store == "sqlite" else 1):
                    sent = [await client.send(f"Where is my order {kill}{number}?") for number in range(5)]
                    ids += [one.id for one in sent]
                    if store == "memory" or kill:  # with some acknowledged, some not
                        await sent[1].acked()
                    running.process.send_signal(signal.SIGKILL)
                    await trio.to_thread.run_sync(running.wait)
                    running = await trio.to_thread.run_sync(
                        lambda: start_server(tmp_path / "data", port, **environment)
                    )
                    for one in sent:
                        assert isinstance(await one.final(), ReplyEvent)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        running.process.kill()
        running.wait()
    finals = [event.id for event in events if isinstance(event, ReplyEvent | ErrorEvent)]
    lost = [event for event in events if isinstance(event, NotRecovered)]
    assert [event for event in events if isinstance(event, Disconnected)]
    if store == "sqlite":
        assert lost == []
        exactly_one_end(events, ids)
        offsets = [event.offset for event in events if isinstance(event, MessageEvent | ReplyEvent | ErrorEvent)]
        assert offsets == sorted(set(offsets))
    else:
        assert {event.reason for event in lost} == {"gone"}
        assert sorted(map(str, finals)) == sorted(ids)


async def test_two_servers_and_one_dies(own_server: Callable[..., Server]) -> None:
    """Without a store in common the conversation begins anew at the other one, and the client says so."""
    one, two = [await trio.to_thread.run_sync(own_server) for _ in range(2)]
    async with connect([one.ws, two.ws], token=one.token("client")) as client:
        await (await client.send("hello")).final()
        one.process.send_signal(signal.SIGKILL)
        await trio.to_thread.run_sync(one.wait)
        begun = trio.current_time()
        with trio.fail_after(20):
            assert isinstance(await (await client.send("Where is my order 12345?")).final(), ReplyEvent)
        assert trio.current_time() - begun < 5
        assert client.address == two.ws
        kinds = []
        with trio.move_on_after(0.1):
            while True:
                kinds.append(await client.receive())
    assert NotRecovered("gone") in kinds


async def test_a_drain_sends_the_client_to_the_other_server(own_server: Callable[..., Server]) -> None:
    one, two = [await trio.to_thread.run_sync(own_server) for _ in range(2)]
    async with connect([one.ws, two.ws], token=one.token("client")) as client:
        await (await client.send("hello")).final()
        one.process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            while client.address != two.ws:
                await client.receive()
            assert isinstance(await (await client.send("And now?")).final(), ReplyEvent)
        assert await trio.to_thread.run_sync(one.wait) == 0


# --- Two ways to one server ------------------------------------------------------------------------------------------


class Relay:
    """A way to a server that can be cut: at once, as when a node is killed, or silently, as when a cable is."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._streams: list[trio.SocketStream] = []
        self.port = 0
        self.cut = False

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def serve(self, stream: trio.SocketStream) -> None:
        if self.cut:
            await trio.aclose_forcefully(stream)
            return
        onward = await trio.open_tcp_stream("127.0.0.1", self._target)
        self._streams += [stream, onward]

        async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in source:
                    await sink.send_all(data)
            await trio.aclose_forcefully(sink)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, onward)
            nursery.start_soon(copy, onward, stream)

    async def kill(self) -> None:
        self.cut = True
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self._streams.clear()


@asynccontextmanager
async def relays(server: Server) -> AsyncIterator[tuple[Relay, Relay]]:
    async with trio.open_nursery() as nursery:
        both = []
        for _ in range(2):
            relay = Relay(server.port)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            relay.port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, relay.serve, [listener])
            both.append(relay)
        yield both[0], both[1]
        nursery.cancel_scope.cancel()


async def until_connections(server: Server, enough: Callable[[float], bool]) -> None:
    """Until the server has as many connections as wanted."""
    while not enough(await trio.to_thread.run_sync(server.metric, "csgate_connections ")):  # noqa: ASYNC110
        await trio.sleep(0.02)


async def test_a_standby_takes_over_within_200_ms(own_server: Callable[..., Server]) -> None:
    """The connection in use is cut while answers are on their way; measured from the cut to an acknowledged message."""
    server = await trio.to_thread.run_sync(own_server)
    switched: list[float] = []
    acknowledged: list[float] = []
    with trio.fail_after(100):
        for _ in range(SWITCHES):
            events: list[ClientEvent] = []
            async with (
                relays(server) as (one, two),
                connect([one.url, two.url], token=server.token("client"), standby=True) as client,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(collect, client, events)
                await (await client.send("hello")).final()
                await until_connections(server, lambda count: count >= 2)
                await trio.testing.wait_all_tasks_blocked()
                events.clear()
                pending = [await client.send(f"Where is my order {number}?") for number in range(3)]
                begun = time.perf_counter()
                await one.kill()
                while client.address != two.url:
                    await trio.lowlevel.checkpoint()
                switched.append(time.perf_counter() - begun)
                sent = await client.send("Are you there?")
                await sent.acked()
                acknowledged.append(time.perf_counter() - begun)
                finals = [await one_.final() for one_ in [*pending, sent]]
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert all(isinstance(final, ReplyEvent) for final in finals)
            assert not [event for event in events if isinstance(event, Disconnected)]
            exactly_one_end(events, [one_.id for one_ in [*pending, sent]])
            await until_connections(server, lambda count: count == 0)
    figures = {
        "switches": SWITCHES,
        "switch_ms": {"p50": statistics.median(switched) * 1000, "max": max(switched) * 1000},
        "cut_to_ack_ms": {"p50": statistics.median(acknowledged) * 1000, "max": max(acknowledged) * 1000},
    }
    print(json.dumps(figures))
    if "CSGATE_FIGURES" in os.environ:
        file = trio.Path(os.environ["CSGATE_FIGURES"], "client_standby.json")
        await file.write_text(json.dumps(figures, indent=2) + "\n")
    assert statistics.median(switched) < SWITCH_GOAL_S


# --- The document ----------------------------------------------------------------------------------------------------


def test_the_documents_examples_run(server: Server) -> None:
    document = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
    outputs = []
    for example in re.findall(r"```python\n(.*?)```", document, re.DOTALL):
        environment = {**os.environ, "CSGATE_URL": server.ws}
        done = subprocess.run(
            [sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines())
    full, short = outputs
    assert full[0] == "connected"
    assert "12345" in "".join(full)
    assert [line.split()[0] for line in short if line.startswith("ReplyEvent")] == ["ReplyEvent", "ReplyEvent"]
