"""Settings that contradict each other or name unusable keys stop start-up, in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from csgate.auth.keys import fits, public_key, shared_secret
from csgate.config import AuthSettings
from csgate.errors import ConfigError

SECRET = "a shared secret of forty-eight bytes and some more than that, for HS512"


def made(folder: Path, **options: Any) -> None:
    chosen = AuthSettings(**options)
    shared_secret(chosen, folder)
    public_key(chosen)


@pytest.fixture
def rsa_file(tmp_path: Path, keys: Any, pem: Callable[[Any], bytes]) -> Path:
    file = tmp_path / "rsa.pem"
    file.write_bytes(pem(keys.rsa))
    return file


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"secret": "x" * 31}, "32 bytes"),
        ({"secret": ""}, "32 bytes"),
        ({"secret": "x" * 47, "algorithms": ("HS384",)}, "48 bytes"),
        ({"secret": "x" * 63, "algorithms": ("HS256", "HS512")}, "64 bytes"),
        ({"secret": "-----BEGIN PUBLIC KEY-----\n" + "x" * 40}, "looks like a PEM key"),
        ({"secret": SECRET, "algorithms": ("RS256",)}, "lists no HS algorithm"),
        ({"algorithms": ("RS256",)}, "RS256 needs a key"),
        ({"algorithms": ("ES256", "EdDSA")}, "ES256, EdDSA needs a key"),
        ({"algorithms": ("HS256", "RS256")}, "mixes HS with public keys"),
        ({"algorithms": ("HS256", "RS256"), "jwks_url": "https://x.example"}, "set auth.secret as well"),
        ({"algorithms": ("HS256", "RS256"), "secret": SECRET}, "RS256 needs a key"),
        ({"jwks_url": "https://x.example"}, "lists none of RS256"),
        ({"public_key_file": Path("key.pem")}, "lists none of RS256"),
        (
            {"algorithms": ("RS256",), "jwks_url": "https://x.example", "public_key_file": Path("key.pem")},
            "not both",
        ),
        ({"algorithms": ("RS256",), "public_key_file": Path("/nowhere/key.pem")}, "No such file"),
    ],
)
def test_contradictions(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, **options)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_goes_together(tmp_path: Path, rsa_file: Path) -> None:
    made(tmp_path)
    made(tmp_path, secret="x" * 32)
    made(tmp_path, secret="é" * 16)  # 32 bytes
    made(tmp_path, algorithms=("HS512", "HS256"))
    made(tmp_path, algorithms=("RS256",), public_key_file=rsa_file)
    made(tmp_path, algorithms=("RS256", "HS256"), public_key_file=rsa_file, secret=SECRET)
    made(tmp_path, algorithms=("RS256", "ES256", "EdDSA"), jwks_url="https://x.example")


def test_a_key_of_the_wrong_kind(tmp_path: Path, rsa_file: Path) -> None:
    with pytest.raises(ConfigError, match="not one for ES256"):
        made(tmp_path, algorithms=("RS256", "ES256"), public_key_file=rsa_file)


def test_files_that_are_no_public_keys(tmp_path: Path, keys: Any, pem: Callable[[Any], bytes]) -> None:
    file = tmp_path / "key.pem"
    contents = [
        (keys.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
        (b"", "not a public key"),
        (b"\x00\xff", "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (pem(keys.small_rsa), "not one for RS256"),
        (pem(dsa.generate_private_key(1024)), "of a kind that csgate does not use"),
        (pem(x25519.X25519PrivateKey.generate()), "of a kind that csgate does not use"),
    ]
    for content, says in contents:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=says):
            made(tmp_path, algorithms=("RS256",), public_key_file=file)


def test_fits(keys: Any) -> None:
    good = {"RS256": keys.rsa, "ES256": keys.ec, "EdDSA": keys.ed}
    every = [keys.rsa, keys.small_rsa, keys.ec, keys.ec384, keys.ed]
    for algorithm in ("RS256", "ES256", "EdDSA", "HS256"):
        assert [key for key in every if fits(key.public_key(), algorithm)] == [
            key for name, key in good.items() if name == algorithm
        ]
        assert not fits(SECRET, algorithm)
        assert not fits(keys.rsa, algorithm)  # private
