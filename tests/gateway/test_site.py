"""The page and the scripts as they are served: a table of files, headers, compression, and a policy."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from csgate.config import load_config
from csgate.errors import NotFound
from csgate.gateway.site import embedders, load_site, make_file, node_origins, origin_of, policy, takes_gzip
from csgate.gateway.site_routes import SCRIPTS, page_routes
from csgate.telemetry import Metrics, Telemetry, open_logger

SCRIPT = b"console.log('csgate');" * 50
STORE = "https://bucket.s3.example:9000/pictures/x?signature=1"
Visit = Callable[..., httpx.AsyncClient]


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "dist"
    (folder / "assets" / "more").mkdir(parents=True)
    (folder / "types").mkdir()
    (folder / "index.html").write_bytes(b"<!doctype html><script type=module src=./assets/page-1a2b.js></script>" * 9)
    for name in SCRIPTS:
        (folder / name).write_bytes(SCRIPT)
    (folder / "assets" / "page-1a2b.js").write_bytes(SCRIPT)
    (folder / "assets" / "page-1a2b.css").write_bytes(b"p{}")
    (folder / "assets" / "dot-1a2b.png").write_bytes(b"\x89PNG" + bytes(500))
    (folder / "assets" / "more" / "dot.svg").write_bytes(b"<svg/>")
    (folder / "assets" / "notes.txt").write_bytes(b"of no type that is served")
    (folder / "types" / "index.d.ts").write_bytes(b"export {};")
    (folder / ".sources").write_bytes(b"0")
    (folder.parent / "secret.js").write_bytes(b"outside")
    return folder


@pytest.fixture
def visit(dist: Path) -> Visit:
    def client(
        *,
        origins: tuple[str, ...] = (),
        cdn: str = "",
        stores: tuple[str, ...] = (),
        page: bool = True,
        folder: Any = dist,
    ) -> httpx.AsyncClient:
        sections = {"server": {"origins": origins, "page": page}, "media": {"cdn_base_url": cdn}}
        log = io.StringIO()
        door: Any = SimpleNamespace(
            config=load_config(None, sections, environ={}),
            telemetry=Telemetry(Metrics(), open_logger("debug", stream=log)),
            media_origins=lambda: stores,
            addresses=tuple,
        )

        async def refuse(_: Request, error: Exception) -> Response:
            assert isinstance(error, NotFound)
            return Response(status_code=404)

        app = Starlette(routes=page_routes(door, load_site(folder)), exception_handlers={NotFound: refuse})
        app.state.log = log
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(
            transport=transport, base_url="http://gate.example:8080", headers={"Accept-Encoding": ""}
        )

    return client


def directives(response: httpx.Response) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))


async def raw(client: httpx.AsyncClient, path: str) -> int:
    """The status for a path that no client library would send as it is."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    statuses: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "headers": [],
        "query_string": b"",
    }
    await transport.app(
        {**scope, "client": None, "server": None, "scheme": "http", "http_version": "1.1"}, receive, send
    )
    return statuses[0]


# --- The page --------------------------------------------------------------------------------------------------------


async def test_the_page_runs_what_is_its_own_and_nothing_inline(visit: Visit, dist: Path) -> None:
    response = await visit().get("/")
    assert response.status_code == 200
    assert response.content == (dist / "index.html").read_bytes()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert directives(response) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "worker-src": "'self'",
        "connect-src": "'self' ws://gate.example:8080 wss://gate.example:8080",
        "img-src": "'self' data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_pictures_may_come_from_and_go_to_where_they_are_kept(visit: Visit) -> None:
    response = await visit(cdn="https://cdn.example/pictures", stores=(STORE, "data:,x", "https://cdn.example")).get(
        "/"
    )
    origins = "https://cdn.example https://bucket.s3.example:9000"
    assert directives(response)["img-src"] == f"'self' data: blob: {origins}"
    assert directives(response)["connect-src"].endswith(f" {origins}")


async def test_allowed_origins_may_frame_the_page(visit: Visit) -> None:
    response = await visit(origins=("https://Shop.example/", "https://b.example:8443", "no origin; script-src *")).get(
        "/"
    )
    assert directives(response)["frame-ancestors"] == "'self' https://shop.example https://b.example:8443"
    assert directives(response)["script-src"] == "'self'"
    assert "x-frame-options" not in response.headers
    assert directives(await visit(origins=("*",)).get("/"))["frame-ancestors"] == "*"


async def test_a_host_header_cannot_widen_the_policy(visit: Visit) -> None:
    response = await visit().get("/", headers={"Host": "gate.example; script-src *"})
    assert directives(response)["connect-src"] == "'self'"
    assert directives(response)["script-src"] == "'self'"


async def test_the_page_is_not_sent_again_to_one_who_has_it(visit: Visit) -> None:
    client = visit()
    first = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("content-security-policy", "etag", "vary", "cache-control"):
        assert again.headers[name] == first.headers[name]
    assert (await client.get("/", headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await client.get("/", headers={"If-None-Match": "*"})).status_code == 304


async def test_without_the_page_it_is_said_how_to_get_it(visit: Visit, tmp_path: Path) -> None:
    client = visit(folder=tmp_path / "nothing")
    response = await client.get("/")
    assert response.status_code == 200
    assert "pip install ." in response.text
    assert "此页面" in response.text
    assert "<script" not in response.text
    assert "style=" not in response.text
    assert directives(response)["script-src"] == "'self'"
    for path in ("/csgate.js", "/assets/page-1a2b.js"):
        assert (await client.get(path)).status_code == 404
    (told,) = map(json.loads, client._transport.app.state.log.getvalue().splitlines())  # type: ignore[attr-defined]
    assert (told["level"], told["event"]) == ("warning", "page_missing")


async def test_the_page_can_be_switched_off_and_the_scripts_stay(visit: Visit, tmp_path: Path) -> None:
    client = visit(page=False)
    assert (await client.get("/")).status_code == 404
    assert (await client.get("/assets/page-1a2b.js")).status_code == 404
    assert (await client.get("/csgate.js")).status_code == 200
    absent = visit(page=False, folder=tmp_path / "nothing")
    assert (await absent.get("/")).status_code == 404
    assert absent._transport.app.state.log.getvalue() == ""  # type: ignore[attr-defined]


# --- What it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("page-1a2b.js", "text/javascript; charset=utf-8"),
        ("page-1a2b.css", "text/css; charset=utf-8"),
        ("dot-1a2b.png", "image/png"),
        ("more/dot.svg", "image/svg+xml"),
    ],
)
async def test_assets_are_kept_for_good(visit: Visit, dist: Path, name: str, media_type: str) -> None:
    response = await visit().get(f"/assets/{name}")
    assert response.content == (dist / "assets" / name).read_bytes()
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/nothing.js",
        "/assets/notes.txt",
        "/assets/../index.html",
        "/assets/../../secret.js",
        "/assets/..",
        "/assets/./page-1a2b.js",
        "/assets//page-1a2b.js",
        "/assets//etc/passwd",
        "/assets/%2e%2e/csgate.js",
        "/assets/..\\..\\secret.js",
        "/assets/page-1a2b.js\0.png",
        "/assets/page-1a2b.js/",
        "/assets/PAGE-1A2B.JS",
        "/../secret.js",
        "/secret.js",
        "/index.html",
        "/.sources",
        "/types/index.d.ts",
        "/csgate.js/..",
        "/csgate.js/",
    ],
)
async def test_nothing_else_is_served(visit: Visit, path: str) -> None:
    assert await raw(visit(), path) in (404, 307)  # 307: Starlette's, to the same path without the slash at its end


# --- Scripts for other sites -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
async def test_any_site_may_load_the_scripts(visit: Visit, name: str) -> None:
    client = visit()
    response = await client.get(f"/{name}", headers={"Origin": "https://stranger.example"})
    assert response.content == SCRIPT
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert response.headers["cache-control"] == "public, max-age=300"
    again = await client.get(f"/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["access-control-allow-origin"] == "*"
    assert (await client.head(f"/{name}")).headers["etag"] == response.headers["etag"]
    assert (await client.post(f"/{name}")).status_code == 405


# --- Compression -----------------------------------------------------------------------------------------------------


async def test_the_compressed_variant_is_chosen_by_what_the_client_takes(visit: Visit) -> None:
    client = visit()
    plain = await client.get("/csgate.js")
    packed = await client.get("/csgate.js", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(SCRIPT) // 5
    assert packed.content == plain.content == SCRIPT
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    # The tag of one variant does not spare the other.
    wrong = await client.get("/csgate.js", headers={"If-None-Match": packed.headers["etag"]})
    assert wrong.status_code == 200


async def test_what_does_not_get_smaller_is_not_compressed(visit: Visit) -> None:
    for name in ("dot-1a2b.png", "page-1a2b.css"):
        response = await visit().get(f"/assets/{name}", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in response.headers
        assert "vary" not in response.headers


def test_a_file_compresses_to_itself() -> None:
    file = make_file("a.mjs", SCRIPT)
    assert file.packed is not None
    assert gzip.decompress(file.packed) == SCRIPT
    assert make_file("b.mjs", SCRIPT) == file


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("gzip;q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("identity", False),
        ("gzip;q=much", False),
        ("gzip;x=0", True),
        ("br," * 10_000 + "gzip", False),
    ],
)
def test_what_a_client_takes(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


# --- The policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a.example", "a.example:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_hosts_are_named(host: str) -> None:
    assert f"connect-src 'self' ws://{host} wss://{host};" in policy(host)


def test_a_page_may_fail_over_to_other_nodes() -> None:
    nodes = node_origins(
        ["ws://10.0.0.2:8080/ws", "wss://B.example/ws", "wss://b.example/ws", "nonsense", "wss://x y/ws"]
    )
    assert nodes == ("ws://10.0.0.2:8080", "http://10.0.0.2:8080", "wss://b.example", "https://b.example")
    allowed = policy("a.example", nodes=nodes)
    assert f"connect-src 'self' ws://a.example wss://a.example {' '.join(nodes)};" in allowed
    assert "img-src 'self' data: blob: http://10.0.0.2:8080 https://b.example;" in allowed


@pytest.mark.parametrize("host", ["", "a b", "a;b", "a.example:port", "[::1", "*", "a" * 300, "a.example\n"])
def test_what_is_no_host_is_not(host: str) -> None:
    assert "connect-src 'self';" in policy(host)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x?y#z", "https://a.example"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://user:pass@a.example/", "https://a.example"),
        ("", None),
        ("/media", None),
        ("ftp://a.example", None),
        ("javascript:alert(1)", None),
        ("https://a.example; script-src *", None),
        ("https://[::1/", None),
        ("https://*", None),
    ],
)
def test_only_origins_are_written_into_a_policy(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


def test_who_may_embed() -> None:
    assert embedders(()) == ()
    assert embedders(("nonsense",)) == ()
    assert embedders(("https://a.example", "https://A.example/")) == ("'self'", "https://a.example")
    assert embedders(("https://a.example", "*")) == ("*",)
