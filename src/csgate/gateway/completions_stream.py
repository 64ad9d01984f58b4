"""The way of an answer to a client that may leave: server-sent events, and the watch over who is still there."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.types import Send

from csgate.errors import CsgateError, Internal
from csgate.gateway.completions_wire import Head, Outcome, error_body, event, first_chunk, last_chunks, text_chunk
from csgate.gateway.http_stream import PEER_GONE
from csgate.telemetry import Telemetry

_Result = TypeVar("_Result")


class EventStream:
    """One streaming answer: the head goes out with the first piece, so that a refusal before it has a status."""

    def __init__(self, head: Head, include_usage: bool, request: Request, send: Send, telemetry: Telemetry) -> None:
        self._head = head
        self._usage = include_usage
        self._ref: str = request.state.ref
        self._send = send
        self._telemetry = telemetry
        self._started = False
        self._outcome: Outcome | None = None
        self._failure: Exception | None = None

    async def send(self, run: Callable[[Callable[[str], None]], Awaitable[Outcome]]) -> Outcome | None:
        """Sends the pieces that ``run`` gives; ``None`` where it failed after its first. :meth:`end` is to follow.

        Raises:
            Exception: what ``run`` raised before its first piece.
        """
        pieces = _Pieces()

        async def produce() -> None:
            try:
                self._outcome = await run(pieces.put)
            except Exception as error:  # the edge of the turn
                self._failure = error
            pieces.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            async with aclosing(pieces.together()) as texts:
                async for text in texts:
                    await self._write(text_chunk(self._head, text, self._usage))
        if self._failure is not None and not self._started:
            raise self._failure
        return self._outcome

    async def end(self) -> None:
        """Sends how it ended."""
        if self._failure is not None:
            await self._fail(self._failure)
        elif self._outcome is not None:
            head = msgspec.structs.replace(self._head, model=self._outcome.model)
            await self._write(last_chunks(head, self._outcome, self._usage), more=False)

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


async def while_there(request: Request, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Runs ``work`` as long as the client is there.

    The end of the answer is not to be sent in ``work``: once it is, hypercorn says that the client has left.

    Raises:
        ClientDisconnect: it left.
        Exception: what ``work`` raised.
    """
    results: list[_Result] = []
    failure: Exception | None = None
    peer_gone = request.scope.get("state", {}).get(PEER_GONE)

    async def watch(wait: Callable[[], Awaitable[None]]) -> None:
        await wait()
        nursery.cancel_scope.cancel()

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, disconnected)
        if peer_gone is not None:
            nursery.start_soon(watch, peer_gone.wait)
        try:
            results.append(await work())
        except Exception as error:  # not in a group of the nursery's
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise ClientDisconnect
    return results[0]
