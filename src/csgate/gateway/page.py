"""The first page as it is served: one HTML file whose inline script and style the policy names by their hashes."""

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_INLINE: Final = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """``body`` is the file; ``script_hashes`` and ``style_hashes`` are CSP sources of its inline blocks."""

    body: bytes
    etag: str
    script_hashes: tuple[str, ...]
    style_hashes: tuple[str, ...]

    def policy(self, host: str) -> str:
        """The Content-Security-Policy (CSP level 3) for a page asked for under the Host header ``host``.

        ``'self'`` covers WebSockets of the same origin in current browsers only, so the host is named as well, if it
        has the form of one.
        """
        sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
        return (
            f"default-src 'none'; script-src {' '.join(self.script_hashes)}; style-src {' '.join(self.style_hashes)}; "
            f"connect-src 'self'{sockets}; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )


def load_page() -> Page:
    """Reads the page that is packaged with csgate."""
    return make_page(files("csgate.web").joinpath("index.html").read_bytes())


def make_page(body: bytes) -> Page:
    """Hashes the inline blocks of ``body``; CSP hashes cover every byte between the tags."""
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for kind, content in _INLINE.findall(body):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    return Page(
        body=body,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        script_hashes=tuple(hashes[b"script"]) or ("'none'",),
        style_hashes=tuple(hashes[b"style"]) or ("'none'",),
    )
