"""The chat protocol, version 1: JSON text frames and binary frames to and from typed structs. Sans-IO."""

from csgate.protocol.client import (
    MAX_ID_CHARS,
    Cancel,
    ClientEnvelope,
    Handoff,
    Hello,
    Message,
    Ping,
    Rate,
    Refresh,
    Typing,
)
from csgate.protocol.decode import decode_binary, decode_text, nested_deeper, readable_id
from csgate.protocol.encode import SimpleFormat, encode, encode_simple, error_event
from csgate.protocol.schema import PROTOCOL_VERSION, documents, schemas
from csgate.protocol.server import (
    Draining,
    History,
    Pong,
    ServerEnvelope,
    TokenExpiring,
    Welcome,
)

__all__ = [
    "MAX_ID_CHARS",
    "PROTOCOL_VERSION",
    "Cancel",
    "ClientEnvelope",
    "Draining",
    "Handoff",
    "Hello",
    "History",
    "Message",
    "Ping",
    "Pong",
    "Rate",
    "Refresh",
    "ServerEnvelope",
    "SimpleFormat",
    "TokenExpiring",
    "Typing",
    "Welcome",
    "decode_binary",
    "decode_text",
    "documents",
    "encode",
    "encode_simple",
    "error_event",
    "nested_deeper",
    "readable_id",
    "schemas",
]
