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
from csgate.protocol.client import Cancel, Handoff, Hello, Id, Ping, Rate, Refresh, Typing
from csgate.protocol.server import Draining, History, Pong, TokenExpiring, Welcome

_BASE64: Final = "The picture in Base64 (RFC 4648), or as a data: URL."


class ClientMessage(msgspec.Struct, frozen=True, tag="message"):
    """``csgate.v1``: ``text``, ``image`` or both. Stands for the decoder's fields, whose ``Raw`` has no schema."""

    id: Id
    text: str | None = None
    image: Annotated[str, Meta(description=_BASE64)] | None = None


class SimpleMessage(msgspec.Struct, frozen=True, tag="message"):
    """Simple mode: ``text``, ``image`` or both."""

    text: str | None = None
    image: Annotated[str, Meta(description=_BASE64)] | None = None


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
        # An object without a type is a message; and one of the two fields has to be there.
        definition = definitions[kind.__name__]
        definition["required"] = [name for name in definition["required"] if name != "type"]
        definition["anyOf"] = [{"required": ["text"]}, {"required": ["image"]}]
    clients = len(CLIENT)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "csgate chat protocol, version 1",
        "client": {"anyOf": list(references[:clients])},
        "server": {"anyOf": list(references[clients:])},
        "$defs": definitions,
    }
