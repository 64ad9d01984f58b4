"""What a node that shares its conversations with others is given: their store, and who they are."""

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_address
from typing import Any, Protocol

from csgate.config import Config
from csgate.errors import ConfigError
from csgate.session import Store, open_store
from csgate.telemetry import Telemetry


class Neighbours(Protocol):
    """Made by :func:`csgate.cluster.open_cluster`, which the command line wires in."""

    @property
    def store(self) -> Store: ...

    def addresses(self) -> Sequence[str]:
        """Where clients may fail over to, best first."""
        ...

    def describe(self) -> Sequence[dict[str, Any]]:
        """All nodes, for operators."""
        ...

    async def enter(self, address: str, load: Callable[[], dict[str, int]]) -> None:
        """This node serves at ``address`` from now on; ``load`` says how much."""
        ...

    async def drain(self) -> None:
        """It takes no more clients."""
        ...


Join = Callable[[Config, Telemetry], AbstractAsyncContextManager[Neighbours]]


class Alone:
    """A node that shares nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def addresses(self) -> Sequence[str]:
        return ()

    def describe(self) -> Sequence[dict[str, Any]]:
        return ()

    async def enter(self, address: str, load: Callable[[], dict[str, int]]) -> None:
        """Nobody is to know."""

    async def drain(self) -> None:
        """Nobody is to know."""


@asynccontextmanager
async def open_neighbours(config: Config, telemetry: Telemetry, join: Join | None) -> AsyncIterator[Neighbours]:
    """Opens the store that the settings ask for, with whoever shares it.

    Raises:
        ConfigError: it cannot be used.
    """
    if config.session.store != "redis":
        async with open_store(config.server.data_dir, config.session, telemetry) as store:
            yield Alone(store)
    elif join is None:
        raise ConfigError('session.store = "redis" needs a node that was started by csgate serve.')
    else:
        async with join(config, telemetry) as neighbours:
            yield neighbours


def advertised(config: Config, address: tuple[str, int]) -> str:
    """The URL under which clients reach this node: ``cluster.advertise``, or where it listens."""
    if config.cluster.advertise:
        return config.cluster.advertise
    host, port = address
    if ip_address(host.partition("%")[0]).is_unspecified:
        host = socket.gethostname()
    scheme = "ws" if config.server.tls_certificate is None else "wss"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/ws"
