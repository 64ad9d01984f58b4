import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.gateway.splitter import RequestSplitter

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /v1/guest HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def feed(data: bytes, cuts: list[int]) -> tuple[bytes, RequestSplitter]:
    splitter = RequestSplitter(16 * 1024)
    passed = b""
    previous = 0
    for cut in [*sorted(cuts), len(data)]:
        if splitter.upgrade is not None:  # the owner reads on by itself
            splitter.rest += data[previous:cut]
        elif previous < cut:
            passed += splitter.receive(data[previous:cut])
        previous = cut
    return passed, splitter


@given(st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=4), st.booleans(), st.data())
def test_http_passes_and_the_upgrade_stops_it_wherever_it_is_cut(
    requests: list[bytes], upgrade: bool, data: st.DataObject
) -> None:
    plain = b"".join(requests)
    stream = plain + (UPGRADE + b"\x81\x80abcd" if upgrade else b"")
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    passed, splitter = feed(stream, cuts)
    assert passed == plain
    assert (splitter.upgrade is not None) == upgrade
    if upgrade:
        assert splitter.upgrade is not None
        assert splitter.upgrade.target == b"/ws"
        assert splitter.rest == b"\x81\x80abcd"
    assert splitter.broken is None


def test_websocket_among_other_upgrades() -> None:
    splitter = RequestSplitter(1024)
    assert splitter.receive(GET + UPGRADE.replace(b": websocket", b": foo/1, WebSocket")) == GET
    assert splitter.upgrade is not None


def test_a_length_in_dispute_breaks_behind_other_requests_too() -> None:
    splitter = RequestSplitter(1024)
    assert splitter.receive(POST + CHUNKED.replace(b"chunked", b"chunked\r\nContent-Length: 3") + UPGRADE) == POST
    assert splitter.broken is not None
    assert splitter.upgrade is None


def test_an_incomplete_head_is_held_back() -> None:
    splitter = RequestSplitter(1024)
    assert splitter.receive(GET[:-1]) == b""
    assert splitter.receive(GET[-1:]) == GET


def test_a_body_flows_as_it_comes() -> None:
    splitter = RequestSplitter(1024)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    assert splitter.receive(head + b"ab") == head + b"ab"
    assert splitter.receive(b"cd") == b"cd"
    assert splitter.receive(b"ef" + GET) == b"ef" + GET


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_broken(data: bytes, status: int) -> None:
    splitter = RequestSplitter(16 * 1024)
    assert splitter.receive(data) == b""
    assert isinstance(splitter.broken, h11.RemoteProtocolError)
    assert splitter.broken.error_status_hint == status


def test_the_http2_preface_is_known_in_pieces() -> None:
    splitter = RequestSplitter(1024)
    for byte in b"PRI * HTTP/2.0\r":
        assert splitter.receive(bytes([byte])) == b""
        assert splitter.broken is None
    splitter.receive(b"\n")
    assert splitter.broken is not None


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0"])
def test_only_http_1(version: bytes) -> None:
    splitter = RequestSplitter(1024)
    assert splitter.receive(GET + b"PRI * HTTP/" + version + b"\r\n\r\nSM\r\n\r\n") == GET
    assert splitter.broken is not None
    assert splitter.broken.error_status_hint == 505


def test_unfinished_is_a_body_that_is_not_whole() -> None:
    splitter = RequestSplitter(1024)
    assert not splitter.unfinished
    splitter.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
    assert splitter.unfinished
    splitter.receive(b"2GET / HT")
    assert not splitter.unfinished


def test_no_upgrade_to_take() -> None:
    with pytest.raises(ValueError, match="no upgrade"):
        RequestSplitter(1024).take_upgrade()


def test_h2c_is_not_passed_on() -> None:
    request = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, keep-alive\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMA\r\n\r\n"
    )
    passed = RequestSplitter(1024).receive(request + GET)
    assert passed == b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + GET
    passed = RequestSplitter(1024).receive(request.replace(b", HTTP2-Settings, keep-alive", b""))
    assert passed == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
