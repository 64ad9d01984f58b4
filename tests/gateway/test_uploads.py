"""Uploads and pictures over ASGI: rates, bounds, time, and what readers are told."""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import trio
from PIL import Image
from tests.gateway.test_http import NOW, Site, body_in, http_scope

from csgate.auth import open_authenticator
from csgate.config import load_config
from csgate.errors import MediaUnavailable
from csgate.events import Picture
from csgate.gateway.media_files import FOR_EVER, PIECE_BYTES
from csgate.media import Media, Redirect, open_media
from csgate.telemetry import Telemetry

OpenPlace = Callable[..., AbstractAsyncContextManager["Place"]]


class Place(Site):
    """A site with pictures, kept in memory."""

    media: Media

    async def post(
        self, content: Any, path: str = "/v1/uploads", subject: str = "ann", **headers: str
    ) -> httpx.Response:
        token = self.auth.mint(subject, lifetime_s=3600, now=NOW)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=content, headers={"Authorization": f"Bearer {token}", **named})

    async def raw(self, path: str, chunks: list[bytes], *rest: None, **headers: str) -> tuple[int, Any, int]:
        """Status, body and chunks taken, for a body of unannounced length; after ``None`` nothing comes any more."""
        token = self.auth.mint("ann", lifetime_s=3600, now=NOW)
        scope = http_scope("PUT" if path.endswith("/x") else "POST", path)
        named = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): it for name, it in headers.items()}}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in named.items()]
        sent: list[Any] = []
        taken = 0

        async def receive() -> Any:
            nonlocal taken
            if taken == len(chunks) and rest:
                await trio.sleep_forever()
            taken += 1
            return {"type": "http.request", "body": chunks[taken - 1], "more_body": taken < len(chunks) or bool(rest)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"]), taken

    def uploads(self, door: str, outcome: str) -> float:
        labels = {"door": door, "outcome": outcome}
        return self.telemetry.metrics.registry.get_sample_value("csgate_uploads_total", labels) or 0.0


@pytest.fixture
def open_place(tmp_path: Path) -> OpenPlace:
    @asynccontextmanager
    async def opened(*, limits: Any = None, **media: Any) -> AsyncIterator[Place]:
        sections = {"media": {"store": "memory://", **media}, "limits": limits or {}}
        config = load_config(None, sections, environ={})

        async def known(conversation: str) -> bool:
            return True

        async with (
            open_authenticator(config.auth, tmp_path) as auth,
            open_media(
                config.media, tmp_path, b"s" * 32, Telemetry(), max_pixels=10**7, known=known, now=lambda: NOW
            ) as kept,
        ):
            place = Place(config, auth, False, "192.0.2.7", kept)
            place.media = kept
            async with place.client:
                yield place

    return opened


def png(width: int = 400) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (300, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def form(content: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + content + b"\r\n--x--\r\n"


FORM = "multipart/form-data; boundary=x"


async def test_both_forms_of_a_body_and_what_is_counted(open_place: OpenPlace) -> None:
    async with open_place() as place:
        whole = await place.post(png(), Content_Type="image/png")
        pieces = await place.post(body_in([form(png())[:100], form(png())[100:]]), Content_Type=FORM)
        for answer in (whole, pieces):
            assert answer.status_code == 201
            assert answer.headers["cache-control"] == "no-store"
            assert {"upload", "bytes", "width", "height", "kind", "expires_at"} == set(answer.json())
        picture = await place.media.claim(pieces.json()["upload"], ("", "", "ann"))
        assert picture.reference == f"pictures/{hashlib.sha256(png()).hexdigest()}#400x300"
        assert (await place.post(b"no picture")).json()["code"] == "unsupported_image"
        assert (place.uploads("file", "ok"), place.uploads("file", "unsupported_image")) == (2, 1)


async def test_a_principals_bytes_have_a_rate(open_place: OpenPlace) -> None:
    """Whether their number was announced or not; an offer is charged for what it allows."""
    wish = b'{"bytes": 6000000, "type": "image/png", "sha256": "%s"}' % (b"0" * 64)
    for path, first in (("/v1/uploads", bytes(6_000_000)), ("/v1/uploads/presign", wish)):
        async with open_place() as place:
            await place.post(first, path)
            limited = await place.post(first, path)
            assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
            assert int(limited.headers["retry-after"]) >= 1
            assert (await place.raw(path, [first]))[0] == 429
            assert (await place.post(b"x", subject="eve")).status_code == 415
            place.now += 6.0
            assert (await place.post(first, path)).status_code in (201, 415)


@pytest.mark.parametrize("kind", ["image/png", FORM])
async def test_more_than_is_taken(open_place: OpenPlace, kind: str) -> None:
    content = bytes(80_000) if kind != FORM else form(bytes(80_000))
    async with open_place(upload_bytes=10_000, spool_bytes=2_000) as place:
        refused = await place.post(content, Content_Type=kind)
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
        assert refused.headers["connection"] == "close"
        status, told, taken = await place.raw(
            "/v1/uploads", [content[:9_000], content[9_000:], b"", b""], content_type=kind
        )
        assert (status, told["code"], taken) == (413, "too_large", 2)
        assert (await place.raw("/v1/uploads/x", [bytes(9_000), bytes(9_000), b""]))[0] == 404  # before it is read
        assert (await place.post(b'{"bytes": 10001, "type": "image/png"}', "/v1/uploads/presign")).status_code == 400
        assert (await place.post(bytes(70_000), "/v1/uploads/presign")).status_code == 413
        put = await place.client.put("/v1/uploads/x", content=bytes(10_001))
        assert (put.status_code, put.json()["max_bytes"]) == (413, 10_000)


async def test_a_body_that_does_not_come(open_place: OpenPlace) -> None:
    """A little time, and more for what came."""
    async with open_place(limits={"message_seconds": 0.05, "message_bytes_per_second": 10_000}) as place:
        began = trio.current_time()
        status, body, _ = await place.raw("/v1/uploads", [b"x" * 1000], None)
        assert (status, body["code"]) == (504, "timeout")
        assert 0.15 <= trio.current_time() - began < 5.0


async def test_as_many_as_there_may_be(open_place: OpenPlace) -> None:
    async with open_place(uploads_at_once=1) as place:
        release = trio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield png()
            await release.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.post, slowly())
            while not place.media._spool.used:  # noqa: ASYNC110
                await trio.sleep(0.001)
            refused = await place.post(png())
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            release.set()
        assert (await place.post(png())).status_code == 201
        assert place.uploads("file", "ok") == 2


async def test_nothing_is_read_while_the_store_is_down(open_place: OpenPlace) -> None:
    async with open_place() as place:
        place.media._store.trouble = "the store of pictures cannot be used"
        for path in ("/v1/uploads", "/v1/uploads/presign"):
            status, body, taken = await place.raw(path, [png()])
            assert (status, body["message"], taken) == (503, MediaUnavailable.safe_en, 0)
            assert body["retry_after"] == 5.0


async def test_an_unexpected_failure_is_counted(open_place: OpenPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_place() as place:

        async def take(*_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(place.media, "take", take)
        assert (await place.post(png())).status_code == 500
        assert place.uploads("file", "failed") == 1


async def test_switched_off(open_place: OpenPlace) -> None:
    async with open_place(uploads=False) as place:
        for path in ("/v1/uploads", "/v1/uploads/presign"):
            assert (await place.post(b"{}", path)).status_code == 404
        assert (await place.client.put("/v1/uploads/x", content=b"")).status_code == 404


# --- Reading ---------------------------------------------------------------------------------------------------------


async def kept(place: Place, content: bytes) -> str:
    picture = await place.media.receive(Picture(content, "binary"))
    await place.media.keep("c", picture)
    assert picture.reference is not None
    return place.media.address(picture.reference)


async def test_how_long_a_picture_may_be_kept(open_place: OpenPlace) -> None:
    async with open_place(public=True) as place:
        address = await kept(place, png())
        assert "?" not in address
        assert (await place.client.get(address)).headers["cache-control"] == FOR_EVER
    async with open_place(url_seconds=100.0) as place:
        address = await kept(place, png())
        seconds = int(address.partition("?e=")[2].partition("&")[0]) - NOW
        assert (await place.client.get(address)).headers[
            "cache-control"
        ] == f"private, max-age={seconds:.0f}, immutable"


async def test_a_large_picture_goes_in_pieces(open_place: OpenPlace) -> None:
    async with open_place(max_width=8192, quality=100) as place:
        address = await kept(place, png(1500))
        whole = await place.client.get(address)
        size = len(whole.content)
        assert size > 2 * PIECE_BYTES
        assert int(whole.headers["content-length"]) == size
        assert Image.open(io.BytesIO(whole.content)).width == 1500
        middle = await place.client.get(address, headers={"Range": f"bytes={PIECE_BYTES - 5}-{2 * PIECE_BYTES + 5}"})
        assert middle.content == whole.content[PIECE_BYTES - 5 : 2 * PIECE_BYTES + 6]
        sent = place.telemetry.metrics.registry.get_sample_value("csgate_media_sent_bytes_total")
        assert sent == size + len(middle.content)
        place.media._store.trouble = None
        await place.media.forget("c")
        assert (await place.client.get(address)).status_code == 404


async def test_what_a_reader_has_already_and_what_is_not_there(open_place: OpenPlace) -> None:
    async with open_place() as place:
        address = await kept(place, png())
        etag = (await place.client.get(address)).headers["etag"]
        known = await place.client.get(address, headers={"If-None-Match": etag})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
        behind = await place.client.get(address, headers={"Range": "bytes=9999999-"})
        assert behind.status_code == 416
        assert behind.headers["content-range"].startswith("bytes */")
        head = await place.client.head(address, headers={"Range": "bytes=0-1"})
        assert (head.status_code, head.content) == (200, b"")
        assert (await place.client.get("/media/pictures/x")).json()["code"] == "not_found"


async def test_a_pre_signed_put_to_this_server(open_place: OpenPlace) -> None:
    async with open_place() as place:
        wish = {"bytes": len(png()), "type": "image/png", "sha256": hashlib.sha256(png()).hexdigest()}
        offer = (await place.post(json.dumps(wish), "/v1/uploads/presign")).json()
        put = await place.client.put(offer["url"], content=body_in([png()[:70_000], png()[70_000:]]))
        assert (put.status_code, put.content) == (204, b"")
        assert (await place.media.claim(offer["upload"], ("", "", "ann"))).data
        assert (place.uploads("offer", "ok"), place.uploads("put", "ok")) == (1, 1)
        assert (await place.client.post("/v1/uploads", content=png())).status_code == 401


async def test_a_bucket_sends_readers_on(open_place: OpenPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    async with open_place() as place:

        async def open_(*_: Any, redirect: bool) -> Redirect:
            asked.append(redirect)
            return Redirect("https://bucket.example/pictures/1?X-Amz-Signature=1", 1800)

        monkeypatch.setattr(place.media, "open", open_)
        answer = await place.client.get("/media/pictures/1")
        assert answer.status_code == 307
        assert answer.headers["location"] == "https://bucket.example/pictures/1?X-Amz-Signature=1"
        assert answer.headers["cache-control"] == "private, max-age=1800"
        await place.client.head("/media/pictures/1")
        assert asked == [True, False]
