"""Whether a Redis keeps what it has acknowledged, asked before anything is entrusted to it."""

from typing import Any, Final

from coredis.exceptions import RedisError

from csgate.cluster.link import Link
from csgate.config import RedisSettings
from csgate.errors import ConfigError, StoreUnavailable
from csgate.telemetry import Telemetry

OLDEST: Final = (6, 2)
SHARDED_SINCE: Final = (7, 0)
ACCEPT: Final = "set redis.accept_loss = true if that may be"


async def inspect(link: Link, settings: RedisSettings, telemetry: Telemetry) -> tuple[int, int]:
    """Returns Redis's (major, minor) version.

    Valkey tells the Redis version that it is compatible with.

    Raises:
        ConfigError: it cannot be reached, is too old, is a cluster or a replica, or may lose what it acknowledged and
            ``redis.accept_loss`` is off.
    """
    try:
        info = _fields(await link.one((b"INFO",)))
    except StoreUnavailable as error:
        raise ConfigError(f"Redis cannot be used (redis.url): {_reason(error)}.") from error
    version = _version(info.get("redis_version", ""))
    if version < OLDEST:
        raise ConfigError(f"Redis {info.get('redis_version')} is too old; csgate needs Redis or Valkey 6.2 or newer.")
    if info.get("cluster_enabled") == "1":
        raise ConfigError("redis.url leads to a Redis Cluster, which csgate does not speak to; give a single primary.")
    if info.get("role") != "master":
        raise ConfigError("redis.url leads to a replica, which cannot be written; give its primary.")
    if settings.accept_loss:
        telemetry.log.warning("redis_may_lose", detail="redis.accept_loss is on: what was acknowledged may be lost")
        return version
    reason = await _may_lose(link)
    if reason is not None:
        raise ConfigError(f"This Redis may lose what it has acknowledged: {reason}; {ACCEPT}.")
    return version


async def _may_lose(link: Link) -> str | None:
    try:
        config = {
            name: await _setting(link, name) for name in ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
        }
    except StoreUnavailable as error:
        return f"how it writes cannot be asked, CONFIG GET being refused ({_reason(error)})"
    if config["appendonly"] != "yes":
        return "appendonly is off, so that it writes no log; CONFIG SET appendonly yes mends that"
    if config["appendfsync"] != "always":
        return f"appendfsync is '{config['appendfsync']}', not 'always'; CONFIG SET appendfsync always mends that"
    if config["maxmemory"] not in ("0", "") and config["maxmemory-policy"] != "noeviction":
        return (
            f"maxmemory-policy is '{config['maxmemory-policy']}', so that it throws away what does not fit; "
            "CONFIG SET maxmemory-policy noeviction mends that"
        )
    return None


async def _setting(link: Link, name: str) -> str:
    answer: Any = await link.one((b"CONFIG GET", name))
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    return str(pairs.get(name.encode(), b"").decode())


def _fields(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def _version(text: str) -> tuple[int, int]:
    numbers = [int(part) for part in text.split(".")[:2] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def _reason(error: StoreUnavailable) -> str:
    cause = error.__cause__
    return str(cause) if isinstance(cause, RedisError | OSError) else error.detail
