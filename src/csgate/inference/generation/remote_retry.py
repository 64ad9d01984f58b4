"""How long to wait before trying a remote server again: full jitter, and what its Retry-After says. Pure arithmetic.

Full jitter spreads those that failed together over the whole interval (M. Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015).
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

BASE_S: Final = 0.25
MAX_PAUSE_S: Final = 5.0
MAX_RETRY_AFTER_S: Final = 30.0
"""A server may ask for a longer rest; the answer that waits would be past its deadline anyway."""


def pause_s(attempt: int, share: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after failed try number ``attempt`` (from 0); ``share`` is random, in [0, 1).

    Never less than ``retry_after_s``, on top of which the jitter comes: all who were refused were told the same.
    """
    jitter = share * min(MAX_PAUSE_S, BASE_S * 2.0**attempt)
    return jitter + (retry_after_s or 0.0)


def parse_retry_after(value: str | None, unix_now: float) -> float | None:
    """Seconds by a Retry-After header (RFC 9110 section 10.2.3), at most ``MAX_RETRY_AFTER_S``; None where it says
    nothing that can be understood.

    ``unix_now``: Unix time in seconds, which an HTTP-date is compared with.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # Longer than six digits is days, and int() of a very long one is slow or refused.
        return min(float(value[:6]) if len(value) <= 6 else MAX_RETRY_AFTER_S, MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(value[:64])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - unix_now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)
