"""A WebSocket client that does as it is told, right or wrong, one byte at a time if need be."""

import json
import os
import socket
import struct
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


class Closed(Exception):
    """The server closed: ``code`` of its close frame, or ``None`` where the connection just ended."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, length: int | None = None
) -> bytes:
    """One frame; ``length`` announces another length than the payload's."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 2**16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")
    return head + key + body


class RawWebSocket:
    """A blocking client on a plain socket."""

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        *,
        token: str | None = None,
        protocols: tuple[str, ...] = (),
        headers: tuple[str, ...] = (),
        timeout: float = 20.0,
        sock: socket.socket | None = None,
    ) -> None:
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.buffer = b""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *([f"Authorization: Bearer {token}"] if token else []),
            *([f"Sec-WebSocket-Protocol: {', '.join(protocols)}"] if protocols else []),
            *headers,
        ]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        while b"\r\n\r\n" not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except OSError:
                self.sock.close()
                raise
            if not data:
                break
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ")[1]) if self.head else 0

    def __enter__(self) -> "RawWebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_json(self, value: Any) -> None:
        self.send(frame(TEXT, json.dumps(value).encode()))

    def send_binary(self, header: Any, payload: bytes) -> None:
        head = json.dumps(header).encode()
        self.send(frame(BINARY, struct.pack("!I", len(head)) + head + payload))

    def _read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            data = self.sock.recv(1 << 20)
            if not data:
                raise Closed(None)
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frame(self) -> tuple[int, bytes]:
        """The next frame as (opcode, payload)."""
        first, second = self._read(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        return first & 0x0F, self._read(size)

    def receive(self) -> Any:
        """The next text message, decoded; pings are answered. Raises Closed at the end."""
        while True:
            opcode, payload = self.frame()
            if opcode == TEXT:
                return json.loads(payload)
            if opcode == PING:
                self.send(frame(PONG, payload))
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else None
                raise Closed(code, payload[2:].decode())

    def expect(self, *kinds: str) -> Any:
        """The next message of one of these types; others are passed over."""
        while True:
            event = self.receive()
            if event.get("type") in kinds:
                return event

    def close_code(self) -> int | None:
        """Reads until the server closes."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.code


def open_v1(server: Any, subject: str = "ann", **hello: Any) -> tuple[RawWebSocket, Any]:
    """A connection under csgate.v1 that has said hello, and its welcome."""
    client = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{server.token(subject)}"))
    if client.status != 101:
        client.sock.close()
        raise AssertionError(f"no handshake: {client.head!r}")
    client.send_json({"type": "hello", **hello})
    return client, client.expect("welcome")


def ask(client: RawWebSocket, message_id: str, text: str | None = None, **fields: Any) -> Any:
    """Sends a message under csgate.v1 and returns its final event."""
    client.send_json({"type": "message", "id": message_id, **({"text": text} if text else {}), **fields})
    return final(client, message_id)


def final(client: RawWebSocket, message_id: str) -> Any:
    while True:
        event = client.expect("reply", "error")
        if event.get("id") == message_id:
            return event
