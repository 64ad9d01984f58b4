import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_800_000_000.0
SECRET = "a shared secret of forty-eight bytes and some more than that, for HS512"


class Keys:
    """Key pairs, made once: RSA takes its time."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.other_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.small_rsa = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ec384 = ec.generate_private_key(ec.SECP384R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    def of(self, algorithm: str) -> Any:
        return {"RS256": self.rsa, "ES256": self.ec, "EdDSA": self.ed}[algorithm]


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="session")
def pem() -> Callable[[Any], bytes]:
    def public_pem(key: Any) -> bytes:
        content: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return content

    return public_pem


@pytest.fixture(scope="session")
def jwk() -> Callable[..., dict[str, Any]]:
    """The public JSON Web Key of a private key, with further members."""

    def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
        kinds: dict[Any, Any] = {
            rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
            ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
            ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
        }
        kind = next(algorithm for private, algorithm in kinds.items() if isinstance(key, private))
        entry = kind.to_jwk(key.public_key())
        return {**(json.loads(entry) if isinstance(entry, str) else entry), **members}

    return public_jwk
