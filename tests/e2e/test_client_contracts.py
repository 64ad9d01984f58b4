"""Recorded exchanges against a real ``csgate serve`` with the shipped models."""

import pytest

from tests.contracts import server as replayer
from tests.contracts.exchange import load, replayed_by

from .conftest import Server


@pytest.mark.parametrize("name", replayed_by("gateway"))
async def test_a_real_gateway_replays(server: Server, name: str) -> None:
    await replayer.over_sockets(load(name), server.port, server.token)
