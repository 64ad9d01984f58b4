"""Which key may check a token of which algorithm.

Key confusion is impossible by construction: a shared secret and public keys live in different fields, the algorithm of
the token's header picks the field, and a key in it is used only for algorithms of its own kind. Nothing else in the
header (``jwk``, ``jku``, ``x5u``, ``x5c``) is ever looked at.
"""

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from csgate.auth.secret import MIN_SECRET_BYTES, load_or_make_secret
from csgate.config import Algorithm, AuthSettings
from csgate.errors import ConfigError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MIN_RSA_BITS: Final = 2048
_PEM_MARK: Final = "-----BEGIN"


def is_shared(algorithm: Algorithm) -> bool:
    """Whether ``algorithm`` signs and checks with the same secret."""
    return algorithm in MIN_SECRET_BYTES


def fits(key: object, algorithm: Algorithm) -> bool:
    """Whether ``key`` is a public key for ``algorithm`` (RFC 7518 sections 3.3, 3.4; RFC 8037)."""
    match algorithm:
        case "RS256":
            return isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
        case "ES256":
            return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
        case "EdDSA":
            return isinstance(key, Ed25519PublicKey | Ed448PublicKey)
        case _:
            return False


def shared_secret(settings: AuthSettings, data_dir: Path) -> str | None:
    """The secret of the HS algorithms; None where none of them is listed.

    Raises:
        ConfigError: the secret is too short for the algorithms, looks like a PEM key, is not used by any algorithm, or
            has to be configured because public keys are in use as well; or ``data_dir/secret`` cannot be used.
    """
    shared = [algorithm for algorithm in settings.algorithms if is_shared(algorithm)]
    configured = settings.secret.get_secret_value() if settings.secret is not None else None
    if not shared:
        if configured is not None:
            raise ConfigError("auth.secret is set, but auth.algorithms lists no HS algorithm; add HS256 or remove it.")
        return None
    if configured is None:
        if len(shared) < len(settings.algorithms):
            raise ConfigError(
                "auth.algorithms mixes HS with public keys: set auth.secret as well, or remove the HS algorithms."
            )
        return load_or_make_secret(data_dir)
    need = max(MIN_SECRET_BYTES[algorithm] for algorithm in shared)
    if len(configured.encode()) < need:
        raise ConfigError(f"auth.secret is too short for {', '.join(shared)}: it must have {need} bytes or more.")
    if _PEM_MARK in configured:
        raise ConfigError("auth.secret looks like a PEM key; keys go into auth.public_key_file.")
    return configured


def public_key(settings: AuthSettings) -> PublicKey | None:
    """The key of ``auth.public_key_file``; None where the keys come from a JWKS URL or none are needed.

    Raises:
        ConfigError: the file cannot be read or holds no public key for the algorithms, both sources or none are
            configured for asymmetric algorithms, or one is configured without such an algorithm.
    """
    asymmetric = [algorithm for algorithm in settings.algorithms if not is_shared(algorithm)]
    file = settings.public_key_file
    if not asymmetric:
        if file is not None or settings.jwks_url is not None:
            raise ConfigError(
                "A public key or JWKS URL is set, but auth.algorithms lists none of RS256, ES256 and EdDSA; add it."
            )
        return None
    if file is not None and settings.jwks_url is not None:
        raise ConfigError("Set auth.public_key_file or auth.jwks_url, not both.")
    if file is None:
        if settings.jwks_url is None:
            raise ConfigError(f"{', '.join(asymmetric)} needs a key: set auth.public_key_file or auth.jwks_url.")
        return None
    key = _load(file)
    for algorithm in asymmetric:
        if not fits(key, algorithm):
            raise ConfigError(f"The key in {file} is not one for {algorithm}, which auth.algorithms lists.")
    return key


def _load(file: Path) -> PublicKey:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read the public key {file}: {error.strerror}.") from error
    if b"PRIVATE KEY" in content:
        raise ConfigError(f"{file} holds a private key; csgate wants the public one and nothing more.")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{file} is not a public key in PEM format.") from error
    if not isinstance(key, PublicKey):
        raise ConfigError(f"The key in {file} is of a kind that csgate does not use.")
    return key
