"""Routes of the page, of what it is made of, and of the scripts that other sites load.

A script may be loaded from anywhere; whether it may then connect is for ``server.origins`` to say.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from csgate.errors import NotFound
from csgate.gateway.door import Door
from csgate.gateway.site import ABSENT, File, Site, embedders, make_file, node_origins, origin_of, policy, shipped_site

SCRIPTS: Final = ("csgate.js", "csgate.mjs", "csgate-sdk.mjs", "csgate-worker.js")

_PAGE_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
_ASSET_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SCRIPT_HEADERS: Final = {
    "Cache-Control": "public, max-age=300",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def page_routes(door: Door, site: Site | None = None) -> list[BaseRoute]:
    """The routes; ``site`` is what the package has unless it is given. Says in the log if there is no page."""
    built = shipped_site() if site is None else site
    server = door.config.server
    if built.page is None and server.page:
        door.telemetry.log.warning(
            "page_missing", hint="csgate was installed without its page; http://…/ says how to get it"
        )
    page = built.page or make_file("index.html", ABSENT)
    frames = embedders(server.origins)
    cdn = origin_of(door.config.media.cdn_base_url)

    async def serve_page(request: Request) -> Response:
        if not server.page:
            raise NotFound("the page is switched off (server.page)")
        media = dict.fromkeys(filter(None, (cdn, *map(origin_of, door.media_origins()))))
        allowed = policy(
            request.headers.get("host", ""),
            media=tuple(media),
            nodes=node_origins(door.addresses()),
            frames=frames,
        )
        headers = {**_PAGE_HEADERS, "Content-Security-Policy": allowed}
        if not frames:
            headers["X-Frame-Options"] = "DENY"
        return _serve(request, page, headers)

    async def serve_asset(request: Request) -> Response:
        if not server.page:
            raise NotFound("the page is switched off (server.page)")
        return _serve(request, _known(built.assets, request.path_params["name"]), _ASSET_HEADERS)

    async def serve_script(request: Request) -> Response:
        return _serve(request, _known(built.scripts, request.scope["path"].removeprefix("/")), _SCRIPT_HEADERS)

    return [
        Route("/", serve_page, methods=["GET"]),
        Route("/assets/{name:path}", serve_asset, methods=["GET"]),
        *(Route(f"/{name}", serve_script, methods=["GET"]) for name in SCRIPTS),
    ]


def _known(table: Mapping[str, File], name: str) -> File:
    file = table.get(name)
    if file is None:
        raise NotFound("no such file was built")
    return file


def _serve(request: Request, file: File, headers: Mapping[str, str]) -> Response:
    body, etag, packed = file.variant(request.headers.get("accept-encoding", ""))
    sent = {**headers, "ETag": etag}
    if file.packed is not None:
        sent["Vary"] = "Accept-Encoding"
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=sent)
    if packed:
        sent["Content-Encoding"] = "gzip"
    return Response(body, media_type=file.media_type, headers=sent)
