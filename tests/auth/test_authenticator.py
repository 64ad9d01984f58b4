"""Minted tokens and guests."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from csgate.auth import Authenticator, open_authenticator
from csgate.config import AuthSettings
from csgate.errors import ConfigError, Forbidden, Unauthorized
from csgate.events import Principal

NOW = 1_800_000_000.0
DAY_S = 86_400.0
SECRET = "a shared secret of forty-eight bytes and some more than that, for HS512"


def shared(**options: Any) -> Authenticator:
    return Authenticator(AuthSettings(secret=SECRET, **options), secret=SECRET)


def claims_of(token: str) -> dict[str, Any]:
    segment = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=="))
    return claims


# --- Minting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_what_is_minted_passes(algorithm: Any) -> None:
    a = shared(algorithms=(algorithm,), issuer="https://csgate.example", audience="csgate")
    token = a.mint("bob", role="agent", tier=0, tenant="shop", conversation="c", lifetime_s=60, now=NOW)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT"}
    assert await a.verify(token, now=NOW) == Principal(
        "bob", "https://csgate.example", "shop", "agent", 0, "c", NOW + 60
    )


async def test_the_least_of_a_token(tmp_path: Path) -> None:
    async with open_authenticator(AuthSettings(), tmp_path) as a:
        token = a.mint("bob", lifetime_s=60, now=NOW)
        assert claims_of(token) == {"sub": "bob", "iat": NOW, "exp": NOW + 60, "role": "customer", "tier": 1}
    async with open_authenticator(AuthSettings(), tmp_path) as again:  # the secret was kept
        assert await again.verify(token, now=NOW) == Principal("bob", expires_at=NOW + 60)


async def test_further_claims_cannot_push_the_others_aside() -> None:
    a = shared()
    token = a.mint("bob", lifetime_s=60, now=NOW, extra={"sub": "eve", "role": "service", "exp": 9e9, "team": "x"})
    assert claims_of(token)["team"] == "x"
    assert await a.verify(token, now=NOW) == Principal("bob", expires_at=NOW + 60)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": ""},
        {"subject": "a\nb"},
        {"subject": "a" * 256},
        {"subject": "\ud800"},
        {"role": "root"},
        {"tier": 10},
        {"tier": -1},
        {"tenant": "a\x00"},
        {"conversation": ""},
        {"conversation": "c" * 65},
        {"lifetime_s": float("inf")},
        {"lifetime_s": float("nan")},
        {"lifetime_s": 1e12},
        {"extra": {"nbf": "x"}},
    ],
)
def test_nothing_is_minted_that_would_not_pass(wrong: dict[str, Any]) -> None:
    given = {"subject": "bob", "lifetime_s": 60.0, "now": NOW, **wrong}
    with pytest.raises(ConfigError, match="would not be valid"):
        shared().mint(given.pop("subject"), **given)


def test_without_a_shared_secret_nothing_is_minted(keys: Any) -> None:
    a = Authenticator(AuthSettings(algorithms=("RS256",)), key=keys.rsa.public_key())
    with pytest.raises(ConfigError, match="shared secret only"):
        a.mint("bob", lifetime_s=60, now=NOW)


# --- Guests ----------------------------------------------------------------------------------------------------------


async def test_a_guest_is_a_customer_with_a_random_name() -> None:
    a = shared(issuer="https://csgate.example", audience="csgate")
    guest, other = a.guest(NOW), a.guest(NOW)
    assert guest.subject != other.subject
    assert guest.subject.startswith("guest-")
    assert len(guest.subject) == len("guest-") + 32  # 128 bits
    assert not guest.renewed
    assert guest.expires_at == NOW + 3600
    assert await a.verify(guest.token, now=NOW) == Principal(
        guest.subject, "https://csgate.example", expires_at=guest.expires_at
    )
    assert guest.token not in repr(guest)


@pytest.mark.parametrize("later", [0.0, 3599.0, 3600.0, 3600.0 + 6.9 * DAY_S])
async def test_a_guest_keeps_its_name(later: float) -> None:
    a = shared()
    guest = a.guest(NOW)
    again = a.guest(NOW + later, guest.token)
    assert again.subject == guest.subject
    assert again.renewed
    assert again.expires_at == NOW + later + 3600
    assert (await a.verify(again.token, now=NOW + later)).subject == guest.subject
    assert a.guest(NOW + later + 3600, again.token).subject == guest.subject


def test_not_for_ever() -> None:
    a = shared()
    guest = a.guest(NOW)
    late = a.guest(NOW + 3600 + 7 * DAY_S, guest.token)
    assert late.subject != guest.subject
    assert not late.renewed


def test_only_guest_tokens_are_renewed() -> None:
    """Not even those that look like one; a signed-in person's token must not turn into one that never ends."""
    a = shared()
    real = a.guest(NOW)
    lifetime: dict[str, Any] = {"lifetime_s": 3600, "now": NOW}
    for token in (
        "",
        "nonsense",
        a.mint("alice", **lifetime),
        a.mint("guest-alice", **lifetime),
        a.mint("alice", **lifetime, extra={"guest": True}),
        a.mint("guest-alice", role="agent", **lifetime, extra={"guest": True}),
        real.token[:-4] + "AAAA",
        Authenticator(AuthSettings(), secret="x" * 32).guest(NOW).token,
    ):
        guest = a.guest(NOW, token)
        assert not guest.renewed
        assert guest.subject not in ("alice", "guest-alice", real.subject)


def test_a_guest_token_signed_with_a_public_algorithm_is_not_ours(keys: Any) -> None:
    a = Authenticator(AuthSettings(algorithms=("HS256", "RS256")), secret=SECRET, key=keys.rsa.public_key())
    claims = {"sub": "guest-0", "guest": True, "exp": NOW + 60}
    assert not a.guest(NOW, jwt.encode(claims, keys.rsa, "RS256")).renewed
    assert a.guest(NOW, jwt.encode(claims, SECRET, "HS256")).subject == "guest-0"


async def test_guests_can_be_switched_off() -> None:
    a = shared(guests=False)
    assert not a.guests_available
    with pytest.raises(Forbidden) as caught:
        a.guest(NOW, shared().guest(NOW).token)
    assert "sign in" in caught.value.text()


async def test_guests_need_a_shared_secret(keys: Any, pem: Callable[[Any], bytes], tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(keys.rsa))
    options: dict[str, Any] = {"algorithms": ("RS256",), "public_key_file": file}
    async with open_authenticator(AuthSettings(**options), tmp_path) as a:
        assert not a.guests_available
        with pytest.raises(Forbidden):
            a.guest(NOW)
    async with open_authenticator(AuthSettings(**options, guests=False), tmp_path) as a:
        assert not a.guests_available
    with pytest.raises(ConfigError, match=r"auth\.guests needs a secret"):
        async with open_authenticator(AuthSettings(**options, guests=True), tmp_path):
            pass


async def test_two_nodes_with_one_secret_take_each_others_tokens(tmp_path: Path) -> None:
    async with (
        open_authenticator(AuthSettings(secret=SECRET), tmp_path / "a") as a,
        open_authenticator(AuthSettings(secret=SECRET), tmp_path / "b") as b,
        open_authenticator(AuthSettings(), tmp_path / "c") as c,
    ):
        token = a.guest(NOW).token
        assert await b.verify(token, now=NOW)
        with pytest.raises(Unauthorized):
            await c.verify(token, now=NOW)
    assert not (tmp_path / "a").exists()
