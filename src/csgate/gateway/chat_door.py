"""Between an upgrade request and a chat connection: origin, mode, and the answer to the handshake."""

import trio

from csgate.auth import choose_mode
from csgate.errors import CloseCode, CsgateError
from csgate.gateway.chat import Chat, ChatServices, origin_allowed
from csgate.gateway.chat_simple import ChatSimple
from csgate.gateway.chat_v1 import ChatV1
from csgate.gateway.listener import Upgrade
from csgate.gateway.websocket import WebSocket, serve_websocket
from csgate.wire.handshake import refuse_response


class ChatDoor:
    """The WebSocket handler of ``/ws``."""

    __slots__ = ("_closing", "_services")

    def __init__(self, services: ChatServices) -> None:
        self._services = services
        self._closing = False

    def close(self) -> None:
        """Lets nobody else in."""
        self._closing = True

    async def __call__(self, upgrade: Upgrade) -> None:
        """Serves one connection to its end."""
        services = self._services
        handshake = upgrade.handshake
        if self._closing:
            await self._refuse(upgrade, 503, "This node is going away.")
            return
        try:
            selected, mode = choose_mode(handshake.subprotocols)
        except CsgateError as error:
            await self._refuse(upgrade, error.http_status, error.text())
            return
        kind: type[Chat] = ChatV1 if mode == "v1" else ChatSimple
        host = next((value.decode("latin-1") for name, value in handshake.headers if name == b"host"), None)

        async def talk(ws: WebSocket) -> None:
            if origin_allowed(handshake.origin, host, services.config.server.origins):
                await kind(ws, upgrade, services).run()
            else:
                services.telemetry.metrics.refused.labels("origin").inc()
                ws.close(CloseCode.ORIGIN_REFUSED, "origin not allowed")

        info = await serve_websocket(
            upgrade.stream,
            handshake,
            talk,
            subprotocol=selected,
            settings=services.settings,
            budget=services.budget,
            initial=upgrade.initial,
            metrics=services.telemetry.metrics,
        )
        services.telemetry.metrics.closes.labels(str(info.code)).inc()

    async def _refuse(self, upgrade: Upgrade, status: int, reason: str) -> None:
        self._services.telemetry.metrics.refused.labels("handshake").inc()
        with trio.move_on_after(self._services.config.limits.close_seconds):
            await upgrade.stream.send_all(refuse_response(status, reason))
