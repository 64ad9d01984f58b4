"""Replays a recorded exchange against the Python client: plays the server's side, and the program that uses it."""

import json
from typing import Any

import msgspec
import trio

from csgate.client import ChatRefused, Client, ClientEvent, Connected, Disconnected, NotRecovered
from tests.client.scripted import Gone, Net, Peer

from .exchange import Mismatch, Values, binary_parts

CONNECTIONS = 8


async def replay(exchange: dict[str, Any]) -> None:
    """To be run under an autojump clock.

    Raises:
        Mismatch: the client does something else than was recorded.
    """
    player = _Player(exchange)
    given = exchange["given"].get("client", {})
    net = Net(a=[player.connected] * CONNECTIONS)
    options: dict[str, Any] = {name: given[name] for name in ("locale", "standby", "agent") if name in given}
    if given.get("renews"):
        options["token"] = player.new_token
    with trio.fail_after(5_000):
        async with net.connect(**options) as client:
            await player.play(client)
            player.check_events()


class _Player:
    """Walks the steps; a connection of the client's takes the place of the next name that the steps open."""

    def __init__(self, exchange: dict[str, Any]) -> None:
        self._exchange = exchange
        self._values = Values()
        self._peers_send, self._peers = trio.open_memory_channel[Peer](CONNECTIONS)
        self._named: dict[str, Peer] = {}
        self._events: list[dict[str, Any]] = []
        self._tokens = 0

    async def new_token(self) -> str:
        self._tokens += 1
        return f"token {self._tokens}"

    async def connected(self, peer: Peer) -> None:
        """One connection of the client's; it stays until it is closed."""
        await self._peers_send.send(peer)
        await trio.sleep_forever()

    async def play(self, client: Client) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, client)
            for number, step in enumerate(self._exchange["steps"]):
                try:
                    with trio.fail_after(600):
                        await self._step(step, client)
                except (Mismatch, Gone, trio.TooSlowError) as error:
                    at = json.dumps(step, ensure_ascii=False)[:300]
                    raise Mismatch(f"step {number} {at}: {error!r}; events: {self._events}") from None
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    async def _step(self, step: dict[str, Any], client: Client) -> None:
        name = step.get("on", "a")
        match step:
            case {"do": {"send": fields}}:
                fields = {key: self._values.play(value) for key, value in fields.items() if key != "id"}
                picture = fields.get("picture")
                await client.send(fields.get("text"), None if picture is None else msgspec.convert(picture, bytes))
            case {"do": {"cancel": message_id}}:
                client.cancel(self._values.play(message_id))
            case {"do": {"rate": fields}}:
                client.rate(**self._values.play(fields))
            case {"do": {"handoff": reason}}:
                client.handoff(reason)
            case {"do": {"typing": on}}:
                client.typing(on)
            case {"wait": seconds}:
                await trio.sleep(seconds)
            case {"act": _}:
                pass  # what makes a server answer; here it is answered anyway
            case {"open": _} | {"sent": _} | {"sent_binary": _} | {"expected": _} | {"closed": _} | {"drop": _}:
                peer = await self._peer(name)
                await self._exchange_frame(step, name, peer)
            case _:
                raise ValueError(f"no client is told {step}")

    async def _peer(self, name: str) -> Peer:
        if name not in self._named:
            self._named[name] = await self._peers.receive()
        return self._named[name]

    async def _exchange_frame(self, step: dict[str, Any], name: str, peer: Peer) -> None:
        match step:
            case {"sent": {"type": "ping"} as recorded}:
                self._values.check(recorded, json.loads(await peer.raw()))
            case {"sent": recorded}:
                while (envelope := json.loads(await peer.raw()))["type"] == "ping":
                    await peer.ws.send_message(json.dumps({"type": "pong", "t": envelope["t"]}))
                self._values.check(recorded, envelope)
            case {"sent_binary": recorded}:
                self._values.check(recorded, binary_parts(await peer.raw()))
            case {"expected": recorded}:
                await peer.ws.send_message(json.dumps(self._values.play(recorded)))
                await trio.testing.wait_all_tasks_blocked()
            case {"closed": code}:
                await peer.close(code)
                del self._named[name]
                await trio.testing.wait_all_tasks_blocked()
            case {"drop": _}:
                peer.ws.end(1006, "the connection broke")
                del self._named[name]
            case _:
                pass

    async def _listen(self, client: Client) -> None:
        try:
            async for event in client:
                self._events.append(_plain(event))
        except ChatRefused as error:
            self._events.append({"type": "refused", "number": error.number})

    def check_events(self) -> None:
        """What the program was given is what was recorded."""
        recorded = self._exchange.get("events")
        if recorded is not None:
            self._values.check(recorded, self._events, "events")


def _plain(event: ClientEvent) -> dict[str, Any]:
    match event:
        case Connected():
            return {"type": "connected", "resumed": event.resumed}
        case Disconnected():
            return {"type": "disconnected"}
        case NotRecovered():
            return {"type": "not_recovered", "reason": event.reason}
        case _:
            return dict(msgspec.json.decode(msgspec.json.encode(event)))
