"""A node alone, and what a node says of itself."""

import socket
from pathlib import Path

import pytest

from csgate.config import ClusterSettings, Config, ServerSettings, SessionSettings
from csgate.errors import ConfigError
from csgate.gateway.neighbours import advertised, open_neighbours
from csgate.session import MemoryStore
from csgate.telemetry import Telemetry


async def test_alone_it_has_a_store_and_nobody_to_tell() -> None:
    async with open_neighbours(Config(session=SessionSettings(store="memory")), Telemetry(), None) as neighbours:
        assert isinstance(neighbours.store, MemoryStore)
        await neighbours.enter("ws://here/ws", dict)
        await neighbours.drain()
        assert (*neighbours.addresses(), *neighbours.describe()) == ()


async def test_a_shared_store_needs_somebody_to_open_it() -> None:
    with pytest.raises(ConfigError):
        async with open_neighbours(Config(session=SessionSettings(store="redis")), Telemetry(), None):
            pass


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "ws://127.0.0.1:8080/ws"),
        ("::1", "ws://[::1]:8080/ws"),
        ("0.0.0.0", f"ws://{socket.gethostname()}:8080/ws"),
        ("::", f"ws://{socket.gethostname()}:8080/ws"),
    ],
)
def test_the_address_that_others_are_told(host: str, told: str) -> None:
    assert advertised(Config(), (host, 8080)) == told
    tls = Config(server=ServerSettings(tls_certificate=Path("c"), tls_key=Path("k")))
    assert advertised(tls, (host, 8080)) == told.replace("ws:", "wss:")
    chosen = Config(cluster=ClusterSettings(advertise="wss://node1.example/ws"))
    assert advertised(chosen, (host, 8080)) == "wss://node1.example/ws"
