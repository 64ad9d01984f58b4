"""Every recorded exchange, against the server and the Python client of this checkout."""

from typing import Any

import pytest

from . import client, server
from .exchange import load, replayed_by


@pytest.mark.parametrize("name", replayed_by("server"))
async def test_the_server_replays(autojump_clock: Any, name: str) -> None:
    await server.in_memory(load(name))


@pytest.mark.parametrize("name", replayed_by("client"))
async def test_the_client_replays(autojump_clock: Any, name: str) -> None:
    await client.replay(load(name))
