"""``GET /media/<key>``: pictures as people see them, under addresses that say until when they work."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from csgate.gateway.byte_range import Unsatisfiable, is_known, wanted
from csgate.media import Media, Redirect, Stored
from csgate.telemetry import Telemetry

FOR_EVER: Final = "public, max-age=31536000, immutable"
PIECE_BYTES: Final = 256 * 1024
_HEADERS: Final = {
    # Whatever a picture may hold, a browser runs nothing of it, and embeds it where pages of other origins show it.
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Accept-Ranges": "bytes",
}


def media_routes(media: Media, telemetry: Telemetry) -> list[Route]:
    """``/media/<key>``, GET and HEAD."""

    async def serve(request: Request) -> Response:
        query = request.query_params
        redirect = request.method == "GET"
        found = await media.open(request.path_params["key"], query.get("e"), query.get("s"), redirect=redirect)
        if isinstance(found, Redirect):
            headers = {"Location": found.url, "Cache-Control": f"private, max-age={found.max_age}"}
            return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)
        return _answer(found, request.headers, request.method, telemetry)

    return [Route("/media/{key:path}", serve, methods=["GET"])]


def _answer(found: Stored, asked: Mapping[str, str], method: str, telemetry: Telemetry) -> Response:
    etag = f'"{found.etag}"'
    kept = FOR_EVER if found.max_age is None else f"private, max-age={found.max_age}, immutable"
    headers = {**_HEADERS, "ETag": etag, "Cache-Control": kept}
    if is_known(etag, asked):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        part = wanted(found.size, etag, asked) if method == "GET" else None
    except Unsatisfiable:
        headers["Content-Range"] = f"bytes */{found.size}"
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    start, end = part or (0, found.size)
    headers |= {"Content-Type": found.type, "Content-Length": str(end - start)}
    if part is None:
        return _Pieces(found, start, end, HTTPStatus.OK, headers, telemetry)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    return _Pieces(found, start, end, HTTPStatus.PARTIAL_CONTENT, headers, telemetry)


class _Pieces(Response):
    """A body that is read as it is sent: the next piece is fetched when the reader has taken the last."""

    def __init__(
        self, found: Stored, start: int, end: int, status: int, headers: Mapping[str, str], telemetry: Telemetry
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        self._found = found
        self._start = start
        self._end = end
        self._sent = telemetry.metrics.media_sent_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "GET":
            for start in range(self._start, self._end, PIECE_BYTES):
                piece = await self._found.read(start, min(start + PIECE_BYTES, self._end))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._sent.inc(len(piece))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
