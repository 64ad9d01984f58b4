"""The protocol as JSON Schema (2020-12), from the structs that decode and encode it."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    MessageEvent,
    ProgressEvent,
    RateEvent,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
    TypingEvent,
)
from csgate.protocol.client import MAX_UPLOAD_CHARS, Cancel, Handoff, Hello, Id, Ping, Rate, Refresh, Typing
from csgate.protocol.server import Draining, History, Pong, TokenExpiring, Welcome

PROTOCOL_VERSION: Final = 1
"""Raised when something that was promised changes: see contracts/README.md. Another subprotocol goes with it."""

_BASE64: Final = "The picture in Base64 (RFC 4648), or as a data: URL."
_UPLOAD: Final = "Instead of `image`, never beside it: the name that an upload was given."
_Upload = Annotated[str, Meta(min_length=1, max_length=MAX_UPLOAD_CHARS, description=_UPLOAD)]


class ClientMessage(msgspec.Struct, frozen=True, tag="message"):
    """``csgate.v1``: ``text``, a picture (``image`` or ``upload``), or both.

    Stands for the decoder's fields, whose ``Raw`` has no schema.
    """

    id: Id
    text: str | None = None
    image: Annotated[str, Meta(description=_BASE64)] | None = None
    upload: _Upload | None = None


class SimpleMessage(msgspec.Struct, frozen=True, tag="message"):
    """Simple mode: ``text``, a picture (``image`` or ``upload``), or both."""

    text: str | None = None
    image: Annotated[str, Meta(description=_BASE64)] | None = None
    upload: _Upload | None = None


CLIENT: Final = (Hello, ClientMessage, SimpleMessage, Cancel, Typing, Rate, Handoff, Refresh, Ping)
SERVER: Final = (
    Welcome,
    History,
    MessageEvent,
    AckEvent,
    ProgressEvent,
    DeltaEvent,
    SnapshotEvent,
    ReplyEvent,
    RateEvent,
    StateEvent,
    TypingEvent,
    TokenExpiring,
    Pong,
    ErrorEvent,
    Draining,
)


def schemas() -> dict[str, Any]:
    """One JSON Schema document: ``client`` and ``server`` list what each side may send, ``$defs`` says how."""
    references, definitions = msgspec.json.schema_components((*CLIENT, *SERVER), ref_template="#/$defs/{name}")
    for kind in (ClientMessage, SimpleMessage):
        # An object without a type is a message; and something has to be said. That it takes one picture at the most is
        # only described: generators of types cannot read a "not".
        definition = definitions[kind.__name__]
        definition["required"] = [name for name in definition["required"] if name != "type"]
        definition["anyOf"] = [{"required": ["text"]}, {"required": ["image"]}, {"required": ["upload"]}]
    clients = len(CLIENT)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"csgate chat protocol, version {PROTOCOL_VERSION}",
        "client": {"anyOf": list(references[:clients])},
        "server": {"anyOf": list(references[clients:])},
        "$defs": definitions,
    }


def documents() -> dict[str, Any]:
    """One JSON Schema document an envelope, each complete in itself, by file name.

    ``client.<type>.schema.json`` is what a client may send, ``server.<type>.schema.json`` what it may get;
    ``client.simple-message`` is the message of simple mode.
    """
    definitions = schemas()["$defs"]
    found: dict[str, Any] = {}
    for side, kinds in (("client", CLIENT), ("server", SERVER)):
        for kind in kinds:
            name = "simple-message" if kind is SimpleMessage else str(kind.__struct_config__.tag)
            inner = _reached(definitions[kind.__name__], definitions)
            found[f"{side}.{name}.schema.json"] = {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$comment": f"csgate chat protocol, version {PROTOCOL_VERSION}",
                **definitions[kind.__name__],
                "title": f"{side}: {name}",
                **({"$defs": {inner_name: definitions[inner_name] for inner_name in sorted(inner)}} if inner else {}),
            }
    return found


def _reached(part: Any, definitions: dict[str, Any]) -> set[str]:
    """The names of the definitions that ``part`` refers to, directly or through others."""
    if isinstance(part, list):
        return set().union(*(_reached(one, definitions) for one in part))
    if not isinstance(part, dict):
        return set()
    names = set().union(*(_reached(one, definitions) for one in part.values()))
    if isinstance(part.get("$ref"), str):
        name = part["$ref"].removeprefix("#/$defs/")
        names |= {name} | _reached(definitions[name], definitions)
    return names
