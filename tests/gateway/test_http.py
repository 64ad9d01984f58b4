"""The HTTP app, asked over ASGI: routes, errors, limits, headers."""

import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from csgate.auth import Authenticator, open_authenticator
from csgate.config import Config, load_config
from csgate.errors import Overloaded
from csgate.events import Draft
from csgate.gateway.address import parse_networks
from csgate.gateway.admission import Buckets
from csgate.gateway.body import BODY_TIMEOUT_S, MAX_BODY_BYTES
from csgate.gateway.completions import Completions, Room
from csgate.gateway.door import Door, Readiness
from csgate.gateway.http import build_app, build_operator_app
from csgate.gateway.uploads import Uploads
from csgate.media import Media
from csgate.session import Turn
from csgate.telemetry import Metrics, Telemetry, open_logger

ENGINE = {"provider": "CPUExecutionProvider", "models": {"intent": "shop-intent 1"}}
NOW = 1_800_000_000.0


class Site:
    """An app with its client, its log and what its buckets were asked."""

    def __init__(
        self, config: Config, auth: Authenticator, operator: bool, peer: str, media: Media | None = None
    ) -> None:
        self.stream = io.StringIO()
        self.telemetry = Telemetry(Metrics(), open_logger("debug", stream=self.stream))
        self.auth = auth
        self.now = NOW
        self.ready = Readiness(True, (), ENGINE)
        self.guests: list[str] = []
        self.requests: list[str] = []
        self.guest_wait: float | None = None
        self.request_wait: float | None = None

        async def answer(turn: Turn) -> Draft:
            return Draft(f"re: {turn.text}")

        completions = Completions(
            config=config,
            auth=auth,
            telemetry=self.telemetry,
            answer=answer,
            generator=None,
            messages=Buckets(1.0, 10.0, lambda: self.now),
            picture_bytes=Buckets(1e6, 1e7, lambda: self.now),
            room=Room(10, 10**8),
            draining=lambda: not self.ready.ready,
            now=lambda: self.now,
            started=int(NOW),
        )
        door = Door(
            config=config,
            auth=auth,
            telemetry=self.telemetry,
            trusted=parse_networks(config.server.trusted_proxies),
            readiness=lambda: self.ready,
            allow_guest=self.allow_guest,
            allow_request=self.allow_request,
            now=lambda: self.now,
            completions=completions,
            uploads=None
            if media is None or not config.media.uploads
            else Uploads(config, auth, self.telemetry, media, completions.picture_bytes, lambda: self.now),
            media=media,
        )
        self.app = build_operator_app(door) if operator else build_app(door)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 1234))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gate.example:8080")

    def allow_guest(self, address: str) -> float | None:
        self.guests.append(address)
        return self.guest_wait

    def allow_request(self, address: str) -> float | None:
        self.requests.append(address)
        return self.request_wait

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def open_site(tmp_path: Path) -> OpenSite:
    @asynccontextmanager
    async def opened(*, operator: bool = False, peer: str = "192.0.2.7", **environment: str) -> AsyncIterator[Site]:
        config = load_config(environ={f"CSGATE_{name}": value for name, value in environment.items()})
        async with open_authenticator(config.auth, tmp_path) as auth:
            site = Site(config, auth, operator, peer)
            async with site.client:
                yield site

    return opened


async def body_in(chunks: list[bytes], pause: float = 0.0) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await trio.sleep(pause)
        yield chunk


async def post_raw(app: Any, path: str, chunks: list[bytes]) -> tuple[int, dict[str, Any], int]:
    """Status, JSON body and chunks taken, for a body of unannounced length."""
    taken = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": taken < len(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(http_scope("POST", path), receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"]), taken


def http_scope(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
        "client": None,
        "server": ("gate.example", 80),
        "scheme": "http",
        "http_version": "1.1",
    }


# --- Probes and metrics ----------------------------------------------------------------------------------------------


async def test_healthz_says_ok(open_site: OpenSite) -> None:
    async with open_site() as site:
        response = await site.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_readyz_says_what_answers_and_why_not(open_site: OpenSite) -> None:
    async with open_site() as site:
        ready = await site.client.get("/readyz")
        site.ready = Readiness(False, ("this node is draining",), ENGINE)
        draining = await site.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "reasons": [], "engine": ENGINE}
    assert draining.status_code == 503
    assert draining.json() == {"status": "not ready", "reasons": ["this node is draining"], "engine": ENGINE}


async def test_metrics_are_prometheus_text(open_site: OpenSite) -> None:
    async with open_site() as site:
        site.telemetry.metrics.connections.set(3)
        response = await site.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "csgate_connections 3.0" in response.text


async def test_an_operator_address_takes_the_operator_routes_away(open_site: OpenSite) -> None:
    own = {"SERVER__OPERATOR_PORT": "9090"}
    async with open_site(**own) as public, open_site(operator=True, **own) as operator:
        operator.request_wait = 1.0
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await public.client.get(path)).status_code == 404
            assert (await operator.client.get(path)).status_code == 200
        for path in ("/", "/v1/guest"):
            assert (await operator.client.get(path)).status_code == 404
        assert (await public.client.get("/")).status_code == 200
        assert operator.requests == []


# --- The page --------------------------------------------------------------------------------------------------------


async def test_the_page_is_at_the_root_with_its_policy_and_the_edges_headers(open_site: OpenSite) -> None:
    async with open_site() as site:
        response = await site.client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://gate.example:8080 wss://gate.example:8080"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_the_page_can_be_switched_off(open_site: OpenSite) -> None:
    async with open_site(SERVER__PAGE="false") as site:
        response = await site.client.get("/")
        asset = await site.client.get("/assets/index.js")
    assert (response.status_code, asset.status_code) == (404, 404)
    assert response.json()["code"] == "not_found"


async def test_an_asset_that_was_not_built_is_told_in_json(open_site: OpenSite) -> None:
    async with open_site() as site:
        response = await site.client.get("/assets/..%2f..%2fconfig.py")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


# --- Guests ----------------------------------------------------------------------------------------------------------


async def test_a_guest_gets_a_token_that_passes(open_site: OpenSite) -> None:
    async with open_site() as site:
        answer = (await site.client.post("/v1/guest")).json()
        principal = await site.auth.verify(answer["token"], now=NOW)
    assert principal.subject == answer["subject"]
    assert principal.role == "customer"
    assert answer["expires_at"] == NOW + 3600
    assert site.guests == ["192.0.2.7"]


async def test_a_renewed_guest_is_the_same_one(open_site: OpenSite) -> None:
    async with open_site() as site:
        first = (await site.client.post("/v1/guest", json={})).json()
        site.now = NOW + 3600 + 6 * 86400
        second = (await site.client.post("/v1/guest", json={"token": first["token"]})).json()
        site.now += 3600 + 8 * 86400
        third = (await site.client.post("/v1/guest", json={"token": second["token"]})).json()
    assert second["subject"] == first["subject"]
    assert second["expires_at"] == NOW + 3600 + 6 * 86400 + 3600
    assert third["subject"] != first["subject"]


async def test_guests_can_be_switched_off(open_site: OpenSite) -> None:
    async with open_site(AUTH__GUESTS="false") as site:
        response = await site.client.post("/v1/guest")
    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


async def test_guests_are_limited_by_address(open_site: OpenSite) -> None:
    async with open_site() as site:
        site.guest_wait = 1.2
        response = await site.client.post("/v1/guest")
        assert (await site.client.get("/healthz")).status_code == 200
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"
    assert response.json()["code"] == "rate_limited"
    assert response.json()["retry_after"] == 1.2


async def test_the_address_is_the_one_behind_a_trusted_proxy(open_site: OpenSite) -> None:
    async with open_site(peer="10.0.0.5", SERVER__TRUSTED_PROXIES='["10.0.0.0/8"]') as site:
        await site.client.post("/v1/guest", headers={"X-Forwarded-For": "198.51.100.4"})
    async with open_site(peer="10.0.0.5") as distrusting:
        await distrusting.client.post("/v1/guest", headers={"X-Forwarded-For": "198.51.100.4"})
    assert site.guests == site.requests == ["198.51.100.4"]
    assert distrusting.guests == ["10.0.0.5"]


# --- Tickets ---------------------------------------------------------------------------------------------------------


async def test_a_ticket_stands_for_its_token_once(open_site: OpenSite) -> None:
    async with open_site() as site:
        token = site.auth.mint("alice", lifetime_s=60, now=NOW)
        response = await site.client.post("/v1/tickets", headers={"Authorization": f"Bearer {token}"})
        answer = response.json()
        assert response.status_code == 200
        assert answer["expires_at"] == NOW + 30
        assert site.auth.redeem_ticket(answer["ticket"], now=NOW + 1).subject == "alice"
    assert token not in site.stream.getvalue()
    assert answer["ticket"] not in site.stream.getvalue()


@pytest.mark.parametrize("header", [None, "Basic YTpi", "Bearer nonsense", "Bearer "])
async def test_no_ticket_without_a_token(open_site: OpenSite, header: str | None) -> None:
    async with open_site() as site:
        response = await site.client.post("/v1/tickets", headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["code"] == "unauthorized"


async def test_an_expired_token_says_so(open_site: OpenSite) -> None:
    async with open_site() as site:
        token = site.auth.mint("alice", lifetime_s=60, now=NOW - 3600)
        response = await site.client.post("/v1/tickets", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (401, "expired")


# --- Errors and bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/guest", 405, "method_not_allowed"),
        ("POST", "/ws", 405, "method_not_allowed"),
        ("GET", "/ws", 426, "upgrade_required"),
        ("POST", "/", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_told_in_json(
    open_site: OpenSite, method: str, path: str, status: int, code: str
) -> None:
    async with open_site() as site:
        response = await site.client.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"code", "message", "ref"}
    assert response.json()["code"] == code
    assert any(entry["ref"] == response.json()["ref"] for entry in site.log)
    if status == 405:
        assert response.headers["allow"]
    assert response.headers.get("upgrade") == ("websocket" if status == 426 else None)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"token": "\xff"}', "bad_json"),
        (b"[" * 30_000, "bad_json"),
        (b"[]", "bad_envelope"),
        (b'{"token": 7}', "bad_envelope"),
    ],
)
async def test_a_wrong_body_is_refused(open_site: OpenSite, content: bytes, code: str) -> None:
    async with open_site() as site:
        response = await site.client.post("/v1/guest", content=content)
    assert response.status_code == 400
    assert response.json()["code"] in (code, "bad_envelope" if content.startswith(b"[") else code)


async def test_errors_are_in_the_language_asked_for(open_site: OpenSite) -> None:
    async with open_site() as site:
        english = await site.client.get("/nothing", headers={"Accept-Language": "de, zh;q=0.5"})
        chinese = await site.client.get("/nothing", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    assert english.json()["message"] == "There is nothing here by that name."
    assert chinese.json()["message"] == "找不到该内容。"


async def test_a_body_above_the_limit_is_refused_announced_or_not(open_site: OpenSite) -> None:
    async with open_site() as site:
        announced = await site.client.post("/v1/guest", content=b" " * (MAX_BODY_BYTES + 1))
        status, told, taken = await post_raw(site.app, "/v1/guest", [b" " * 1000] * 1000)
        just = await site.client.post("/v1/guest", content=b" " * MAX_BODY_BYTES)
        elsewhere = await site.client.request("GET", "/healthz", content=b" " * (MAX_BODY_BYTES + 1))
    assert (status, told["code"]) == (413, "too_large")
    assert taken == MAX_BODY_BYTES // 1000 + 1
    for response in (announced, elsewhere):
        assert response.status_code == 413
        assert response.json()["code"] == "too_large"
        assert response.json()["max_bytes"] == MAX_BODY_BYTES
        assert response.headers["connection"] == "close"
    assert just.status_code == 200


async def test_a_body_that_trickles_in_is_given_up(open_site: OpenSite, autojump_clock: trio.abc.Clock) -> None:
    async with open_site() as site:
        response = await site.client.post("/v1/guest", content=body_in([b"{", b"}"], pause=BODY_TIMEOUT_S))
    assert response.status_code == 504
    assert response.json()["code"] == "timeout"


async def test_every_request_is_limited_by_address(open_site: OpenSite) -> None:
    async with open_site() as site:
        site.request_wait = 0.01
        response = await site.client.get("/")
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"


async def test_what_nobody_expected_is_internal_and_logged(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site() as site:

        def broken(*_: object) -> None:
            raise RuntimeError("the secret detail")

        monkeypatch.setattr(site.auth, "guest", broken, raising=True)
        response = await site.client.post("/v1/guest")
        assert (await site.client.get("/healthz")).status_code == 200
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "secret detail" not in response.text
    failed = next(entry for entry in site.log if entry["event"] == "http_failed")
    assert failed["ref"] == response.json()["ref"]
    assert "the secret detail" in json.dumps(failed)


async def test_our_own_refusals_keep_their_status(open_site: OpenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_site() as site:

        def full(*_: object) -> None:
            raise Overloaded("tickets", retry_after=4.0)

        monkeypatch.setattr(site.auth, "guest", full)
        response = await site.client.post("/v1/guest")
    assert (response.status_code, response.headers["retry-after"]) == (503, "4")
    assert not [entry for entry in site.log if entry["event"] == "http_failed"]
    assert b'csgate_errors_total{code="overloaded"} 1.0' in site.telemetry.metrics.render()


async def test_a_failure_after_the_head_is_logged_and_not_answered_twice(open_site: OpenSite) -> None:
    async with open_site() as site:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                raise RuntimeError("the peer is gone")

        await site.app(http_scope("GET", "/healthz"), receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert any(entry["event"] == "http_failed" for entry in site.log)
    assert site.requests == ["unknown"]


async def test_a_peer_that_leaves_in_the_middle_is_no_failure(open_site: OpenSite) -> None:
    async with open_site() as site:
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await site.app(http_scope("POST", "/v1/guest"), receive, send)
    assert sent == []
    assert [entry["event"] for entry in site.log] == ["http_request"]


async def test_the_log_line_has_no_query(open_site: OpenSite) -> None:
    async with open_site() as site:
        await site.client.get("/healthz?ticket=very-secret")
    assert "very-secret" not in site.stream.getvalue()
    line = next(entry for entry in site.log if entry["event"] == "http_request")
    assert (line["path"], line["status"], line["address"]) == ("/healthz", 200, "192.0.2.7")


async def test_lifespan_passes_through(open_site: OpenSite) -> None:
    async with open_site(SERVER__ORIGINS='["https://shop.example"]') as site:
        sent: list[str] = []
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, str]:
            return {"type": next(messages)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await site.app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# --- Other origins ---------------------------------------------------------------------------------------------------


async def test_configured_origins_may_use_the_api_and_nothing_else(open_site: OpenSite) -> None:
    shop = {"Origin": "https://shop.example"}
    async with open_site(SERVER__ORIGINS='["https://Shop.example/"]') as site:
        preflight = await site.client.options(
            "/v1/tickets",
            headers={
                **shop,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        guest = await site.client.post("/v1/guest", headers=shop)
        refused = await site.client.post("/v1/tickets", headers=shop)
        page = await site.client.get("/", headers=shop)
        health = await site.client.get("/healthz", headers=shop)
        stranger = await site.client.post("/v1/guest", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 200
    for response in (preflight, guest, refused):
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in response.headers
    assert refused.status_code == 401
    assert "retry-after" in guest.headers["access-control-expose-headers"].lower()
    for response in (page, health, stranger):
        assert "access-control-allow-origin" not in response.headers


async def test_preflights_are_limited_and_logged_like_any_request(open_site: OpenSite) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with open_site(SERVER__ORIGINS='["https://shop.example"]') as site:
        fine = await site.client.options("/v1/guest", headers=asked)
        site.request_wait = 2.0
        refused = await site.client.options("/v1/guest", headers=asked)
        told = await site.client.post("/v1/guest", headers=asked)
    assert (fine.status_code, refused.status_code, told.status_code) == (200, 429, 429)
    assert fine.headers["x-content-type-options"] == "nosniff"
    assert told.headers["access-control-allow-origin"] == "https://shop.example"  # so that the page can read it
    assert len(site.requests) == 3
    lines = [(entry["method"], entry["status"]) for entry in site.log if entry["event"] == "http_request"]
    assert lines == [("OPTIONS", 200), ("OPTIONS", 429), ("POST", 429)]


async def test_without_origins_nobody_else_may(open_site: OpenSite) -> None:
    async with open_site() as site:
        response = await site.client.post("/v1/guest", headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in response.headers


def test_time_is_injected() -> None:
    assert abs(time.time() - NOW) > 1  # were it not, the tests above would prove nothing about expiry
