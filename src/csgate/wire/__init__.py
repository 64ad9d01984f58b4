"""The WebSocket server protocol (RFC 6455), sans-IO: bytes in, messages and bytes out. No trio, socket or clock."""

from csgate.wire.budget import ReceiveBudget
from csgate.wire.closing import CloseInfo
from csgate.wire.connection import Connection, State
from csgate.wire.decoder import Decoder
from csgate.wire.handshake import Handshake, HandshakeRefused, accept_response, read_handshake
from csgate.wire.message import BinaryMessage, CloseFrame, PingFrame, PongFrame, TextMessage, TooLargeMessage, WireEvent
from csgate.wire.violation import (
    BudgetExceeded,
    FrameTooLarge,
    InvalidPayload,
    ProtocolViolation,
    WireViolation,
)

__all__ = [
    "BinaryMessage",
    "BudgetExceeded",
    "CloseFrame",
    "CloseInfo",
    "Connection",
    "Decoder",
    "FrameTooLarge",
    "Handshake",
    "HandshakeRefused",
    "InvalidPayload",
    "PingFrame",
    "PongFrame",
    "ProtocolViolation",
    "ReceiveBudget",
    "State",
    "TextMessage",
    "TooLargeMessage",
    "WireEvent",
    "WireViolation",
    "accept_response",
    "read_handshake",
]
