"""csgate as an OpenAI-compatible server: ``POST /v1/chat/completions`` and ``GET /v1/models``, for services.

The order of a request: who asks, is there room, the body, what is asked, the answer. Nothing is read of a stranger.
A client that leaves, or closes its side of the connection, ends the answer at once.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from csgate.auth import Authenticator, bearer_from
from csgate.config import Config
from csgate.errors import (
    EngineUnavailable,
    Forbidden,
    Overloaded,
    RateLimited,
    Unauthorized,
)
from csgate.events import Principal
from csgate.gateway.admission import Buckets
from csgate.gateway.body import timed_body
from csgate.gateway.completions_answer import HOUSE_MODEL, HouseAnswer, KnownReplies, RawAnswer
from csgate.gateway.completions_request import Asked, NoSuchModel, parse_chat_request
from csgate.gateway.completions_stream import EventStream, while_there
from csgate.gateway.completions_wire import (
    Head,
    Outcome,
    completion,
    model_entry,
)
from csgate.inference.generation import Generator
from csgate.session.turn import Answerer
from csgate.telemetry import Telemetry

THREAD_PARSE_BYTES: Final = 32 * 1024
"""Above this a body is parsed in a worker thread: texts cost about 17 µs a KiB."""

Answer = HouseAnswer | RawAnswer


class Room:
    """Completions in progress, and the bytes of their bodies: both bounded."""

    __slots__ = ("_bytes", "_empty", "_most", "_most_bytes", "count")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._empty = trio.Event()
        self.count = 0

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """A place for one completion. What it yields counts bytes, until the place is given back.

        Raises:
            Overloaded: there is no place, or, by what it yields, no room for the bytes.
        """
        if self.count >= self._most:
            raise Overloaded("completions: as many as there may be", retry_after=1.0)
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            if self._bytes + count > self._most_bytes:
                raise Overloaded("completions: as many bytes as there may be", retry_after=1.0)
            held += count
            self._bytes += count

        self.count += 1
        try:
            yield hold
        finally:
            self.count -= 1
            self._bytes -= held
            if self.count == 0:
                self._empty.set()

    async def empty(self) -> None:
        """Returns when nothing is in progress."""
        while self.count:
            self._empty = trio.Event()
            await self._empty.wait()


@dataclass(frozen=True, slots=True)
class Completions:
    """What the endpoint needs of its node. ``draining``: no new requests are taken."""

    config: Config
    auth: Authenticator
    telemetry: Telemetry
    answer: Answerer
    generator: Generator | None
    messages: Buckets
    picture_bytes: Buckets
    room: Room
    draining: Callable[[], bool]
    now: Callable[[], float]
    started: int

    def routes(self) -> list[Route]:
        """To be mounted at ``/v1``."""
        return [
            Route("/chat/completions", _Endpoint(self), methods=["POST"]),
            Route("/models", self._list, methods=["GET"]),
            Route("/models/{name:path}", self._describe, methods=["GET"]),
        ]

    @property
    def models(self) -> tuple[str, ...]:
        """Whom a request may name: csgate, and its generator."""
        own = self.generator.info.name if self.generator is not None else HOUSE_MODEL
        return tuple(dict.fromkeys((HOUSE_MODEL, own)))

    async def service(self, request: Request) -> Principal:
        """Who asks.

        Raises:
            Unauthorized, Expired: nobody known.
            Forbidden: somebody who is no service.
        """
        credentials = bearer_from(request.scope["headers"], (), {}, False)
        if credentials is None:
            raise Unauthorized(
                "no Authorization: Bearer header",
                public="The API key is missing: send Authorization: Bearer and a token with the role service.",
                public_zh="缺少 API 密钥：请发送 Authorization: Bearer 和角色为 service 的令牌。",
            )
        principal = await self.auth.verify(credentials.value, now=self.now())
        if principal.role != "service":
            raise Forbidden(
                f"role {principal.role}",
                public="This API is for tokens with the role service.",
                public_zh="此接口仅供角色为 service 的令牌使用。",
            )
        return principal

    async def _list(self, request: Request) -> Response:
        await self.service(request)
        return _json({"object": "list", "data": [model_entry(name, self.started) for name in self.models]}, request)

    async def _describe(self, request: Request) -> Response:
        await self.service(request)
        name = request.path_params["name"]
        self.find(name)
        return _json(model_entry(name, self.started), request)

    def find(self, name: str) -> RawAnswer | None:
        """Who answers as ``name``: the generator, or with ``None`` csgate itself.

        Raises:
            NoSuchModel: nobody.
        """
        if name == HOUSE_MODEL:
            return None
        if self.generator is not None and name == self.generator.info.name:
            return RawAnswer(self.generator, self.config.generation)
        raise NoSuchModel(f"There is no such model; there are {', '.join(self.models)}.", "model")


class _Endpoint:
    """``POST /v1/chat/completions`` as an ASGI application."""

    def __init__(self, completions: Completions) -> None:
        self._c = completions
        self._house = HouseAnswer(completions.answer, KnownReplies())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        c = self._c
        principal = await c.service(request)
        if c.draining():
            raise EngineUnavailable("draining", retry_after=1.0)
        if (wait := c.messages.allow(principal.owner)) is not None:
            raise RateLimited(retry_after=wait)
        with c.room.place() as hold:
            asked = await self._read(request, hold)
            answer = c.find(asked.model) or self._house
            answer.check(asked)
            if asked.picture_bytes:
                wait = c.picture_bytes.allow(principal.owner, asked.picture_bytes)
                if wait is not None:
                    raise RateLimited(retry_after=wait)
            locale = request.headers.get("accept-language", "")
            deadline = trio.current_time() + c.config.session.turn_seconds

            async def run(on_text: Callable[[str], None]) -> Outcome:
                return await answer(asked, principal, locale, deadline, on_text)

            name = f"chatcmpl-{secrets.token_hex(12)}"
            if asked.stream:
                head = Head(name, int(c.now()), asked.model)
                stream = EventStream(head, asked.include_usage, request, send, c.telemetry)
                # Logged before the end goes out: clients that have read [DONE] may close at once.
                self._log(request, principal, asked, await while_there(request, partial(stream.send, run)))
                await stream.end()
            else:
                outcome = await while_there(request, partial(run, _to_nobody))
                self._log(request, principal, asked, outcome)
                head = Head(name, int(c.now()), outcome.model)
                await _json(completion(head, outcome), request)(scope, receive, send)

    def _log(self, request: Request, principal: Principal, asked: Asked, outcome: Outcome | None) -> None:
        self._c.telemetry.log.info(
            "completion",
            ref=request.state.ref,
            subject=principal.subject,
            model=outcome.model if outcome is not None else asked.model,
            stream=asked.stream,
            finish=outcome.finish if outcome is not None else "error",
        )

    async def _read(self, request: Request, hold: Callable[[int], None]) -> Asked:
        """The request's body, read and judged.

        Raises:
            TooLarge: it is above ``limits.max_message_bytes``.
            TurnTimeout: it did not arrive in time.
            Overloaded: too many bodies are held.
            PeerError: as ``parse_chat_request``.
        """
        limits = self._c.config.limits
        body = bytearray()
        async with timed_body(request, limits, limits.max_message_bytes) as chunks:
            async for chunk in chunks:
                hold(len(chunk))
                body += chunk

        def parse() -> Asked:
            return parse_chat_request(
                bytes(body), max_depth=limits.max_json_depth, max_text_chars=limits.max_text_chars
            )

        if len(body) <= THREAD_PARSE_BYTES:
            return parse()
        return await trio.to_thread.run_sync(parse)


def _to_nobody(_: str) -> None:
    """For an answer that goes out whole."""


def _json(body: Any, request: Request) -> Response:
    return Response(
        msgspec.json.encode(body),
        media_type="application/json",
        headers={"Cache-Control": "no-store", "X-Request-Id": request.state.ref},
    )
