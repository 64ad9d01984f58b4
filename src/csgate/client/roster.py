"""The addresses of the gateway: those that were given, and those that a welcome has named. No I/O."""

from collections.abc import Sequence
from typing import Final

from csgate.client.address import ChatAddress, parse_address
from csgate.errors import ConfigError

MAX_LEARNED: Final = 32


class Roster:
    """In order of preference. One of them is current; after a failure it is the next one, in a circle."""

    __slots__ = ("_addresses", "_at", "_failed", "_given")

    def __init__(self, addresses: Sequence[ChatAddress]) -> None:
        self._addresses = list(dict.fromkeys(addresses))
        if not self._addresses:
            raise ConfigError("At least one address of a gateway is needed, such as ws://127.0.0.1:8080/ws.")
        self._given = len(self._addresses)
        self._at = 0
        self._failed: set[ChatAddress] = set()

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def home(self) -> ChatAddress:
        """The first: where a client wants to be."""
        return self._addresses[0]

    @property
    def current(self) -> ChatAddress:
        return self._addresses[self._at]

    def arrived(self, address: ChatAddress) -> None:
        """There is a connection to ``address``: it is the current one, and a new round begins."""
        self._at = self._addresses.index(address)
        self._failed.clear()

    def failed(self, address: ChatAddress) -> bool:
        """Goes on to the next one. Returns whether all have failed by now, which begins a new round."""
        self._at = (self._addresses.index(address) + 1) % len(self._addresses)
        self._failed.add(address)
        exhausted = len(self._failed) >= len(self._addresses)
        if exhausted:
            self._failed.clear()
        return exhausted

    def other(self, used: ChatAddress, turn: int) -> ChatAddress:
        """One for a second connection: not ``used`` where there is another; with ``turn`` 0, 1, 2 … each in turn."""
        others = [address for address in self._addresses if address != used] or [used]
        return others[turn % len(others)]

    def learn(self, nodes: Sequence[str]) -> None:
        """Adds what a welcome names, in place of what earlier ones named.

        A token must not leave the protection that it was given under: nodes without TLS are passed over where the first
        address has it. So is what is no address.
        """
        current = self.current
        secure = self.home.websocket.startswith("wss:")
        learned: list[ChatAddress] = []
        for node in nodes[:MAX_LEARNED]:
            try:
                address = parse_address(node)
            except ConfigError:
                continue
            if not secure or address.websocket.startswith("wss:"):
                learned.append(address)
        given = self._addresses[: self._given]
        # The current one stays even if it is not named: it is in use.
        self._addresses = list(dict.fromkeys([*given, *learned, current]))
        self._failed &= set(self._addresses)
        self._at = self._addresses.index(current)
