"""Gateways that do what a test tells them, connection by connection: on a real socket, or in memory under a jumping
clock."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from csgate.client import ChatAddress, ChatUnreachable, Client, ClientEvent, connect
from csgate.client.dial import ABNORMAL, Wire, WireClosed
from csgate.client.guest import GuestTokens
from csgate.protocol import ServerEnvelope, Welcome, encode


class Socket(Protocol):
    """What of trio-websocket's connection a script uses; ``MemorySocket`` is the other one."""

    async def get_message(self) -> Any: ...

    async def send_message(self, message: Any) -> None: ...

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None: ...

    @property
    def closed(self) -> Any: ...


class Gone(Exception):
    """The client has closed, or the connection is broken."""


class Peer:
    """The gateway's end of one connection."""

    def __init__(self, ws: Any, headers: dict[str, str], path: str) -> None:
        self.ws = ws
        self.headers = headers
        self.path = path

    async def raw(self) -> Any:
        """The next message as it came."""
        try:
            return await self.ws.get_message()
        except ConnectionClosed:
            raise Gone from None

    async def read(self) -> dict[str, Any]:
        """The next envelope but pings; a picture is under ``image`` as bytes."""
        while True:
            data = await self.raw()
            if isinstance(data, str):
                envelope = dict(json.loads(data))
            else:
                size = int.from_bytes(data[:4], "big")
                envelope = {**json.loads(data[4 : 4 + size]), "image": data[4 + size :]}
            if envelope["type"] != "ping":
                return envelope
            await self.ws.send_message(json.dumps({"type": "pong", "t": envelope["t"]}))

    async def send(self, *events: ServerEnvelope) -> None:
        for event in events:
            try:
                await self.ws.send_message(encode(event).decode())
            except ConnectionClosed:
                raise Gone from None

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.aclose(code, reason)

    async def until_closed(self) -> int:
        """Reads to the end and returns the close code that came; pings are answered."""
        try:
            while True:
                await self.read()
        except Gone:
            return int(self.ws.closed[0] if isinstance(self.ws, MemorySocket) else self.ws.closed.code)


Script = Callable[[Peer], Awaitable[None]]


# --- In memory -------------------------------------------------------------------------------------------------------


class MemorySocket:
    """Both ends of a WebSocket without a network."""

    def __init__(self) -> None:
        self.up_send, self.up = trio.open_memory_channel[Any](1000)
        self.down_send, self.down = trio.open_memory_channel[Any](1000)
        self.closed: tuple[int, str] | None = None

    # The gateway's end.

    async def get_message(self) -> Any:
        try:
            return await self.up.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise Gone from None

    async def send_message(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed is not None:
            raise Gone
        self.down_send.send_nowait(message)

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        self.end(code, reason or "")

    def end(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
        self.down_send.close()
        self.up_send.close()

    # The client's end (csgate.client.dial.Wire).

    async def send(self, frame: str | bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed is not None:
            raise WireClosed
        self.up_send.send_nowait(frame)

    async def receive(self) -> str | bytes:
        try:
            frame: str | bytes = await self.down.receive()
        except trio.EndOfChannel:
            raise WireClosed from None
        return frame

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self.end(1000, "")


class Net:
    """Nodes by name; each runs one script a connection, and is not there when it has none left.

    ``draws`` are the bounds that the client asked its randomness for; ``jitter`` is the share that it gets.
    """

    def __init__(self, **scripts: list[Script]) -> None:
        self.scripts = scripts
        self.peers: list[Peer] = []
        self.dialled: list[tuple[str, float]] = []
        self.tokens: list[str] = []
        self.draws: list[tuple[float, float]] = []
        self.jitter = 0.0
        self.hanging: list[Peer] = []

    def url(self, name: str) -> str:
        return f"ws://{name}.example/ws"

    def draw(self, low: float, high: float) -> float:
        self.draws.append((low, high))
        return low + (high - low) * self.jitter

    async def dial(
        self, address: ChatAddress, token: str, conversation: Callable[[Wire], Awaitable[None]]
    ) -> tuple[int, str]:
        name = address.websocket.removeprefix("ws://").partition(".")[0]
        self.dialled.append((name, trio.current_time()))
        self.tokens.append(token)
        await trio.lowlevel.checkpoint()
        if not self.scripts.get(name):
            raise ChatUnreachable(f"Nobody answers at {name}.")
        script = self.scripts[name].pop(0)
        socket = MemorySocket()
        peer = Peer(socket, {}, name)
        self.peers.append(peer)

        async def run() -> None:
            with suppress(Gone):
                await script(peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await conversation(socket)
            if socket.closed is None:
                socket.end(ABNORMAL, "")
            nursery.cancel_scope.cancel()
        code, reason = socket.closed or (ABNORMAL, "")
        return (code, reason) if code != ABNORMAL else (code, reason or "the connection broke")

    def connect(self, *names: str, **options: Any) -> AbstractAsyncContextManager[Client]:
        options.setdefault("token", "mine")
        urls = [self.url(name) for name in names or ("a",)]
        return connect(urls, dial=self.dial, draw=self.draw, **options)


# --- On a socket -----------------------------------------------------------------------------------------------------


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
        with suppress(Gone, ConnectionClosed):
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
    async def chat(self, **options: Any) -> AsyncIterator[Client]:
        client = lambda: httpx.AsyncClient(transport=httpx.MockTransport(self.answer_guest))  # noqa: E731
        options.setdefault("token", GuestTokens(["http://gate.example"], None, client))
        with trio.fail_after(10):
            async with connect(self.address.websocket, draw=self.draw, **options) as chat:
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


async def next_of(chat: Client, kind: type[Any]) -> Any:
    """The next event of that kind; others are passed over."""
    while not isinstance(event := await chat.receive(), kind):
        pass
    return event


async def all_events(chat: Client) -> list[ClientEvent]:
    """Everything until the chat fails."""
    events: list[ClientEvent] = []
    while True:
        try:
            events.append(await chat.receive())
        except Exception:
            return events
