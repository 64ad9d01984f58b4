"""A network between a browser and a server that can fall silent: nothing comes through, and nobody is told."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Line:
    """Forwards TCP connections to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._silent = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fall_silent(self) -> None:
        self._silent = True

    def come_back(self) -> None:
        """New connections work. Those of before have lost bytes, and end."""
        before, self._open = self._open, []
        self._silent = False
        for one in before:
            _end(one)

    def close(self) -> None:
        _end(self._listener)
        self.come_back()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._start(self._ignore if self._silent else self._serve, client)

    def _ignore(self, client: socket.socket) -> None:
        """It hears nothing, until one of us gives up."""
        with client, contextlib.suppress(OSError):
            while client.recv(65536):
                pass

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            self._open.append(server)
            back = threading.Thread(target=self._forward, args=(server, client), daemon=True)
            back.start()
            self._forward(client, server)
            back.join()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._silent:
                    sink.sendall(data)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
