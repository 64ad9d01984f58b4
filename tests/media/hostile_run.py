"""Puts the hostile corpus through every door of the media part, one picture at a time, and tells what that cost.

A program of its own, so that its memory can be measured: prints one JSON object, by name of the picture and the door.
"""

import base64
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from PIL import Image

from csgate.config import Config, MediaSettings
from csgate.errors import PeerError
from csgate.events import Picture
from csgate.media import Media, Stored, open_media
from csgate.telemetry import Telemetry, open_logger
from tests.media.hostile import CORPUS, SCRIPT

OWNER = ("issuer", "tenant", "subject")


def resident(field: str) -> int:
    """Bytes of memory, now (``VmRSS``) or at most since the last reset (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def by_message(media: Media, data: bytes, type: str) -> bytes | None:
    picture = await media.receive(Picture(data, "binary"))
    await media.keep("conversation", picture)
    return await shown(media, picture.reference)


async def by_upload(media: Media, data: bytes, type: str) -> bytes | None:
    with media.upload() as file:
        for at in range(0, len(data), 1 << 16):
            await file.write(data[at : at + (1 << 16)])
        upload = await media.take(OWNER, file)
    picture = await media.claim(upload.upload, OWNER)
    return bytes(picture.data)


async def by_offer(media: Media, data: bytes, type: str) -> bytes | None:
    digest = hashlib.sha256(data).hexdigest()
    offer = await media.offer(OWNER, size=len(data), type=type, sha256=digest)
    path, _, query = offer.url.partition("?")
    fields = dict(pair.split("=") for pair in query.split("&"))

    async def chunks() -> Any:
        yield data

    await media.put_offered(path.rpartition("/")[2], fields, chunks())
    return bytes((await media.claim(offer.upload, OWNER)).data)


async def shown(media: Media, reference: str | None) -> bytes | None:
    """What a reader gets; None where the picture was not kept."""
    if reference is None:
        return None
    address = media.address(reference)
    if address.startswith("data:"):
        return base64.b64decode(address.partition(",")[2])
    path, _, query = address.partition("#")[0].partition("?")
    fields = dict(pair.split("=") for pair in query.split("&"))
    try:
        stored = await media.open(path.removeprefix("/media/"), fields["e"], fields["s"])
    except PeerError:
        return None
    assert isinstance(stored, Stored)
    return await stored.read(0, stored.size)


def judge(data: bytes | None) -> str:
    if data is None:
        return "refused"
    assert SCRIPT not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.format in ("JPEG", "PNG", "WEBP", "GIF")
        assert image.width <= 800
        assert getattr(image, "n_frames", 1) <= 300
        image.load()
    return "safe"


DOORS: dict[str, Callable[[Media, bytes, str], Awaitable[bytes | None]]] = {
    "message": by_message,
    "upload": by_upload,
    "offer": by_offer,
}


async def run(names: list[str]) -> dict[str, Any]:
    async def known(conversation: str) -> bool:
        return True

    told: dict[str, Any] = {}
    log = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        telemetry = Telemetry(log=open_logger(stream=log))
        async with open_media(
            MediaSettings(),
            Path(folder),
            b"s" * 32,
            telemetry,
            max_pixels=Config().inference.max_pixels,
            known=known,
        ) as media:
            for name in names:
                one = CORPUS[name]
                content = one.make()
                for door, send in DOORS.items():
                    forget_peak()
                    before = resident("VmRSS")
                    begun = time.process_time()
                    try:
                        data = await send(media, content, one.type)
                    except PeerError as error:
                        data, outcome = None, error.code
                    else:
                        outcome = ""
                    seconds = time.process_time() - begun  # of the processor: others may be busy as well
                    grown = resident("VmHWM") - before
                    told[f"{name} by {door}"] = {
                        "expected": one.outcome,
                        "outcome": judge(data),
                        "code": outcome,
                        "seconds": round(seconds, 3),
                        "mebibytes": round(grown / (1 << 20), 1),
                    }
                del content, data
    assert '"level": "error"' not in log.getvalue()
    return told


if __name__ == "__main__":
    print(json.dumps(trio.run(run, sys.argv[1:] or list(CORPUS)), indent=1))
