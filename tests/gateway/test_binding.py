"""The addresses of a node: bound together or not at all, and a sentence for what stands in the way."""

import errno
import socket
from typing import Any

import pytest
import trio

from csgate.config import ServerSettings
from csgate.errors import ConfigError
from csgate.gateway.binding import bind


async def can_connect(address: tuple[str, int]) -> bool:
    try:
        await (await trio.open_tcp_stream(*address)).aclose()
    except OSError:
        return False
    return True


async def sentence(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        async with bind(ServerSettings(**settings)):
            pytest.fail("bound")
    return str(caught.value)


async def test_listens_until_the_block_ends() -> None:
    async with bind(ServerSettings(host="127.0.0.1", port=0)) as (public, operator):
        assert operator is None
        assert public.address[0] == "127.0.0.1"
        assert await can_connect(public.address)
    assert not await can_connect(public.address)


async def test_the_operators_address_is_the_public_host_unless_set() -> None:
    async with bind(ServerSettings(host="127.0.0.2", port=0, operator_port=0)) as (public, operator):
        assert operator is not None
        assert (public.address[0], operator.address[0]) == ("127.0.0.2", "127.0.0.2")
        assert await can_connect(operator.address)
    assert not await can_connect(operator.address)
    settings = ServerSettings(host="127.0.0.1", port=0, operator_host="127.0.0.2", operator_port=0)
    async with bind(settings) as (_, operator):
        assert operator is not None
        assert operator.address[0] == "127.0.0.2"


async def test_nothing_stays_bound_where_the_second_address_is_taken() -> None:
    with socket.socket() as free, socket.socket() as taken:
        for one in (free, taken):
            one.bind(("127.0.0.1", 0))
        taken.listen()
        port, operator_port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        assert await sentence(host="127.0.0.1", port=port, operator_port=operator_port) == (
            f"Cannot listen on 127.0.0.1 port {operator_port}: another program listens there already."
            " Choose another with server.operator_port."
        )
        assert not await can_connect(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EACCES, "Permission denied"), "the system forbids it. Choose a port above 1023 with --port."),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files. Choose another with --port."),
        (OSError("odd"), "odd. Choose another with --port."),
        (
            OSError(errno.EAFNOSUPPORT, "no family"),
            "this machine has no such address. Give one of its own with --host.",
        ),
        (socket.gaierror(-2, "unknown"), "there is no address by that name. Give another with --host."),
        (UnicodeError("label too long"), "there is no address by that name. Give another with --host."),
    ],
)
async def test_what_the_system_says(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(trio, "open_tcp_listeners", fail)
    assert await sentence(host="h", port=1) == f"Cannot listen on h port 1: {reason}"


async def test_an_address_of_another_machine() -> None:
    assert await sentence(host="192.0.2.1", port=0) == (
        "Cannot listen on 192.0.2.1 port 0: this machine has no such address. Give one of its own with --host."
    )
