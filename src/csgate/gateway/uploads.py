"""Pictures that come by HTTP, to be named by a message: ``/v1/uploads``.

The order of a request: who asks, is there room, its rate, the bytes, what is in them. Nothing is read of a stranger.
The bytes go to the store's spool as they come, and a client that is faster than the disk waits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from csgate.auth import Authenticator, bearer_from
from csgate.config import Config
from csgate.errors import CsgateError, MediaUnavailable, RateLimited, Unauthorized
from csgate.events import Principal
from csgate.gateway.admission import Buckets
from csgate.gateway.body import announced_bytes, read_body, timed_body
from csgate.gateway.pictures import RETRY_S
from csgate.gateway.upload_form import MAX_FORM_BYTES, file_field
from csgate.media import Media
from csgate.telemetry import Telemetry

UPLOADS_PATH: Final = "/v1/uploads"
PRESIGN_PATH: Final = "/v1/uploads/presign"


class Wish(msgspec.Struct, frozen=True):
    """The file that somebody would like to put: its size, its media type, its SHA-256 in hex."""

    bytes: Annotated[int, Meta(ge=0, le=2**53)]
    type: Annotated[str, Meta(max_length=100)]
    sha256: Annotated[str, Meta(max_length=100)]


@dataclass(frozen=True, slots=True)
class Uploads:
    """What the endpoints need of their node."""

    config: Config
    auth: Authenticator
    telemetry: Telemetry
    media: Media
    picture_bytes: Buckets
    now: Callable[[], float]

    def routes(self) -> list[Route]:
        """To be mounted at ``/v1``."""
        return [
            Route("/uploads", self._counted("file", self._take), methods=["POST"]),
            Route("/uploads/presign", self._counted("offer", self._offer), methods=["POST"]),
            Route("/uploads/{id}", self._counted("put", self._put), methods=["PUT"]),
        ]

    def most_bytes(self, path: str) -> int | None:
        """The largest body that is read there; None where nothing large is."""
        if path == UPLOADS_PATH:
            return self.config.media.upload_bytes + MAX_FORM_BYTES
        if path.startswith(UPLOADS_PATH + "/") and path != PRESIGN_PATH:
            return self.config.media.upload_bytes
        return None

    def _counted(self, door: str, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def serve(request: Request) -> Response:
            uploads = self.telemetry.metrics.uploads
            try:
                response: Response = await endpoint(request)
            except BaseException as error:
                uploads.labels(door, error.code if isinstance(error, CsgateError) else "failed").inc()
                raise
            uploads.labels(door, "ok").inc()
            return response

        return serve

    async def _take(self, request: Request) -> Response:
        """``POST /v1/uploads``: the file in a form's field ``file``, or as the body itself."""
        principal = await self._who(request)
        self._store_there()
        announced = announced_bytes(request)
        if announced is not None:
            self._charge(principal, announced)
        form = file_field(request.headers.get("content-type", ""))
        most = self.config.media.upload_bytes + (MAX_FORM_BYTES if form is not None else 0)
        with self.media.upload() as file:
            async with timed_body(request, self.config.limits, most) as chunks:
                async for chunk in chunks:
                    for piece in [chunk] if form is None else form.feed(chunk):
                        await file.write(piece)
            if form is not None:
                form.finish()
            if announced is None:
                self._charge(principal, file.size)
            upload = await self.media.take(principal.owner, file)
        return _json(upload, HTTPStatus.CREATED)

    async def _offer(self, request: Request) -> Response:
        """``POST /v1/uploads/presign``: an address that takes the file."""
        principal = await self._who(request)
        self._store_there()
        wish = await read_body(request, Wish)
        self._charge(principal, wish.bytes)
        offer = await self.media.offer(principal.owner, size=wish.bytes, type=wish.type, sha256=wish.sha256)
        return _json(offer, HTTPStatus.CREATED)

    async def _put(self, request: Request) -> Response:
        """``PUT /v1/uploads/<id>?…``: where such an address leads, unless the store signs its own."""
        async with timed_body(request, self.config.limits, self.config.media.upload_bytes) as chunks:
            await self.media.put_offered(request.path_params["id"], dict(request.query_params), chunks)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _who(self, request: Request) -> Principal:
        credentials = bearer_from(request.scope["headers"], (), {}, False)
        if credentials is None:
            raise Unauthorized("no Authorization: Bearer header")
        return await self.auth.verify(credentials.value, now=self.now())

    def _store_there(self) -> None:
        """Before megabytes are read for nothing."""
        if self.media.trouble is not None:
            raise MediaUnavailable(self.media.trouble, retry_after=RETRY_S)

    def _charge(self, principal: Principal, size: int) -> None:
        wait = self.picture_bytes.allow(principal.owner, size)
        if wait is not None:
            raise RateLimited(retry_after=wait)


def _json(body: Any, status: int) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
