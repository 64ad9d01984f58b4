"""Between an upgrade request and a chat connection: origin, mode, and the answer to the handshake."""

from typing import Final

from csgate.auth import choose_mode
from csgate.errors import CloseCode, CsgateError
from csgate.gateway.chat import Chat, ChatServices, origin_allowed
from csgate.gateway.chat_simple import ChatSimple
from csgate.gateway.chat_v1 import ChatV1
from csgate.gateway.listener import Upgrade
from csgate.gateway.websocket import WebSocket, serve_websocket
from csgate.wire.closing import ABNORMAL, NO_STATUS
from csgate.wire.handshake import HandshakeRefused

_CODES: Final = frozenset((*CloseCode, NO_STATUS, ABNORMAL))
"""Those that are counted by themselves; a peer may send any of some thousand others."""


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
        """Serves one connection to its end.

        Raises:
            HandshakeRefused: the node drains, or none of the subprotocols is ours; nothing was sent.
        """
        services = self._services
        handshake = upgrade.handshake
        if self._closing:
            raise HandshakeRefused(503, "This node is going away.")
        try:
            selected, mode = choose_mode(handshake.subprotocols)
        except CsgateError as error:
            raise HandshakeRefused(error.http_status, error.text()) from None
        kind: type[Chat] = ChatV1 if mode == "v1" else ChatSimple
        host = next((value.decode("latin-1") for name, value in handshake.headers if name == b"host"), "")
        chat: Chat | None = None

        async def talk(ws: WebSocket) -> None:
            nonlocal chat
            if not origin_allowed(handshake.origin, host, services.config.server.origins):
                services.telemetry.metrics.refused.labels("origin").inc()
                ws.close(CloseCode.ORIGIN_REFUSED, "origin not allowed")
            elif self._closing:  # since it was let in
                ws.close(CloseCode.DRAINING, "draining")
            else:
                chat = kind(ws, upgrade, services)
                services.live.add(chat)
                await chat.run()

        try:
            info = await serve_websocket(
                upgrade.stream,
                handshake,
                talk,
                subprotocol=selected,
                settings=services.settings,
                budget=services.budget,
                initial=upgrade.initial,
            )
        finally:
            # Not before: the drain waits for what is still to be sent.
            if chat is not None:
                services.live.discard(chat)
        services.telemetry.metrics.closes.labels(str(info.code) if info.code in _CODES else "other").inc()
