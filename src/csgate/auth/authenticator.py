"""Who speaks: tokens checked, minted, given to guests, and stood in for by tickets."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, cast

import httpx
import msgspec

from csgate.auth.jwks import Jwks
from csgate.auth.keys import PublicKey, is_shared, public_key, shared_secret
from csgate.auth.tickets import Tickets
from csgate.auth.tokens import Claims, check_signature, read_claims, read_header, sign
from csgate.config import AuthSettings
from csgate.errors import ConfigError, Forbidden, Unauthorized
from csgate.events import Principal, Role
from csgate.telemetry import Telemetry

GUEST_PREFIX: Final = "guest-"
GUEST_BYTES: Final = 16

_SharedAlgorithm = Literal["HS256", "HS384", "HS512"]


class GuestToken(msgspec.Struct, frozen=True):
    """A token for somebody who never signed in. ``renewed``: the subject is the one of the token brought along."""

    token: str
    subject: str
    expires_at: float
    renewed: bool = False

    def __repr__(self) -> str:
        return f"GuestToken(subject={self.subject!r})"


class Authenticator:
    """Turns credentials into principals. Every ``now`` is Unix time in seconds."""

    def __init__(
        self,
        settings: AuthSettings,
        *,
        secret: str | None = None,
        key: PublicKey | None = None,
        jwks: Jwks | None = None,
    ) -> None:
        """Best made by ``open_authenticator``, which finds the keys that ``settings`` ask for."""
        self._settings = settings
        self._secret = secret.encode() if secret is not None else None
        self._key = key
        self._jwks = jwks
        self._tickets = Tickets(settings.ticket_seconds, settings.max_tickets)
        self._signs = next((cast(_SharedAlgorithm, name) for name in settings.algorithms if is_shared(name)), None)

    @property
    def guests_available(self) -> bool:
        """Whether ``guest`` works: guests are allowed, and there is a secret to sign their tokens with."""
        return self._settings.guests and self._signs is not None

    async def verify(self, token: str, *, now: float) -> Principal:
        """The principal of ``token``. Waits for a key set where one has to be fetched.

        Raises:
            Unauthorized: the token is malformed, forged, not valid yet, or for somebody else.
            Expired: it was valid.
            Overloaded: the key set cannot be had.
        """
        algorithm, kid = read_header(token, self._settings.algorithms)
        trusted: bytes | PublicKey | None
        if is_shared(algorithm):
            trusted = self._secret
        elif self._jwks is not None:
            trusted = await self._jwks.key(kid, algorithm)
        else:
            trusted = self._key
        if trusted is None:
            raise Unauthorized(f"no key for {algorithm}")
        payload = check_signature(token, trusted, algorithm)
        return read_claims(payload, self._settings, now).principal

    def mint(
        self,
        subject: str,
        *,
        role: Role = "customer",
        tier: int = 1,
        tenant: str = "",
        conversation: str | None = None,
        lifetime_s: float,
        now: float,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """A token signed with the shared secret. ``extra`` claims come below the others.

        Raises:
            ConfigError: there is no shared secret, or a value is not one that ``verify`` would take.
        """
        if self._secret is None or self._signs is None:
            raise ConfigError(
                "csgate signs tokens with a shared secret only: add HS256 to auth.algorithms, or have your identity "
                "provider sign them."
            )
        optional = {
            "tenant": tenant or None,
            "conversation": conversation,
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
        }
        try:
            claims: dict[str, Any] = {
                **(extra or {}),
                **{name: value for name, value in optional.items() if value is not None},
                "sub": subject,
                "iat": int(now),
                "exp": int(now + lifetime_s),
                "role": role,
                "tier": tier,
            }
            return sign(claims, self._secret, self._signs)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            raise ConfigError(f"Such a token would not be valid: {error}.") from None

    def guest(self, now: float, renew: str | None = None) -> GuestToken:
        """A token for a guest, customer and nothing more.

        ``renew``, a guest token that is valid or expired less than ``guest_renew_seconds`` ago, keeps its subject. With
        any other token the guest is a new one, so that a page needs no second try.

        Raises:
            Forbidden: guests are not available.
        """
        if not self.guests_available:
            raise Forbidden(
                "guest tokens are not available",
                public="Guests are not admitted here. Please sign in.",
                public_zh="此处不接待访客，请先登录。",
            )
        known = self._guest_of(renew, now) if renew else None
        subject = known or GUEST_PREFIX + secrets.token_hex(GUEST_BYTES)
        lifetime = self._settings.guest_seconds
        token = self.mint(subject, lifetime_s=lifetime, now=now, extra={"guest": True})
        return GuestToken(token, subject, float(int(now + lifetime)), known is not None)

    def issue_ticket(self, principal: Principal, now: float) -> str:
        """A single-use ticket for ``principal``, good for ``ticket_seconds``.

        Raises:
            RateLimited, Overloaded: too many are open.
        """
        return self._tickets.issue(principal, now)

    def redeem_ticket(self, ticket: str, now: float) -> Principal:
        """Whom ``ticket`` was given to.

        Raises:
            Unauthorized: unknown, used, or too old. Expired: the token behind it is.
        """
        return self._tickets.redeem(ticket, now)

    def _guest_of(self, token: str, now: float) -> str | None:
        try:
            algorithm, _ = read_header(token, self._settings.algorithms)
            if self._secret is None or not is_shared(algorithm):
                return None
            payload = check_signature(token, self._secret, algorithm)
            claims = read_claims(payload, self._settings, now, late_s=self._settings.guest_renew_seconds)
        except Unauthorized:
            return None
        return claims.sub if _is_guest(claims) else None


def _is_guest(claims: Claims) -> bool:
    return claims.guest and claims.role == "customer" and claims.sub.startswith(GUEST_PREFIX)


@asynccontextmanager
async def open_authenticator(
    settings: AuthSettings,
    data_dir: Path,
    *,
    http: httpx.AsyncClient | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator[Authenticator]:
    """An authenticator with the keys that ``settings`` ask for; ``data_dir`` keeps a secret of csgate's own.

    A key set that cannot be fetched at first is logged and tried again when a token comes. ``http`` stays the caller's.

    Raises:
        ConfigError: the settings contradict each other, or a key or secret cannot be used.
    """
    secret = shared_secret(settings, data_dir)
    key = public_key(settings)
    if secret is None and settings.guests and "guests" in settings.model_fields_set:
        raise ConfigError("auth.guests needs a secret to sign with: add HS256 and auth.secret, or set it to false.")
    async with AsyncExitStack() as stack:
        jwks = None
        if settings.jwks_url is not None:
            if http is None:
                http = await stack.enter_async_context(httpx.AsyncClient())
            jwks = Jwks(
                settings.jwks_url,
                http,
                algorithms=settings.algorithms,
                cache_seconds=settings.jwks_cache_seconds,
                log=(telemetry or Telemetry()).log,
            )
            await jwks.refresh()
        yield Authenticator(settings, secret=secret, key=key, jwks=jwks)
