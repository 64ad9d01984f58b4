"""One chat connection: what both modes of the protocol share.

``chat_v1`` and ``chat_simple`` hold the modes; ``serve_chat`` chooses between them.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, assert_never
from urllib.parse import urlsplit

import structlog
import trio

from csgate.auth import Authenticator, Credentials, bearer_from
from csgate.config import Config
from csgate.errors import (
    CloseCode,
    CsgateError,
    Internal,
    Overloaded,
    PeerError,
    RateLimited,
    TooLarge,
    Unauthorized,
)
from csgate.events import ErrorEvent, Language, Picture, Principal
from csgate.gateway.admission import Buckets, Places
from csgate.gateway.expiry import ExpiryWatch
from csgate.gateway.listener import Upgrade
from csgate.gateway.pictures import Album, keep_for, picture_of
from csgate.gateway.websocket import (
    BinaryMessage,
    ReceiveBudget,
    TextMessage,
    TooLargeMessage,
    WebSocket,
    WebSocketClosed,
    WebSocketSettings,
)
from csgate.protocol import ClientEnvelope, Message, decode_binary, decode_text, error_event, readable_id
from csgate.session import Attachment, Conversations
from csgate.telemetry import Telemetry
from csgate.wire.handshake import Handshake

THREAD_DECODE_BYTES: Final = 512 * 1024
BAD_MESSAGES_PER_S: Final = 10.0
BAD_MESSAGES_BURST: Final = 1_000
RATE_LIMITED_COST: Final = 0.05
"""Of a bad message. A limit that is told is no abuse, but twenty thousand in a row, unheeded, are."""
COUNTED_BYTES: Final = 16 * 1024
RETRY_SOON_S: Final = 2.0
STRANGER_BYTES: Final = 32 * 1024
"""The largest message of somebody who has not said who he is: a hello with a token, and room to spare."""


class Live:
    """The chat connections of a node, until their close handshakes are over."""

    __slots__ = ("_chats", "_gone")

    def __init__(self) -> None:
        self._chats: set[Chat] = set()
        self._gone = trio.Event()

    def __len__(self) -> int:
        return len(self._chats)

    def __iter__(self) -> "Iterator[Chat]":
        """A snapshot: connections may end while it is walked."""
        return iter(tuple(self._chats))

    def add(self, chat: "Chat") -> None:
        self._chats.add(chat)

    def discard(self, chat: "Chat") -> None:
        self._chats.discard(chat)
        if not self._chats:
            self._gone.set()

    async def empty(self) -> None:
        """Returns when there is none."""
        while self._chats:
            self._gone = trio.Event()
            await self._gone.wait()


@dataclass(frozen=True, slots=True)
class ChatServices:
    """What a chat connection needs of its node. ``live`` holds every connection, for the drain.

    ``album`` is where pictures are kept, if they are; ``limits`` are told in ``welcome`` beside those of the protocol.
    """

    config: Config
    auth: Authenticator
    conversations: Conversations
    telemetry: Telemetry
    places: Places
    expiry: ExpiryWatch
    messages: Buckets
    picture_bytes: Buckets
    misuse: Buckets
    settings: WebSocketSettings
    budget: ReceiveBudget
    engine: Callable[[], dict[str, Any]]
    nodes: Callable[[], Sequence[str]]
    now: Callable[[], float]
    live: Live = field(default_factory=Live)
    album: Album | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class Chat(ABC):
    """The common part of a connection: authentication, decoding, limits, errors."""

    __slots__ = ("_handshake", "address", "id", "language", "principal", "s", "ws")

    simple: bool = False

    def __init__(self, ws: WebSocket, upgrade: Upgrade, services: ChatServices) -> None:
        self.ws = ws
        self.s = services
        self._handshake: Handshake | None = upgrade.handshake
        self.address = upgrade.address
        self.id = secrets.token_hex(6)
        self.language: Language = "en"
        self.principal: Principal | None = None

    async def run(self) -> None:
        """The connection's life, as the reader task of its nursery."""
        structlog.contextvars.bind_contextvars(connection=self.id)
        self.ws.max_message_bytes = min(STRANGER_BYTES, self.s.settings.max_message_bytes)
        metrics = self.s.telemetry.metrics
        metrics.connections.inc()
        metrics.connections_total.inc()
        log = self.s.telemetry.log
        try:
            log.info("connected", address=self.address, mode="simple" if self.simple else "v1")
            await self._converse()
        except WebSocketClosed:
            pass  # how every conversation ends
        except Exception as error:  # the one broad net of a connection
            if isinstance(error, CsgateError):
                self.refuse(error)
            else:
                ref = secrets.token_hex(6)
                log.error("connection_failed", ref=ref, exc_info=error)
                self.refuse(Internal(), ref=ref)
        finally:
            metrics.connections.dec()
            if self.principal is not None:
                self.s.places.release_principal(self.principal.owner)
            log.info("disconnected", code=self.ws.closed.code if self.ws.closed else None)

    @abstractmethod
    async def _converse(self) -> None:
        """Authenticates, attaches, and answers what comes until the connection ends."""

    def detached(self) -> None:
        """The session has let go of this connection; a new one may resume."""
        self.ws.close(CloseCode.RESUME_NEEDED, "resume needed")

    @abstractmethod
    def announce_drain(self, reconnect_after_ms: int) -> None:
        """The node is going away; the connection stays until its answers are out."""

    # --- authentication ----------------------------------------------------------------------------------------------

    def take_credentials(self) -> tuple[Credentials | None, Credentials | None]:
        """What the upgrade request carries: in its head, and in its address. Once only: the head is forgotten.

        Raises:
            Unauthorized: it carries what cannot be credentials.
        """
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        in_head = bearer_from(handshake.headers, handshake.subprotocols)
        in_address = bearer_from((), (), handshake.query, self.s.config.auth.query_token)
        # Emptied, as the frames that opened the connection hold the handshake until its end: about 1.7 KB.
        handshake.headers.clear()
        handshake.query.clear()
        return in_head, in_address

    async def verify(self, credentials: Credentials) -> Principal:
        """Whom ``credentials`` prove. A ticket is gone after this.

        Raises:
            Unauthorized, Expired: nobody.
            Overloaded: the keys to tell cannot be had.
        """
        if credentials.kind == "ticket":
            return self.s.auth.redeem_ticket(credentials.value, now=self.s.now())
        return await self.s.auth.verify(credentials.value, now=self.s.now())

    def admit(self, principal: Principal) -> None:
        """Counts this connection for ``principal``, and no longer for whoever it was counted for.

        Raises:
            Overloaded: it has as many connections as it may.
        """
        if self.principal is None or self.principal.owner != principal.owner:
            self.s.places.take_principal(principal.owner)
            if self.principal is not None:
                self.s.places.release_principal(self.principal.owner)
        self.principal = principal
        self.ws.max_message_bytes = self.s.settings.max_message_bytes
        structlog.contextvars.bind_contextvars(subject=principal.subject)

    def refuse(self, error: CsgateError, close_code: CloseCode | None = None, *, ref: str | None = None) -> None:
        """Tells the peer why and closes: with ``close_code``, or the one that goes with the error."""
        self.tell(error, ref=ref)
        if close_code is None:
            close_code = error.close_code or _close_code(error)
        self.ws.close(close_code)

    # --- messages ----------------------------------------------------------------------------------------------------

    async def decode(self, message: TextMessage | BinaryMessage | TooLargeMessage) -> ClientEnvelope:
        """The envelope in a WebSocket message.

        Raises:
            PeerError: there is none in it.
        """
        limits = self.s.config.limits
        metrics = self.s.telemetry.metrics
        options = {"max_depth": limits.max_json_depth, "max_text_chars": limits.max_text_chars}
        match message:
            case TooLargeMessage():
                metrics.messages.labels("too_large").inc()
                raise TooLarge(max_bytes=self.ws.max_message_bytes)
            case TextMessage():
                metrics.text_messages.inc()
                if len(message.data) <= THREAD_DECODE_BYTES:
                    return decode_text(message.data, simple=self.simple, **options)
                return await trio.to_thread.run_sync(
                    lambda: decode_text(message.data, simple=self.simple, **options), abandon_on_cancel=True
                )
            case BinaryMessage():
                metrics.binary_messages.inc()
                return decode_binary(message.data, simple=self.simple, **options)
            case _:
                assert_never(message)

    def id_in(self, message: TextMessage | BinaryMessage | TooLargeMessage) -> str | None:
        """The id that a refused message names, so that its error can name it too."""
        match message:
            case TextMessage() | BinaryMessage() if len(message.data) <= THREAD_DECODE_BYTES:
                return readable_id(message.data, binary=isinstance(message, BinaryMessage))
            case _:
                return None

    @contextmanager
    def holding(self, message: TextMessage | BinaryMessage | TooLargeMessage) -> Iterator[None]:
        """Counts a large message, which has come and is decoded, hashed and stored in here, among those that come.

        Raises:
            Overloaded: there are as many as there may be.
        """
        held = 0 if isinstance(message, TooLargeMessage) else len(message.data)
        if held < COUNTED_BYTES:
            yield
            return
        if not self.s.budget.reserve(held):
            raise Overloaded("messages being taken in", retry_after=RETRY_SOON_S)
        try:
            yield
        finally:
            self.s.budget.release(held)

    def check_rate(self, picture: Picture | None) -> None:
        """Takes one message, and the picture's bytes, from the principal's buckets.

        Raises:
            RateLimited: with the seconds to wait.
        """
        assert self.principal is not None
        owner = self.principal.owner
        wait = self.s.messages.allow(owner)
        if wait is None and picture is not None:
            wait = self.s.picture_bytes.allow(owner, len(picture.data))
        if wait is not None:
            raise RateLimited(retry_after=wait)

    async def submit(self, attachment: Attachment, id: str, message: Message, *, ack: bool = True) -> None:
        """Puts a message into the conversation.

        Raises:
            RateLimited: with the seconds to wait.
            CsgateError: as ``picture_of`` and ``Attachment.submit``.
        """
        assert self.principal is not None
        self.check_rate(message.picture)
        picture = await picture_of(message, self.principal, self.s.album)
        await keep_for(attachment.author, attachment.conversation, picture, self.s.album)
        await attachment.submit(id, message.text, picture, ack=ack)

    def tell(self, error: CsgateError, message_id: str | None = None, *, ref: str | None = None) -> None:
        """Reports ``error`` to the peer: code, safe sentence, reference to the log line.

        A peer that goes on and on sending what is refused is closed with 4503.
        """
        ref = ref or secrets.token_hex(6)
        self.s.telemetry.metrics.errors.labels(error.code).inc()
        self._log_of(error)("error_told", code=error.code, ref=ref, message=message_id, detail=error.detail)
        self.send_error(error_event(error, ref, id=message_id, language=self.language))
        if (
            isinstance(error, PeerError)
            and not isinstance(error, Unauthorized)
            and self.s.misuse.allow(self.id, RATE_LIMITED_COST if isinstance(error, RateLimited) else 1.0) is not None
        ):
            self.ws.close(CloseCode.ABUSE, "too many bad messages")

    def _log_of(self, error: CsgateError) -> Callable[..., Any]:
        log = self.s.telemetry.log
        if isinstance(error, RateLimited):
            return log.debug  # comes as fast as a peer can send, and the metrics count it
        return log.info if isinstance(error, PeerError | Overloaded) else log.warning

    @abstractmethod
    def send_error(self, event: ErrorEvent) -> None:
        """Sends it when its turn has come."""


def origin_allowed(origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Whether a browser's page may connect (RFC 6455 section 10.2).

    No ``Origin`` means no browser: authentication decides. Without a list, the page must come from the host it connects
    to.
    """
    if origin is None or "*" in allowed:
        return True
    if allowed:
        return origin.lower().rstrip("/") in {entry.lower().rstrip("/") for entry in allowed}
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # "http://[", say
        return False


def _close_code(error: CsgateError) -> CloseCode:
    if isinstance(error, Overloaded):
        return CloseCode.TRY_AGAIN_LATER
    return CloseCode.POLICY_VIOLATION if isinstance(error, PeerError) else CloseCode.INTERNAL_ERROR
