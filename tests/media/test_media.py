"""The way of a picture from its coming to its end, over a folder, memory and a real S3 server."""

import base64
import hashlib
import io
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import trio
from PIL import Image

from csgate.config import MediaSettings
from csgate.errors import (
    BadEnvelope,
    BadImage,
    ConfigError,
    ImageTooLarge,
    MediaUnavailable,
    NotFound,
    Overloaded,
    TooLarge,
    UnsupportedImage,
)
from csgate.events import Picture, Tag
from csgate.media import Media, Offer, Redirect, Shown, Stored, intake
from csgate.media.keys import bare
from csgate.media.store import Store
from csgate.session.identity import new_conversation_id
from tests.media.conftest import OWNER, Opener, World, in_bucket, until
from tests.media.hostile import chunk, photo, png_of, save, webp_bitmap
from tests.media.s3_server import S3Server
from tests.media.test_store import fetch

PHOTO = photo("JPEG", 1600, 1200)
SMALL = save(Image.new("RGBA", (96, 96), (250, 200, 20, 120)), "PNG")
STRANGER = ("https://issuer", "tenant", "stranger")
SEEN = Shown(tags=(Tag("parcel", "A parcel", 0.9),), kind="photo")


def binary(data: bytes) -> Picture:
    return Picture(data, "binary")


async def read(media: Media, reference: str | None) -> bytes:
    """What a reader gets who was given an event with this reference."""
    assert reference is not None
    address = media.address(reference)
    if address.startswith("data:"):
        return base64.b64decode(address.partition("base64,")[2])
    split = urlsplit(address)
    query = dict(parse_qsl(split.query))
    found = await media.open(split.path.removeprefix("/media/"), query.get("e"), query.get("s"))
    if isinstance(found, Redirect):
        status, body, _ = await trio.to_thread.run_sync(fetch, found.url)
        if status == 404:
            raise NotFound("at the bucket")
        assert status == 200
        return body
    return await found.read(0, found.size)


async def gone(media: Media, reference: str | None) -> bool:
    with suppress(NotFound):
        await read(media, reference)
        return False
    return True


async def upload(media: Media, data: bytes, owner: tuple[str, str, str] = OWNER) -> str:
    with media.upload() as file:
        for at in range(0, len(data), 1 << 16):
            await file.write(data[at : at + (1 << 16)])
        return (await media.take(owner, file)).upload


# --- With a message ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["binary", "base64"])
async def test_a_photo_with_a_message(
    anywhere: Callable[..., MediaSettings], opened: Opener, encoding: Any, world: World
) -> None:
    data = PHOTO if encoding == "binary" else base64.b64encode(PHOTO)
    async with opened(anywhere()) as media:
        assert media.trouble is None
        picture = await media.receive(Picture(data, encoding))
        assert bare(picture.reference or "") == f"pictures/{hashlib.sha256(PHOTO).hexdigest()}"
        assert picture.data is data
        assert await gone(media, picture.reference)
        await media.keep("c1", picture)
        kept = await read(media, picture.reference)
        with Image.open(io.BytesIO(kept)) as image:
            assert (image.format, image.size) == ("JPEG", (800, 600))
        assert await media.receive(picture) is picture
        assert await media.forget("c1") == 1
        assert await gone(media, picture.reference)
        assert await media.forget("c1") == 0


async def test_a_large_message_is_looked_at_aside(opened: Opener) -> None:
    large = photo("PNG", 1500, 1000)
    assert len(large) > 256 * 1024
    async with opened(MediaSettings(store="memory://")) as media:
        received = await media.receive(binary(large))
        assert bare(received.reference or "") == f"pictures/{hashlib.sha256(large).hexdigest()}"


async def test_no_head_is_read_on_the_event_loop(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of nothing but chunks keeps Pillow busy for long, be the file ever so small."""
    threads = []
    real = intake.shown_size

    def noticed(data: bytes, *, max_pixels: int) -> tuple[int, int]:
        threads.append(threading.current_thread())
        return real(data, max_pixels=max_pixels)

    monkeypatch.setattr(intake, "shown_size", noticed)
    many = png_of(8, 8, zlib.compress(bytes(8 * 25)), chunk(b"prVt", b"") * 550)
    async with opened(MediaSettings()) as media:
        received = await media.receive(Picture(many, "binary"))
    assert received.reference is not None
    assert received.reference.endswith("#8x8")
    assert len(threads) == 1
    assert threading.main_thread() not in threads


async def test_a_small_sticker_stays_in_the_log(
    anywhere: Callable[..., MediaSettings], opened: Opener, world: World
) -> None:
    async with opened(anywhere()) as media:
        picture = await media.receive(binary(SMALL))
        assert picture.reference is not None
        assert picture.reference.startswith("data:image/png;base64,")
        assert media.address(picture.reference) == picture.reference
        before = world.counted("csgate_media_requests_total")
        await media.keep("c1", picture)
        assert world.counted("csgate_media_requests_total") == before
        assert await read(media, picture.reference) == SMALL


async def test_the_same_sticker_is_prepared_once(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        one = await media.receive(binary(SMALL))
        for _ in range(5):
            assert (await media.receive(binary(SMALL))).reference == one.reference
        assert world.counted("csgate_media_prepared_total") == 1
        large = await media.receive(binary(PHOTO))
        for conversation in ("c1", "c2", "c1"):
            await media.keep(conversation, large)
        assert world.counted("csgate_media_prepared_total") == 2
        puts = world.counted('csgate_media_requests_total{operation="put"')
        await media.keep("c1", large)
        assert world.counted('csgate_media_requests_total{operation="put"') == puts


async def test_a_small_file_that_becomes_a_large_picture_goes_to_the_store(opened: Opener) -> None:
    wide = save(Image.radial_gradient("L").resize((1000, 900)), "JPEG", quality=1)
    assert len(wide) <= 15_000
    async with opened(MediaSettings(inline_bytes=15_000)) as media:
        picture = await media.receive(binary(wide))
        assert bare(picture.reference or "") == f"pictures/{hashlib.sha256(wide).hexdigest()}"
        await media.keep("c1", picture)
        assert len(await read(media, picture.reference)) > 15_000


@pytest.mark.parametrize(
    "picture",
    [
        binary(b""),
        binary(b"no picture"),
        Picture(b"!!!!", "base64"),
        binary(SMALL[:-30]),
        binary(b"<svg onload='alert(1)'/>"),
    ],
)
async def test_a_bad_picture_has_no_reference_and_is_not_refused_here(opened: Opener, picture: Picture) -> None:
    async with opened(MediaSettings()) as media:
        received = await media.receive(picture)
        assert received.reference is None
        await media.keep("c1", received)


async def test_a_damaged_photo_is_not_kept(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        picture = await media.receive(binary(PHOTO[:-2000]))
        await media.keep("c1", picture)
        assert await gone(media, picture.reference)
        assert await media.forget("c1") == 0


async def test_nothing_is_kept_where_that_is_switched_off(opened: Opener) -> None:
    async with opened(MediaSettings(keep=False)) as media:
        for data in (SMALL, PHOTO):
            picture = await media.receive(binary(data))
            assert picture.reference is None
            await media.keep("c1", picture)
        claimed = await media.claim(await upload(media, PHOTO), OWNER)
        assert claimed.reference is None
        await media.keep("c1", claimed)


# --- By upload --------------------------------------------------------------------------------------------------------


async def test_an_upload_and_the_message_that_names_it(
    anywhere: Callable[..., MediaSettings], opened: Opener, world: World
) -> None:
    async with opened(anywhere()) as media:
        with media.upload() as file:
            await file.write(PHOTO)
            taken = await media.take(OWNER, file)
        assert (taken.width, taken.height, taken.kind, taken.expires_at) == (800, 600, "photo", 1_003_600)
        for _ in range(2):
            picture = await media.claim(taken.upload, OWNER)
            assert picture.encoding == "binary"
            assert len(picture.data) == taken.bytes
            # The same picture has the same name, through whatever door it came.
            assert picture.reference == (await media.receive(binary(PHOTO))).reference
            await media.keep("c1", picture)
        assert await read(media, picture.reference) == picture.data
        with pytest.raises(NotFound):
            await media.claim(taken.upload, STRANGER)
        with pytest.raises(BadEnvelope):
            await media.claim(taken.upload[:-1], OWNER)
        assert await media.forget("c1") == 2  # the picture, and the upload it came with
        with pytest.raises(NotFound):
            await media.claim(taken.upload, OWNER)


async def test_an_uploaded_sticker_stays_in_the_log(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        with media.upload() as file:
            await file.write(SMALL)
            taken = await media.take(OWNER, file)
        assert taken.kind == "sticker"
        picture = await media.claim(taken.upload, OWNER)
        assert picture.reference == (await media.receive(binary(SMALL))).reference


async def test_uploads_expire(anywhere: Callable[..., MediaSettings], opened: Opener, world: World) -> None:
    async with opened(anywhere()) as media:
        name = await upload(media, PHOTO)
        world.now += 3_601
        with pytest.raises(NotFound):
            await media.claim(name, OWNER)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", BadImage), (b"%PDF-1.7", UnsupportedImage), (PHOTO[:-2000], BadImage)],
)
async def test_a_bad_upload_is_refused(opened: Opener, data: bytes, error: type[Exception]) -> None:
    async with opened(MediaSettings()) as media:
        with pytest.raises(error):
            await upload(media, data)


async def test_uploads_are_bounded_in_size_and_number(opened: Opener) -> None:
    async with opened(MediaSettings(upload_bytes=1000, uploads_at_once=2)) as media:
        with media.upload() as one, media.upload():
            with pytest.raises(Overloaded) as caught:
                media.upload().__enter__()
            assert caught.value.retry_after is not None
            await one.write(bytes(1000))
            with pytest.raises(TooLarge) as large:
                await one.write(b"x")
            assert large.value.max_bytes == 1000
        with media.upload():
            pass


async def test_large_uploads_wait_on_disk(tmp_path: Path, opened: Opener, world: World) -> None:
    (tmp_path / "data").mkdir()
    before = list((tmp_path / "data").iterdir())
    large = photo("PNG", 1500, 1000)
    async with opened(MediaSettings(store="memory://", spool_bytes=100_000)) as media:
        with media.upload() as file:
            for at in range(0, len(large), 50_000):
                await file.write(large[at : at + 50_000])
                assert world.counted("csgate_media_spooled_bytes") < 400_000
            assert file.spooled
            assert file.size == len(large)
            assert world.counted("csgate_media_uploads") == 1
            await media.take(OWNER, file)
        assert world.counted("csgate_media_uploads") == 0
        assert world.counted("csgate_media_spooled_bytes") == 0
        assert list((tmp_path / "data").iterdir()) == before  # the file has no name, so nothing can be left behind


async def test_many_uploads_go_to_disk_sooner(opened: Opener, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csgate.media.spool.MEMORY_BYTES", 150_000)
    async with opened(MediaSettings(store="memory://")) as media:
        with media.upload() as one, media.upload() as two:
            await one.write(bytes(100_000))
            await two.write(bytes(100_000))
            assert (one.spooled, two.spooled) == (False, True)
            await two.write(b"end")
            assert two.content().read() == bytes(100_000) + b"end"
            assert one.content().read() == bytes(100_000)
        assert world.counted("csgate_media_spooled_bytes") == 0


# --- By leave to put --------------------------------------------------------------------------------------------------


async def offer(media: Media, data: bytes, type: str = "image/jpeg", **changed: Any) -> Offer:
    said = {"size": len(data), "type": type, "sha256": hashlib.sha256(data).hexdigest()} | changed
    made = await media.offer(OWNER, **said)
    assert made.method == "PUT"
    assert made.expires_at == 1_003_600
    assert made.headers["Content-Type"] == type
    return made


async def put(media: Media, offered: Offer, *chunks: bytes) -> None:
    """Does what a browser does with an offer."""
    if not offered.url.startswith("/"):
        body = b"".join(chunks)
        status, told, _ = await trio.to_thread.run_sync(lambda: fetch(offered.url, "PUT", body, **offered.headers))
        assert status == 200, told
        return
    split = urlsplit(offered.url)
    assert split.path.startswith("/v1/uploads/")

    async def body_() -> AsyncIterator[bytes]:
        for piece in chunks:
            yield piece

    async with aclosing(body_()) as chunks_:
        await media.put_offered(split.path.rpartition("/")[2], dict(parse_qsl(split.query)), chunks_)


async def test_put_and_named(anywhere: Callable[..., MediaSettings], opened: Opener) -> None:
    async with opened(anywhere()) as media:
        offered = await offer(media, PHOTO)
        with pytest.raises(NotFound):
            await media.claim(offered.upload, OWNER)
        await put(media, offered, PHOTO[:1000], PHOTO[1000:])
        with pytest.raises(NotFound):
            await media.claim(offered.upload, STRANGER)
        picture = await media.claim(offered.upload, OWNER)
        assert bare(picture.reference or "") == f"pictures/{hashlib.sha256(PHOTO).hexdigest()}"
        with Image.open(io.BytesIO(picture.data)) as image:
            assert image.size == (800, 600)
        await media.keep("c1", picture)
        assert await read(media, picture.reference) == picture.data


async def test_the_bucket_takes_what_it_is_given_but_csgate_does_not(s3: S3Server, opened: Opener) -> None:
    async with opened(in_bucket(s3, "checked")) as media:
        another = PHOTO[:-3] + b"\x00" + PHOTO[-2:]
        longer = await offer(media, PHOTO)
        await put(media, longer, PHOTO + b"x")
        shorter = await offer(media, PHOTO)
        await put(media, shorter, PHOTO[:-1])
        changed = await offer(media, PHOTO)
        await put(media, changed, another)
        untrue = await offer(media, PHOTO, type="image/png")
        await put(media, untrue, PHOTO)
        for wrong in (longer, shorter, changed, untrue):
            with pytest.raises(BadImage) as caught:
                await media.claim(wrong.upload, OWNER)
            assert "announced" in caught.value.text("en")
        damaged = await offer(media, PHOTO[:-2000])
        await put(media, damaged, PHOTO[:-2000])
        with pytest.raises(BadImage, match="jpeg"):
            await media.claim(damaged.upload, OWNER)


class _Nothing:
    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("not to be read")


async def test_what_is_put_here_is_checked_at_once(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        offered = await offer(media, PHOTO)
        for chunks in ((PHOTO, b"x"), (PHOTO[:-1],), (), (PHOTO[:-3] + b"\x00" + PHOTO[-2:],)):
            with pytest.raises(BadImage):
                await put(media, offered, *chunks)
        with pytest.raises(NotFound):
            await media.claim(offered.upload, OWNER)
        with pytest.raises(NotFound):
            await media.put_offered("another", dict(parse_qsl(urlsplit(offered.url).query)), _Nothing())
        world.now += 3_601
        with pytest.raises(NotFound):
            await put(media, offered, PHOTO)


async def test_offers_that_are_not_made(opened: Opener) -> None:
    async with opened(MediaSettings(upload_bytes=1000)) as media:
        for changed, error in (
            ({"type": "image/svg+xml"}, UnsupportedImage),
            ({"size": 1001}, TooLarge),
            ({"size": 0}, BadImage),
            ({"sha256": "AB" * 32}, BadEnvelope),
            ({"sha256": "ab" * 31}, BadEnvelope),
        ):
            with pytest.raises(error):
                await offer(media, b"123", **({"type": "image/png"} | changed))


async def test_a_bucket_that_customers_do_not_reach(s3: S3Server, opened: Opener) -> None:
    async with opened(in_bucket(s3, "inside", deliver="proxy")) as media:
        offered = await offer(media, PHOTO)
        assert offered.url.startswith("/v1/uploads/")
        await put(media, offered, PHOTO)
        picture = await media.claim(offered.upload, OWNER)
        await media.keep("c1", picture)
        split = urlsplit(media.address(picture.reference or ""))
        query = dict(parse_qsl(split.query))
        found = await media.open(split.path.removeprefix("/media/"), query["e"], query["s"])
        assert isinstance(found, Stored)


# --- Shown again ------------------------------------------------------------------------------------------------------


async def test_what_a_reader_is_told(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        picture = await media.receive(binary(PHOTO))
        await media.keep("c1", picture)
        assert picture.reference is not None
        split = urlsplit(media.address(picture.reference))
        query = dict(parse_qsl(split.query))
        found = await media.open(bare(picture.reference), query["e"], query["s"])
        assert isinstance(found, Stored)
        assert (found.type, found.etag) == ("image/jpeg", hashlib.sha256(PHOTO).hexdigest())
        assert found.max_age == int(query["e"]) - int(world.now)
        whole = await found.read(0, found.size)
        assert await found.read(10, 20) == whole[10:20]
        assert await found.read(5, 5) == b""
        for e, s in ((None, None), (query["e"], "A" * 22), (str(int(query["e"]) + 1), query["s"])):
            with pytest.raises(NotFound):
                await media.open(bare(picture.reference), e, s)
        for key in ("pictures/" + "0" * 64, "refs/x", "../secret", ""):
            with pytest.raises(NotFound):
                await media.open(key, query["e"], query["s"])
        world.now = float(query["e"])
        with pytest.raises(NotFound):
            await media.open(bare(picture.reference), query["e"], query["s"])


async def test_a_large_picture_is_read_in_parts(anywhere: Callable[..., MediaSettings], opened: Opener) -> None:
    frames = [Image.effect_noise((400, 300), 90).convert("RGBA") for _ in range(8)]
    moving = save(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert len(moving) > 500_000
    async with opened(anywhere(deliver="proxy", public=True)) as media:
        picture = await media.receive(binary(moving))
        await media.keep("c1", picture)
        assert picture.reference is not None
        found = await media.open(bare(picture.reference))
        assert isinstance(found, Stored)
        assert found.max_age is None
        parts = [await found.read(at, min(at + 200_000, found.size)) for at in range(0, found.size, 200_000)]
        assert b"".join(parts) == moving
        await media.forget("c1")
        with pytest.raises(NotFound):
            await found.read(300_000, 400_000)


async def test_the_bucket_is_pointed_to(s3: S3Server, opened: Opener, world: World) -> None:
    async with opened(in_bucket(s3, "pointed", url_seconds=3_000.0)) as media:
        picture = await media.receive(binary(PHOTO))
        await media.keep("c1", picture)
        assert picture.reference is not None
        query = dict(parse_qsl(urlsplit(media.address(picture.reference)).query))
        found = await media.open(bare(picture.reference), query["e"], query["s"])
        assert isinstance(found, Redirect)
        assert found.max_age <= 3_600
        assert (await trio.to_thread.run_sync(fetch, found.url))[0] == 200
        again = await media.open(bare(picture.reference), query["e"], query["s"])
        assert again == found  # so that a reader's cache can hold it
        here = await media.open(bare(picture.reference), query["e"], query["s"], redirect=False)
        assert isinstance(here, Stored)  # the bucket's address is for GET alone
        assert await here.read(0, here.size) == await read(media, picture.reference)
        world.now += 1_801
        query = dict(parse_qsl(urlsplit(media.address(picture.reference)).query))
        renewed = await media.open(bare(picture.reference), query["e"], query["s"])
        assert isinstance(renewed, Redirect)
        assert renewed.url.startswith(s3.endpoint)


async def test_addresses_of_a_cdn(opened: Opener) -> None:
    async with opened(MediaSettings(cdn_base_url="https://cdn.example/shop/", public=True)) as media:
        assert media.address("pictures/" + "a" * 64) == "https://cdn.example/shop/media/pictures/" + "a" * 64
        assert media.address("https://elsewhere/x.png") == "https://elsewhere/x.png"


async def test_foreign_files_in_the_store_are_not_shown(tmp_path: Path, opened: Opener) -> None:
    async with opened(MediaSettings(public=True)) as media:
        folder = tmp_path / "data" / "media" / "pictures"
        folder.mkdir()
        (folder / ("a" * 64)).write_bytes(b"<script>")
        with pytest.raises(NotFound):
            await media.open("pictures/" + "a" * 64)


# --- What was seen ----------------------------------------------------------------------------------------------------


async def test_a_result_picture(anywhere: Callable[..., MediaSettings], opened: Opener) -> None:
    async with opened(anywhere()) as media:
        picture = await media.receive(binary(PHOTO))
        reference = await media.show("c1", picture, SEEN)
        assert reference is not None
        assert reference.startswith("results/")
        with Image.open(io.BytesIO(await read(media, reference))) as image:
            assert image.format == "WEBP"
        assert await media.show("c2", picture, SEEN) == reference
        assert await media.forget("c1") == 0
        assert not await gone(media, reference)
        assert await media.forget("c2") == 1
        assert await gone(media, reference)


async def test_a_small_result_picture_stays_in_the_log(opened: Opener) -> None:
    async with opened(MediaSettings(inline_bytes=65_536)) as media:
        reference = await media.show("c1", binary(SMALL), SEEN)
        assert reference is not None
        assert reference.startswith("data:image/webp;base64,")


async def test_no_result_picture(opened: Opener) -> None:
    async with opened(MediaSettings()) as media:
        assert await media.show("c1", binary(b"no picture"), SEEN) is None
    async with opened(MediaSettings(results=False)) as media:
        assert await media.show("c1", binary(PHOTO), SEEN) is None


# --- Its end ----------------------------------------------------------------------------------------------------------


async def test_a_picture_stays_as_long_as_any_conversation(
    anywhere: Callable[..., MediaSettings], opened: Opener, world: World
) -> None:
    conversations = [new_conversation_id(), "with spaces/and ü", "~odd"]
    async with opened(anywhere()) as media:
        picture = await media.receive(binary(PHOTO))
        for conversation in conversations:
            await media.keep(conversation, picture)
        assert await media.sweep() == 0
        for conversation in conversations[:2]:
            assert await media.forget(conversation) == 0
            assert not await gone(media, picture.reference)
        world.gone.add(conversations[2])
        assert await media.sweep() == 1
        assert await gone(media, picture.reference)
        await media.keep("c9", picture)
        assert not await gone(media, picture.reference)


async def test_a_forgotten_conversation_that_comes_back(opened: Opener) -> None:
    async with opened(MediaSettings()) as media:
        picture = await media.receive(binary(PHOTO))
        for _ in range(2):
            await media.keep("c1", picture)
            assert not await gone(media, picture.reference)
            assert await media.forget("c1") == 1


async def test_a_picture_that_is_sent_while_it_is_removed(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(MediaSettings()) as media:
        picture = await media.receive(binary(PHOTO))
        await media.keep("c1", picture)
        delete = Store.delete

        async def meanwhile(self: Store, key: str) -> None:
            if key == bare(picture.reference or ""):
                monkeypatch.undo()
                await media.keep("c2", picture)  # finds it still there
            await delete(self, key)

        monkeypatch.setattr(Store, "delete", meanwhile)
        assert await media.forget("c1") == 0
        assert not await gone(media, picture.reference)
        assert await media.forget("c2") == 1


async def test_a_removal_that_is_interrupted_is_done_again(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        picture = await media.receive(binary(PHOTO))
        await media.keep("c1", picture)
        delete = Store.delete

        async def failing(self: Store, key: str) -> None:
            if key.startswith("pictures/"):
                raise MediaUnavailable("gone down")
            await delete(self, key)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Store, "delete", failing)
            with pytest.raises(MediaUnavailable):
                await media.forget("c1")
        world.gone.add("c1")
        assert await media.sweep() == 1
        assert await gone(media, picture.reference)
        assert await media.sweep() == 0


async def test_a_conversation_with_many_pictures(opened: Opener) -> None:
    async with opened(MediaSettings(store="memory://", inline_bytes=0)) as media:
        pictures = [await media.receive(binary(photo("PNG", 8 + index, 8))) for index in range(40)]
        for picture in (*pictures, *pictures):
            await media.keep("c1", picture)
        assert await media.forget("c1") == 40


async def test_the_sweep_leaves_alone_what_is_not_ours(tmp_path: Path, opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        name = await upload(media, PHOTO)
        folder = tmp_path / "data" / "media" / "of" / "~_w"
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"")
        odd = tmp_path / "data" / "media" / "of" / "c1"
        odd.mkdir()
        (odd / "something").write_bytes(b"")
        world.gone.add("c1")
        assert await media.sweep() == 0
        assert (folder / "x").exists()
        assert (await media.claim(name, OWNER)).reference is not None


async def test_uploads_that_nobody_came_for_are_swept(opened: Opener, world: World) -> None:
    async with opened(MediaSettings()) as media:
        world.now = time.time()
        name = await upload(media, PHOTO)
        assert await media.sweep() == 0
        world.now += 3_599
        assert (await media.claim(name, OWNER)).reference is not None
        world.now += 10
        assert await media.sweep() == 1


async def test_sweeps_come_by_themselves_and_survive_a_store_that_is_down(
    opened: Opener, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csgate.media.keeping._SWEEP_RETRY_S", 0.01)
    asked = 0
    known = world.known

    async def failing_once(conversation: str) -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise MediaUnavailable("down")
        return await known(conversation)

    world.known = failing_once  # type: ignore[method-assign]
    async with opened(MediaSettings(sweep_seconds=0.05)) as media:
        picture = await media.receive(binary(PHOTO))
        world.gone.add("c1")
        await media.keep("c1", picture)

        async def swept() -> bool:
            return await gone(media, picture.reference)

        await until(swept)
        assert asked >= 2


# --- A store that is down ---------------------------------------------------------------------------------------------


async def test_a_store_that_goes_down_loses_nothing(tmp_path: Path, opened: Opener, world: World) -> None:
    server = S3Server(tmp_path / "server")
    try:
        async with opened(in_bucket(server, "p", store_seconds=2.0, deliver="proxy")) as media:
            before = await media.receive(binary(PHOTO))
            await media.keep("c1", before)
            waiting = await upload(media, PHOTO)
            offered = await offer(media, PHOTO)
            server.kill()
            during = await media.receive(binary(photo("JPEG", 900, 700)))  # asks nobody
            assert during.reference is not None
            with pytest.raises(MediaUnavailable):
                await media.keep("c1", during)
            with pytest.raises(MediaUnavailable):
                await upload(media, PHOTO)
            with pytest.raises(MediaUnavailable):
                await media.claim(waiting, OWNER)
            with pytest.raises(MediaUnavailable):
                await put(media, offered, PHOTO)
            with pytest.raises(MediaUnavailable):
                await read(media, before.reference)
            assert await media.show("c1", before, SEEN) is None
            assert media.trouble is not None
            await media.keep("c1", before)  # kept already, as this node knows
            with pytest.raises(MediaUnavailable):
                await media.forget("c1")
            server.start()

            async def back() -> bool:
                return media.trouble is None

            await until(back)
            await media.keep("c1", during)
            assert len(await read(media, before.reference)) > 10_000
            assert len(await read(media, during.reference)) > 10_000
            assert (await media.claim(waiting, OWNER)).reference == before.reference
            await put(media, offered, PHOTO)
            assert (await media.claim(offered.upload, OWNER)).reference == before.reference
            assert await media.forget("c1") == 2
    finally:
        server.kill()


async def test_a_store_that_is_down_at_the_start(tmp_path: Path, opened: Opener) -> None:
    server = S3Server(tmp_path / "server")
    server.kill()
    try:
        async with opened(in_bucket(server, "p", store_seconds=1.0)) as media:
            assert media.trouble is not None
            server.start()

            async def back() -> bool:
                return media.trouble is None

            await until(back)
    finally:
        server.kill()


async def test_settings_that_contradict_each_other(opened: Opener) -> None:
    with pytest.raises(ConfigError, match=r"media\.deliver"):
        async with opened(MediaSettings(deliver="redirect")):
            pass


async def test_too_large_is_told_as_such(opened: Opener) -> None:
    canvas = b"\x00\x00\x00\x00" + b"\xff\xff\x00" + b"\xff\xff\x00"
    bitmap = webp_bitmap(8, 8)
    huge = b"RIFF" + (22 + len(bitmap)).to_bytes(4, "little") + b"WEBPVP8X\x0a\x00\x00\x00" + canvas + bitmap
    async with opened(MediaSettings()) as media:
        with pytest.raises(ImageTooLarge):
            await upload(media, huge)


async def test_an_address_says_how_large_the_picture_is(opened: Opener) -> None:
    wide = save(Image.effect_noise((1600, 400), 90), "JPEG")
    turned = Image.Exif()
    turned[0x0112] = 6
    upright = save(Image.effect_noise((600, 400), 90), "JPEG", exif=turned)
    async with opened(MediaSettings()) as media:
        for data, size in ((wide, "800x200"), (upright, "400x600")):
            picture = await media.receive(binary(data))
            assert media.address(picture.reference or "").endswith(f"#{size}")
            await media.keep("c1", picture)
            assert Image.open(io.BytesIO(await read(media, picture.reference))).size == tuple(map(int, size.split("x")))
        card = await media.show("c1", await media.receive(binary(wide)), SEEN)
        width, height = Image.open(io.BytesIO(await read(media, card))).size
        assert media.address(card or "").endswith(f"#{width}x{height}")


async def test_a_picture_without_a_readable_size_has_an_address_all_the_same(opened: Opener) -> None:
    async with opened(MediaSettings(inline_bytes=0)) as media:
        picture = await media.receive(binary(b"\xff\xd8\xff" + b"no header" * 100))
        assert picture.reference == bare(picture.reference or "")
