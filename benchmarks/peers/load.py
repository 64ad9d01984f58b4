"""The load generator for machines without Go: the same flags and report, in plain sockets and threads."""

import argparse
import base64
import json
import os
import random
import socket
import struct
import threading
import time
from urllib.parse import urlsplit


def frame(payload: bytes) -> bytes:
    """One masked text frame, made once and sent many times: masking is the client's cost, not the server's."""
    key = b"\x11\x22\x33\x44"
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None
    sock = socket.create_connection((parts.hostname, parts.port or 80), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return sock


def talk(
    sock: socket.socket, message: bytes, ending: bytes, begin: float, end: float, times: list[float], warm: list[int]
) -> None:
    """Ping-pong until ``end``; a short answer is one unmasked frame, so it ends where the JSON ends."""
    while (start := time.perf_counter()) < end:
        sock.sendall(message)
        answer = b""
        while not answer.endswith(ending):
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError("the server closed")
            answer += piece
        if start > begin:
            times.append((time.perf_counter() - start) * 1e3)
        else:
            warm.append(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-url")
    parser.add_argument("-connections", type=int, default=16)
    parser.add_argument("-picture", type=int, default=0)
    parser.add_argument("-duration", default="2s")
    arguments = parser.parse_args()
    message: dict[str, str] = {"text": "Where is my order 12345? I sent a picture of the parcel."}
    if arguments.picture:
        message["image"] = base64.b64encode(random.Random(7).randbytes(arguments.picture)).decode()
    data = frame(json.dumps(message, separators=(",", ":")).encode())
    ending = b'"n":%d}' % arguments.picture
    sockets = [connect(arguments.url) for _ in range(arguments.connections)]
    begin = time.perf_counter() + 0.3
    end = begin + float(arguments.duration.rstrip("s"))
    times: list[list[float]] = [[] for _ in sockets]
    warm: list[int] = []
    threads = [
        threading.Thread(target=talk, args=(sock, data, ending, begin, end, own, warm))
        for sock, own in zip(sockets, times, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    spent = time.process_time()
    merged = sorted(value for own in times for value in own)
    count = len(merged)
    report = {
        "rate": count / elapsed,
        "p50_ms": merged[count // 2] if count else 0,
        "p99_ms": merged[count * 99 // 100] if count else 0,
        "messages": count,
        "all_messages": count + len(warm),
        "load_cpu": spent / (elapsed + 0.3),
        "errors": sum(not own for own in times),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
