"""The way of an answer to a client that may leave: server-sent events, and the watch over who is still there."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Send

from csgate.errors import CsgateError, Internal
from csgate.gateway.completions_wire import Head, Outcome, error_body, event, first_chunk, last_chunks, text_chunk
from csgate.gateway.http_stream import PEER_GONE
from csgate.telemetry import Telemetry


class EventStream:
    """One streaming answer: the head goes out with the first piece, so that a refusal before it has a status."""

    def __init__(self, head: Head, include_usage: bool, request: Request, send: Send, telemetry: Telemetry) -> None:
        self._head = head
        self._usage = include_usage
        self._ref: str = request.state.ref
        self._send = send
        self._telemetry = telemetry
        self._started = False

    async def send(self, run: Callable[[Callable[[str], None]], Awaitable[Outcome]]) -> Outcome | None:
        """Sends what ``run`` gives; ``None`` where it failed after its first piece, which the client is told.

        Raises:
            Exception: what ``run`` raised before its first piece.
        """
        pieces = _Pieces()
        outcome: Outcome | None = None
        failure: Exception | None = None

        async def produce() -> None:
            nonlocal outcome, failure
            try:
                outcome = await run(pieces.put)
            except Exception as error:  # the edge of the turn
                failure = error
            pieces.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            async with aclosing(pieces.together()) as texts:
                async for text in texts:
                    await self._write(text_chunk(self._head, text, self._usage))
        if failure is not None:
            if not self._started:
                raise failure
            await self._fail(failure)
        elif outcome is not None:
            head = msgspec.structs.replace(self._head, model=outcome.model)
            await self._write(last_chunks(head, outcome, self._usage), more=False)
        return outcome

    async def _fail(self, error: Exception) -> None:
        told = error if isinstance(error, CsgateError) else Internal()
        self._telemetry.metrics.errors.labels(told.code).inc()
        if told is error:
            self._telemetry.log.info("http_error", ref=self._ref, code=told.code, detail=told.detail)
        else:
            self._telemetry.log.error("http_failed", ref=self._ref, exc_info=error)
        await self._write(event(error_body(told)), more=False)

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        if not self._started:
            self._started = True
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # for nginx, which would gather the pieces
                (b"x-request-id", self._ref.encode()),
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            data = first_chunk(self._head, self._usage) + data
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


class _Pieces:
    """Text on its way from the answer to the client. Holds at most the answer, which has a bound of its own."""

    __slots__ = ("_ended", "_news", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._ended = False
        self._news = trio.Event()

    def put(self, text: str) -> None:
        if text:
            self._waiting.append(text)
            self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def together(self) -> AsyncGenerator[str]:
        """What came since the last time, until the end: a slow reader gets fewer and longer pieces."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            text = "".join(self._waiting)
            self._waiting.clear()
            ended = self._ended
            if text:
                yield text
            if ended:
                return


async def while_there(request: Request, reply: Callable[[], Awaitable[Outcome | None]]) -> Outcome | None:
    """Runs ``reply`` as long as the client is there.

    Raises:
        ClientDisconnect: it left.
        Exception: what ``reply`` raised.
    """
    outcome: Outcome | None = None
    failure: Exception | None = None
    left = False
    peer_gone = request.scope.get("state", {}).get(PEER_GONE)

    async def watch(wait: Callable[[], Awaitable[None]]) -> None:
        nonlocal left
        await wait()
        left = True
        nursery.cancel_scope.cancel()

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, disconnected)
        if peer_gone is not None:
            nursery.start_soon(watch, peer_gone.wait)
        try:
            outcome = await reply()
        except Exception as error:  # not in a group of the nursery's
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if left and outcome is None:
        raise ClientDisconnect
    return outcome
