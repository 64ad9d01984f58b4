"""A node is killed while it answers, and its client, the Python one, goes on elsewhere: once, watched from there."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from csgate.client import Client, ClientEvent, Connected, Disconnected, connect
from csgate.events import AckEvent, DeltaEvent, ErrorEvent, ReplyEvent, SnapshotEvent

from .conftest import Server

TEXT = "Tell me a long story about my order 12345."
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Failover:
    """Seconds from the kill.

    Attributes:
        conversation: where it was.
        connected: until there is a welcome from another node.
        acknowledged: until a message that was sent after that is acknowledged; NaN where none was sent.
        complete: until the answer that was being made is there as a whole.
        attempt: the number of the try that made it.
        text: the answer; empty where it was an error.
        silent: the connection that took over was there already, and the program saw no gap.
    """

    conversation: str
    connected: float
    acknowledged: float
    complete: float
    attempt: int
    text: str
    silent: bool


async def fail_over(nodes: list[Server], subject: str, pieces: int, *, standby: bool = False) -> Failover:
    """Kills ``nodes[0]`` when ``pieces`` of its answer were seen.

    With ``standby`` the client has its second connection by then, and says something as soon as that is in use.
    """
    events: list[ClientEvent] = []
    with trio.fail_after(PATIENCE_S):
        async with (
            connect([node.ws for node in nodes], token=nodes[0].token(subject), standby=standby) as client,
            _told(client, events) as more,
        ):
            while not any(isinstance(event, Connected) for event in events):
                await more()
            if standby:
                await (await client.send("hello")).acked()
                await _spare(nodes[1])
            sent = await client.send(TEXT)
            while sum(isinstance(event, DeltaEvent) and event.id == sent.id for event in events) < pieces:
                await more()
            seen = len(events)
            nodes[0].process.kill()
            killed = time.perf_counter()
            while not any(isinstance(event, Connected) for event in events[seen:]):
                await more()
            connected = time.perf_counter() - killed
            assert client.place is not None
            assert client.address != nodes[0].ws
            acknowledged = float("nan")
            if standby:
                later = await client.send("Are you still there?")
                while not any(isinstance(event, AckEvent) and event.id == later.id for event in events):
                    await more()
                acknowledged = time.perf_counter() - killed
            final = await sent.final()
            complete = time.perf_counter() - killed
            if standby:
                await later.final()
    await trio.to_thread.run_sync(nodes[0].wait)
    told = [event for event in events if isinstance(event, DeltaEvent | SnapshotEvent) and event.id == sent.id]
    finals = [event for event in events if isinstance(event, ReplyEvent | ErrorEvent) and event.id == sent.id]
    assert finals == [final]
    return Failover(
        client.place.conversation,
        connected,
        acknowledged,
        complete,
        max(event.attempt for event in told),
        final.text if isinstance(final, ReplyEvent) else "",
        not any(isinstance(event, Disconnected) for event in events),
    )


@asynccontextmanager
async def _told(client: Client, events: list[ClientEvent]) -> AsyncIterator["_More"]:
    """Collects what the client tells into ``events``."""
    more = _More()

    async def collect() -> None:
        async for event in client:
            events.append(event)
            more.come.set()
            more.come = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        yield more
        nursery.cancel_scope.cancel()


class _More:
    """Called: waits for the next event."""

    def __init__(self) -> None:
        self.come = trio.Event()

    async def __call__(self) -> None:
        await self.come.wait()


async def _spare(node: Server) -> None:
    """Until the second connection is there: the only one that this node has."""
    while not await trio.to_thread.run_sync(node.metric, "csgate_connections "):  # noqa: ASYNC110
        await trio.sleep(0.02)
