"""A gate for tests: the chat door on real conversations and a real authenticator, reached over memory streams."""

import io
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import trio
from tests.wire.client_frames import BINARY, CLOSE, PING, PONG, TEXT, close, frame
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from csgate.auth import Authenticator
from csgate.config import Config, load_config
from csgate.errors import CsgateError
from csgate.events import Draft
from csgate.gateway.address import parse_networks
from csgate.gateway.admission import Buckets, Places
from csgate.gateway.chat import BAD_MESSAGES_BURST, BAD_MESSAGES_PER_S, ChatServices
from csgate.gateway.chat_door import ChatDoor
from csgate.gateway.expiry import ExpiryWatch
from csgate.gateway.http_stream import HttpSide
from csgate.gateway.listener import Listener, Upgrade
from csgate.gateway.websocket import ReceiveBudget, WebSocketSettings
from csgate.session import Conversations, MemoryStore, Turn, open_conversations
from csgate.telemetry import Metrics, Telemetry, open_logger
from csgate.wire import Handshake

SECRET = "a-secret-for-tests-of-more-than-thirty-two-bytes"
START = 1_800_000_000.0
ENGINE = {"provider": "CPUExecutionProvider", "models": {"intent": "tiny 1"}}


class Closed(Exception):
    """The server's close frame, or with ``None`` the bare end of the stream."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code


class Client:
    """A WebSocket client on any Trio stream, after the request was sent."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some(65536)
            if not data:
                raise Closed(None)
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def head(self) -> str:
        """The response's head, which ends where the frames begin."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.read(1)
        return head.decode()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def say(self, value: Any = None, **fields: Any) -> None:
        await self.send(frame(TEXT, value if isinstance(value, bytes) else json.dumps(value or fields).encode()))

    async def say_binary(self, payload: bytes, **header: Any) -> None:
        head = json.dumps(header).encode()
        await self.send(frame(BINARY, struct.pack("!I", len(head)) + head + payload))

    async def frame(self) -> tuple[int, bytes]:
        first, size = await self.read(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.read(8))
        return first & 0x0F, await self.read(size)

    async def text(self) -> str:
        """The next text message; pings are answered."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT:
                return payload.decode()
            if opcode == PING:
                await self.send(frame(PONG, payload))
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else None
                with trio.move_on_after(1), suppress(trio.BrokenResourceError):
                    await self.send(close(code))
                    if isinstance(self.stream, trio.abc.HalfCloseableStream):
                        await self.stream.send_eof()
                    else:
                        await self.stream.aclose()
                raise Closed(code, payload[2:].decode())

    async def receive(self) -> Any:
        return json.loads(await self.text())

    async def expect(self, *kinds: str) -> Any:
        """The next message of one of these types; others are passed over."""
        while True:
            event = await self.receive()
            if event["type"] in kinds:
                return event

    async def ask(self, message_id: str, text: str = "hello") -> Any:
        await self.say(type="message", id=message_id, text=text)
        while True:
            event = await self.expect("reply", "error")
            if event.get("id") == message_id:
                return event

    async def close_code(self) -> int | None:
        """Reads until the server closes."""
        try:
            while True:
                await self.text()
        except Closed as closed:
            return closed.code

    async def leave(self) -> None:
        """Closes in good manners."""
        await self.send(close(1000))
        assert await self.close_code() == 1000


class Gate:
    """What a test holds on to. Time is Trio's, from ``START`` on."""

    def __init__(self, config: Config, conversations: Conversations, telemetry: Telemetry, log: io.StringIO) -> None:
        clock = trio.current_time
        limits = config.limits
        self.config = config
        self.conversations = conversations
        self.log_text = log
        self.telemetry = telemetry
        self.release = trio.Event()
        self.ended = 0
        self.services = ChatServices(
            config=config,
            auth=Authenticator(config.auth, secret=SECRET),
            conversations=conversations,
            telemetry=telemetry,
            places=Places(limits.connections, limits.connections_per_address, limits.connections_per_principal),
            expiry=ExpiryWatch(self.now),
            messages=Buckets(limits.messages_per_second, limits.messages_burst, clock),
            picture_bytes=Buckets(limits.picture_bytes_per_second, limits.picture_bytes_burst, clock),
            misuse=Buckets(BAD_MESSAGES_PER_S, BAD_MESSAGES_BURST, clock),
            settings=WebSocketSettings.from_limits(limits),
            budget=ReceiveBudget(limits.receive_budget_bytes),
            engine=lambda: ENGINE,
            nodes=lambda: ("wss://other.example/ws",),
            now=self.now,
        )
        self.door = ChatDoor(self.services)
        self.nursery: trio.Nursery

    def now(self) -> float:
        return START + trio.current_time()

    def change(self, **services: Any) -> None:
        self.services = replace(self.services, **services)
        self.door = ChatDoor(self.services)

    def token(self, subject: str = "ann", lifetime: float = 36_000, **claims: Any) -> str:
        return self.services.auth.mint(subject, lifetime_s=lifetime, now=self.now(), **claims)

    def upgrade(
        self,
        stream: trio.abc.Stream,
        *protocols: str,
        token: str | None = None,
        origin: str | None = None,
        host: str | None = "gate.example",
        query: dict[str, str] | None = None,
    ) -> Upgrade:
        headers = [(b"host", host.encode())] if host is not None else []
        if token is not None:
            headers.append((b"authorization", b"Bearer " + token.encode()))
        handshake = Handshake("/ws", query or {}, headers, protocols, origin, b"dGhlIHNhbXBsZSBub25jZQ==")
        return Upgrade(stream, handshake, b"", "192.0.2.7")

    async def open(self, *protocols: str, **options: Any) -> Client:
        """A connection whose handshake was accepted."""
        ours, theirs = memory_stream_pair()
        assert isinstance(ours.send_stream, MemorySendStream)
        assert isinstance(ours.receive_stream, MemoryReceiveStream)
        self.nursery.start_soon(self._serve, self.upgrade(theirs, *protocols, **options))
        client = Client(ours)
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        return client

    async def _serve(self, upgrade: Upgrade) -> None:
        try:
            await self.door(upgrade)
        finally:
            self.ended += 1

    async def v1(self, subject: str = "ann", *, claims: Any = None, **hello: Any) -> tuple[Client, Any]:
        """A connection under csgate.v1 that has said hello, and its welcome."""
        client = await self.open("csgate.v1", token=self.token(subject, **(claims or {})))
        await client.say(type="hello", **hello)
        return client, await client.expect("welcome")

    async def simple(self, subject: str = "ann", **options: Any) -> Client:
        return await self.open(token=self.token(subject), **options)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - nothing announces what tests look at
            await trio.sleep(0.001)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text.getvalue().splitlines()]

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(name, labels) or 0.0

    def assert_nothing_is_left(self) -> None:
        """After every connection: no place, principal, watch or attachment is held."""
        services = self.services
        assert len(services.live) == 0
        assert services.places._principals == {}
        assert all(watch.target is None for _, _, watch in services.expiry._heap)
        assert self.conversations.live == 0
        assert self.metric("csgate_connections") == 0


@asynccontextmanager
async def _open_gate(*, store: Any = None, **sections: Any) -> AsyncIterator[Gate]:
    config = load_config(None, sections, environ={})
    log = io.StringIO()
    telemetry = Telemetry(Metrics(), open_logger("debug", stream=log))

    async def answer(turn: Turn) -> Draft:
        word, _, rest = turn.text.partition(" ")
        match word:
            case "sleep":
                await trio.sleep(float(rest))
            case "hold":
                await gate.release.wait()
            case "stream":
                for piece in rest.split():
                    turn.delta(piece)
                    await trio.sleep(0.1)
            case "fail":
                raise CsgateError("inner words")
        return Draft(text=f"re: {turn.text}")

    def wall() -> datetime:
        return datetime.fromtimestamp(START + trio.current_time(), UTC)

    with trio.fail_after(5_000):
        async with (
            open_conversations(store or MemoryStore(100), answer, config.session, telemetry, now=wall) as conversations,
            trio.open_nursery() as nursery,
        ):
            gate = Gate(config, conversations, telemetry, log)
            gate.nursery = nursery
            nursery.start_soon(gate.services.expiry.run)
            yield gate
            nursery.cancel_scope.cancel()


OpenGate = Callable[..., AbstractAsyncContextManager[Gate]]


class Port:
    """A listener on a port of 127.0.0.1."""

    def __init__(self, listener: Listener, telemetry: Telemetry, log: io.StringIO, places: Places) -> None:
        self.listener = listener
        self.telemetry = telemetry
        self.log_text = log
        self.places = places
        self.number = 0
        self.streams: list[trio.SocketStream] = []

    async def connect(self, data: bytes = b"", receive_buffer: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        await sock.connect(("127.0.0.1", self.number))
        stream = trio.SocketStream(sock)
        self.streams.append(stream)
        await stream.send_all(data)
        return stream

    async def ask(self, data: bytes) -> bytes:
        """Everything that comes back until the end."""
        return await rest(await self.connect(data))

    async def gone(self) -> None:
        """Returns when no connection is left."""
        while self.places.count:  # noqa: ASYNC110
            await trio.sleep(0.001)

    def refused(self, reason: str) -> float:
        value = self.telemetry.metrics.registry.get_sample_value("csgate_refused_total", {"reason": reason})
        return value or 0.0

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text.getvalue().splitlines()]


async def rest(stream: trio.abc.Stream) -> bytes:
    """What comes until the end."""
    return b"".join([bytes(data) async for data in stream])


async def until(stream: trio.abc.Stream, end: bytes) -> bytes:
    """What comes until ``end`` has come."""
    data = b""
    while not data.endswith(end):
        more = await stream.receive_some(65536)
        assert more, data
        data += more
    return data


@asynccontextmanager
async def _open_port(
    app: Any = None, sockets: Any = None, *, trusted: tuple[str, ...] = (), tls: Any = None, **limits: Any
) -> AsyncIterator[Port]:
    settings = load_config(None, {"limits": limits}, environ={}).limits
    log = io.StringIO()
    telemetry = Telemetry(Metrics(), open_logger("debug", stream=log))
    places = Places(settings.connections, settings.connections_per_address, settings.connections_per_principal)
    http = None if app is None else HttpSide(app, settings.head_bytes)
    networks = parse_networks(trusted)
    listener = Listener(sockets or {}, http, settings, telemetry, places=places, trusted=networks, tls=tls)
    port = Port(listener, telemetry, log, places)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            serve = partial(listener.serve, "127.0.0.1", 0, backlog=16, handler_nursery=nursery)
            host, port.number = await nursery.start(serve)
            assert host == "127.0.0.1"
            try:
                yield port
            finally:
                for stream in port.streams:
                    await trio.aclose_forcefully(stream)
            with trio.fail_after(5):
                await port.gone()
            nursery.cancel_scope.cancel()


OpenPort = Callable[..., AbstractAsyncContextManager[Port]]


@pytest.fixture
def open_port() -> OpenPort:
    """Opens a port; takes an ASGI app, WebSocket handlers by path, and limits. Fails if a connection stays."""
    return _open_port


@pytest.fixture
def open_gate() -> OpenGate:
    """Opens a gate; takes a store, and sections of the configuration by name."""
    return _open_gate


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate of default limits. Tests ask for ``autojump_clock`` themselves: pytest-trio looks nowhere else."""
    async with _open_gate() as opened:
        yield opened
