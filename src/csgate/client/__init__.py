"""The Python client of the chat protocol: reconnects, fails over, resumes, resends what was not acknowledged."""

from csgate.client.address import ChatAddress, parse_address
from csgate.client.client import Client
from csgate.client.connect import connect
from csgate.client.guest import guest
from csgate.client.notices import ClientEvent, Connected, Disconnected, NotRecovered
from csgate.client.outbox import Sent
from csgate.client.pace import Pace
from csgate.client.refusals import ChatRefused, ChatUnreachable
from csgate.client.timeline import Place
from csgate.client.tokens import TokenSource

__all__ = [
    "ChatAddress",
    "ChatRefused",
    "ChatUnreachable",
    "Client",
    "ClientEvent",
    "Connected",
    "Disconnected",
    "NotRecovered",
    "Pace",
    "Place",
    "Sent",
    "TokenSource",
    "connect",
    "guest",
    "parse_address",
]
