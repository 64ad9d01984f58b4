"""A real HTTP/1.1 server on Trio sockets that can do everything wrong, and sees what its clients do.

    async with faulty_server(answers("Hello")) as server:              # every request alike
    async with faulty_server(status(500), answers("Hello")) as server: # in turn; the last one again and again
        ... server.url ...

A behaviour is an async function of one ``Exchange``. ``server.aborted`` counts clients that left in the middle of one.
"""

import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

MAX_READ = 64 * 1024
REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    429: "Too Many Requests",
}


class Request:
    """What came: ``headers`` with lower-case names."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Dropped(Exception):
    """The behaviour closed the connection."""


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, server: "FaultyServer", request: Request, stream: trio.abc.Stream) -> None:
        self.server = server
        self.request = request
        self._stream = stream

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        await self._stream.send_all(data)

    async def head(self, status: int = 200, **headers: str) -> None:
        """A response head; ``_`` in names stands for ``-``. Without other framing the body is chunked."""
        told = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        for name, value in headers.items():
            told[name.replace("_", "-").lower()] = value
        if "content-length" in told:
            del told["transfer-encoding"]
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *(f"{n}: {v}" for n, v in told.items())]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        """One chunk of a chunked body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, content: object) -> None:
        """A server-sent event of its own chunk: ``content`` as JSON, or text as it stands."""
        data = content if isinstance(content, str) else json.dumps(content)
        await self.chunk(f"data: {data}\n\n".encode())

    async def text(self, text: str, **choice: Any) -> None:
        """A chat completion chunk with a piece of text."""
        await self.event({"choices": [{"index": 0, "delta": {"content": text}, **choice}]})

    async def finish(self, reason: str = "stop", usage: dict[str, int] | None = None) -> None:
        """The last events of a good answer, and the end of the body."""
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if usage is not None:
            await self.event({"choices": [], "usage": usage})
        await self.event("[DONE]")
        await self.end()

    async def end(self) -> None:
        """The end of a chunked body."""
        await self.send(b"0\r\n\r\n")

    async def whole(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        """A response with its length."""
        await self.head(status, content_type=content_type, content_length=str(len(body)), **headers)
        await self.send(body)

    def drop(self, *, reset: bool = False) -> None:
        """Closes the connection here and now, with a TCP reset if so wanted."""
        if reset and isinstance(self._stream, trio.SocketStream):
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Dropped


Behaviour = Callable[[Exchange], Awaitable[None]]


class FaultyServer:
    """What the server saw so far. ``url``: its base, with the path that was asked for."""

    def __init__(self, behaviours: Sequence[Behaviour], url: str) -> None:
        self._behaviours = behaviours
        self.url = url
        self.requests: list[Request] = []
        self.open = 0
        self.connections = 0
        self.answering = 0
        self.most_answering = 0
        self.aborted = 0
        self.ends: Counter[str] = Counter()
        self._changed = trio.Condition()

    def behaviour(self) -> Behaviour:
        return self._behaviours[min(len(self.requests), len(self._behaviours)) - 1]

    async def until(self, condition: Callable[["FaultyServer"], bool]) -> None:
        """Waits for what the server sees to fulfil ``condition``."""
        async with self._changed:
            while not condition(self):
                await self._changed.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, with as many requests as come."""
        self.connections += 1
        self.open += 1
        try:
            await self._requests(stream)
        except (Dropped, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)
            with trio.CancelScope(shield=True):
                await self._tell()

    async def _requests(self, stream: trio.abc.Stream) -> None:
        reader = h11.Connection(h11.SERVER)
        while (request := await _read(reader, stream)) is not None:
            self.requests.append(request)
            self.answering += 1
            self.most_answering = max(self.most_answering, self.answering)
            await self._tell()
            try:
                await self._answer(Exchange(self, request, stream), stream)
            finally:
                self.answering -= 1
            await self._tell()
            reader = h11.Connection(h11.SERVER)  # its own side of the talk was never told to it

    async def _answer(self, exchange: Exchange, stream: trio.abc.Stream) -> None:
        behave = self.behaviour()
        left = dropped = False

        async def watch() -> None:
            nonlocal left
            try:
                left = await stream.receive_some(MAX_READ) == b""
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                left = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                await behave(exchange)
            except trio.BrokenResourceError:
                left = True
            except Dropped:
                dropped = True
            nursery.cancel_scope.cancel()
        if left:
            self.aborted += 1
        self.ends["aborted" if left else "dropped" if dropped else "answered"] += 1
        if left or dropped:
            raise Dropped

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _read(reader: h11.Connection, stream: trio.abc.Stream) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            reader.receive_data(await stream.receive_some(MAX_READ))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            return None


@asynccontextmanager
async def faulty_server(
    *behaviours: Behaviour, path: str = "/v1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[FaultyServer]:
    """A server on a free port of this machine; request number n meets behaviour n, later ones the last."""
    if tls is None:
        plain = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        listeners: list[Any] = [plain]
    else:
        listeners = list((await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1"))[:1])
        plain = listeners[0].transport_listener
    port = plain.socket.getsockname()[1]
    server = FaultyServer(behaviours, f"{'http' if tls is None else 'https'}://127.0.0.1:{port}{path}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, server.serve, listeners))
        yield server
        nursery.cancel_scope.cancel()


# --- Behaviours ------------------------------------------------------------------------------------------------------


def answers(*pieces: str, finish: str = "stop", usage: dict[str, int] | None = None) -> Behaviour:
    """A good answer in ``pieces``."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        for piece in pieces:
            await exchange.text(piece)
        await exchange.finish(finish, usage)

    return behave


def status(code: int, body: bytes = b"{}", **headers: str) -> Behaviour:
    """An error response."""

    async def behave(exchange: Exchange) -> None:
        await exchange.whole(code, body, **headers)

    return behave


def events(*contents: object) -> Behaviour:
    """A stream of these events, and its orderly end."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        for content in contents:
            await exchange.event(content)
        await exchange.end()

    return behave


def raw(*parts: bytes, close: bool = True) -> Behaviour:
    """These bytes and no others; then the connection is closed, or nothing more is said."""

    async def behave(exchange: Exchange) -> None:
        for part in parts:
            await exchange.send(part)
        if close:
            exchange.drop()
        await trio.sleep_forever()

    return behave


def drops(*pieces: str, head: bool = True, reset: bool = False) -> Behaviour:
    """Closes before the head, or in the middle of the body after ``pieces``."""

    async def behave(exchange: Exchange) -> None:
        if head:
            await exchange.head()
        for piece in pieces:
            await exchange.text(piece)
        exchange.drop(reset=reset)

    return behave


def stalls(*pieces: str, head: bool = True) -> Behaviour:
    """Says nothing more before the head, or after ``pieces``; goes when the client goes."""

    async def behave(exchange: Exchange) -> None:
        if head:
            await exchange.head()
        for piece in pieces:
            await exchange.text(piece)
        await trio.sleep_forever()

    return behave


def drips(piece: str, every_s: float, *, comment: bool = False) -> Behaviour:
    """A piece (or a comment) each ``every_s`` seconds, without end."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await (exchange.chunk(b": still here\n\n") if comment else exchange.text(piece))
            await trio.sleep(every_s)

    return behave


def floods(data: bytes) -> Behaviour:
    """``data`` as fast as it is read, without end."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        while True:
            await exchange.chunk(data)

    return behave
