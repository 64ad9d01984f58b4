"""Tokens that pass, and every way in which one must not."""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csgate.auth import Authenticator, open_authenticator
from csgate.auth.tokens import MAX_TOKEN_BYTES, read_header
from csgate.config import AuthSettings
from csgate.errors import Expired, Unauthorized
from csgate.events import Principal

NOW = 1_800_000_000.0
SECRET = "a shared secret of forty-eight bytes and some more than that, for HS512"


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hs256(header: Any, claims: Any, secret: bytes = SECRET.encode()) -> str:
    """A token put together by hand, so that it may be as wrong as we like."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    payload = {"sub": "alice", "exp": NOW + 60, **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.api_jws.encode(json.dumps(payload).encode(), key, algorithm, headers=headers)


def shared(**options: Any) -> Authenticator:
    return Authenticator(AuthSettings(secret=SECRET, **options), secret=SECRET)


async def refused(authenticator: Authenticator, token: str, kind: type[Unauthorized] = Unauthorized) -> None:
    with pytest.raises(Unauthorized) as caught:
        await authenticator.verify(token, now=NOW)
    assert type(caught.value) is kind
    assert token not in str(caught.value) or token == ""


# --- Good ones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_shared_secret(algorithm: Any) -> None:
    authenticator = shared(algorithms=(algorithm,))
    principal = await authenticator.verify(signed(algorithm=algorithm), now=NOW)
    assert principal == Principal("alice", expires_at=NOW + 60)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key(algorithm: Any, keys: Any, pem: Callable[[Any], bytes], tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(keys.of(algorithm)))
    async with open_authenticator(AuthSettings(algorithms=(algorithm,), public_key_file=file), tmp_path) as a:
        principal = await a.verify(signed(keys.of(algorithm), algorithm), now=NOW)
        assert principal.subject == "alice"
        await refused(a, signed(keys.of(algorithm), algorithm)[:-8] + "AAAAAAAA")
    assert os.listdir(tmp_path) == [file.name]  # no secret is made where none is used


async def test_every_claim_is_taken() -> None:
    claims = {
        "iss": "https://id.example",
        "aud": ["other", "csgate"],
        "role": "agent",
        "tier": 0,
        "tenant": "shop-1",
        "conversation": "c1",
        "iat": NOW,
        "nbf": NOW,
        "more": {"of": "this"},
    }
    a = shared(audience="csgate", issuer="https://id.example")
    assert await a.verify(signed(**claims), now=NOW) == Principal(
        "alice", "https://id.example", "shop-1", "agent", 0, "c1", NOW + 60
    )
    assert (await a.verify(signed(**{**claims, "aud": "csgate"}), now=NOW)).owner == (
        "https://id.example",
        "shop-1",
        "alice",
    )


async def test_times_are_compared_with_the_time_given() -> None:
    a = shared(leeway_seconds=30)
    token = signed(exp=NOW, nbf=NOW - 100, iat=NOW - 100)
    assert (await a.verify(token, now=NOW + 29)).expires_at == NOW
    with pytest.raises(Expired):
        await a.verify(token, now=NOW + 30)
    assert await a.verify(token, now=NOW - 130)
    with pytest.raises(Unauthorized, match="not valid yet"):
        await a.verify(token, now=NOW - 131)


# --- Forged ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "something else",
        "é.é.é",
        "\ud800.a.b",
        "e30.e30.",  # {}.{}.
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}, b"another secret"),
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60})[:-1],
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}).rsplit(".", 1)[0] + ".",
        hs256({"alg": "HS512"}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "RS256"}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "hs256"}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": ["HS256"]}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": None}, {"sub": "alice", "exp": NOW + 60}),
        hs256({}, {"sub": "alice", "exp": NOW + 60}),
        hs256([], {"sub": "alice", "exp": NOW + 60}),
        hs256(b"\xff", {"sub": "alice", "exp": NOW + 60}),
        hs256(b"[" * 4000, {"sub": "alice", "exp": NOW + 60}),
        hs256(b'{"alg":' * 500, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256", "kid": 5}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256", "crit": ["exp"], "exp": 1}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256", "crit": ["b64"], "b64": False}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256", "b64": False}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}) + "=",
        " " + hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}),
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60}) + "\n",
        hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60, "x": "y" * MAX_TOKEN_BYTES}),
    ],
)
async def test_what_is_no_token_of_ours(token: str) -> None:
    await refused(shared(), token)
    await refused(shared(algorithms=("HS256", "RS256")), token)


async def test_by_hand_is_as_good_as_by_library() -> None:
    """So that the refusals above are for the reason given, not for a slip of the hand."""
    token = hs256({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60})
    assert (await shared().verify(token, now=NOW)).subject == "alice"
    filler = "y" * 5000
    assert await shared().verify(hs256({"alg": "HS256"}, {"sub": "a", "exp": NOW + 60, "x": filler}), now=NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
async def test_unsigned_tokens_never_pass(algorithm: str) -> None:
    claims = {"sub": "admin", "role": "service", "exp": NOW + 60}
    unsigned = f"{encoded({'alg': algorithm})}.{encoded(claims)}"
    for signature in ("", encoded(b"x"), encoded(hmac.digest(SECRET.encode(), unsigned.encode(), "sha256"))):
        await refused(shared(), f"{unsigned}.{signature}")


async def test_a_changed_payload_is_seen() -> None:
    header, _, signature = signed().split(".")
    await refused(shared(), f"{header}.{encoded({'sub': 'admin', 'exp': NOW + 60})}.{signature}")


# --- Key confusion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_never_a_shared_secret(
    algorithm: Any, keys: Any, pem: Callable[[Any], bytes], tmp_path: Path
) -> None:
    """The classic: sign by HMAC with the public key's bytes, which everybody has."""
    file = tmp_path / "key.pem"
    public = pem(keys.of(algorithm))
    file.write_bytes(public)
    claims = {"sub": "admin", "exp": NOW + 60}
    for algorithms in ((algorithm,), (algorithm, "HS256"), ("HS256", algorithm)):
        options = {"secret": SECRET} if "HS256" in algorithms else {}
        chosen = AuthSettings(algorithms=algorithms, public_key_file=file, **options)
        async with open_authenticator(chosen, tmp_path) as a:
            for variant in (public, public.strip(), public.replace(b"\n", b"\r\n")):
                await refused(a, hs256({"alg": "HS256"}, claims, variant))
                await refused(a, hs256({"alg": algorithm}, claims, variant))
            assert await a.verify(signed(keys.of(algorithm), algorithm), now=NOW)
            if options:
                assert await a.verify(signed(), now=NOW)


async def test_an_algorithm_that_is_not_pinned_is_refused_even_where_the_key_would_do(keys: Any) -> None:
    a = Authenticator(AuthSettings(algorithms=("RS256",)), key=keys.rsa.public_key())
    for algorithm in ("RS384", "RS512", "PS256"):
        await refused(a, signed(keys.rsa, algorithm))
    await refused(shared(algorithms=("HS512",)), signed(algorithm="HS256"))


async def test_keys_in_the_header_are_not_looked_at(keys: Any, jwk: Callable[..., dict[str, Any]]) -> None:
    a = Authenticator(AuthSettings(algorithms=("RS256",)), key=keys.rsa.public_key())
    for header in ({"jwk": jwk(keys.other_rsa)}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"}):
        await refused(a, signed(keys.other_rsa, "RS256", headers=header))


async def test_a_family_without_a_key_is_refused(keys: Any) -> None:
    await refused(Authenticator(AuthSettings(algorithms=("RS256",))), signed(keys.rsa, "RS256"))
    await refused(Authenticator(AuthSettings(algorithms=("HS256",))), signed())


# --- Claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": ["alice"]},
        {"sub": "a" * 256},
        {"sub": "a\x00b"},
        {"sub": "a\nb"},
        {"exp": None},
        {"exp": "1900000000"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"exp": [NOW + 60]},
        {"nbf": NOW + 31},
        {"nbf": "soon"},
        {"iat": NOW + 31},
        {"iat": {}},
        {"role": "root"},
        {"role": ["agent"]},
        {"role": 1},
        {"tier": -1},
        {"tier": 10},
        {"tier": "0"},
        {"tier": 0.5},
        {"tier": True},
        {"tenant": 5},
        {"tenant": "t" * 129},
        {"tenant": "a\x1bb"},
        {"conversation": ""},
        {"conversation": 5},
        {"conversation": "c" * 65},
        {"conversation": "a\x00"},
        {"iss": 5},
        {"aud": 5},
        {"aud": [5]},
        {"guest": "yes"},
    ],
)
async def test_wrong_claims(claims: dict[str, Any]) -> None:
    await refused(shared(), signed(**claims))


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"sub":"alice","exp":NaN}', b'{"sub":"\\ud800","exp":9e9}', b"[" * 4000],
)
async def test_payloads_that_are_no_claims(payload: bytes) -> None:
    await refused(shared(), hs256({"alg": "HS256"}, payload))


@pytest.mark.parametrize("exp", [0, NOW - 30, NOW - 31.5])
async def test_expired(exp: float) -> None:
    await refused(shared(), signed(exp=exp), Expired)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": "other"},
        {"aud": ["other", "another"]},
        {"aud": []},
        {"aud": "csgate-2"},
        {"iss": None},
        {"iss": "https://evil.example"},
        {"iss": "https://id.example/"},
    ],
)
async def test_wrong_audience_and_issuer(claims: dict[str, Any]) -> None:
    a = shared(audience="csgate", issuer="https://id.example")
    await refused(a, signed(**{"aud": "csgate", "iss": "https://id.example", **claims}))


async def test_a_forged_token_is_not_told_that_it_expired() -> None:
    """Only the holder of a real one learns anything about its time."""
    await refused(shared(), signed("x" * 64, exp=NOW - 1000))


# --- Anything --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_refused_by_name(text: str) -> None:
    for token in (text, f"{encoded(text.encode('utf-8', 'replace'))}.e30.e30"):
        with pytest.raises(Unauthorized):
            read_header(token, ("HS256", "RS256"))


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.text() | st.integers() | st.none()))
def test_any_header_is_read_or_refused(header: dict[str, Any]) -> None:
    token = f"{encoded(json.dumps(header).encode())}.e30.e30"
    try:
        algorithm, kid = read_header(token, ("HS256",))
    except Unauthorized:
        return
    assert algorithm == header["alg"] == "HS256"
    assert kid == header.get("kid")
