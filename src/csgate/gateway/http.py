"""The HTTP side of the port: the page, the probes, guest tokens and tickets. A Starlette app, run by hypercorn.

Every error is JSON, ``{"code", "message", "ref"}``: a code of the chat protocol (or ``method_not_allowed``,
``upgrade_required``), a sentence safe to show in the language of ``Accept-Language``, and the id of the log line.
At the addresses of OpenAI's API (``completions``) errors have its form.
"""

import math
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csgate.auth import bearer_from
from csgate.errors import (
    CsgateError,
    Forbidden,
    Internal,
    NotFound,
    PeerError,
    RateLimited,
    TooLarge,
    TurnTimeout,
    Unauthorized,
)
from csgate.events import Language
from csgate.gateway.address import client_address
from csgate.gateway.body import MAX_BODY_BYTES, announced_bytes, body_too_large, read_body
from csgate.gateway.completions_wire import COMPLETIONS_PATH, error_body, speaks_openai, status_of
from csgate.gateway.door import Door
from csgate.gateway.media_files import media_routes
from csgate.gateway.pace import take_turn
from csgate.gateway.site_routes import page_routes

JSON: Final = "application/json"
PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

_FOR_OTHER_ORIGINS: Final = ("/v1/", "/media/")
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class MethodNotAllowed(PeerError):
    code = "method_not_allowed"
    http_status = 405
    safe_en = "This address does not take that method."
    safe_zh = "该地址不支持此方法。"


class UpgradeRequired(PeerError):
    code = "upgrade_required"
    http_status = 426
    safe_en = "This address takes WebSocket upgrades only."
    safe_zh = "该地址仅支持 WebSocket 升级请求。"


class GuestRequest(msgspec.Struct, frozen=True):
    """``token``: a guest token to renew; without it a new guest is made."""

    token: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    message: str
    ref: str
    retry_after: float | None = None
    max_bytes: int | None = None


def build_app(door: Door) -> Starlette:
    """The public app. Without an operator address of its own it carries the operator routes as well."""
    routes: list[BaseRoute] = [
        *page_routes(door),
        Route("/ws", _refuse_without_upgrade, methods=["GET"]),
        Mount(
            "/v1",
            routes=[
                Route("/guest", _guest_route(door), methods=["POST"]),
                Route("/tickets", _tickets_route(door), methods=["POST"]),
                Route("/nodes", _nodes_route(door), methods=["GET"]),
                *door.completions.routes(),
                *(door.uploads.routes() if door.uploads is not None else ()),
            ],
        ),
        *(media_routes(door.media, door.telemetry) if door.media is not None else ()),
    ]
    if door.config.server.operator_port is None:
        routes += _operator_routes(door)
    return _app(door, routes, limited=True)


def build_operator_app(door: Door) -> Starlette:
    """Probes, metrics and the list of nodes, for ``server.operator_host``; not rate-limited."""
    nodes = Route("/v1/nodes", _nodes_route(door, ask_who=False), methods=["GET"])
    return _app(door, [*_operator_routes(door), nodes], limited=False)


def _app(door: Door, routes: list[BaseRoute], *, limited: bool) -> Starlette:
    def refuse(request: Request, error: Exception) -> Response:
        return _error_response(door, request, error)

    async def on_error(request: Request, error: Exception) -> Response:
        return refuse(request, error)

    middleware = [Middleware(_Edge, door=door, limited=limited)]
    if origins := door.config.server.origins:
        # The headers outside of the edge, so that a page can read its refusals; the answer to a preflight inside, so
        # that it is counted and logged like any request.
        middleware.insert(0, Middleware(_CorsForApi, origins=origins, preflights=False))
        middleware.append(Middleware(_CorsForApi, origins=origins, preflights=True))
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: on_error, CsgateError: on_error},
    )
    app.router.redirect_slashes = False  # to an address made of whatever the Host header says
    return app


# --- Routes ----------------------------------------------------------------------------------------------------------

_Endpoint = Callable[[Request], Any]


async def _refuse_without_upgrade(request: Request) -> Response:
    """Upgrades never come here: the listener takes them out."""
    raise UpgradeRequired


def _guest_route(door: Door) -> _Endpoint:
    async def give_guest_token(request: Request) -> Response:
        _take(door.allow_guest, request)
        asked = await read_body(request, GuestRequest)
        guest = door.auth.guest(door.now(), asked.token)
        return _json({"token": guest.token, "subject": guest.subject, "expires_at": guest.expires_at})

    return give_guest_token


def _tickets_route(door: Door) -> _Endpoint:
    async def give_ticket(request: Request) -> Response:
        credentials = bearer_from(request.scope["headers"], (), {}, False)
        if credentials is None:
            raise Unauthorized("no Authorization: Bearer header")
        now = door.now()
        principal = await door.auth.verify(credentials.value, now=now)
        seconds = door.config.auth.ticket_seconds
        return _json({"ticket": door.auth.issue_ticket(principal, now), "expires_at": now + seconds})

    return give_ticket


def _nodes_route(door: Door, *, ask_who: bool = True) -> _Endpoint:
    async def list_nodes(request: Request) -> Response:
        if ask_who:
            credentials = bearer_from(request.scope["headers"], (), {}, False)
            if credentials is None:
                raise Unauthorized("no Authorization: Bearer header")
            principal = await door.auth.verify(credentials.value, now=door.now())
            if principal.role not in ("service", "agent"):
                raise Forbidden("the nodes are for operators")
        return _json({"nodes": door.nodes()})

    return list_nodes


def _operator_routes(door: Door) -> list[BaseRoute]:
    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(request: Request) -> Response:
        readiness = door.readiness()
        body = {
            "status": "ready" if readiness.ready else "not ready",
            "reasons": readiness.reasons,
            "engine": readiness.engine,
        }
        return _json(body, HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(request: Request) -> Response:
        # Rendering takes milliseconds once there are label values by the dozen: too long for the event loop.
        text = await trio.to_thread.run_sync(door.telemetry.metrics.render)
        return Response(text, media_type=PROMETHEUS_TEXT)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


# --- The edge: what holds for every request --------------------------------------------------------------------------


class _Edge:
    """ASGI middleware: rate, size, security headers, log line, and an answer to what nobody expected.

    Nothing but cancellation gets past it, so one request that fails in a new way costs neither the connection nor the
    listener.
    """

    def __init__(self, app: ASGIApp, door: Door, limited: bool) -> None:
        self._app = app
        self._door = door
        self._limited = limited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        state = request.state
        state.ref = secrets.token_hex(6)
        peer = request.client.host if request.client else ""
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        state.address = client_address(peer, forwarded, self._door.trusted)
        started = time.perf_counter()
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            try:
                self._admit(request)
                await take_turn()  # a request is half a millisecond's work before anything of it waits
                await self._app(scope, receive, send_marked)
            except ClientDisconnect:
                pass  # The peer left before its request was whole; nobody is there to be told.
            except Exception as error:
                if not isinstance(error, CsgateError):
                    self._door.telemetry.log.exception("http_failed", ref=state.ref, path=scope["path"])
                if status == 0:
                    response = _error_response(self._door, request, error)
                    await response(scope, receive, send_marked)
        finally:
            # The path alone: a query may carry a ticket.
            self._door.telemetry.log.info(
                "http_request",
                ref=state.ref,
                address=state.address,
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 2),
            )

    def _admit(self, request: Request) -> None:
        path = request.scope["path"]
        most = self._door.config.limits.max_message_bytes if path == COMPLETIONS_PATH else MAX_BODY_BYTES
        if self._door.uploads is not None:
            most = self._door.uploads.most_bytes(path) or most
        if (announced_bytes(request) or 0) > most:
            raise body_too_large(most)
        if self._limited:
            _take(self._door.allow_request, request)


class _CorsForApi:
    """Cross-origin access for the configured origins, on ``/v1/*`` and ``/media/*`` only.

    The page and the probes are nobody else's.

    One of these takes the ``preflights`` (OPTIONS), another everything else.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], preflights: bool) -> None:
        self._app = app
        self._preflights = preflights
        self._with_cors = CORSMiddleware(
            app,
            # As origin_allowed does for WebSockets: browsers send no slash at the end and write hosts in lower case.
            allow_origins=tuple(origin.lower().rstrip("/") for origin in origins),
            allow_methods=["GET", "HEAD", "POST", "PUT"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "Range"],
            expose_headers=["Content-Range", "ETag", "Retry-After"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for_api = scope["type"] == "http" and scope["path"].startswith(_FOR_OTHER_ORIGINS)
        mine = for_api and (scope["method"] == "OPTIONS") is self._preflights
        await (self._with_cors if mine else self._app)(scope, receive, send)


def _take(allow: Callable[[str], float | None], request: Request) -> None:
    retry_after = allow(request.state.address)
    if retry_after is not None:
        raise RateLimited(
            public="Too many requests. Please wait a moment.",
            public_zh="请求过于频繁，请稍候。",
            retry_after=retry_after,
        )


# --- Answers ---------------------------------------------------------------------------------------------------------


def _json(body: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=JSON,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _error_response(door: Door, request: Request, error: Exception) -> Response:
    """Tells the peer about ``error``: its code and safe sentence only. ``error.detail`` goes to the log."""
    told, headers = _tellable(error)
    door.telemetry.metrics.errors.labels(told.code).inc()
    door.telemetry.log.info("http_error", ref=request.state.ref, code=told.code, detail=told.detail)
    if told.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(told.retry_after)))
    if isinstance(told, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(told, UpgradeRequired):
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}  # RFC 9110 section 15.5.22
    if isinstance(told, TooLarge | TurnTimeout):
        # The rest of the body is not going to be read.
        headers["Connection"] = "close"
    language: Language = "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
    if speaks_openai(request.scope["path"]):
        headers["X-Request-Id"] = request.state.ref
        return _json(error_body(told, language), status_of(told), headers)
    body = ErrorBody(told.code, told.text(language), request.state.ref, told.retry_after, told.max_bytes)
    return _json(body, told.http_status, headers)


def _tellable(error: Exception) -> tuple[CsgateError, dict[str, str]]:
    if isinstance(error, CsgateError):
        return error, {}
    if isinstance(error, HTTPException):
        kinds: dict[int, type[CsgateError]] = {404: NotFound, 405: MethodNotAllowed}
        return kinds.get(error.status_code, Internal)(), dict(error.headers or {})
    return Internal(), {}
