"""The opening handshake, RFC 6455 sections 1.3 and 4.2."""

import h11
import pytest

from csgate.wire import Handshake, HandshakeRefused, accept_response, read_handshake

GOOD = [
    (b"Host", b"shop.example"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]


def request(
    target: bytes = b"/ws", drop: bytes = b"", add: list[tuple[bytes, bytes]] | None = None, method: bytes = b"GET"
) -> h11.Request:
    headers = [(name, value) for name, value in GOOD if name.lower() != drop.lower()] + (add or [])
    return h11.Request(method=method, target=target, headers=headers)


def refusal(req: h11.Request) -> HandshakeRefused:
    with pytest.raises(HandshakeRefused) as info:
        read_handshake(req)
    return info.value


def test_a_plain_one() -> None:
    handshake = read_handshake(request())
    assert handshake.path == "/ws"
    assert handshake.query == {}
    assert handshake.subprotocols == ()
    assert handshake.origin is None
    assert handshake.key == b"dGhlIHNhbXBsZSBub25jZQ=="
    assert (b"host", b"shop.example") in handshake.headers


def test_everything_at_once() -> None:
    handshake = read_handshake(
        request(
            b"/ws?format=text&ticket=a%20b&empty=&ticket=last",
            drop=b"connection",
            add=[
                (b"Connection", b"keep-alive, UPGRADE"),
                (b"Origin", b"https://shop.example"),
                (b"Sec-WebSocket-Protocol", b"csgate.v1, csgate.bearer.x-y_z"),
                (b"Sec-WebSocket-Protocol", b"chat"),
            ],
        )
    )
    assert handshake.query == {"format": "text", "ticket": "last", "empty": ""}
    assert handshake.subprotocols == ("csgate.v1", "csgate.bearer.x-y_z", "chat")
    assert handshake.origin == "https://shop.example"


@pytest.mark.parametrize("value", [b"WebSocket", b"h2c, websocket"])
def test_upgrade_is_a_list_in_any_case(value: bytes) -> None:
    assert read_handshake(request(drop=b"upgrade", add=[(b"Upgrade", value)])).path == "/ws"


@pytest.mark.parametrize(
    ("req", "status"),
    [
        (request(method=b"POST"), 405),
        (request(drop=b"upgrade"), 426),
        (request(drop=b"connection"), 426),
        (request(drop=b"connection", add=[(b"Connection", b"close")]), 426),
        (request(drop=b"upgrade", add=[(b"Upgrade", b"h2c")]), 426),
        (request(drop=b"sec-websocket-version"), 426),
        (request(drop=b"sec-websocket-version", add=[(b"Sec-WebSocket-Version", b"8")]), 426),
        (request(add=[(b"Sec-WebSocket-Version", b"13")]), 426),
        (request(drop=b"sec-websocket-key"), 400),
        (request(add=[(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")]), 400),
        (request(drop=b"sec-websocket-key", add=[(b"Sec-WebSocket-Key", b"c2hvcnQ=")]), 400),
        (request(drop=b"sec-websocket-key", add=[(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ")]), 400),
        (request(drop=b"sec-websocket-key", add=[(b"Sec-WebSocket-Key", b"?" * 24)]), 400),
        (request(drop=b"sec-websocket-key", add=[(b"Sec-WebSocket-Key", b"\xe9" * 24)]), 400),
        (request(add=[(b"Content-Length", b"5")]), 400),
        (request(add=[(b"Transfer-Encoding", b"chunked")]), 400),
        (request(add=[(b"Origin", b"https://a"), (b"Origin", b"https://b")]), 400),
        (request(add=[(b"Sec-WebSocket-Protocol", b"a b")]), 400),
        (request(add=[(b"Sec-WebSocket-Protocol", b"a, a")]), 400),
        (request(b"//[bad"), 400),
        (request(b"/?" + b"&".join(b"a=1" for _ in range(65))), 400),
    ],
    ids=str,
)
def test_refused(req: h11.Request, status: int) -> None:
    assert refusal(req).status == status


def test_http_1_0_is_refused() -> None:
    old = h11.Request(method=b"GET", target=b"/ws", headers=GOOD, http_version=b"1.0")
    assert refusal(old).status == 505


def test_a_zero_content_length_is_no_body() -> None:
    assert read_handshake(request(add=[(b"Content-Length", b"0")])).path == "/ws"


def test_refusals_say_what_would_do() -> None:
    version = refusal(request(drop=b"sec-websocket-version"))
    assert (b"sec-websocket-version", b"13") in version.headers
    assert (b"allow", b"GET") in refusal(request(method=b"PUT")).headers
    assert (b"upgrade", b"websocket") in refusal(request(drop=b"upgrade")).headers


def parse(data: bytes) -> tuple[h11.Response | h11.InformationalResponse, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/ws", headers=[*GOOD]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, (h11.Response, h11.InformationalResponse))
    body = client.next_event() if isinstance(response, h11.Response) else None
    return response, bytes(body.data) if isinstance(body, h11.Data) else b""


def test_accepted_as_in_section_1_3() -> None:
    response, _ = parse(accept_response(read_handshake(request())))
    headers = dict(response.headers)
    assert response.status_code == 101
    assert headers[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"connection"] == b"Upgrade"
    assert b"sec-websocket-protocol" not in headers
    assert b"sec-websocket-extensions" not in headers


def test_accepted_with_a_subprotocol() -> None:
    handshake = read_handshake(request(add=[(b"Sec-WebSocket-Protocol", b"a, csgate.v1")]))
    response, _ = parse(accept_response(handshake, "csgate.v1"))
    assert dict(response.headers)[b"sec-websocket-protocol"] == b"csgate.v1"
    with pytest.raises(ValueError, match="not offered"):
        accept_response(handshake, "b")


def test_handshakes_compare_by_value() -> None:
    assert read_handshake(request()) == Handshake(
        path="/ws",
        query={},
        headers=[(name.lower(), value) for name, value in GOOD],
        subprotocols=(),
        origin=None,
        key=b"dGhlIHNhbXBsZSBub25jZQ==",
    )
