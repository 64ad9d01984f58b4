"""A gateway that does what a test tells it, connection by connection, on a real socket."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from csgate.client import Chat, ChatAddress, ChatEvent, open_chat
from csgate.client.backoff import Backoff
from csgate.client.guest import GuestTokens
from csgate.protocol import ServerEnvelope, Welcome, encode


class Peer:
    """The gateway's end of one connection."""

    def __init__(self, ws: WebSocketConnection, headers: dict[str, str], path: str) -> None:
        self.ws = ws
        self.headers = headers
        self.path = path

    async def read(self) -> dict[str, Any]:
        """The next envelope; a picture is under ``image`` as bytes."""
        data = await self.ws.get_message()
        if isinstance(data, str):
            return dict(json.loads(data))
        size = int.from_bytes(data[:4], "big")
        return {**json.loads(data[4 : 4 + size]), "image": data[4 + size :]}

    async def send(self, *events: ServerEnvelope) -> None:
        for event in events:
            await self.ws.send_message(encode(event).decode())

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.aclose(code, reason)

    async def until_closed(self) -> int:
        """Reads to the end and returns the close code that came."""
        try:
            while True:
                await self.ws.get_message()
        except ConnectionClosed:
            return int(self.ws.closed.code)


Script = Callable[[Peer], Awaitable[None]]


class Gateway:
    """Runs one script a connection; more connections than scripts fail the test."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.peers: list[Peer] = []
        self.guest_requests: list[dict[str, Any]] = []
        self.guest_status = 200
        self.waits: list[tuple[float, float]] = []
        self.port = 0

    @property
    def address(self) -> ChatAddress:
        return ChatAddress(f"ws://127.0.0.1:{self.port}/ws", f"http://127.0.0.1:{self.port}")

    async def _serve(self, request: WebSocketRequest) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        assert request.proposed_subprotocols == ("csgate.v1",)
        script = self._scripts.pop(0)
        ws = await request.accept(subprotocol="csgate.v1")
        peer = Peer(ws, headers, request.path)
        self.peers.append(peer)
        with suppress(ConnectionClosed):
            await script(peer)

    def answer_guest(self, request: httpx.Request) -> httpx.Response:
        self.guest_requests.append(json.loads(request.content))
        if self.guest_status != 200:
            return httpx.Response(self.guest_status, json={"code": "x", "message": "Not now.", "ref": "r"})
        return httpx.Response(200, json={"token": f"guest-{len(self.guest_requests)}", "subject": "g", "expires_at": 1})

    def draw(self, low: float, high: float) -> float:
        """Jitter without waiting, and a record of the bounds."""
        self.waits.append((low, high))
        return 0.0

    @asynccontextmanager
    async def chat(self, **options: Any) -> AsyncIterator[Chat]:
        client = lambda: httpx.AsyncClient(transport=httpx.MockTransport(self.answer_guest))  # noqa: E731
        options.setdefault("guests", GuestTokens("http://gate.example", client))
        async with open_chat(self.address, backoff=Backoff(self.draw), **options) as chat:
            with trio.fail_after(10):
                yield chat


@asynccontextmanager
async def run_gateway(*scripts: Script) -> AsyncIterator[Gateway]:
    gateway = Gateway(*scripts)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                gateway._serve, "127.0.0.1", 0, None, handler_nursery=nursery, task_status=task_status
            )
        )
        gateway.port = server.port
        yield gateway
        nursery.cancel_scope.cancel()


def welcome(**changes: Any) -> Welcome:
    fields: dict[str, Any] = {
        "conversation": "c1",
        "epoch": "e1",
        "offset": 0,
        "recovered": False,
        "limits": {},
        "engine": {"provider": "CPUExecutionProvider", "models": {"intent": "shop-intent 1"}},
    }
    return Welcome(**(fields | changes))


async def next_of(chat: Chat, kind: type[Any]) -> Any:
    """The next event of that kind; others are passed over."""
    while not isinstance(event := await chat.receive(), kind):
        pass
    return event


async def all_events(chat: Chat) -> list[ChatEvent]:
    """Everything until the chat fails."""
    events: list[ChatEvent] = []
    while True:
        try:
            events.append(await chat.receive())
        except Exception:
            return events
