"""The node: everything one process owns, opened and closed in order.

``async with open_node(...)`` opens the engine, the conversations and the listeners; leaving the block drains: the
readiness probe fails, clients are told to move, what was acknowledged is answered, connections are closed with 4001.
"""

import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from csgate.auth import Authenticator, open_authenticator
from csgate.config import Config
from csgate.dialog import Dialog, Writer, load_pack
from csgate.errors import CloseCode, ConfigError
from csgate.gateway.address import Network, parse_networks
from csgate.gateway.admission import Buckets, Places
from csgate.gateway.album import open_album, places_of
from csgate.gateway.binding import Bound, bind
from csgate.gateway.chat import BAD_MESSAGES_BURST, BAD_MESSAGES_PER_S, ChatServices
from csgate.gateway.chat_door import ChatDoor
from csgate.gateway.completions import Completions, Room
from csgate.gateway.door import Door, Readiness
from csgate.gateway.expiry import ExpiryWatch
from csgate.gateway.http import build_app, build_operator_app
from csgate.gateway.http_stream import HttpSide, server_tls_context
from csgate.gateway.listener import Listener
from csgate.gateway.neighbours import Join, Neighbours, advertised, open_neighbours
from csgate.gateway.process import calm_collector, share_interpreter
from csgate.gateway.uploads import Uploads
from csgate.gateway.websocket import ReceiveBudget, WebSocketSettings
from csgate.inference import Engine, EngineInfo, open_engine
from csgate.inference.generation.opening import Generators, open_generators
from csgate.media import Media
from csgate.session import Conversations, open_conversations
from csgate.telemetry import Telemetry

RECONNECT_AFTER_MS: Final = 1_000


@dataclass(slots=True)
class _Phase:
    """Where in its life the node is; the readiness probe reads it."""

    draining: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node that serves. Addresses are (host, port) as bound."""

    address: tuple[str, int]
    operator_address: tuple[str, int] | None
    engine: Engine
    conversations: Conversations
    auth: Authenticator
    readiness: Callable[[], Readiness]


@asynccontextmanager
async def open_node(
    config: Config, telemetry: Telemetry, *, now: Callable[[], float] = time.time, join: Join | None = None
) -> AsyncIterator[Node]:
    """Opens a node and yields it when it is ready for traffic; drains it on the way out.

    Args:
        join: how to share conversations with other nodes; needed where ``session.store`` is "redis".

    Raises:
        ConfigError: a setting, model or dialog pack cannot be used, or an address cannot be bound. What happens once
            the addresses are bound may come out of nurseries, thus in an exception group.
    """
    pack = load_pack(config.dialog.pack)
    trusted = parse_networks(config.server.trusted_proxies)
    tls = None
    if config.server.tls_certificate is not None:
        try:
            key = config.server.tls_key
            tls = server_tls_context(str(config.server.tls_certificate), str(key) if key else None)
        except OSError as error:
            raise ConfigError(f"server.tls_certificate or tls_key cannot be used: {error}.") from error
    async with (
        bind(config.server) as (public, operator),
        open_authenticator(config.auth, config.server.data_dir, telemetry=telemetry) as auth,
        open_neighbours(config, telemetry, join) as neighbours,
        open_engine(config.inference, telemetry) as engine,
        open_generators(config.generation, config.inference, telemetry) as generators,
        open_album(config, telemetry, neighbours.store, now) as media,
    ):
        writer = Writer(generators.chain, pack, config.generation, telemetry) if generators.chain else None
        kept = media if config.media.keep else None
        dialog = Dialog(pack, engine, config.dialog, telemetry, writer, kept.show if kept is not None else None)
        await dialog.prepare()
        async with open_conversations(
            neighbours.store, dialog.answer, config.session, telemetry, keep=kept.keep if kept is not None else None
        ) as conversations:
            async with _listen(
                config,
                telemetry,
                auth,
                engine,
                dialog,
                generators,
                media,
                conversations,
                neighbours,
                trusted,
                tls,
                now,
                public,
                operator,
            ) as node:
                yield node


@asynccontextmanager
async def _listen(
    config: Config,
    telemetry: Telemetry,
    auth: Authenticator,
    engine: Engine,
    dialog: Dialog,
    generators: Generators,
    media: Media | None,
    conversations: Conversations,
    neighbours: Neighbours,
    trusted: Sequence[Network],
    tls: ssl.SSLContext | None,
    now: Callable[[], float],
    public: Bound,
    operator: Bound | None,
) -> AsyncIterator[Node]:
    limits = config.limits
    phase = _Phase()
    engine_info = describe_engine(engine.info, [one.info.name for one in generators.chain])
    clock = trio.current_time

    def readiness() -> Readiness:
        reasons = ["this node is draining"] if phase.draining else []
        if conversations.trouble is not None:
            reasons.append(conversations.trouble)
        if media is not None and media.trouble is not None:
            reasons.append(media.trouble)
        return Readiness(not reasons, tuple(reasons), engine_info)

    pictures = await places_of(config, media)
    places = Places(limits.connections, limits.connections_per_address, limits.connections_per_principal)
    expiry = ExpiryWatch(now)
    budget = ReceiveBudget(limits.receive_budget_bytes)
    telemetry.metrics.receive_bytes.set_function(lambda: budget.used)
    services = ChatServices(
        config=config,
        auth=auth,
        conversations=conversations,
        telemetry=telemetry,
        places=places,
        expiry=expiry,
        messages=Buckets(limits.messages_per_second, limits.messages_burst, clock),
        picture_bytes=Buckets(limits.picture_bytes_per_second, limits.picture_bytes_burst, clock),
        misuse=Buckets(BAD_MESSAGES_PER_S, BAD_MESSAGES_BURST, clock),
        settings=WebSocketSettings.from_limits(limits),
        budget=budget,
        engine=lambda: engine_info,
        nodes=neighbours.addresses,
        now=now,
        album=media,
        limits=pictures.limits,
    )
    completions = Completions(
        config=config,
        auth=auth,
        telemetry=telemetry,
        answer=dialog.answer,
        generator=generators.raw,
        messages=services.messages,
        picture_bytes=services.picture_bytes,
        room=Room(config.session.max_open_turns, config.session.max_open_bytes),
        draining=lambda: phase.draining,
        now=now,
        started=int(now()),
    )
    uploads = None
    if media is not None and config.media.uploads:
        uploads = Uploads(config, auth, telemetry, media, services.picture_bytes, now)
    guests = Buckets(limits.guests_per_minute / 60.0, limits.guests_per_minute, clock)
    requests = Buckets(limits.requests_per_second, limits.requests_per_second * 2, clock)
    door = Door(
        config=config,
        auth=auth,
        telemetry=telemetry,
        trusted=trusted,
        readiness=readiness,
        allow_guest=guests.allow,
        allow_request=requests.allow,
        now=now,
        completions=completions,
        nodes=neighbours.describe,
        addresses=neighbours.addresses,
        uploads=uploads,
        media=media,
        media_origins=lambda: pictures.origins,
    )
    chat = ChatDoor(services)
    listener = Listener(
        {"/ws": chat},
        HttpSide(build_app(door), limits.head_bytes),
        limits,
        telemetry,
        places=places,
        trusted=trusted,
        tls=tls,
    )
    operator_listener = Listener({}, HttpSide(build_operator_app(door), limits.head_bytes), limits, telemetry)
    async with trio.open_nursery() as nursery, trio.open_nursery() as connections:
        nursery.start_soon(expiry.run)
        nursery.start_soon(listener.accept, public.listeners, connections)
        operator_address = None
        if operator is not None:
            nursery.start_soon(operator_listener.accept, operator.listeners, connections)
            operator_address = operator.address
        telemetry.log.info(
            "listening",
            host=public.address[0],
            port=public.address[1],
            operator_host=operator_address[0] if operator_address else None,
            operator_port=operator_address[1] if operator_address else None,
            tls=tls is not None,
            engine=engine_info,
        )
        await neighbours.enter(
            advertised(config, public.address),
            lambda: {"connections": len(services.live), "turns": conversations.open_turns},
        )
        try:
            yield Node(public.address, operator_address, engine, conversations, auth, readiness)
            phase.draining = True
            await neighbours.drain()
            await _drain(services, chat, completions, config.server.drain_seconds)
        finally:
            connections.cancel_scope.cancel()
            nursery.cancel_scope.cancel()


def describe_engine(info: EngineInfo, generators: Sequence[str] = ()) -> dict[str, Any]:
    """What clients and operators are told: the provider in use, each task's model, and who generates, if anybody."""
    described: dict[str, Any] = {
        "provider": info.provider,
        "models": {task: f"{model.name} {model.version}" for task, model in info.models.items()},
    }
    if generators:
        described["generators"] = list(generators)
    return described


async def _drain(services: ChatServices, chat: ChatDoor, completions: Completions, drain_seconds: float) -> None:
    """Finishes what was begun: within ``drain_seconds`` the answers, then within a little more the close handshakes."""
    log = services.telemetry.log
    log.info("draining", connections=len(services.live), seconds=drain_seconds)
    chat.close()
    services.conversations.begin_drain()
    for connection in services.live:
        connection.announce_drain(RECONNECT_AFTER_MS)
    with trio.move_on_after(drain_seconds) as scope:
        await services.conversations.drained()
        await completions.room.empty()
    if scope.cancelled_caught:
        log.warning("drain_incomplete", seconds=drain_seconds)
    for connection in services.live:
        connection.ws.close(CloseCode.DRAINING, "draining")
    with trio.move_on_after(services.config.limits.close_seconds + 1.0):
        await services.live.empty()
    log.info("drained", connections=len(services.live))


async def run_node(
    config: Config,
    telemetry: Telemetry,
    join: Join | None = None,
    *,
    task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. A second signal ends the drain at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                stop = trio.Event()

                async def listen() -> None:
                    async for number in signals:
                        telemetry.log.info("signal", signal=signal.Signals(number).name)
                        if stop.is_set():
                            scope.cancel()
                            return
                        stop.set()

                nursery.start_soon(listen)
                async with open_node(config, telemetry, join=join) as node:
                    calm_collector()
                    share_interpreter()
                    task_status.started(node)
                    await stop.wait()
                nursery.cancel_scope.cancel()
