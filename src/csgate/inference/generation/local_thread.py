"""The thread that owns the engine: it takes requests from a bounded, fair queue and steps while there are any.

    task: submit ──> Schedule (bounded) ──> engine thread: admit │ step │ text ──┐
      ^                                                                          │
      └──── Answer.on_text, Answer.ended <── one run_sync_soon a step <──────────┘

What the threads share is the schedule, the list of abandoned answers and ``closing``, under one condition that nobody
holds during a step. Everything else of an ``Answer`` belongs to the engine's thread until it is posted.

In that thread whatever is raised is somebody's error, also what a library in Rust raises when it panics, which is no
``Exception``: it would end the thread, and those who wait would hear of nothing but their deadlines.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from csgate.background import stand_back
from csgate.errors import CsgateError, EngineUnavailable, ModelError
from csgate.inference.generation.local_step import Stepper
from csgate.inference.generation.local_text import TextStream
from csgate.inference.generation.request import FinishReason, Sampling
from csgate.inference.schedule import BatchPlan, Schedule
from csgate.telemetry import Telemetry

NICENESS: Final = 5
"""How far the thread, and those that it starts, stand back behind the event loop, which serves everybody."""
JOIN_TIMEOUT_S: Final = 30.0
ANSWER_S: Final = 0.5
"""About how long an answer occupies a place; only for ``retry_after``."""


@dataclass(slots=True, eq=False)
class Answer:
    """One request on its way through. ``deadline`` is met by the task that waits, not here."""

    ids: Sequence[int]
    sampling: Sampling
    limit: int
    on_text: Callable[[str], None]
    stream: TextStream
    principal: Hashable
    priority: int
    arrived: float
    deadline: float = float("inf")
    # Trio's side
    ended: trio.Event = field(default_factory=trio.Event)
    abandoned: bool = False
    text: list[str] = field(default_factory=list)
    tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None
    finish: FinishReason | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """News of one answer, for Trio's thread."""

    answer: Answer
    tokens: int = 0
    text: str = ""
    finish: FinishReason | None = None
    error: CsgateError | None = None


class EngineThread:
    """Runs one ``Stepper`` for any number of tasks."""

    def __init__(
        self, name: str, build: Callable[[], Stepper], telemetry: Telemetry, *, places: int, queue_items: int
    ) -> None:
        """``build`` makes the stepper, in the thread. ``places``: answers that run at once."""
        self.name: Final = name
        self._build = build
        self._log = telemetry.log
        metrics = telemetry.metrics
        self._running_gauge = metrics.generating.labels(name)
        self._waiting_gauge = metrics.generation_waiting.labels(name)
        self._tokens_counter = metrics.generated_tokens.labels(name)
        self._schedule: Schedule[Answer] = Schedule(
            BatchPlan((1,), {1: ANSWER_S / places}), max_items=queue_items, workers=places
        )
        self._condition = threading.Condition()
        self._abandoned: list[Answer] = []
        self._closing = False
        self._token = trio.lowlevel.current_trio_token()
        self._now = trio.lowlevel.current_clock().current_time
        self._thread = threading.Thread(target=self._work, name=f"csgate-generate-{name}", daemon=True)
        self._ready = trio.Event()
        self._refusal: Exception | None = None
        self.provider = ""
        # The thread's own
        self._stepper: Stepper | None = None
        self._running: dict[int, Answer] = {}
        self._next_key = 0

    # --- Trio's side ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the thread and waits until its stepper is made.

        Raises:
            Exception: what ``build`` raised; a ModelError for what is no ``Exception``.
        """
        self._thread.start()
        await self._ready.wait()
        if self._refusal is not None:
            raise self._refusal

    def submit(self, answer: Answer) -> None:
        """Queues ``answer``.

        Raises:
            Overloaded: the queue is full.
            EngineUnavailable: the generator is closing.
        """
        with self._condition:
            if self._closing:
                raise EngineUnavailable(f"{self.name} is closing")
            self._schedule.offer(answer)
            self._waiting_gauge.set(len(self._schedule))
            self._condition.notify()

    def abandon(self, answer: Answer) -> None:
        """Its task has gone: out of the queue now, or out of the engine before the next step."""
        answer.abandoned = True
        with self._condition:
            if self._schedule.discard(answer):
                self._waiting_gauge.set(len(self._schedule))
            else:
                self._abandoned.append(answer)
                self._condition.notify()

    def stop(self) -> None:
        """The thread ends after the step in hand; whoever waits or runs is told so."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self) -> bool:
        """Waits for the thread, up to ``JOIN_TIMEOUT_S``; False if it still runs."""
        self._thread.join(JOIN_TIMEOUT_S)
        return not self._thread.is_alive()

    def _deliver(self, updates: list[Update], running: int) -> None:
        now = self._now()
        self._running_gauge.set(running)
        for update in updates:
            answer = update.answer
            if answer.ended.is_set():
                continue
            if update.tokens:
                self._tokens_counter.inc(update.tokens)
                answer.tokens += update.tokens
                if answer.first_at is None:
                    answer.first_at = now
                answer.last_at = now
            if update.text and not answer.abandoned:
                answer.text.append(update.text)
                try:
                    answer.on_text(update.text)
                except Exception as error:  # the caller's; it gets it back
                    answer.error = error
                    self.abandon(answer)
            answer.finish = update.finish
            answer.error = answer.error or update.error
            if answer.finish is not None or answer.error is not None:
                answer.ended.set()

    # --- The thread's side ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        stand_back(NICENESS)
        try:
            self._stepper = self._build()
            self.provider = self._stepper.provider
        except Exception as error:
            self._refusal = error
        except BaseException as error:
            self._refusal = ModelError(f"The generation model {self.name} cannot be loaded: {error!r}.")
            self._refusal.__cause__ = error
        self._run_soon(self._ready.set)
        if self._refusal is not None:
            return
        while self._goes_on():
            pass
        updates = self._fail_running("is closing")
        with self._condition:
            waiting = self._schedule.drain()
            self._waiting_gauge.set(0)
        updates += [Update(answer, error=EngineUnavailable(f"{self.name} is closing")) for answer in waiting]
        self._post(updates)
        self._let_go()

    def _goes_on(self) -> bool:
        """One round; False when it is time to end. If the stepper throws, its answers are told and a new one made."""
        try:
            if not self._wait():
                return False
            self._admit()
            self._step()
        except BaseException as error:
            self._log.error("generation.step_failed", model=self.name, running=len(self._running), exc_info=error)
            self._post(self._fail_running("failed"))
            self._let_go()
            self._rebuild()
        return True

    def _wait(self) -> bool:
        """Waits until there is something to do, and forgets what was abandoned; False when it is time to end."""
        with self._condition:
            while not (self._closing or self._abandoned or self._running or len(self._schedule)):
                self._condition.wait()
            abandoned, self._abandoned = self._abandoned, []
            closing = self._closing
        keys = [key for key, answer in self._running.items() if answer in abandoned] if abandoned else []
        for key in keys:
            self._forget(key)
        if keys:
            self._post([])
        return not closing

    def _forget(self, key: int) -> None:
        assert self._stepper is not None  # while answers run there is one
        self._stepper.remove(key)
        del self._running[key]

    def _admit(self) -> None:
        """Gives waiting answers to the stepper, as many as it takes."""
        if self._stepper is None and not self._rebuild():
            return
        assert self._stepper is not None  # _rebuild made one
        refused: list[Update] = []
        for _ in range(self._stepper.room()):
            with self._condition:
                # No deadline is looked at here: the task that waits has discarded what is late.
                answers = self._schedule.take(float("-inf")).batch
                self._schedule.release()
                self._waiting_gauge.set(len(self._schedule))
            if not answers:
                break
            [answer] = answers
            key = self._next_key = self._next_key + 1
            try:
                self._stepper.add(key, answer.ids, answer.sampling, answer.limit)
            except BaseException as error:
                self._log.error("generation.refused", model=self.name, exc_info=error)
                refused.append(Update(answer, error=EngineUnavailable(f"{self.name} refused a request: {error}")))
            else:
                self._running[key] = answer
        if refused:
            self._post(refused)

    def _step(self) -> None:
        if not self._running:
            return
        assert self._stepper is not None  # while answers run there is one
        updates: list[Update] = []
        try:
            for step in self._stepper.step():
                answer = self._running.get(step.key)
                if answer is None:  # ended by a stop string within these steps
                    continue
                update = self._update(answer, step.token, step.end)
                updates.append(update)
                if step.end is not None:
                    del self._running[step.key]
                elif update.finish is not None or update.error is not None:
                    self._forget(step.key)
        finally:
            self._post(updates)

    def _update(self, answer: Answer, token: int | None, end: str | None) -> Update:
        """What a step means for ``answer``; a token that cannot be decoded is its failure alone."""
        if end == "failed":
            return Update(answer, error=EngineUnavailable(f"{self.name} could not go on with this answer"))
        stream = answer.stream
        try:
            text = stream.push(token) if token is not None else ""
            if not stream.stopped and end is not None:
                text += stream.finish()
        except BaseException as error:
            self._log.error("generation.decode_failed", model=self.name, exc_info=error)
            return Update(answer, error=EngineUnavailable(f"{self.name} wrote what cannot be decoded: {error}"))
        finish: FinishReason | None = "stop" if stream.stopped or end == "stop" else "length" if end else None
        return Update(answer, 0 if token is None else 1, text, finish)

    def _fail_running(self, why: str) -> list[Update]:
        updates = [Update(answer, error=EngineUnavailable(f"{self.name} {why}")) for answer in self._running.values()]
        self._running.clear()
        return updates

    def _rebuild(self) -> bool:
        """A new stepper; without one, whoever waits is told so, and the next one to come causes another try."""
        try:
            self._stepper = self._build()
        except BaseException as error:
            self._log.error("generation.rebuild_failed", model=self.name, exc_info=error)
            with self._condition:
                waiting = self._schedule.drain()
                self._waiting_gauge.set(0)
            self._post([Update(answer, error=EngineUnavailable(f"{self.name} is down")) for answer in waiting])
            return False
        self._log.warning("generation.rebuilt", model=self.name)
        return True

    def _let_go(self) -> None:
        stepper, self._stepper = self._stepper, None
        try:
            if stepper is not None:
                stepper.close()
        except BaseException as error:  # a broken engine may say anything
            self._log.warning("generation.close_failed", model=self.name, exc_info=error)

    def _post(self, updates: list[Update]) -> None:
        self._run_soon(self._deliver, updates, len(self._running))

    def _run_soon(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._token.run_sync_soon(call, *arguments)
        except trio.RunFinishedError:  # nobody is left to tell: Trio ended without closing us
            with self._condition:
                self._closing = True
