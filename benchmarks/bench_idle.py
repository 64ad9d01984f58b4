"""Memory and processor share of idle connections: ``make bench-idle``.

Opens thousands of WebSocket connections, authenticated where the server asks for it, answers the server's pings and
does nothing else. Resident memory a connection is what the server has grown by since before the first of them.
"""

import argparse
import json
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import jwt
import psutil
import report
from peers import go
from peers.process import Server, python, running

SECRET = "an idle benchmark's secret, forty bytes long"
GOAL_BYTES = 20 * 1024
GOAL_CPU = 0.05
MASK = b"\x00\x00\x00\x00"


@dataclass
class Client:
    """All connections of one run, on one selector."""

    address: tuple[str, int]
    path: str
    token: str | None
    sockets: list[socket.socket] = field(default_factory=list)
    selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    pings: int = 0
    lost: int = 0

    def open(self, count: int) -> None:
        for _ in range(count):
            sock = socket.create_connection(self.address, timeout=30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = (
                f"GET {self.path} HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            )
            if self.token:
                head += f"Sec-WebSocket-Protocol: csgate.v1\r\nAuthorization: Bearer {self.token}\r\n"
            sock.sendall(head.encode() + b"\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += sock.recv(1)
            if not answer.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(answer.decode("latin-1"))
            if self.token:
                self._hello(sock)
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ)
            self.sockets.append(sock)

    def _hello(self, sock: socket.socket) -> None:
        """The first frame of csgate.v1; the answer shows that the token was taken."""
        payload = b'{"type":"hello"}'
        sock.sendall(bytes((0x81, 0x80 | len(payload))) + MASK + payload)
        head = sock.recv(2, socket.MSG_WAITALL)
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))
        elif size == 127:
            (size,) = struct.unpack("!Q", sock.recv(8, socket.MSG_WAITALL))
        answer = json.loads(sock.recv(size, socket.MSG_WAITALL))
        if answer["type"] != "welcome":
            raise RuntimeError(f"no welcome but {answer}")

    def idle(self, seconds: float) -> None:
        """Answers pings until the time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = sock.recv(65536)
                if not data:
                    self.lost += 1
                    self.selector.unregister(sock)
                elif data[0] == 0x89 and len(data) == 2 + data[1]:
                    self.pings += 1
                    sock.send(bytes((0x8A, 0x80 | data[1])) + MASK + data[2:])

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        self.selector.close()


def token() -> str:
    return jwt.encode({"sub": "idle", "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")


def gateway_environment(port: int, connections: int, folder: str) -> dict[str, str]:
    """Settings that lift the limits which one token and one address would meet."""
    many = str(connections + 1000)
    return {
        "CSGATE_SERVER__PORT": str(port),
        "CSGATE_SERVER__DATA_DIR": folder,
        "CSGATE_AUTH__SECRET": SECRET,
        "CSGATE_LIMITS__CONNECTIONS": many,
        "CSGATE_LIMITS__CONNECTIONS_PER_ADDRESS": many,
        "CSGATE_LIMITS__CONNECTIONS_PER_PRINCIPAL": many,
        "CSGATE_SERVER__BACKLOG": "4096",
        "CSGATE_LOG__LEVEL": "warning",
    }


def measure(server: Server, path: str, connections: int, seconds: float, secret_token: str | None) -> dict[str, float]:
    host, _, port = server.address.rpartition(":")
    warm = Client((host, int(port)), path, secret_token)
    warm.open(50)
    warm.idle(0.5)
    warm.close()
    time.sleep(0.5)
    before = server.resident_bytes()
    client = Client((host, int(port)), path, secret_token)
    try:
        began = time.monotonic()
        client.open(connections)
        opened = time.monotonic() - began
        client.idle(2)
        after = server.resident_bytes()
        cpu = server.cpu_seconds()
        client.idle(seconds)
        cpu = server.cpu_seconds() - cpu
        last = server.resident_bytes()
        return {
            "connections": connections,
            "lost": client.lost,
            "start_mib": before / 2**20,
            "bytes_each": (max(after, last) - before) / connections,
            "cpu_share": cpu / seconds,
            "pings": client.pings,
            "opened_a_second": connections / opened,
        }
    finally:
        client.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_ready(url: str, process: psutil.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"{url} did not become ready")


def measure_gateway(command: list[str], connections: int, seconds: float, folder: str) -> dict[str, float]:
    port = free_port()
    environment = {**os.environ, **gateway_environment(port, connections, folder)}
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_ready(f"http://127.0.0.1:{port}/readyz", process)
        return measure(Server(process, f"127.0.0.1:{port}"), "/ws", connections, seconds, token())
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60, help="how long the processor share is taken")
    parser.add_argument("--gateway", nargs="+", metavar="COMMAND", default=None, help="default: csgate serve")
    parser.add_argument("--only", choices=["gateway", "echo", "peers"], nargs="*", default=["gateway", "echo", "peers"])
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    connections = min(arguments.connections, hard - 500)

    results: dict[str, dict[str, float]] = {}
    if "gateway" in arguments.only:
        command = arguments.gateway or [sys.executable, "-m", "csgate", "serve"]
        with tempfile.TemporaryDirectory() as folder:
            results["csgate serve"] = measure_gateway(command, connections, arguments.seconds, folder)
    servers: dict[str, list[str]] = {}
    if "echo" in arguments.only:
        servers["csgate echo server"] = python("echo_server.py")
    if "peers" in arguments.only:
        servers["trio-websocket (256 KiB reads)"] = python("peers/trio_websocket_server.py")
        servers["websockets on uvloop"] = python("peers/websockets_server.py")
        if gorilla := go.build("gorilla"):
            servers["Go gorilla (64 KiB buffers)"] = [str(gorilla)]
    for name, command in servers.items():
        with running(command) as server:
            results[name] = measure(server, "/chat", connections, arguments.seconds, None)

    headers = ["server", "connections", "lost", "start MiB", "KiB each", "CPU at rest", "pings", "opened/s"]
    rows = [
        [
            name,
            r["connections"],
            r["lost"],
            r["start_mib"],
            r["bytes_each"] / 1024,
            f"{r['cpu_share']:.1%}",
            r["pings"],
            r["opened_a_second"],
        ]
        for name, r in results.items()
    ]
    print(report.table(rows, headers))
    for name in ("csgate serve", "csgate echo server"):
        if name in results:
            each, share = results[name]["bytes_each"], results[name]["cpu_share"]
            verdict = "met" if each <= GOAL_BYTES and share <= GOAL_CPU else "NOT met"
            print(f"{name}: goal of {GOAL_BYTES // 1024} KiB each and {GOAL_CPU:.0%} at rest: {verdict}")
    if not arguments.no_save:
        versions = {**report.versions("csgate", "trio", "trio-websocket", "websockets", "uvloop"), "go": go.version()}
        path = report.save("idle", {"versions": versions, "seconds": arguments.seconds, "results": results})
        print(f"saved {path}")


if __name__ == "__main__":
    main()
