"""A JSON Web Token (RFC 7519) taken apart: what its header asks for, whether its signature holds, what it claims.

PyJWT checks the signature and nothing else; times are compared here, with the time that the caller gives.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Final, Literal

import jwt
import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from csgate.auth.keys import PublicKey
from csgate.config import Algorithm, AuthSettings
from csgate.errors import Expired, Unauthorized
from csgate.events import Principal, Role

MAX_TOKEN_BYTES: Final = 8192
MAX_SUBJECT_CHARS: Final = 255
MAX_TENANT_CHARS: Final = 128
MAX_CONVERSATION_CHARS: Final = 64
MAX_TIER: Final = 9
_END_OF_TIME: Final = 253_402_300_799  # the last second of the year 9999, as far as dates go

Seconds = Annotated[float, Meta(ge=0, le=_END_OF_TIME)]


class Header(msgspec.Struct, frozen=True):
    """What a token says about its own signature; believed only as far as choosing among the keys that we trust."""

    alg: str
    kid: str | None = None
    crit: Raw | UnsetType = UNSET
    b64: Raw | UnsetType = UNSET


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims that csgate reads. ``guest`` marks the tokens that it gave to guests itself."""

    sub: Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_CHARS)]
    exp: Seconds
    nbf: Seconds | None = None
    iat: Seconds | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    role: Role = "customer"
    tier: Annotated[int, Meta(ge=0, le=MAX_TIER)] = 1
    tenant: Annotated[str, Meta(max_length=MAX_TENANT_CHARS)] = ""
    conversation: Annotated[str, Meta(min_length=1, max_length=MAX_CONVERSATION_CHARS)] | None = None
    guest: bool = False

    def __post_init__(self) -> None:
        for value in (self.sub, self.tenant, self.conversation or ""):
            if not value.isprintable():
                raise ValueError("control characters in sub, tenant or conversation")

    @property
    def principal(self) -> Principal:
        return Principal(
            subject=self.sub,
            issuer=self.iss or "",
            tenant=self.tenant,
            role=self.role,
            tier=self.tier,
            conversation=self.conversation,
            expires_at=self.exp,
        )


# RFC 7515 section 7.1: three segments of Base64url without padding. PyJWT alone would be more generous.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER: Final = msgspec.json.Decoder(Header)
_CLAIMS: Final = msgspec.json.Decoder(Claims)


def read_header(token: str, algorithms: tuple[Algorithm, ...]) -> tuple[Algorithm, str | None]:
    """The pinned algorithm that ``token`` names, and its key id.

    Raises:
        Unauthorized: too long, not a token, an algorithm that is not pinned, or an extension (RFC 7515 section 4.1.11)
            that would have to be understood.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthorized(f"token of more than {MAX_TOKEN_BYTES} bytes")
    if _TOKEN.fullmatch(token) is None:
        raise Unauthorized("not a token of three segments")
    segment = token[: token.index(".")]
    try:
        header = _HEADER.decode(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unauthorized(f"token header: {error}") from None
    for algorithm in algorithms:
        if header.alg == algorithm:
            break
    else:
        raise Unauthorized("the token's algorithm is not one of auth.algorithms")
    if header.crit is not UNSET or header.b64 is not UNSET:
        raise Unauthorized("the token uses an extension")
    return algorithm, header.kid


def check_signature(token: str, key: bytes | PublicKey, algorithm: Algorithm) -> bytes:
    """The payload of ``token``, signed with ``key`` by ``algorithm`` and no other.

    Raises:
        Unauthorized: the signature does not hold, or the token is malformed.
    """
    try:
        complete: dict[str, Any] = jwt.PyJWS(algorithms=[algorithm]).decode_complete(token, key, [algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise Unauthorized(f"token signature: {error}") from None
    payload: bytes = complete["payload"]
    return payload


def read_claims(payload: bytes, settings: AuthSettings, now: float, *, late_s: float = 0.0) -> Claims:
    """The claims in a payload whose signature holds. ``late_s`` forgives an expiry so long ago.

    Raises:
        Unauthorized: a claim is missing, of the wrong type or value, or the token is not valid yet.
        Expired: it is not valid any more.
    """
    try:
        claims = _CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unauthorized(f"token claims: {error}") from None
    if settings.issuer is not None and claims.iss != settings.issuer:
        raise Unauthorized("token claims: wrong iss")
    if settings.audience is not None:
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
        if settings.audience not in audiences:
            raise Unauthorized("token claims: wrong aud")
    leeway = settings.leeway_seconds
    if max(claims.nbf or 0.0, claims.iat or 0.0) > now + leeway:
        raise Unauthorized("the token is not valid yet")
    if claims.exp + max(leeway, late_s) <= now:
        raise Expired("exp has passed")
    return claims


def sign(claims: dict[str, Any], secret: bytes, algorithm: Literal["HS256", "HS384", "HS512"]) -> str:
    """A token with these claims, checked to be what ``read_claims`` takes.

    Raises:
        msgspec.ValidationError: they are not.
    """
    payload = msgspec.json.encode(claims)
    _CLAIMS.decode(payload)
    return jwt.PyJWS(algorithms=[algorithm]).encode(payload, secret, algorithm)
