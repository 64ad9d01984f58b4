"""Public keys fetched from a JSON Web Key Set (RFC 7517), kept for a while, and fetched again when a key is unknown."""

import ipaddress
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, cast

import httpx
import jwt
import msgspec
import trio
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from csgate.auth.keys import PublicKey, fits
from csgate.config import Algorithm
from csgate.errors import ConfigError, Overloaded, Unauthorized
from csgate.telemetry import Logger

FETCH_S: Final = 5.0
REFRESH_INTERVAL_S: Final = 10.0
"""Between two fetches at least: tokens with made-up key ids must not turn csgate against its identity provider."""
STALE_S: Final = 86_400.0
"""How long keys serve while fetching fails. Not for ever, since a revoked key has to go some day."""
MAX_SET_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100


class _FoundKey(msgspec.Struct, frozen=True):
    kid: str | None
    key: PublicKey
    algorithms: frozenset[Algorithm]


class _Set(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


_SET: Final = msgspec.json.Decoder(_Set)


class _FetchError(Exception):
    """The key set could not be had; the message goes to the log."""


class Jwks:
    """The keys at ``url`` for those of ``algorithms`` that use public keys. Times are the Trio clock's."""

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        *,
        algorithms: tuple[Algorithm, ...],
        cache_seconds: float,
        log: Logger,
    ) -> None:
        """Raises ConfigError where ``url`` is not ``https``, unless it points to this machine."""
        _check_url(url)
        self._url = url
        self._http = http
        self._algorithms = algorithms
        self._cache_seconds = cache_seconds
        self._log = log
        self._lock = trio.Lock()
        self._keys: tuple[_FoundKey, ...] = ()
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")

    async def key(self, kid: str | None, algorithm: Algorithm) -> PublicKey:
        """The key for a token of ``algorithm`` with key id ``kid``; without one, the only key that fits.

        Raises:
            Unauthorized: there is no such key.
            Overloaded: no keys could be had lately, so nobody can say.
        """
        if self._age() >= self._cache_seconds and not (self._keys and self._lock.locked()):
            await self.refresh()
        found = self._find(kid, algorithm)
        if found is None and kid is not None:
            await self.refresh()
            found = self._find(kid, algorithm)
        if self._age() > STALE_S:
            self._keys = ()
            raise Overloaded(
                "no key set to check tokens with",
                public="Tokens cannot be checked right now. Please try again shortly.",
                public_zh="目前无法验证令牌，请稍后再试。",
                retry_after=REFRESH_INTERVAL_S,
            )
        if found is None:
            raise Unauthorized("no key for the token's kid and algorithm")
        return found

    async def refresh(self) -> None:
        """Fetches the set, unless that was tried within ``REFRESH_INTERVAL_S``. Failure leaves the old keys."""
        async with self._lock:  # those who waited for a fetch find it done when the lock is theirs
            if trio.current_time() - self._asked_at < REFRESH_INTERVAL_S:
                return
            self._asked_at = trio.current_time()
            try:
                keys = self._parse(await self._fetch())
            except _FetchError as error:
                self._log.warning("jwks_fetch_failed", url=self._url, reason=str(error), keys=len(self._keys))
                return
            self._keys = keys
            self._fetched_at = trio.current_time()
            self._log.info("jwks_fetched", url=self._url, keys=len(keys))

    def _age(self) -> float:
        return trio.current_time() - self._fetched_at

    def _find(self, kid: str | None, algorithm: Algorithm) -> PublicKey | None:
        found = [
            entry.key for entry in self._keys if algorithm in entry.algorithms and (kid is None or entry.kid == kid)
        ]
        return found[0] if len(found) == 1 else None  # of two, neither is the one that was meant

    async def _fetch(self) -> bytes:
        content = bytearray()
        try:
            with trio.fail_after(FETCH_S):
                async with self._http.stream(
                    "GET",
                    self._url,
                    headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
                    follow_redirects=False,  # a redirect could lead to a host that nobody chose to trust
                ) as response:
                    if response.status_code != httpx.codes.OK:
                        raise _FetchError(f"status {response.status_code}")
                    # A generator left half-way has to be closed here, in this task; its type keeps that to itself.
                    chunks = cast(AsyncGenerator[bytes], response.aiter_bytes())
                    async with aclosing(chunks):
                        async for chunk in chunks:
                            content += chunk
                            if len(content) > MAX_SET_BYTES:
                                raise _FetchError(f"more than {MAX_SET_BYTES} bytes")
        except trio.TooSlowError:
            raise _FetchError(f"no answer within {FETCH_S} s") from None
        except httpx.HTTPError as error:
            raise _FetchError(f"{type(error).__name__}: {error}") from error
        return bytes(content)

    def _parse(self, content: bytes) -> tuple[_FoundKey, ...]:
        try:
            entries = _SET.decode(content).keys
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _FetchError(f"not a key set: {error}") from error
        if len(entries) > MAX_KEYS:
            raise _FetchError(f"more than {MAX_KEYS} keys")
        found = tuple(entry for entry in map(self._usable, entries) if entry is not None)
        if not found:
            raise _FetchError("no key for any of auth.algorithms")
        return found

    def _usable(self, entry: dict[str, Any]) -> _FoundKey | None:
        """``entry`` as a key; None for what is not for us: secrets, private, encryption and unknown keys."""
        kid = entry.get("kid")
        operations = entry.get("key_ops", ["verify"])
        if (
            "d" in entry
            or entry.get("use", "sig") != "sig"
            or not isinstance(operations, list)
            or "verify" not in operations
            or not (kid is None or isinstance(kid, str))
        ):
            return None
        key = _key_of(entry)
        if not isinstance(key, PublicKey):
            return None
        algorithms = frozenset(name for name in self._algorithms if fits(key, name) and entry.get("alg", name) == name)
        return _FoundKey(kid, key, algorithms) if algorithms else None


def _key_of(entry: dict[str, Any]) -> object:
    try:
        match entry.get("kty"):
            case "RSA":
                return RSAAlgorithm.from_jwk(entry)
            case "EC":
                return ECAlgorithm.from_jwk(entry)
            case "OKP":
                return OKPAlgorithm.from_jwk(entry)
            case _:
                return None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ConfigError(f"auth.jwks_url is not a URL: {url}") from None
    if parsed.scheme == "https" and parsed.host:
        return
    if parsed.scheme == "http" and _is_loopback(parsed.host):
        return
    raise ConfigError("auth.jwks_url must begin with https://, since whoever changes the keys on the way can sign in.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
