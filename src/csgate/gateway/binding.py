"""The addresses a node listens on: bound before anything slow begins, so that a taken one is told at once."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from csgate.config import ServerSettings
from csgate.errors import ConfigError

_FORBIDDEN: Final = (errno.EACCES, errno.EPERM)
_NOT_OURS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Bound:
    """The sockets of one address, listening. Connections wait in their backlog until somebody accepts."""

    __slots__ = ("address", "listeners")

    def __init__(self, listeners: list[trio.SocketListener]) -> None:
        self.listeners = listeners
        name = listeners[0].socket.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])

    async def aclose(self) -> None:
        for listener in self.listeners:
            await listener.aclose()


@asynccontextmanager
async def bind(server: ServerSettings) -> AsyncIterator[tuple[Bound, Bound | None]]:
    """The public address and, where one is set, that of the operator. Both are closed on the way out.

    Raises:
        ConfigError: an address cannot be bound; one sentence that says why and which setting to change.
    """
    public = await _bind(server.host, server.port, server.backlog, "--host", "--port")
    operator: Bound | None = None
    try:
        if server.operator_port is not None:
            operator = await _bind(
                server.operator_host or server.host,
                server.operator_port,
                server.backlog,
                "server.operator_host",
                "server.operator_port",
            )
        yield public, operator
    finally:
        with trio.CancelScope(shield=True):  # closing a listener does not wait for anything
            await public.aclose()
            if operator is not None:
                await operator.aclose()


async def _bind(host: str, port: int, backlog: int, host_setting: str, port_setting: str) -> Bound:
    try:
        return Bound(await trio.open_tcp_listeners(port, host=host, backlog=backlog))
    except (OSError, UnicodeError) as error:
        reason = _reason(error, host_setting, port_setting)
        raise ConfigError(f"Cannot listen on {host} port {port}: {reason}") from error


def _reason(error: OSError | UnicodeError, host_setting: str, port_setting: str) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"there is no address by that name. Give another with {host_setting}."
    if error.errno == errno.EADDRINUSE:
        return f"another program listens there already. Choose another with {port_setting}."
    if error.errno in _FORBIDDEN:
        return f"the system forbids it. Choose a port above 1023 with {port_setting}."
    if error.errno in _NOT_OURS:
        return f"this machine has no such address. Give one of its own with {host_setting}."
    return f"{error.strerror or error}. Choose another with {port_setting}."
