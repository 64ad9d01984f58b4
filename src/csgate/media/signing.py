"""What this node signs: addresses of pictures, and names of uploads. Nothing of either is kept anywhere.

Each use has a key of its own, made from the node's secret (HMAC-SHA256 with a label, as HKDF-Expand does with one
block, RFC 5869); signatures are HMAC-SHA256 cut to 128 bits (RFC 2104 section 5).
"""

import base64
import binascii
import hmac
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlencode

from csgate.errors import BadEnvelope, NotFound
from csgate.media.keys import is_shown
from csgate.pictures import Format

Owner = tuple[str, str, str]

SIGNATURE_BYTES: Final = 16
ADDRESSES_REMEMBERED: Final = 4_096
_EXPIRES: Final = re.compile(r"[0-9]{1,12}")
_UPLOAD: Final = struct.Struct(">BB16sI32s32sQ")  # version, format, id, size, sha256, source, expires
_VERSION: Final = 1
_FORMATS: Final[tuple[Format, ...]] = ("jpeg", "png", "webp", "gif")
_UPLOAD_CHARACTERS: Final = math.ceil((_UPLOAD.size + SIGNATURE_BYTES) * 8 / 6)


def derive(secret: bytes, label: str) -> bytes:
    """A key for one use, 32 bytes."""
    return hmac.digest(secret, f"csgate media {label}".encode() + b"\x01", "sha256")


def _signature(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")[:SIGNATURE_BYTES]


def _same(ours: str, theirs: str) -> bool:
    return theirs.isascii() and hmac.compare_digest(ours, theirs)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _data(text: str) -> bytes:
    """What :func:`_text` was given. Only its exact text passes, so that nothing has two names.

    Raises:
        ValueError: not of that form.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _text(data) != text:
        raise ValueError("stray bits")
    return data


class Addresses:
    """Addresses of pictures: signed and expiring, or lasting where everything is public.

    ``seconds`` is how long an address works at least. Its end is rounded up to a multiple of that, so that the same
    picture keeps its address for a while and caches can hold it.
    """

    def __init__(self, secret: bytes, *, base_url: str, public: bool, seconds: float, now: Callable[[], float]) -> None:
        self._key = derive(secret, "address")
        self._base = base_url.rstrip("/")
        self._public = public
        self._window = math.ceil(seconds)
        self._now = now
        self._made = lru_cache(ADDRESSES_REMEMBERED)(self._make)

    def of(self, key: str) -> str:
        """The address of an object that readers may be given."""
        if self._public:
            return f"{self._base}/media/{key}"
        return self._made(key, (math.ceil(self._now() / self._window) + 1) * self._window)

    def check(self, key: str, expires: str | None, signature: str | None) -> float:
        """How many seconds the address still works: infinity where it lasts.

        Raises:
            NotFound: it is not ours, or works no longer; nobody is told which.
        """
        if not is_shown(key):
            raise NotFound("no key of a picture")
        if self._public:
            return math.inf
        if expires is None or signature is None or not _EXPIRES.fullmatch(expires):
            raise NotFound("the address is not signed")
        if not _same(self._sign(key, int(expires)), signature):
            raise NotFound("wrong signature")
        left = int(expires) - self._now()
        if left <= 0:
            raise NotFound("the address has expired")
        return left

    def _make(self, key: str, expires: int) -> str:
        return f"{self._base}/media/{key}?" + urlencode({"e": expires, "s": self._sign(key, expires)})

    def _sign(self, key: str, expires: int) -> str:
        return _text(_signature(self._key, f"{key}\n{expires}".encode()))


@dataclass(frozen=True, slots=True)
class UploadName:
    """What the name of an upload says. ``expires``: Unix time in seconds, whole.

    ``size`` and ``sha256`` are of the file that waits; ``source`` is the hash of the file as it came, and the same
    where it waits as it came.
    """

    id: str
    size: int
    format: Format
    sha256: bytes
    source: bytes
    expires: int


class PutTicket(NamedTuple):
    """A signed leave to put one file: what it has to be."""

    id: str
    size: int
    sha256: str
    expires: int


class UploadNames:
    """Makes and reads the names of uploads, and the leave to put one where the store does not sign itself."""

    def __init__(self, secret: bytes, now: Callable[[], float]) -> None:
        self._name_key = derive(secret, "upload")
        self._put_key = derive(secret, "put")
        self._now = now

    def write(self, name: UploadName, owner: Owner) -> str:
        """The name, to be given to ``owner``: of no use to anybody else."""
        content = _pack(name)
        return _text(content + _signature(self._name_key, _bound(content, owner)))

    def read(self, text: str, owner: Owner) -> UploadName:
        """What the name says.

        Raises:
            BadEnvelope: it has not the form of one.
            NotFound: it was given to somebody else, never given, or works no longer.
        """
        if len(text) != _UPLOAD_CHARACTERS:
            raise _no_name("wrong length")
        try:
            raw = _data(text)
            content, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
            name = _unpack(content)
        except ValueError as error:
            raise _no_name(str(error)) from None
        if not hmac.compare_digest(_signature(self._name_key, _bound(content, owner)), signature):
            raise NotFound("an upload of somebody else, or forged")
        if name.expires <= self._now():
            raise NotFound("the upload has expired")
        return name

    def put_query(self, ticket: PutTicket) -> str:
        """The query of the address that the file may be put to."""
        return urlencode(
            {"n": ticket.size, "h": ticket.sha256, "e": ticket.expires, "s": _text(self._sign_put(ticket))}
        )

    def check_put(self, id: str, query: Mapping[str, str]) -> PutTicket:
        """What may be put there.

        Raises:
            NotFound: not an address of ours, or no longer; nobody is told which.
        """
        size, expires = query.get("n", ""), query.get("e", "")
        if not (_EXPIRES.fullmatch(size) and _EXPIRES.fullmatch(expires)):
            raise NotFound("the address is not signed")
        ticket = PutTicket(id, int(size), query.get("h", ""), int(expires))
        if not _same(_text(self._sign_put(ticket)), query.get("s", "")):
            raise NotFound("wrong signature")
        if ticket.expires <= self._now():
            raise NotFound("the address has expired")
        return ticket

    def _sign_put(self, ticket: PutTicket) -> bytes:
        return _signature(self._put_key, "\n".join(map(str, ticket)).encode("utf-8", "surrogatepass"))


def _bound(content: bytes, owner: Owner) -> bytes:
    # Lengths in front: ("a", "bc") and ("ab", "c") are two people.
    return content + b"".join(
        struct.pack(">I", len(raw)) + raw for raw in (part.encode("utf-8", "surrogatepass") for part in owner)
    )


def _pack(name: UploadName) -> bytes:
    format = _FORMATS.index(name.format)
    return _UPLOAD.pack(_VERSION, format, _data(name.id), name.size, name.sha256, name.source, name.expires)


def _unpack(content: bytes) -> UploadName:
    version, format, id, size, sha256, source, expires = _UPLOAD.unpack(content)
    if version != _VERSION or format >= len(_FORMATS):
        raise ValueError("unknown version or format")
    return UploadName(_text(id), size, _FORMATS[format], sha256, source, expires)


def _no_name(detail: str) -> BadEnvelope:
    return BadEnvelope(
        detail,
        public="The field 'upload' does not name an upload.",
        public_zh="字段“upload”不是有效的上传名称。",
    )
