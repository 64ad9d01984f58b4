"""The gateway's own listener, connection and codec, without dialog: for outside suites, load tools and ``bench_wire``.

``/echo`` sends every message back as it came, text or binary, up to 16 MB.  ``/chat`` parses the chat message (JSON
``{text, image}``), decodes the picture from Base64 and answers ``{"reply": <text>, "n": <bytes of the picture>}``.
"""

import argparse
import contextlib
import resource
import signal

import msgspec
import trio

from csgate import _fast
from csgate.config import MIB, LimitSettings
from csgate.errors import CloseCode, CsgateError
from csgate.gateway.listener import Listener, Upgrade
from csgate.gateway.websocket import (
    ReceiveBudget,
    TextMessage,
    TooLargeMessage,
    WebSocket,
    WebSocketSettings,
    serve_websocket,
)
from csgate.protocol import Message, decode_text
from csgate.telemetry import Telemetry, open_logger

LIMITS = LimitSettings(
    max_message_bytes=16 * MIB,
    max_frame_bytes=64 * MIB,
    receive_budget_bytes=1024 * MIB,
    outbound_queue_bytes=64 * MIB,
    connections=100_000,
    connections_per_address=100_000,
    send_seconds=120.0,
)


class ChatReply(msgspec.Struct):
    reply: str
    n: int


_encode = msgspec.json.Encoder().encode


async def echo(ws: WebSocket) -> None:
    """Back-pressure instead of a bound: nothing more is read while the peer takes nothing."""
    while True:
        message = await ws.receive()
        if isinstance(message, TooLargeMessage):
            ws.close(CloseCode.TOO_BIG, "message too big")
        elif isinstance(message, TextMessage):
            ws.send_text(message.data)
        else:
            ws.send_binary(message.data)
        if ws.backlog:
            await ws.drain()


def answer_chat(data: bytearray | memoryview) -> bytes:
    """The reply to one chat message, decoded as the gateway decodes it.

    Raises:
        CsgateError, Base64Error: it is not one.
    """
    message = decode_text(data, simple=True, max_depth=LIMITS.max_json_depth, max_text_chars=LIMITS.max_text_chars)
    assert isinstance(message, Message)
    size = len(_fast.base64_bytes(message.picture.data)) if message.picture is not None else 0
    return _encode(ChatReply(message.text or "", size))


async def chat(ws: WebSocket) -> None:
    """Answers each chat message; one that cannot be read gets ``{"error": ...}``."""
    while True:
        message = await ws.receive()
        if isinstance(message, TooLargeMessage):
            ws.send_text(b'{"error":"too_large"}')
            continue
        try:
            ws.send_text(answer_chat(message.data))
        except (CsgateError, _fast.Base64Error):
            ws.send_text(b'{"error":"bad_message"}')
        if ws.backlog:
            await ws.drain()


async def serve(host: str, port: int) -> None:
    """Listens until SIGINT or SIGTERM."""
    settings = WebSocketSettings.from_limits(LIMITS)
    budget = ReceiveBudget(LIMITS.receive_budget_bytes)

    def on(app):
        async def handler(upgrade: Upgrade) -> None:
            await serve_websocket(
                upgrade.stream, upgrade.handshake, app, settings=settings, budget=budget, initial=upgrade.initial
            )

        return handler

    listener = Listener(
        {"/echo": on(echo), "/chat": on(chat), "/": on(echo)}, None, LIMITS, Telemetry(log=open_logger("warning"))
    )
    async with trio.open_nursery() as nursery:

        async def accept(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            await listener.serve(host, port, backlog=4096, handler_nursery=nursery, task_status=task_status)

        address = await nursery.start(accept)
        print(f"listening on {address[0]}:{address[1]}", flush=True)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(serve, arguments.host, arguments.port)


if __name__ == "__main__":
    main()
