"""Bad input through the socket: each gets its own error or close code, and costs nobody else anything."""

import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from . import pictures
from .conftest import SECRET, Server
from .raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, Closed, RawWebSocket, ask, final, frame, open_v1

HI = "hello"


@pytest.fixture
def bystander(server: Server) -> Iterator[RawWebSocket]:
    """Another customer, who must be answered after whatever happened."""
    client, _ = open_v1(server, "bystander")
    with client:
        yield client
        assert ask(client, "after", HI)["type"] == "reply"


def message(**fields: Any) -> bytes:
    return json.dumps({"type": "message", "id": "m1", **fields}).encode()


BAD_MESSAGES: dict[str, tuple[bytes, str]] = {
    "malformed JSON": (b'{"type": "message", "id": ', "bad_json"),
    "not JSON": (b"hello", "bad_json"),
    "empty": (b"", "bad_json"),
    "not an object": (b"[1, 2]", "bad_envelope"),
    "text of a wrong type": (message(text=5), "bad_envelope"),
    "id of a wrong type": (b'{"type": "message", "id": 7, "text": "x"}', "bad_envelope"),
    "image of a wrong type": (message(image={"a": 1}), "bad_envelope"),
    "type of a wrong type": (b'{"type": 3}', "bad_envelope"),
    "unknown type": (b'{"type": "teleport", "id": "m1"}', "unknown_type"),
    "missing both fields": (message(), "bad_envelope"),
    "missing id": (b'{"type": "message", "text": "x"}', "bad_envelope"),
    "id of 65 characters": (json.dumps({"type": "message", "id": "x" * 65, "text": "x"}).encode(), "bad_envelope"),
    "score out of range": (b'{"type": "rate", "reply": "m1", "score": 6}', "bad_envelope"),
    "100,000 brackets": (b"[" * 100_000, "bad_json|bad_envelope"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_costs_only_itself(server: Server, bystander: RawWebSocket, name: str) -> None:
    data, code = BAD_MESSAGES[name]
    client, _ = open_v1(server)
    with client:
        client.send(frame(TEXT, data))
        error = client.expect("error")
        assert error["code"] in code.split("|")
        assert error["message"]
        assert error["ref"]
        assert ask(client, "good", HI)["type"] == "reply"


def test_ten_levels_too_deep(server: Server, bystander: RawWebSocket) -> None:
    deep: Any = "x"
    for _ in range(18):
        deep = {"a": deep}
    client, _ = open_v1(server)
    with client:
        client.send(frame(TEXT, message(text="x", extra=deep)))
        assert client.expect("error")["code"] in ("bad_envelope", "bad_json")
        assert ask(client, "good", HI)["type"] == "reply"


BAD_PICTURES: dict[str, tuple[str, str, str]] = {
    "bad Base64": ("iVBORw0KGgo*AAAA", "bad_base64", "11"),
    "Base64 of a text file": (pictures.base64_text(b"To whom it may concern:\n" * 20), "unsupported_image", ""),
    "truncated JPEG": (pictures.base64_text(pictures.jpeg()[:2000]), "bad_image", ""),
    "PNG of 50,000 x 50,000": (pictures.base64_text(pictures.huge_png()), "image_too_large", ""),
    "SVG": (pictures.base64_text(pictures.SVG), "unsupported_image", ""),
    "BMP": (pictures.base64_text(pictures.encode(pictures.photo(), "BMP")), "unsupported_image", ""),
    "TIFF": (pictures.base64_text(pictures.encode(pictures.photo(), "TIFF")), "unsupported_image", ""),
    "a lone PNG signature": (pictures.base64_text(b"\x89PNG\r\n\x1a\n"), "bad_image", ""),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_the_answer_of_its_message(server: Server, bystander: RawWebSocket, name: str) -> None:
    image, code, said = BAD_PICTURES[name]
    client, _ = open_v1(server)
    with client:
        error = ask(client, "m1", image=image)
        assert (error["type"], error["code"]) == ("error", code), error
        assert said in error["message"]
        assert ask(client, "m2", HI)["type"] == "reply"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "animated_gif"])
def test_good_pictures_are_tagged_in_text_and_binary_frames(server: Server, kind: str) -> None:
    data = getattr(pictures, kind)()
    client, _ = open_v1(server)
    with client:
        reply = ask(client, "m1", image=pictures.base64_text(data))
        assert reply["type"] == "reply", reply
        # The JPEG is a colour gradient: what that is like is the model's business.
        assert reply["tags"] or kind == "jpeg", reply
        assert reply["analysis"]
        client.send_binary({"type": "message", "id": "m2"}, data)
        other = final(client, "m2")
        assert [tag["name"] for tag in other["tags"]] == [tag["name"] for tag in reply["tags"]]
        reply = ask(client, "m3", image="data:image/x;base64," + pictures.base64_text(data))
        assert reply["type"] == "reply", reply


BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "reserved bit": (frame(TEXT, b"{}", rsv=4), 1002),
    "unknown opcode": (frame(3, b"{}"), 1002),
    "unmasked": (frame(TEXT, b"{}", masked=False), 1002),
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "length with the top bit set": (b"\x81\xff" + struct.pack("!Q", 2**63 + 5) + b"abcd", 1002),
    "1 GB announced": (frame(TEXT, b"", length=2**30), 1009),
    "above max_frame_bytes": (frame(BINARY, b"", length=16 * 2**20 + 1), 1009),
    "invalid UTF-8": (frame(TEXT, b'{"text": "\xc3\x28"}'), 1007),
    "invalid UTF-8 split over frames": (
        frame(TEXT, b'{"text": "\xe4\xbd', fin=False) + frame(CONTINUATION, b"\x28"),
        1007,
    ),
    "close code 1005": (frame(CLOSE, struct.pack("!H", 1005)), 1002),
    "close payload of one byte": (frame(CLOSE, b"\x03"), 1002),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_ends_its_connection_alone(server: Server, bystander: RawWebSocket, name: str) -> None:
    data, code = BAD_FRAMES[name]
    client, _ = open_v1(server)
    with client:
        client.send(data)
        assert client.close_code() == code


def test_announcements_take_nothing_from_the_others(server: Server, bystander: RawWebSocket) -> None:
    """40 times 8 MB is more than all connections together may hold; nobody has sent any of it yet."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(open_v1(server)[0])
            client.send(frame(TEXT, b"{", length=8 * 2**20))
        client, _ = open_v1(server)
        stack.enter_context(client)
        photo = pictures.base64_text(pictures.jpeg(1600, 1200))
        assert ask(client, "photo", image=photo)["type"] == "reply"


def test_a_message_above_the_limit_is_drained_and_refused(server: Server, bystander: RawWebSocket) -> None:
    client, welcome = open_v1(server)
    with client:
        limit = welcome["limits"]["max_message_bytes"]
        client.send(frame(TEXT, b'{"type":"message","id":"big","text":"' + b"x" * limit + b'"}'))
        error = client.expect("error")
        assert (error["code"], error["max_bytes"]) == ("too_large", limit)
        assert ask(client, "good", HI)["type"] == "reply"


def test_too_much_text_is_refused(server: Server, bystander: RawWebSocket) -> None:
    client, welcome = open_v1(server)
    with client:
        error = ask(client, "m1", "x" * (welcome["limits"]["max_text_chars"] + 1))
        assert error["code"] == "too_large"
        assert ask(client, "good", HI)["type"] == "reply"


def test_the_same_id_with_other_content(server: Server) -> None:
    client, _ = open_v1(server)
    with client:
        first = ask(client, "m1", "where is my order 12345?")
        client.send_json({"type": "message", "id": "m1", "text": "where is my order 12345?"})
        assert client.expect("ack", "reply", "error")["type"] == "ack"
        error = ask(client, "m1", "something else")
        assert error["code"] == "duplicate_mismatch"
        reply = ask(client, "m2", "thanks")
        assert reply["type"] == "reply"
        assert reply["offset"] == first["offset"] + 2


def test_stalled_after_half_a_message(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__MESSAGE_SECONDS="0.5", CSGATE_LIMITS__MESSAGE_BYTES_PER_SECOND="100000")
    client, _ = open_v1(server)
    other, _ = open_v1(server, "other")
    with client, other:
        whole = frame(TEXT, message(text="half"))
        client.send(whole[: len(whole) // 2])
        started = time.monotonic()
        assert client.close_code() == 4006
        assert time.monotonic() - started < 5
        assert ask(other, "m1", HI)["type"] == "reply"


def test_a_reader_that_never_reads_is_let_go(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__OUTBOUND_QUEUE_BYTES="20000", CSGATE_LIMITS__SEND_SECONDS="2")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    client = RawWebSocket(
        server.port, protocols=("csgate.v1", f"csgate.bearer.{server.token('slow')}"), sock=slow, timeout=10
    )
    other, _ = open_v1(server, "other")
    with client, other:
        client.send_json({"type": "hello"})
        flood = b"".join(frame(TEXT, json.dumps({"type": "ping", "t": i}).encode()) for i in range(2_000)) * 2_000
        with pytest.raises(OSError):
            client.send(flood)
        assert ask(other, "m1", HI)["type"] == "reply"
        deadline = time.monotonic() + 10
        while server.metric('csgate_closes_total{code="4003"}') != 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.metric('csgate_closes_total{code="4003"}') == 1


def test_ten_thousand_messages_at_once(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__MESSAGES_PER_SECOND="20", CSGATE_LIMITS__MESSAGES_BURST="20")
    client, _ = open_v1(server)
    other, _ = open_v1(server, "other")
    with client, other:
        blob = b"".join(
            frame(TEXT, json.dumps({"type": "message", "id": f"m{i}", "text": HI}).encode()) for i in range(10_000)
        )
        import threading

        sender = threading.Thread(target=client.send, args=(blob,))
        sender.start()
        counts: dict[str, int] = {}
        acknowledged, answered = set(), set()
        told = 0
        while told < 10_000 or acknowledged != answered:
            event = client.expect("ack", "reply", "error")
            if event["type"] == "ack":
                acknowledged.add(event["id"])
                told += 1
            elif event["type"] == "reply":
                answered.add(event["id"])
            else:
                counts[event["code"]] = counts.get(event["code"], 0) + 1
                assert event["retry_after"] > 0
                told += 1
        sender.join()
        assert set(counts) <= {"rate_limited", "overloaded"}
        assert len(acknowledged) >= 16
        time.sleep(1.0)
        assert ask(client, "good", HI)["type"] == "reply"
        assert ask(other, "m1", HI)["type"] == "reply"


# --- Heads and handshakes ---------------------------------------------------------------------------------------------


def raw_answer(server: Server, data: bytes, timeout: float = 15.0) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout) as sock:
        try:
            sock.sendall(data)
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02 garbage \r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Big: " + b"x" * 2**20 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: 1\r\n" * 5_000, b"431"),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"426"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (
            b"POST /v1/guest HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
            b"400",
        ),
        (
            b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            b"404",
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            b"426",
        ),
    ],
)
def test_bad_heads(server: Server, bystander: RawWebSocket, data: bytes, status: bytes) -> None:
    assert raw_answer(server, data).startswith(b"HTTP/1.1 " + status)


def test_a_head_that_never_ends_is_let_go(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__HEAD_SECONDS="0.5")
    started = time.monotonic()
    assert raw_answer(server, b"GET / HTTP/1.1\r\nHost:") == b""
    assert time.monotonic() - started < 5


def tokens(server: Server) -> dict[str, tuple[str, int]]:
    claims = {"sub": "ann", "exp": time.time() + 600}
    header, payload, signature = server.token().split(".")
    none = jwt.encode(claims, None, "none")
    return {
        "expired": (jwt.encode({**claims, "exp": time.time() - 120}, SECRET, "HS256"), 4501),
        "forged": (jwt.encode(claims, "another-secret-of-more-than-32-bytes!!", "HS256"), 4500),
        "alg none": (none, 4500),
        "other algorithm": (jwt.encode(claims, SECRET * 2, "HS512"), 4500),
        "without exp": (jwt.encode({"sub": "ann"}, SECRET, "HS256"), 4500),
        "without sub": (jwt.encode({"exp": time.time() + 600}, SECRET, "HS256"), 4500),
        "cut": (f"{header}.{payload}.{signature[:-4]}", 4500),
        "garbage": ("garbage", 4500),
    }


@pytest.mark.parametrize(
    "name", ["expired", "forged", "alg none", "other algorithm", "without exp", "without sub", "cut", "garbage"]
)
@pytest.mark.parametrize("door", ["header", "subprotocol", "hello", "simple"])
def test_bad_tokens(server: Server, bystander: RawWebSocket, name: str, door: str) -> None:
    token, code = tokens(server)[name]
    if door == "header":
        client = RawWebSocket(server.port, token=token, protocols=("csgate.v1",))
    elif door == "subprotocol":
        client = RawWebSocket(server.port, protocols=("csgate.v1", f"csgate.bearer.{token}"))
    elif door == "hello":
        client = RawWebSocket(server.port, protocols=("csgate.v1",))
        client.send_json({"type": "hello", "token": token})
    else:
        client = RawWebSocket(server.port, token=token)
    with client:
        error = client.receive()
        assert error["code"] == ("expired" if code == 4501 else "unauthorized")
        assert client.close_code() == code
    assert not any(token in line for line in server.text)


def test_wrong_audience(own_server: Any) -> None:
    server = own_server(CSGATE_AUTH__AUDIENCE="csgate", CSGATE_AUTH__ISSUER="https://id.example")
    wrong = [server.token(), server.token(aud="other", iss="https://id.example"), server.token(aud="csgate", iss="x")]
    for token in wrong:
        with RawWebSocket(server.port, token=token, protocols=("csgate.v1",)) as client:
            assert client.close_code() == 4500
    good = server.token(aud="csgate", iss="https://id.example")
    with RawWebSocket(server.port, token=good, protocols=("csgate.v1",)) as client:
        client.send_json({"type": "hello"})
        assert client.expect("welcome")


def test_no_token(own_server: Any) -> None:
    server = own_server(CSGATE_LIMITS__AUTHENTICATE_SECONDS="0.5")
    with RawWebSocket(server.port, protocols=("csgate.v1",)) as client:
        assert client.close_code() == 4502
    with RawWebSocket(server.port) as client:
        assert client.receive()["code"] == "unauthorized"
        assert client.close_code() == 4502
    with RawWebSocket(server.port, protocols=("csgate.v1",)) as client:
        client.send_json({"type": "hello"})
        assert client.receive()["code"] == "unauthorized"


def test_wrong_origin(server: Server, own_server: Any) -> None:
    with RawWebSocket(server.port, token=server.token(), headers=("Origin: https://evil.example",)) as client:
        assert client.close_code() == 4505
    with RawWebSocket(
        server.port, token=server.token(), headers=(f"Origin: http://127.0.0.1:{server.port}",)
    ) as client:
        client.send_json({"text": HI})
        assert client.receive()["type"] == "reply"
    picky = own_server(CSGATE_SERVER__ORIGINS='["https://shop.example"]')
    with RawWebSocket(picky.port, token=picky.token(), headers=(f"Origin: http://127.0.0.1:{picky.port}",)) as client:
        assert client.close_code() == 4505
    with RawWebSocket(picky.port, token=picky.token(), headers=("Origin: https://shop.example",)) as client:
        client.send_json({"text": HI})
        assert client.receive()["type"] == "reply"


def test_random_bytes_never_break_the_server(server: Server, bystander: RawWebSocket) -> None:
    chance = random.Random(7)
    for _ in range(60):
        client, _ = open_v1(server)
        with client:
            client.sock.settimeout(2)
            try:
                client.send(chance.randbytes(chance.randrange(1, 400)))
                client.sock.shutdown(socket.SHUT_WR)
                client.close_code()
            except (OSError, Closed):
                pass
