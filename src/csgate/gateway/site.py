"""The page at ``/`` and the scripts for other people's pages, as they were built into ``csgate/web/dist``.

Everything is read and compressed once, at start. What is not in the table that comes of it is not served, whatever its
name: no request ever reaches the file system.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webp": "image/webp",
    "woff2": "font/woff2",
}
_PACKED_ALREADY: Final = {"png", "webp", "woff2"}
_INDEX: Final = "index.html"
_ASSETS: Final = "assets/"

ABSENT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>csgate</title>
<h1>csgate is running, without its page</h1>
<p>It was installed without the page that belongs here. Everything else works: the chat at <code>/ws</code>, the API
below <code>/v1</code>, and <code>csgate chat</code> in a terminal.</p>
<p>To get the page, install csgate from a release, or in a checkout with <code>make serve</code> or
<code>pip install .</code>, which build it with Node.js and npm. <code>CSGATE_PAGE=require pip install .</code> says
what is in the way of that.</p>
<p lang="zh">csgate 正在运行，但安装时没有构建此页面，其他功能均可使用。如需此页面，请安装正式发布的版本，
或在源码目录中执行 <code>make serve</code> 或 <code>pip install .</code>（需要 Node.js 与 npm）。
执行 <code>CSGATE_PAGE=require pip install .</code> 可查看未能构建的原因。</p>
""".encode()
"""What ``/`` says where the page was not built."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served. ``packed``: compressed with gzip, where that makes it smaller."""

    media_type: str
    body: bytes
    packed: bytes | None
    etag: str

    def variant(self, accept_encoding: str) -> tuple[bytes, str, bool]:
        """Body, entity tag and whether it is packed, for the header ``Accept-Encoding`` (RFC 9110 section 12.5.3)."""
        if self.packed is None or not takes_gzip(accept_encoding):
            return self.body, f'"{self.etag}"', False
        return self.packed, f'"{self.etag}-gz"', True


@dataclass(frozen=True, slots=True)
class Site:
    """``page`` is None where it was not built. ``scripts`` and ``assets`` are named without their folder."""

    page: File | None = None
    scripts: Mapping[str, File] = field(default_factory=dict)
    assets: Mapping[str, File] = field(default_factory=dict)


@cache
def shipped_site() -> Site:
    """What was built into this package."""
    return load_site(files("csgate.web").joinpath("dist"))


def load_site(dist: Traversable) -> Site:
    """Reads what was built into the folder ``dist``."""
    if not dist.joinpath(_INDEX).is_file():
        return Site()
    found = {name: make_file(name, content.read_bytes()) for name, content in _walk(dist)}
    return Site(
        page=found[_INDEX],
        scripts={name: file for name, file in found.items() if "/" not in name and name.endswith((".js", ".mjs"))},
        assets={name.removeprefix(_ASSETS): file for name, file in found.items() if name.startswith(_ASSETS)},
    )


def make_file(name: str, body: bytes) -> File:
    """A file of a type that is served, with its compressed variant."""
    kind = _kind(name)
    packed = None if kind in _PACKED_ALREADY else gzip.compress(body, 9, mtime=0)
    return File(
        media_type=_MEDIA_TYPES[kind],
        body=body,
        packed=packed if packed is not None and len(packed) < len(body) else None,
        etag=hashlib.sha256(body).hexdigest()[:32],
    )


def takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable by ``Accept-Encoding``; a weight of 0 refuses."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(",")[:32]:
        coding, _, parameter = item.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weights[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def origin_of(url: str) -> str | None:
    """``scheme://host[:port]`` of an http(s) URL, fit to be written into a policy; None of anything else."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return None
    return f"{parts.scheme}://{host}".lower()


def embedders(origins: Sequence[str]) -> tuple[str, ...]:
    """CSP sources of the sites that may show the page in a frame: those whose scripts may connect, and itself."""
    if "*" in origins:
        return ("*",)
    named = tuple(dict.fromkeys(origin for one in origins if (origin := origin_of(one)) is not None))
    return ("'self'", *named) if named else ()


def node_origins(addresses: Sequence[str]) -> tuple[str, ...]:
    """Origins, of WebSockets and of pages, at the ``ws://`` or ``wss://`` addresses that clients may fail over to."""
    pages = (origin_of("http" + address[2:]) for address in addresses if address.startswith(("ws://", "wss://")))
    return tuple(
        origin for page in dict.fromkeys(filter(None, pages)) for origin in (page.replace("http", "ws", 1), page)
    )


def policy(host: str, *, media: Sequence[str] = (), nodes: Sequence[str] = (), frames: Sequence[str] = ()) -> str:
    """The Content-Security-Policy (CSP level 3) of the page: no inline script or style, nothing from elsewhere.

    Args:
        host: the Host header. ``'self'`` covers WebSockets of the same origin in current browsers only, so the host is
            named as well, if it has the form of one.
        media: origins that pictures are read from and sent to, besides this server.
        nodes: see :func:`node_origins`; pictures come from them as well.
        frames: see :func:`embedders`.
    """
    sockets = (f"ws://{host}", f"wss://{host}") if _HOST.fullmatch(host) else ()
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "worker-src 'self'",
            " ".join(("connect-src 'self'", *sockets, *nodes, *media)),
            " ".join(("img-src 'self' data: blob:", *(one for one in nodes if one.startswith("http")), *media)),
            "base-uri 'none'",
            "form-action 'none'",
            " ".join(("frame-ancestors", *(frames or ("'none'",)))),
        )
    )


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _walk(one, f"{prefix}{one.name}/")
        elif _kind(one.name) in _MEDIA_TYPES:
            yield prefix + one.name, one


def _kind(name: str) -> str:
    return name.rpartition(".")[2].lower()
