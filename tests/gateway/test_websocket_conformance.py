"""The same cases of RFC 6455 against the real echo server, over a real socket."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.client_frames import close, closed
from tests.wire.conformance import CASES, Case

ROOT = Path(__file__).parents[2]
HEAD = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    command = [sys.executable, str(ROOT / "benchmarks" / "echo_server.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:")
        yield int(line.rpartition(":")[2])
        server.terminate()
        assert server.wait(10) == 0


def connect(port: int, head: bytes = HEAD) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(head)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # section 1.3
    return sock


def read(sock: socket.socket, size: int) -> bytes:
    """``size`` bytes, or what came before the end."""
    data = bytearray(size)
    view = memoryview(data)
    got = 0
    while got < size and (count := sock.recv_into(view[got:])):
        got += count
    return bytes(view[:got])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section} {case.name}")
def test_over_a_socket(case: Case, port: int) -> None:
    with connect(port) as sock:
        sent = case.sent if case.ends else case.sent + close(1000)
        back = case.back if case.ends else case.back + closed(1000)
        if len(sent) > 65536:
            sender = threading.Thread(target=sock.sendall, args=(sent,))
            sender.start()
            got = read(sock, len(back))
            sender.join()
        else:
            sock.sendall(sent)
            got = read(sock, len(back))
        assert got == back
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def test_head_and_first_frames_in_one_packet(port: int) -> None:
    with connect(port, HEAD + bytes.fromhex("818537fa213d7f9f4d5158")) as sock:
        assert read(sock, 7) == b"\x81\x05Hello"


@pytest.mark.parametrize(
    "case", [one for one in CASES if one.at == len(one.sent) and one.ends], ids=lambda one: one.name
)
def test_refused_before_more_comes(case: Case, port: int) -> None:
    """The last byte is kept back: nothing may come; with it, the answer does."""
    with connect(port) as sock:
        sock.sendall(case.sent[:-1])
        sock.settimeout(0.005)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(20)
        sock.sendall(case.sent[-1:])
        assert read(sock, len(case.back)) == case.back
