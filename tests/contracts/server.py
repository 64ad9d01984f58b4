"""Replays a recorded exchange against a server: plays the client's side and checks what comes.

``in_memory`` against the gateway's chat door with answers as the file gives them, under a clock that jumps;
``over_sockets`` against a running ``csgate serve``, which answers as it likes.
"""

import base64
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

from csgate import errors
from csgate.config import load_config
from csgate.errors import CloseCode, CsgateError
from csgate.events import Draft
from csgate.session import MemoryStore, Turn, open_conversations
from csgate.telemetry import Metrics, Telemetry, open_logger
from tests.gateway.conftest import START, Client, Closed, Gate
from tests.wire.client_frames import BINARY, TEXT, frame

from .exchange import Mismatch, Values

ERRORS = {kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CsgateError)}
PASSING = ("progress",)
"""Types that may come in between, unless a file says otherwise."""


class Connection(Protocol):
    """A WebSocket to the server under test. ``text`` raises ``Closed`` (with ``code``) at the end."""

    async def send(self, data: bytes) -> None: ...

    async def text(self) -> str: ...

    async def drop(self) -> None: ...


Open = Callable[[dict[str, Any]], Awaitable[Connection]]
Act = Callable[[str], Awaitable[None]]


async def replay(exchange: dict[str, Any], values: Values, open_: Open, act: Act) -> None:
    """Plays the client.

    Raises:
        Mismatch: the server does something else than was recorded.
    """
    passing = tuple(exchange["given"].get("passing", PASSING))
    connections: dict[str, Connection] = {}
    welcomed: set[str] = set()
    for number, step in enumerate(exchange["steps"]):
        name = step.get("on", "a")
        if name not in connections and "open" not in step and {"do", "act", "wait"}.isdisjoint(step):
            connections[name] = await open_({})
        try:
            match step:
                case {"open": options}:
                    connections[name] = await open_(options)
                case {"wait": seconds}:
                    await trio.sleep(seconds)
                case {"act": what}:
                    await act(what)
                case {"drop": _}:
                    await connections[name].drop()
                    del connections[name]
                case {"expected": recorded}:
                    actual = await _next(connections[name], passing)
                    values.check(recorded, actual)
                    if actual["type"] == "welcome":
                        welcomed.add(name)
                case {"expected_text": text}:
                    values.check(text, await connections[name].text())
                case {"closed": code}:
                    await _until_closed(connections.pop(name), code, passing)
                case {"do": _}:
                    pass  # what makes a client send; here it is sent anyway
                case _:
                    data = _frame_of(step, values)
                    for _ in range(step.get("times", 1)):
                        await connections[name].send(data)
        except (Mismatch, Closed) as error:
            raise Mismatch(f"step {number} {json.dumps(step, ensure_ascii=False)[:300]}: {error!r}") from None
    for name, connection in connections.items():
        if name in welcomed:
            await connection.send(frame(TEXT, b'{"type": "ping", "t": "the end"}'))
            if (last := await _next(connection, passing)) != {"type": "pong", "t": "the end"}:
                raise Mismatch(f"connection {name} has more to say: {last}")


def _frame_of(step: dict[str, Any], values: Values) -> bytes:
    match step:
        case {"sent": recorded}:
            return frame(TEXT, json.dumps(values.play(recorded), ensure_ascii=False).encode())
        case {"sent_text": text}:
            return frame(TEXT, str(values.play(text)).encode())
        case {"sent_binary": {"header": header, "picture": picture}}:
            head = json.dumps(values.play(header)).encode()
            return frame(BINARY, len(head).to_bytes(4, "big") + head + base64.b64decode(picture))
        case {"sent_bytes": data, "opcode": "text"}:
            return frame(TEXT, base64.b64decode(data))
        case {"sent_bytes": data}:
            return frame(BINARY, base64.b64decode(data))
        case _:
            raise ValueError(f"no step is like {step}")


async def _next(connection: Connection, passing: tuple[str, ...]) -> dict[str, Any]:
    while True:
        event = dict(json.loads(await connection.text()))
        if event["type"] not in passing:
            return event


async def _until_closed(connection: Connection, code: int, passing: tuple[str, ...]) -> None:
    try:
        event = await _next(connection, passing)
    except Closed as closed:
        if closed.code != code:
            raise Mismatch(f"closed with {closed.code}") from None
    else:
        raise Mismatch(f"not closed, but {event}")


# --- In memory -------------------------------------------------------------------------------------------------------


class GateValues(Values):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def token(self, wish: dict[str, Any]) -> str:
        return self.gate.token(**({"subject": "ann"} | wish))


class _Read:
    """A connection that is read all the time, so that pings are answered while the exchange waits."""

    def __init__(self, client: Client, nursery: trio.Nursery) -> None:
        self._client = client
        self._put, self._texts = trio.open_memory_channel[str](10_000)
        self._closed = Closed(None)
        self._send, self._lock = client.send, trio.Lock()
        client.send = self.send  # type: ignore[method-assign]  # it answers pings by itself
        nursery.start_soon(self._read)

    async def _read(self) -> None:
        with self._put:
            try:
                while True:
                    await self._put.send(await self._client.text())
            except Closed as closed:
                self._closed = closed
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # dropped by us

    async def send(self, data: bytes) -> None:
        async with self._lock:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # what comes says why
                await self._send(data)

    async def text(self) -> str:
        try:
            return await self._texts.receive()
        except trio.EndOfChannel:
            raise self._closed from None

    async def drop(self) -> None:
        with suppress(trio.BrokenResourceError):
            await trio.aclose_forcefully(self._client.stream)


class Script:
    """Answers as the file says: for each text the pieces, waits and the end; otherwise ``re: `` and the text."""

    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self._answers = answers
        self.holding: dict[str, trio.Event] = {}

    async def answer(self, turn: Turn) -> Draft:
        for action in self._answers.get(turn.text, []):
            match action:
                case {"delta": text}:
                    turn.delta(text)
                case {"wait": seconds}:
                    await trio.sleep(seconds)
                case {"hold": name}:
                    await self.holding.setdefault(name, trio.Event()).wait()
                case {"error": code}:
                    raise ERRORS[code]("scripted")
                case {"reply": fields}:
                    return Draft(**fields)
                case _:
                    raise ValueError(f"no answer does {action}")
        return Draft(text=f"re: {turn.text}")


async def in_memory(exchange: dict[str, Any]) -> None:
    """Against the chat door. To be run under an autojump clock."""
    given = exchange["given"]
    config = load_config(None, given.get("config", {}), environ={})
    telemetry = Telemetry(Metrics(), open_logger("debug", stream=io.StringIO()))
    script = Script(given.get("answers", {}))

    def wall() -> datetime:
        return datetime.fromtimestamp(START + trio.current_time(), UTC)

    async with (
        open_conversations(MemoryStore(100), script.answer, config.session, telemetry, now=wall) as conversations,
        trio.open_nursery() as nursery,
    ):
        gate = Gate(config, conversations, telemetry, io.StringIO())
        gate.change(nodes=lambda: tuple(given.get("nodes", ())))
        gate.nursery = nursery
        nursery.start_soon(gate.services.expiry.run)
        values = GateValues(gate)

        async def open_(options: dict[str, Any]) -> Connection:
            options = dict(options)
            protocols = options.pop("protocols", ["csgate.v1"])
            wish = options.pop("token", {"subject": "ann"})
            token = gate.token(**({"subject": "ann"} | wish)) if isinstance(wish, dict) else wish
            return _Read(await gate.open(*protocols, token=token, **options), nursery)

        async def drain() -> None:
            """As ``csgate.gateway.node`` drains."""
            await conversations.drained()
            for connection in gate.services.live:
                connection.ws.close(CloseCode.DRAINING, "draining")

        async def act(what: str) -> None:
            match what.split():
                case ["release", name]:
                    script.holding.setdefault(name, trio.Event()).set()
                case ["drain"]:
                    gate.door.close()
                    conversations.begin_drain()
                    for connection in gate.services.live:
                        connection.announce_drain(1000)
                    nursery.start_soon(drain)
                case _:
                    raise ValueError(f"no act is called {what}")

        with trio.fail_after(5_000):
            await replay(exchange, values, open_, act)
        nursery.cancel_scope.cancel()


# --- Over sockets ----------------------------------------------------------------------------------------------------


class TokenValues(Values):
    def __init__(self, make: Callable[..., str]) -> None:
        super().__init__()
        self._make = make

    def token(self, wish: dict[str, Any]) -> str:
        return self._make(**({"subject": "ann"} | wish))


async def over_sockets(exchange: dict[str, Any], port: int, make_token: Callable[..., str]) -> None:
    """Against a server on that port of 127.0.0.1."""
    values = TokenValues(make_token)
    streams: list[trio.SocketStream] = []

    async def open_(options: dict[str, Any]) -> Connection:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        streams.append(stream)
        wish = options.get("token", {"subject": "ann"})
        token = values.token(wish) if isinstance(wish, dict) else wish
        query = "&".join(f"{name}={value}" for name, value in options.get("query", {}).items())
        protocols = options.get("protocols", ["csgate.v1"])
        lines = [
            f"GET /ws{'?' if query else ''}{query} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *([f"Authorization: Bearer {token}"] if token is not None else []),
            *([f"Sec-WebSocket-Protocol: {', '.join(protocols)}"] if protocols else []),
            *([f"Origin: {options['origin']}"] if "origin" in options else []),
        ]
        client = Client(stream)
        await client.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        assert (await client.head()).startswith("HTTP/1.1 101 ")
        return _Read(client, nursery)

    async def act(what: str) -> None:
        raise ValueError(f"a real server does not {what} because we say so")

    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            await replay(exchange, values, open_, act)
        nursery.cancel_scope.cancel()
    for stream in streams:
        await trio.aclose_forcefully(stream)
