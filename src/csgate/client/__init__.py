"""The Python client of the chat protocol: reconnects, resumes, resends what was not acknowledged."""

from csgate.client.address import ChatAddress, parse_address
from csgate.client.chat import Chat, ChatEvent, Connected, Disconnected, open_chat
from csgate.client.refusals import ChatRefused, ChatUnreachable

__all__ = [
    "Chat",
    "ChatAddress",
    "ChatEvent",
    "ChatRefused",
    "ChatUnreachable",
    "Connected",
    "Disconnected",
    "open_chat",
    "parse_address",
]
