"""What the event loop spends on one message between the connection and the engine: session and dialog, nothing else.

One process, no socket, no thread: real conversations in a real memory store, the shop pack, an engine that answers
after one pass of the scheduler, and a sink that takes the time. Every message finds a conversation of so many events;
the next one is sent when the reply has come. ``cpu`` is processor time of the thread, everything included: the two
passes and the task that the sending and waiting of the benchmark itself cost as well (``floor`` says how much that
is). The stages are wall time, so their medians are worth more than their sum. ``first`` is the first message after a
conversation came back into memory, when nothing is remembered of its history yet.

    python benchmarks/bench_turn.py [--conversations 60] [--rounds 5] [--no-save]

To compare with another state of the sources, run it with PYTHONPATH set to that one.
"""

import argparse
import base64
import gc
import io
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import report
import trio

from csgate.config import DialogSettings, SessionSettings
from csgate.dialog import Dialog, load_pack
from csgate.events import AckEvent, Event, Intent, MessageEvent, Picture, Principal, ReplyEvent, Sentiment, Tag
from csgate.inference.results import EngineInfo, IntentResult, ModelInfo, PictureResult, SentimentResult, Timing
from csgate.session import Attachment, Conversations, Header, MemoryStore, open_conversations
from csgate.shipped import models_dir
from csgate.telemetry import Telemetry, open_logger

HISTORIES: Final = (1, 50, 500)
MESSAGES: Final = 6
"""To each conversation, after the first: few, so that the history hardly grows."""
TEXT: Final = "Where is my order 12345? It should have come last week."
KINDS: Final = ("picture", "text", "both")
STAGES: Final = ("to ack", "to engine", "in engine", "to reply", "to sender")
OWNER: Final = Principal(subject="anna", issuer="bench", tenant="acme")
STAMP: Final = "2026-01-01T00:00:00.000Z"


class InstantEngine:
    """Answers after one checkpoint, and notes when it was first asked and last answered."""

    def __init__(self, pack_intents: tuple[str, ...]) -> None:
        names = pack_intents[:40]
        self.info = EngineInfo(
            provider="none",
            precision="none",
            models={
                task: ModelInfo(task, "1", task, "none", "none", "", names if task == "intent" else ())
                for task in ("intent", "sentiment", "fusion", "tagger")
            },
        )
        rest = 0.05 / (len(names) - 1)
        first = "track_order" if "track_order" in names else names[0]
        others = [Intent(name, rest) for name in names if name != first]
        timing = Timing(queue_ms=0.1, prepare_ms=0.5, run_ms=0.7, total_ms=1.3, batch=1)
        self._intent = IntentResult((Intent(first, 0.95), *others), timing)
        self._sentiment = SentimentResult(Sentiment("neutral", -0.1), timing)
        tags = tuple(
            Tag(name, name, score)
            for name, score in zip(
                ("red heart", "heart suit", "love letter", "rose", "package"), (0.9, 0.5, 0.3, 0.2, 0.1), strict=True
            )
        )
        self._picture = PictureResult(tags, None, 72, 72, "PNG", False, timing)
        self.asked = self.answered = 0.0

    async def _work(self) -> None:
        if not self.asked:
            self.asked = time.perf_counter()
        await trio.lowlevel.checkpoint()
        self.answered = time.perf_counter()

    async def classify_intent(self, text: str, **_: Any) -> IntentResult:
        await self._work()
        return self._intent

    async def judge_sentiment(self, text: str, tags: Any = None, **_: Any) -> SentimentResult:
        await self._work()
        return self._sentiment

    async def tag_picture(self, picture: Picture, **_: Any) -> PictureResult:
        await self._work()
        return self._picture


class Sink:
    """Counts what it is given, and wakes whoever waits for the reply."""

    def __init__(self) -> None:
        self.events = 0
        self.acknowledged = self.replied = 0.0
        self.done = trio.Event()

    def deliver(self, event: Event) -> None:
        self.events += 1
        if isinstance(event, AckEvent):
            self.acknowledged = time.perf_counter()
        elif isinstance(event, ReplyEvent):
            self.replied = time.perf_counter()
            self.done.set()

    def detached(self) -> None:
        raise AssertionError("nothing here fails to take an event")


@dataclass(slots=True)
class Sample:
    """Of all messages of one kind to conversations of one length."""

    cpu_us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    stages_us: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})


class Bench:
    def __init__(self, conversations: Conversations, store: MemoryStore, engine: InstantEngine) -> None:
        self.conversations = conversations
        self.store = store
        self.engine = engine
        self.picture = Picture(
            memoryview(base64.b64encode((models_dir() / "samples" / "red-heart.png").read_bytes())), "base64"
        )
        self._number = 0

    def content(self, kind: str) -> tuple[str | None, Picture | None]:
        return (None if kind == "picture" else TEXT), (None if kind == "text" else self.picture)

    async def conversation(self, events: int) -> Attachment:
        """One that has ``events`` in its log, come back to by a client that has seen them."""
        self._number += 1
        header = Header(f"bench-{self._number}", "epoch", OWNER.issuer, OWNER.tenant, OWNER.subject)
        for event in past(events):
            await self.store.append(header, event)  # type: ignore[arg-type]
        return await self.conversations.attach(OWNER, Sink(), conversation=header.id, epoch=header.epoch, offset=events)

    async def send(self, attachment: Attachment, kind: str, number: int, stages: dict[str, list[float]]) -> None:
        sink: Any = attachment._sink
        engine = self.engine
        text, picture = self.content(kind)
        engine.asked = 0.0
        sink.done = trio.Event()
        began = time.perf_counter()
        await attachment.submit(f"m{number}", text, picture)
        await sink.done.wait()
        ended = time.perf_counter()
        marks = (began, sink.acknowledged, engine.asked, engine.answered, sink.replied, ended)
        for stage, earlier, later in zip(STAGES, marks, marks[1:], strict=False):
            stages[stage].append((later - earlier) * 1e6)

    async def measure(self, kind: str, events: int, conversations: int, into: Sample) -> None:
        for _ in range(conversations):
            attachment = await self.conversation(events)
            begun = time.thread_time()
            await self.send(attachment, kind, 0, {stage: [] for stage in STAGES})
            first = time.thread_time()
            for number in range(1, MESSAGES + 1):
                await self.send(attachment, kind, number, into.stages_us)
            into.cpu_us.append((time.thread_time() - first) / MESSAGES * 1e6)
            into.first_us.append((first - begun) * 1e6)
            await attachment.detach()


def past(events: int) -> Iterator[MessageEvent | ReplyEvent]:
    """A customer who asks and asks, and is answered."""
    said = (
        "Where is my parcel?",
        "It is order 12345, sent to me@example.com",
        "thanks, that helps a lot",
        "when then?",
    )
    for number in range(events):
        if number % 2 == 0:
            yield MessageEvent(f"p{number}", 0, "customer", said[number // 2 % len(said)], STAMP)
        else:
            yield ReplyEvent(
                id=f"p{number - 1}",
                offset=0,
                text="I can look that up. Your order **12345** left our warehouse and is on its way to you. " * 2,
                intent=Intent("track_order", 0.9),
                sentiment=Sentiment("neutral", 0.1),
                tags=(),
                analysis="I read your message as being about tracking an order (90% sure).",
                source="canned",
                timestamp=STAMP,
            )


async def floor(rounds: int) -> float:
    """What the benchmark's own waiting costs, microseconds: a task that is started and wakes the sender."""
    took = []
    async with trio.open_nursery() as nursery:

        async def wake(event: trio.Event) -> None:
            await trio.lowlevel.checkpoint()
            event.set()

        for _ in range(rounds):
            begun = time.thread_time()
            for _ in range(50):
                event = trio.Event()
                nursery.start_soon(wake, event)
                await event.wait()
            took.append((time.thread_time() - begun) / 50 * 1e6)
    return statistics.median(took)


async def main(arguments: argparse.Namespace) -> int:
    telemetry = Telemetry(log=open_logger("info", stream=io.StringIO()))
    pack = load_pack("shop")
    engine = InstantEngine(tuple(pack.intents))
    dialog = Dialog(pack, engine, DialogSettings(), telemetry)  # type: ignore[arg-type]
    samples = {(kind, events): Sample() for kind in KINDS for events in HISTORIES}
    store = MemoryStore()
    async with open_conversations(store, dialog.answer, SessionSettings(), telemetry) as conversations:
        bench = Bench(conversations, store, engine)
        for kind in KINDS:
            await bench.measure(kind, 1, 20, Sample())
        for _ in range(arguments.rounds):
            for (kind, events), sample in samples.items():
                gc.collect()
                await bench.measure(kind, events, arguments.conversations, sample)
    own_us = await floor(30)

    rows: list[list[Any]] = []
    results: dict[str, Any] = {}
    for (kind, events), sample in samples.items():
        stages = {stage: statistics.median(took) for stage, took in sample.stages_us.items()}
        cpu_us, first_us = statistics.median(sample.cpu_us), statistics.median(sample.first_us)
        rows.append([kind, events, cpu_us, first_us, *stages.values()])
        results[f"{kind}, {events} events"] = {
            "cpu_us": cpu_us,
            "cpu_us_p90": report.percentile(sample.cpu_us, 0.9),
            "first_cpu_us": first_us,
            "stages_us": stages,
        }
    print(report.table(rows, ["message", "events", "cpu us", "first us", *STAGES]))
    print(f"\nfloor {own_us:.1f} us; sources: {Path(sys.modules['csgate'].__file__ or '').parent}")
    if not arguments.no_save:
        path = report.save(
            "turn",
            {
                "versions": report.versions("trio", "msgspec", "structlog", "prometheus-client", "csgate"),
                "rounds": arguments.rounds,
                "conversations": arguments.conversations,
                "messages": MESSAGES,
                "floor_us": own_us,
                "picture_bytes": len(bench.picture.data),
                "results": results,
            },
        )
        print(f"Saved {path}.")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=60, help="of each kind and length in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-save", action="store_true")
    sys.exit(trio.run(main, parser.parse_args()))
