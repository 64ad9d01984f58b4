"""The stores that the media part is tested with: a folder, memory, and a real S3 server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.config import MediaSettings
from csgate.media import Media, open_media
from csgate.telemetry import Telemetry
from tests.media.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server

SECRET = b"the secret of this node, or of all that share a store"
OWNER = ("https://issuer", "tenant", "subject")
Opener = Callable[..., AbstractAsyncContextManager[Media]]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


def in_bucket(server: S3Server, prefix: str, **others: Any) -> MediaSettings:
    given: dict[str, Any] = {
        "store": f"s3://{BUCKET}/{prefix}",
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
    }
    return MediaSettings(**(given | others))


@pytest.fixture(params=["folder", "memory", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., MediaSettings]:
    """Settings of a store of one's own; arguments are further settings."""

    def settings(**others: Any) -> MediaSettings:
        if request.param == "folder":
            return MediaSettings(**others)
        if request.param == "memory":
            return MediaSettings(store="memory://", **others)
        return in_bucket(request.getfixturevalue("s3"), tmp_path.name, **others)

    return settings


class World:
    """What a :class:`Media` knows of the rest: the time, and the conversations that there are."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.gone: set[str] = set()
        self.telemetry = Telemetry()

    async def known(self, conversation: str) -> bool:
        return conversation not in self.gone

    def counted(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.telemetry.metrics.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def opened(tmp_path: Path, world: World) -> Opener:
    @asynccontextmanager
    async def opener(settings: MediaSettings) -> AsyncIterator[Media]:
        with trio.fail_after(60):
            async with open_media(
                settings,
                tmp_path / "data",
                SECRET,
                world.telemetry,
                max_pixels=50_000_000,
                known=world.known,
                now=lambda: world.now,
            ) as media:
                yield media

    return opener


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something that happens in threads or other processes, so no event of ours tells of it."""
    while not await fact():  # noqa: ASYNC110
        await trio.sleep(0.01)
