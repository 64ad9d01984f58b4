"""Which bytes of a file a request wants: RFC 9110 sections 13 and 14. Pure."""

import re
from collections.abc import Mapping
from typing import Final

_ONE_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range lies behind the end of the file."""


def is_known(etag: str, headers: Mapping[str, str]) -> bool:
    """Whether the reader has the file already (``If-None-Match``)."""
    listed = headers.get("if-none-match", "")
    return listed.strip() == "*" or etag in {one.strip().removeprefix("W/") for one in listed.split(",")}


def wanted(size: int, etag: str, headers: Mapping[str, str]) -> tuple[int, int] | None:
    """First byte wanted and the one behind the last; None for the whole file.

    So it is too for what may be ignored: several ranges, other units, a malformed range, and a range of a file that is
    not this one any more (``If-Range``; a date never matches, as no dates are given).

    Raises:
        Unsatisfiable: there is no such part.
    """
    asked = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if asked is None or headers.get("if-range", etag).strip() != etag:
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise Unsatisfiable
    return start, end
