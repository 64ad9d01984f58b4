"""What does a conversation's work, one thing at a time: it alone changes the log, so that what is published has the
order of the log. It lives while there is work, and its turns with it, not in any connection.

With a store that never yields, each thing is done on the spot: by the task of the connection that asks for it, or by
that of the turn that has ended. Otherwise one thing waits for another, and the actor has a task of its own that does
them in order. A task is needed for timers in any case.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec
import trio
from structlog import contextvars

from csgate.errors import BadEnvelope, NotFound, Overloaded, raise_error_of
from csgate.events import (
    AckEvent,
    ErrorEvent,
    LogEvent,
    MessageEvent,
    Picture,
    ProgressEvent,
    RateEvent,
    SnapshotEvent,
    StateEvent,
)
from csgate.session import finals
from csgate.session.acceptance import RETRY_SOON_S, accept_agent, accept_customer
from csgate.session.answering import answer_turn, keep_anyway
from csgate.session.countdown import Countdown
from csgate.session.handoff import Cue, next_state
from csgate.session.identity import new_reference
from csgate.session.persistence import until_stored
from csgate.session.request import Request
from csgate.session.store import FinalEvent, Finished, OpenTurn
from csgate.session.turn import PendingTurn, Stop
from csgate.session.wording import language_of

if TYPE_CHECKING:
    from csgate.session.attachment import Attachment
    from csgate.session.conversation import Conversation

T = TypeVar("T")

REASON_LOGGED_CHARS: Final = 200
AGAIN_S: Final = 1.0
"""After something unforeseen in a conversation."""


class Actor:
    """Inbox, turns and timers of one conversation.

    The inbox holds at most ``max_waiting`` jobs and ``waiting`` as many turns. Timers (grace, countdown to the end
    of a handoff, held back deltas) are deadlines of the one wait of the actor's task, which runs while one is set, or
    while there is any work where the store may yield.
    """

    __slots__ = (
        "_countdown",
        "_ended",
        "_grace_at",
        "_inbox",
        "_running",
        "_tasked",
        "_unwanted",
        "_waiting",
        "_wake",
        "conversation",
        "office",
    )

    def __init__(self, conversation: "Conversation") -> None:
        self.conversation = conversation
        self.office = conversation.office
        self._inbox: deque[Request[object]] = deque()
        self._waiting: deque[PendingTurn] = deque()
        # Stopped before they ran; their final events are to be logged.
        self._ended: deque[PendingTurn] = deque()
        self._running: PendingTurn | None = None
        # Ids cancelled while their message was still on its way through the inbox.
        self._unwanted: set[str | None] = set()
        self._grace_at = math.inf
        self._countdown = Countdown()
        self._tasked = False
        self._wake = trio.Event()

    # --- Called from other tasks: nothing here waits for a store that yields ---

    async def ask(self, job: Callable[["Actor"], Awaitable[T]], coming: str | None = None) -> T:
        """Has ``job`` done in its turn, and waits; it is done to the end even if the waiting is cancelled.

        Args:
            coming: the id of the message that the job brings, so that it can be cancelled on its way.

        Raises:
            Overloaded: the inbox is full, or the conversations were closed.
            Exception: what ``job`` raised.
        """
        if self.office.prompt:
            try:
                return await job(self)
            finally:
                await self._catch_up()
        if len(self._inbox) >= self.office.settings.max_waiting:
            raise Overloaded("inbox full", retry_after=RETRY_SOON_S)
        request = Request(job, coming)
        self._inbox.append(cast("Request[object]", request))
        self.rouse()
        await request.done.wait()
        raise_error_of(request)
        return cast(T, request.value)

    def cancel(self, id: str) -> None:
        """Ends that turn at once, wherever it is; its final event follows."""
        if self._running is not None and self._running.open.id == id:
            self._running.end(Stop.CANCELLED)
            return
        for turn in self._waiting:
            if turn.open.id == id:
                self._waiting.remove(turn)
                self._end(turn, Stop.CANCELLED)
                self.rouse()
                return
        if any(request.coming == id for request in self._inbox):
            self._unwanted.add(id)

    def start_grace(self) -> None:
        """Nobody is attached any more."""
        self._grace_at = trio.current_time() + self.office.settings.grace_seconds
        self.rouse()

    def stop_grace(self) -> None:
        self._grace_at = math.inf

    def start_countdown(self) -> None:
        """A person is wanted and none is there; a countdown under way goes on."""
        if self._countdown.start(self.office.settings.handoff_seconds):
            self.rouse()

    def stop_countdown(self) -> None:
        self._countdown.stop()
        self._wake.set()

    def give_up(self) -> None:
        """Stops all turns: their conversation is gone."""
        self._end_all(Stop.ABANDONED)
        self._countdown.stop()
        self.rouse()

    def take_up(self, turns: Iterable[PendingTurn]) -> None:
        """Takes turns that an earlier process left open; those with a final event already are only logged."""
        for turn in turns:
            (self._waiting if turn.final is None else self._ended).append(turn)
        # Those accepted by another process may come late.
        self._waiting = deque(sorted(self._waiting, key=lambda turn: turn.offset))
        self.rouse()

    def mute(self) -> None:
        """A person answers, at another process."""
        self._end_all(Stop.MUTED)
        self.rouse()

    def snapshot(self) -> SnapshotEvent | None:
        """The answer in progress, for somebody who joins now. None when its final event may be in the log already."""
        if self._running is None or self._running.settling:
            return None
        return self._running.stream.snapshot()

    # --- The task ---

    def rouse(self) -> None:
        """There is something for the actor's task."""
        if self._tasked:
            self._wake.set()
        elif not self.office.closed:
            self._tasked = True
            self.office.start(self._run)

    async def _run(self) -> None:
        """Works until there is nothing left that needs a task."""
        contextvars.bind_contextvars(conversation=self.conversation.header.id)
        try:
            while await self._step_guarded():
                pass
        finally:
            self._tasked = False
            for request in self._inbox:
                request.done.set()
        self._retire()

    async def _step_guarded(self) -> bool:
        """The edge of the conversation: what goes wrong in one costs no other one anything."""
        try:
            return await self._step()
        except Exception:
            self.office.telemetry.log.exception("conversation_failed")
            await trio.sleep(AGAIN_S)
            return True

    async def _catch_up(self) -> None:
        """Does all that is due at once, in whatever task has made it so."""
        while await self._advance():
            pass
        if self._tasked:
            self._wake.set()
        else:
            self._retire()

    def _retire(self) -> None:
        """Lets the conversation go on without an actor where there is nothing left to do."""
        if self._running is None and not self._inbox:
            self.conversation.actor = None
            self.conversation.rest()

    async def _advance(self) -> bool:
        """Does the first thing about turns that is due; false when there is none."""
        running = self._running
        if running is not None and running.final is not None:
            await self._settle(running)
            self._running = None
        elif self._ended:
            await self._settle(self._ended.popleft())
        elif running is None and self._waiting:
            self._begin(self._waiting.popleft())
        else:
            return False
        return True

    async def _step(self) -> bool:
        """Does the first thing that is due, or waits for one; false when there is none that this task must wait for."""
        if await self._advance():
            return True
        now = trio.current_time()
        running = self._running
        if self.conversation.behind:
            await self._follow()
        elif self._inbox:
            await self._do(self._inbox[0])
        elif now >= self._grace_at:
            self._grace_at = math.inf
            if await self._wanted_elsewhere():
                self.start_grace()
            else:
                self._end_all(Stop.ABANDONED)
        elif now >= self._countdown.at:
            await self._countdown.give_back(self)
        elif running is not None and now >= running.stream.flush_at:
            self.conversation.broadcast(running.stream.flush(now))
        elif running is None and self._countdown.at == math.inf:
            return False
        else:
            flush_at = math.inf if running is None else running.stream.flush_at
            due_at = min(self._grace_at, self._countdown.at, flush_at)
            if due_at == math.inf and self.office.prompt:
                return False  # who ends the turn goes on from there
            self._wake = trio.Event()
            if due_at == math.inf:
                await self._wake.wait()
            else:
                with trio.move_on_at(due_at):
                    await self._wake.wait()
        return True

    async def _follow(self) -> None:
        """Publishes what others have logged. What fails in a new way is not tried again: the inbox is to be reached."""
        try:
            await until_stored(self.conversation.catch_up, self.office.telemetry)
        except Exception:
            self.conversation.start_anew()
            raise

    async def _do(self, request: Request[object]) -> None:
        try:
            request.value = await request.job(self)
            request.error = None
        except Exception as error:
            # Not ours to judge: it is raised in the task that asked.
            request.error = error
        finally:
            # Only now: until here its message may be cancelled on its way.
            self._inbox.popleft()
            self._unwanted.discard(request.coming)
            request.done.set()

    # --- Turns ---

    def _begin(self, turn: PendingTurn) -> None:
        if self.conversation.state == "human":
            if self.office.keep is None or turn.open.picture is None:
                self._end(turn, Stop.MUTED)
                return
            turn.stop = Stop.MUTED  # the person wants to see the picture
        self._running = turn
        turn.scope.deadline = trio.current_time() + self.office.settings.turn_seconds
        self.office.start(self._answer, turn)
        for ahead, other in enumerate(self._waiting, start=1):
            self.conversation.broadcast(ProgressEvent(id=other.open.id, stage="queued", position=ahead))

    async def _answer(self, turn: PendingTurn) -> None:
        await answer_turn(self.conversation, turn, self.rouse)
        if self.office.prompt:
            await self._catch_up()
        else:
            self.rouse()

    def _end(self, turn: PendingTurn, why: Stop) -> None:
        """Ends a turn that does not run."""
        keep_anyway(self.conversation, turn)
        turn.final = finals.stopped(turn.open.id, why, "", turn.open.language, new_reference(), self.office.timestamp())
        self._ended.append(turn)

    def _end_all(self, why: Stop) -> None:
        if self._running is not None:
            self._running.end(why)
        while self._waiting:
            self._end(self._waiting.popleft(), why)

    async def _settle(self, turn: PendingTurn) -> None:
        """Logs the final event and publishes it."""
        office, conversation = self.office, self.conversation
        assert turn.final is not None
        turn.settling = True
        if turn.kept is not None and not office.prompt:
            # The store has the picture until the turn is over there, so a process that dies now loses nothing.
            with trio.move_on_at(turn.kept_by):
                await turn.kept.wait()
        try:
            finished = await until_stored(partial(self._finish, turn, turn.final), office.telemetry)
            if finished is not None:
                await self.publish(finished.final)
                self._observe(turn, finished.final)
                if finished.state_event is not None:
                    await self._enter(finished.state_event)
        except Exception:
            # The turn stays open in the store, which is where a later attempt would find it.
            office.telemetry.log.exception(
                "final_event_not_stored", conversation=conversation.header.id, turn=turn.open.id
            )
        finally:
            office.close_turn(turn.held_bytes)

    async def _finish(self, turn: PendingTurn, final: FinalEvent) -> Finished | None:
        """Logs how a turn ended, and where it asks for a person that too, so that no death comes between."""
        office, conversation = self.office, self.conversation
        state = next_state(conversation.state, Cue.ASKED) if turn.hand_over else None
        event = None if state is None else StateEvent(state=state, offset=0, timestamp=office.timestamp())
        return await office.store.finish(conversation.header, turn.open.id, final, event)

    def _observe(self, turn: PendingTurn, final: FinalEvent) -> None:
        metrics = self.office.telemetry.metrics
        metrics.turn_seconds.observe(trio.current_time() - turn.accepted_at)
        if isinstance(final, ErrorEvent):
            metrics.replies.labels("error").inc()
            metrics.errors.labels(final.code).inc()
        else:
            metrics.replies.labels(final.source).inc()

    async def publish(self, event: LogEvent, sender: "Attachment | None" = None) -> None:
        """Publishes what was just logged here, after what others logged before it."""
        await self._catch_up_to(event.offset)
        self.conversation.publish(event, sender)

    async def _catch_up_to(self, offset: int) -> None:
        """Publishes what others have logged before ``offset``."""
        conversation = self.conversation
        if self.office.shared is None or conversation.published is None or conversation.published >= offset - 1:
            return
        await until_stored(partial(conversation.catch_up, offset), self.office.telemetry)

    async def _be_heard(self) -> None:
        """Before the first event: from then on others may come, and log theirs.

        Raises:
            StoreUnavailable: they could not be heard.
        """
        if self.office.shared is not None and not self.conversation.said:
            await self.office.shared.join(self.conversation.header.id)

    async def _wanted_elsewhere(self) -> bool:
        """Whether somebody at another process waits for what is answered here."""
        shared = self.office.shared
        return shared is not None and await shared.listened_elsewhere(self.conversation.header.id)

    # --- Jobs ---

    async def accept(
        self, sender: "Attachment", id: str, text: str, picture: Picture | None, digest: bytes, *, ack: bool
    ) -> AckEvent:
        """See :meth:`csgate.session.attachment.Attachment.submit`."""
        office, conversation = self.office, self.conversation
        await self._be_heard()
        event = MessageEvent(
            id=id,
            offset=0,
            author=sender.author,
            text=text,
            timestamp=office.timestamp(),
            image_url=None if picture is None else picture.reference,
        )
        if sender.author == "human":
            accepted, turn = await accept_agent(conversation, event, digest), None
        else:
            language = language_of(text, sender.locale)
            opened = OpenTurn(id, text, picture, sender.principal, language)
            held = 0 if picture is None else memoryview(picture.data).nbytes
            accepted = await accept_customer(conversation, event, digest, opened, held, len(self._waiting))
            turn = None
            if accepted.new and accepted.here:
                turn = PendingTurn(opened, accepted.offset, trio.current_time(), held)
        if accepted.new:
            conversation.speak()
            await self.publish(msgspec.structs.replace(event, offset=accepted.offset), sender)
        else:
            await self._catch_up_to(accepted.offset + 1)
        acknowledgement = AckEvent(id=id, offset=accepted.offset)
        if ack:
            sender.deliver(acknowledgement)
        if turn is not None:
            conversation.language = turn.open.language
            self._enqueue(turn)
        elif accepted.new and sender.author == "human":
            self._end_all(Stop.MUTED)
            await self.change_state(Cue.AGENT_SPOKE)
        return acknowledgement

    def _enqueue(self, turn: PendingTurn) -> None:
        muted = self.conversation.state == "human"
        if turn.open.id in self._unwanted and not muted:
            self._end(turn, Stop.CANCELLED)
        else:
            # Also while a person answers: its final event comes after that of a turn that is being stopped.
            self._waiting.append(turn)
            if len(self._waiting) > 1 and self._waiting[-2].offset > turn.offset:
                # Another process accepted a later one, which was given while this was on its way back from the store.
                self._waiting = deque(sorted(self._waiting, key=lambda turn: turn.offset))
            ahead = len(self._waiting) - (self._running is None)
            if ahead and not muted:
                self.conversation.broadcast(ProgressEvent(id=turn.open.id, stage="queued", position=ahead))

    async def rate(self, sender: "Attachment", reply: str, score: int, comment: str | None) -> None:
        """See :meth:`csgate.session.attachment.Attachment.rate`."""
        if not 1 <= score <= 5:
            raise BadEnvelope(public="The score must be 1 to 5.", public_zh="评分必须在 1 到 5 之间。")
        store, header = self.office.store, self.conversation.header
        record = await store.recall(header.id, reply)
        if record is None or record.outcome != "reply":
            raise NotFound
        if not await self.office.make_room():
            raise Overloaded("log in memory", retry_after=RETRY_SOON_S)
        event = RateEvent(reply=reply, score=score, offset=0, timestamp=self.office.timestamp(), comment=comment)
        await self.publish(await store.append(header, event), sender)

    async def ask_for_person(self, reason: str | None) -> None:
        """See :meth:`csgate.session.attachment.Attachment.handoff`."""
        reason = None if reason is None else reason[:REASON_LOGGED_CHARS]
        self.office.telemetry.log.info("handoff_asked", conversation=self.conversation.header.id, reason=reason)
        await self.change_state(Cue.ASKED)

    async def change_state(self, cue: Cue) -> None:
        office, conversation = self.office, self.conversation
        state = next_state(conversation.state, cue)
        if state is None:
            return
        await self._be_heard()
        event = StateEvent(state=state, offset=0, timestamp=office.timestamp())
        stored = await office.store.append(conversation.header, event)
        assert isinstance(stored, StateEvent)
        conversation.speak()
        await self._enter(stored)

    async def _enter(self, state_event: StateEvent) -> None:
        """It is in the log: from now on it holds."""
        self.conversation.state_event = state_event
        await self.publish(state_event)
        self.conversation.watch()
