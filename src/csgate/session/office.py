"""What all conversations of a process share: store, answerer, settings, clock, and the count of open turns."""

import contextvars
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from structlog.contextvars import clear_contextvars

from csgate.config import SessionSettings
from csgate.events import Picture
from csgate.session.keeping import Keep, keep_anyway
from csgate.session.shared import SharedStore
from csgate.session.store import PromptStore, Store
from csgate.session.turn import Answerer
from csgate.telemetry import Telemetry

if TYPE_CHECKING:
    from csgate.session.conversation import Conversation

# Orders after every time, so that at equal times the oldest goes first all the same.
ANY_TIME: Final = "~"
CROWDED_S: Final = 1.0


class StartSoon(Protocol):
    """``Nursery.start_soon`` of the nursery that :func:`csgate.session.open_conversations` owns."""

    def __call__(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None: ...


class Office:
    """Shared state.

    Attributes:
        live: the conversations with somebody attached or work pending, by id.
        keep: keeps the pictures of messages; None where they are not kept.
        keeping: how many pictures are kept in the background.
        open_bytes: of the pictures that open turns hold.
        prompt: the store never yields.
        shared: the store, where other processes use it too.
    """

    __slots__ = (
        "_context",
        "_crowded_until",
        "_now",
        "_quiet",
        "_said",
        "_start_soon",
        "_unsaid",
        "answer",
        "closed",
        "draining",
        "keep",
        "keeping",
        "live",
        "open_bytes",
        "open_turns",
        "prompt",
        "settings",
        "shared",
        "store",
        "telemetry",
    )

    def __init__(
        self,
        store: Store,
        answer: Answerer,
        settings: SessionSettings,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        start_soon: StartSoon,
        keep: Keep | None = None,
    ) -> None:
        self.store = store
        self.prompt = PromptStore in type(store).__bases__
        self.shared = store if isinstance(store, SharedStore) else None
        self.answer = answer
        self.keep = keep
        self.settings = settings
        self.telemetry = telemetry
        self.live: dict[str, Conversation] = {}
        self.open_turns = 0
        self.keeping = 0
        self.open_bytes = 0
        self.draining = False
        self.closed = False
        self._now = now
        self._start_soon = start_soon
        # Work is brought by connections, whose ids are not its own: it starts in a context without any.
        self._context = contextvars.copy_context()
        self._context.run(clear_contextvars)
        self._quiet = trio.Event()
        # Conversations in the store, and live ones in which nothing was said yet (the store has never heard of them).
        self._said = 0
        self._unsaid = 0
        self._crowded_until = -math.inf

    def timestamp(self, seconds_ago: float = 0.0) -> str:
        """RFC 3339 in UTC with milliseconds and Z."""
        moment = self._now()
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
        if seconds_ago:
            moment -= timedelta(seconds=seconds_ago)
        return moment.isoformat(timespec="milliseconds")[:-6] + "Z"

    def start(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Starts a task that outlives whoever calls."""
        self._context.run(self._start_soon, async_fn, *args)

    def keep_anyway(self, conversation: str, picture: Picture | None) -> trio.Event | None:
        """Has the picture of a turn that has ended kept, in the background; :meth:`quiet` waits for it.

        What is set when that is done, or given up; None where there is nothing to keep.
        """
        if self.keep is None or picture is None or picture.reference is None:
            return None
        done = trio.Event()
        self.keeping += 1
        self.start(self._keep_anyway, self.keep, conversation, picture, done)
        return done

    async def _keep_anyway(self, keep: Keep, conversation: str, picture: Picture, done: trio.Event) -> None:
        try:
            deadline = trio.current_time() + self.settings.turn_seconds
            await keep_anyway(keep, conversation, picture, deadline, self.telemetry)
        finally:
            done.set()
            self.keeping -= 1
            self._quiet.set()

    # --- Conversations, counted ---

    @property
    def conversations(self) -> int:
        return self._said + self._unsaid

    def count(self, *, said: int = 0, unsaid: int = 0) -> None:
        """Adds to the counts of conversations."""
        self._said += said
        self._unsaid += unsaid
        self.telemetry.metrics.conversations.set(self.conversations)

    async def recount(self) -> None:
        """Where other processes make and forget conversations too."""
        self.count(said=await self.store.count() - self._said)

    # --- Conversations, forgotten ---

    async def forget(self, *, before: str, at_most: int) -> int:
        """Forgets conversations that nobody is attached to and in which nothing is open, the oldest first.

        Args:
            before: RFC 3339; only those that were silent since. :data:`ANY_TIME` for all.
            at_most: how many.

        Returns:
            How many were forgotten.
        """
        forgotten = await self.store.prune(self.live, now=self.timestamp(), before=before, at_most=at_most)
        self.count(said=-forgotten)
        return forgotten

    def vanished(self, conversations: Sequence[str]) -> None:
        """Another process removed them from the store: whoever is attached to one is put out."""
        self.count(said=-len(conversations))
        for id in conversations:
            self.telemetry.log.info("conversation_vanished", conversation=id)
            conversation = self.live.get(id)
            if conversation is not None:
                conversation.vanish()

    async def make_room(self) -> bool:
        """Forgets what it takes to have the logs within their bound in memory; false where that cannot be had.

        All are in use then, which took a look at each of them: the next look is no sooner than ``CROWDED_S`` later.
        """
        while self.store.memory_bytes > self.settings.max_log_bytes:
            if trio.current_time() < self._crowded_until:
                return False
            if not await self.forget(before=ANY_TIME, at_most=1):
                self._crowded_until = trio.current_time() + CROWDED_S
                return False
        return True

    # --- Open turns, counted ---

    def open_turn(self, held: int) -> None:
        """Reserves a place, and room for a picture of ``held`` bytes, before the store is asked, so that no two
        conversations take the last one.
        """
        self.open_turns += 1
        self.open_bytes += held
        self.telemetry.metrics.turns_open.set(self.open_turns)

    def close_turn(self, held: int) -> None:
        """Gives back what :meth:`open_turn` reserved."""
        self.open_turns -= 1
        self.open_bytes -= held
        self.telemetry.metrics.turns_open.set(self.open_turns)
        if not self.open_turns:
            self._quiet.set()

    async def quiet(self) -> None:
        """Waits until no turn is open, and no picture of one is still to be kept."""
        while self.open_turns or self.keeping:
            self._quiet = trio.Event()
            await self._quiet.wait()
