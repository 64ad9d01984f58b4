"""The client's parts that need no connection: addresses, waits, guest tokens, causes."""

import json
from collections.abc import Callable

import httpx
import pytest

from csgate.client import ChatRefused, ChatUnreachable, guest, parse_address
from csgate.client.backoff import CAP_S, Backoff
from csgate.client.guest import GuestTokens
from csgate.client.refusals import cause_of
from csgate.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "websocket", "http"),
    [
        ("ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "ws://127.0.0.1:8080/ws", "http://127.0.0.1:8080"),
        ("gate.example", "ws://gate.example/ws", "http://gate.example"),
        ("https://gate.example/", "wss://gate.example/ws", "https://gate.example"),
        ("WSS://user:pw@gate.example:9/chat?x=1#f", "wss://gate.example:9/chat?x=1", "https://gate.example:9"),
        ("[::1]:8080", "ws://[::1]:8080/ws", "http://[::1]:8080"),
    ],
)
def test_addresses(text: str, websocket: str, http: str) -> None:
    address = parse_address(text)
    assert (address.websocket, address.http) == (websocket, http)


@pytest.mark.parametrize("text", ["", "ftp://gate.example", "ws://", "ws://gate.example:port", "ws://[::1", "a:0"])
def test_what_is_no_address_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write ws://127.0.0.1:8080/ws"):
        parse_address(text)


def test_waits_grow_to_a_cap_and_are_drawn_from_nothing_up() -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    backoff = Backoff(draw)
    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, CAP_S, CAP_S]
    assert all(low == 0.0 for low, _ in drawn)
    for _ in range(5000):
        backoff.next()
    assert backoff.next() == CAP_S
    backoff.reset()
    assert backoff.next() == 0.5
    assert backoff.spread(2.0) == 4.0
    assert backoff.spread(0.0) == 0.5


def test_a_wait_that_does_not_grow_and_one_within_bounds() -> None:
    backoff = Backoff(lambda low, high: high)
    assert [backoff.next(grow=False), backoff.next(grow=False), backoff.next(), backoff.next()] == [0.5, 0.5, 0.5, 1.0]
    assert backoff.within(2.0) == 2.0


def guests(answer: Callable[[httpx.Request], httpx.Response]) -> GuestTokens:
    return guest("gate.example", open_client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(answer)))


async def test_a_guest_is_renewed_or_made_anew() -> None:
    asked: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://gate.example/v1/guest"
        body = json.loads(request.content)
        asked.append(body)
        if body.get("token") == "t2":
            return httpx.Response(401, json={"message": "too old"})
        return httpx.Response(200, json={"token": f"t{len(asked)}"})

    tokens = guests(answer)
    assert await tokens() == "t1"
    assert await tokens() == "t2"
    assert await tokens() == "t4"
    assert asked == [{}, {"token": "t1"}, {"token": "t2"}, {}]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_gateway_that_is_busy_is_unreachable(status: int) -> None:
    with pytest.raises(ChatUnreachable, match=f"HTTP {status}.*Busy"):
        await guests(lambda _: httpx.Response(status, json={"message": "Busy."}))()


async def test_a_gateway_without_guests_refuses() -> None:
    with pytest.raises(ChatRefused, match=r"Sign in\..*--token"):
        await guests(lambda _: httpx.Response(403, json={"message": "Sign in."}))()


@pytest.mark.parametrize("content", [b"<html>", b"{}"])
async def test_something_else_at_the_address(content: bytes) -> None:
    with pytest.raises(ChatRefused, match="is not csgate"):
        await guests(lambda _: httpx.Response(200, content=content))()
    with pytest.raises(ChatRefused, match="does not answer as csgate does"):
        await guests(lambda _: httpx.Response(404, content=content))()


async def test_nobody_there() -> None:
    with pytest.raises(ChatUnreachable, match=r"Nobody answers at http://127.0.0.1:1 .*refused"):
        await guest("127.0.0.1:1")()


async def test_another_address_gives_the_token_where_one_is_gone() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a.example":
            return httpx.Response(503, json={"message": "Busy."})
        return httpx.Response(200, json={"token": f"renewed {json.loads(request.content)['token']}"})

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    assert await guest("a.example", "b.example", token="old", open_client=client)() == "renewed old"


def test_the_cause_is_what_the_system_said() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    wrapped = RuntimeError("all failed")
    wrapped.__cause__ = ExceptionGroup("several", [refused])
    assert cause_of(wrapped) == "Connection refused"
    assert cause_of(ValueError()) == "ValueError"
    assert cause_of(ValueError("odd")) == "odd"
