"""A line to Redis that tests can block: nothing passes, nothing is closed, and nobody is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio


class Wire:
    """Listens on ``port`` of this machine, and passes everything on to ``target``."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.open = trio.Event()
        self.open.set()
        self.scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """What is on its way is lost, and nobody gets through until it is open again."""
        self.block()
        for scope in self.scopes:
            scope.cancel()

    def block(self) -> None:
        self.open = trio.Event()

    async def serve(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
            task_status.started()
            await trio.serve_listeners(self._pass, [listener], handler_nursery=nursery)

    async def _pass(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self.scopes.add(scope)
            await self._connect(near)
        self.scopes.discard(scope)
        await trio.aclose_forcefully(near)

    async def _connect(self, near: trio.SocketStream) -> None:
        await self.open.wait()
        async with near, await trio.open_tcp_stream("127.0.0.1", self.target) as far, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far, nursery)
            nursery.start_soon(self._copy, far, near, nursery)

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream, nursery: trio.Nursery) -> None:
        try:
            async for data in source:
                await self.open.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


class Wires:
    """Several, in a thread of their own, for programs that do not run Trio."""

    def __init__(self, wires: list[Wire], token: trio.lowlevel.TrioToken) -> None:
        self.ports = [wire.port for wire in wires]
        self._wires = wires
        self._token = token

    def block(self, at: int) -> None:
        """From now on nothing passes through wire number ``at``."""
        self._token.run_sync_soon(self._wires[at].block)

    def open(self, at: int) -> None:
        """What was held up passes, and all that comes."""
        self._token.run_sync_soon(lambda: self._wires[at].open.set())


@contextmanager
def open_wires(target: int, count: int) -> Iterator[Wires]:
    """``count`` of them to ``target``."""
    ready = threading.Event()
    wires = [Wire(target) for _ in range(count)]
    scope = trio.CancelScope()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for wire in wires:
                    await nursery.start(wire.serve)
                tokens.append(trio.lowlevel.current_trio_token())
                ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield Wires(wires, tokens[0])
    finally:
        tokens[0].run_sync_soon(scope.cancel)
        thread.join(10)
