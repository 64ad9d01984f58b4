"""Where a handshake carries its credentials, and which mode of the protocol it asks for. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from csgate.errors import BadEnvelope, Unauthorized

V1: Final = "csgate.v1"
SIMPLE: Final = "csgate.simple"
BEARER_PREFIX: Final = "csgate.bearer."

Mode = Literal["v1", "simple"]


class Credentials(msgspec.Struct, frozen=True):
    """A token or a ticket as it came, not checked. Its ``repr`` keeps the value to itself."""

    kind: Literal["token", "ticket"]
    value: str

    @property
    def token(self) -> str | None:
        """The token; None where this is a ticket."""
        return self.value if self.kind == "token" else None

    def __repr__(self) -> str:
        return f"Credentials(kind={self.kind!r})"


def bearer_from(
    headers: Iterable[tuple[bytes, bytes]],
    subprotocols: Sequence[str] = (),
    query: Mapping[str, str] | None = None,
    query_token: bool = False,
) -> Credentials | None:
    """The first of: ``Authorization: Bearer``, subprotocol ``csgate.bearer.<token>``, ``?ticket=``, ``?token=``.

    ``?token=`` counts only with ``query_token``. (``hello.token`` comes later, in a frame.) An ``Authorization`` of
    another scheme, meant for a proxy on the way perhaps, is passed over.

    Raises:
        Unauthorized: more than one ``Authorization: Bearer``, or one without a token.
    """
    found: str | None = None
    for name, value in headers:
        if name.lower() != b"authorization":
            continue
        scheme, _, rest = value.decode("latin-1").strip().partition(" ")
        if scheme.lower() != "bearer":
            continue
        if found is not None:
            raise Unauthorized("more than one Authorization: Bearer")
        found = rest.strip()
        if not found:
            raise Unauthorized("Authorization: Bearer without a token")
    if found is not None:
        return Credentials("token", found)
    for offered in subprotocols:
        if offered.startswith(BEARER_PREFIX):
            return Credentials("token", offered[len(BEARER_PREFIX) :])
    asked = query or {}
    if asked.get("ticket"):
        return Credentials("ticket", asked["ticket"])
    if query_token and asked.get("token"):
        return Credentials("token", asked["token"])
    return None


def choose_mode(subprotocols: Sequence[str]) -> tuple[str | None, Mode]:
    """The subprotocol to select (RFC 6455 section 4.2.2) and the mode that follows.

    ``csgate.v1`` wins wherever it is offered. No offer, or nothing but a bearer entry, which is never selected, means
    simple mode and no selection.

    Raises:
        BadEnvelope: there are offers and none is known. A browser would give up on a handshake without a selection
            anyway; a status of 400 says why.
    """
    if V1 in subprotocols:
        return V1, "v1"
    if SIMPLE in subprotocols:
        return SIMPLE, "simple"
    if any(not offered.startswith(BEARER_PREFIX) for offered in subprotocols):
        raise BadEnvelope(
            "none of the offered subprotocols is known",
            public=f"None of the offered subprotocols is known; offer {V1} or {SIMPLE}.",
            public_zh=f"不支持所提供的子协议，请使用 {V1} 或 {SIMPLE}。",
        )
    return None, "simple"
