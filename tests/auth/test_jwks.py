"""Key sets: fetched, kept, rotated, and never a way in for somebody else's keys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import trio
import trio.testing

from csgate.auth import Authenticator, open_authenticator
from csgate.auth.jwks import FETCH_S, MAX_KEYS, MAX_SET_BYTES, REFRESH_INTERVAL_S, STALE_S
from csgate.config import AuthSettings
from csgate.errors import ConfigError, Overloaded, Unauthorized
from csgate.telemetry import Telemetry

NOW = 1_800_000_000.0
URL = "https://id.example/keys"
SECRET = "a shared secret of forty-eight bytes and some more than that, for HS512"

Jwk = Callable[..., dict[str, Any]]


class Provider:
    """An identity provider: answers with ``answer``, counts what it is asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.asked: list[httpx.Request] = []
        self.answer: Any = {"keys": list(keys)}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if callable(answer):
            return await answer(request)  # type: ignore[no-any-return]
        return httpx.Response(200, content=answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def open(self, **options: Any) -> Any:
        chosen = AuthSettings(**{"algorithms": ("RS256", "ES256", "EdDSA"), "jwks_url": URL, **options})
        client = httpx.AsyncClient(transport=httpx.MockTransport(self), follow_redirects=True)
        return open_authenticator(chosen, Path("/nowhere"), http=client)


def signed(key: Any, algorithm: str = "RS256", kid: str | None = None) -> str:
    headers = {"kid": kid} if kid is not None else None
    return jwt.encode({"sub": "alice", "exp": NOW + 60}, key, algorithm, headers=headers)


async def passes(authenticator: Authenticator, token: str) -> bool:
    try:
        return (await authenticator.verify(token, now=NOW)).subject == "alice"
    except Unauthorized:
        return False


async def test_each_kind_of_key(keys: Any, jwk: Jwk) -> None:
    provider = Provider(jwk(keys.rsa, kid="r"), jwk(keys.ec, kid="e", alg="ES256"), jwk(keys.ed, kid="d", use="sig"))
    async with provider.open() as a:
        assert await passes(a, signed(keys.rsa, "RS256", "r"))
        assert await passes(a, signed(keys.ec, "ES256", "e"))
        assert await passes(a, signed(keys.ed, "EdDSA", "d"))
        assert not await passes(a, signed(keys.other_rsa, "RS256", "r"))
        assert not await passes(a, signed(keys.rsa, "RS256", "e"))
    assert len(provider.asked) == 1
    assert provider.asked[0].headers["accept-encoding"] == "identity"


async def test_without_a_kid_the_only_key_that_fits(keys: Any, jwk: Jwk) -> None:
    provider = Provider(jwk(keys.rsa), jwk(keys.ec, kid="e"))
    async with provider.open() as a:
        assert await passes(a, signed(keys.rsa))
        assert await passes(a, signed(keys.ec, "ES256"))
    provider = Provider(jwk(keys.rsa, kid="1"), jwk(keys.other_rsa, kid="2"))
    async with provider.open() as a:
        assert not await passes(a, signed(keys.rsa))


async def test_of_two_keys_with_one_kid_neither(keys: Any, jwk: Jwk) -> None:
    async with Provider(jwk(keys.rsa, kid="1"), jwk(keys.other_rsa, kid="1")).open() as a:
        assert not await passes(a, signed(keys.rsa, "RS256", "1"))


async def test_what_is_not_for_us_is_left_out(keys: Any, jwk: Jwk) -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(keys.other_rsa))
    provider = Provider(
        jwk(keys.rsa, kid="good", key_ops=["verify"]),
        jwk(keys.other_rsa, kid="enc", use="enc"),
        jwk(keys.other_rsa, kid="ops", key_ops=["encrypt"]),
        jwk(keys.other_rsa, kid="ops2", key_ops="verify"),
        jwk(keys.other_rsa, kid="alg", alg="RS512"),
        jwk(keys.other_rsa, kid=5),
        {**private, "kid": "private"},
        jwk(keys.small_rsa, kid="small"),
        jwk(keys.ec384, kid="curve"),
        {"kty": "RSA", "kid": "broken", "n": "AA"},
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": 5, "y": []},
        {"kty": "OKP", "kid": "broken"},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"},
        {"kty": ["RSA"]},
        {},
    )
    async with provider.open() as a:
        assert await passes(a, signed(keys.rsa, "RS256", "good"))
        for kid in ("enc", "ops", "ops2", "alg", "private"):
            assert not await passes(a, signed(keys.other_rsa, "RS256", kid))
        with pytest.warns(jwt.InsecureKeyLengthWarning):
            small = signed(keys.small_rsa, "RS256", "small")
        assert not await passes(a, small)


async def test_a_secret_in_the_set_is_no_secret(keys: Any, jwk: Jwk) -> None:
    known = "known to everybody who reads the key set, all of it"
    entry = {"kty": "oct", "kid": "oct", "k": jwt.utils.base64url_encode(known.encode()).decode(), "alg": "HS256"}
    async with Provider(jwk(keys.rsa), entry).open(algorithms=("HS256", "RS256"), secret=SECRET) as a:
        assert not await passes(a, jwt.encode({"sub": "a", "exp": NOW}, known, "HS256", headers={"kid": "oct"}))
        assert await passes(a, jwt.encode({"sub": "alice", "exp": NOW + 1}, SECRET, "HS256", headers={"kid": "oct"}))
        assert await passes(a, signed(keys.rsa))


# --- Time ------------------------------------------------------------------------------------------------------------


async def test_rotation(keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(jwk(keys.rsa, kid="old"))
    async with provider.open() as a:
        assert await passes(a, signed(keys.rsa, "RS256", "old"))
        provider.answer = {"keys": [jwk(keys.other_rsa, kid="new")]}
        await trio.sleep(REFRESH_INTERVAL_S)
        assert await passes(a, signed(keys.other_rsa, "RS256", "new"))
        assert not await passes(a, signed(keys.rsa, "RS256", "old"))
    assert len(provider.asked) == 2


async def test_unknown_key_ids_do_not_flood_the_provider(
    keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock
) -> None:
    provider = Provider(jwk(keys.rsa, kid="1"))
    async with provider.open() as a:
        for number in range(50):
            assert not await passes(a, signed(keys.rsa, "RS256", f"made-up-{number}"))
            await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(passes, a, signed(keys.rsa, "RS256", f"made-up-{number}"))
    assert len(provider.asked) <= 2 + 50 / REFRESH_INTERVAL_S


async def test_kept_for_the_configured_time(keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(jwk(keys.rsa, kid="1"))
    async with provider.open(jwks_cache_seconds=300) as a:
        await trio.sleep(299)
        assert await passes(a, signed(keys.rsa, "RS256", "1"))
        assert len(provider.asked) == 1
        provider.answer = {"keys": [jwk(keys.other_rsa, kid="2")]}
        await trio.sleep(1)
        assert not await passes(a, signed(keys.rsa, "RS256", "1"))  # revoked
        assert len(provider.asked) == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500, json={"keys": []}),
        httpx.Response(204),
        b"",
        b"<html>",
        b"\xff",
        b"[" * 5000,
        b'{"keys":' * 5000,
        b'{"keys":[' + b"[" * 5000,
        {"keys": {}},
        {"keys": [5]},
        {"keys": []},
        {"keys": [{}] * (MAX_KEYS + 1)},
        b" " * (MAX_SET_BYTES + 1),
    ],
)
async def test_old_keys_serve_while_fetching_fails(
    failure: Any, keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock
) -> None:
    provider = Provider(jwk(keys.rsa, kid="1"))
    good, token = provider.answer, signed(keys.rsa, "RS256", "1")
    async with provider.open(jwks_cache_seconds=60) as a:
        provider.answer = failure
        await trio.sleep(60)
        assert await passes(a, token)
        assert await passes(a, token)
        assert len(provider.asked) == 2  # and it is not asked again at once
        await trio.sleep(STALE_S)
        with pytest.raises(Overloaded) as caught:
            await a.verify(token, now=NOW)
        assert caught.value.retry_after == REFRESH_INTERVAL_S
        provider.answer = good
        await trio.sleep(REFRESH_INTERVAL_S)
        assert await passes(a, token)


async def test_a_provider_that_is_down_at_first(keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(jwk(keys.rsa, kid="1"))
    good, provider.answer = provider.answer, httpx.ConnectError("refused")
    async with provider.open() as a:
        with pytest.raises(Overloaded):
            await a.verify(signed(keys.rsa, "RS256", "1"), now=NOW)
        provider.answer = good
        await trio.sleep(REFRESH_INTERVAL_S)
        assert await passes(a, signed(keys.rsa, "RS256", "1"))


async def test_a_provider_that_hangs(keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(jwk(keys.rsa, kid="1"))
    async with provider.open(jwks_cache_seconds=60) as a:

        async def hang(_: httpx.Request) -> httpx.Response:
            await trio.sleep_forever()
            raise AssertionError

        provider.answer = hang
        await trio.sleep(60)
        token = signed(keys.rsa, "RS256", "1")
        started = trio.current_time()
        took: list[float] = []

        async def ask() -> None:
            assert await passes(a, token)
            took.append(trio.current_time() - started)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert sorted(took) == [0, 0, 0, 0, FETCH_S]  # one asks, the others do with the keys we have
    assert len(provider.asked) == 2


async def test_a_set_that_drips(keys: Any, autojump_clock: trio.testing.MockClock) -> None:
    async def drip() -> Any:
        while True:
            yield b" "
            await trio.sleep(1)

    provider = Provider()
    provider.answer = httpx.Response(200, content=drip())
    started = trio.current_time()
    async with provider.open():
        assert trio.current_time() - started == FETCH_S


async def test_redirects_are_not_followed(keys: Any, jwk: Jwk, autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider()
    provider.answer = httpx.Response(
        302, headers={"location": "https://evil.example/keys"}, json={"keys": [jwk(keys.rsa)]}
    )
    async with provider.open() as a:
        with pytest.raises(Overloaded):
            await a.verify(signed(keys.rsa), now=NOW)
    assert [request.url.host for request in provider.asked] == ["id.example"]


# --- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/keys",
        "http://127.0.0.1.evil.example/",
        "ftp://localhost/",
        "id.example",
        "",
        "https://",
        "http://[",
        "https://a\x00b",
        "file:///keys",
    ],
)
async def test_urls_that_could_be_tampered_with(url: str) -> None:
    with pytest.raises(ConfigError, match="jwks_url"):
        async with Provider().open(jwks_url=url):
            pass


@pytest.mark.parametrize(
    "url", ["http://localhost:1/keys", "http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]:1/"]
)
async def test_this_machine_may_go_without_tls(url: str, keys: Any, jwk: Jwk) -> None:
    async with Provider(jwk(keys.rsa)).open(jwks_url=url) as a:
        assert await passes(a, signed(keys.rsa))


async def test_over_a_real_socket(keys: Any, jwk: Jwk, tmp_path: Path) -> None:
    body = json.dumps({"keys": [jwk(keys.rsa)]}).encode()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        chosen = AuthSettings(algorithms=("RS256",), jwks_url=f"http://127.0.0.1:{port}/keys")
        async with open_authenticator(chosen, tmp_path, telemetry=Telemetry()) as a:
            assert await passes(a, signed(keys.rsa))
        nursery.cancel_scope.cancel()
