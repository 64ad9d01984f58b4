"""Random schedules of everything that clients, answerers and the store may do, checked against the protocol's order."""

import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from csgate.errors import DuplicateMismatch, Overloaded
from csgate.events import (
    AckEvent,
    DeltaEvent,
    ErrorEvent,
    Event,
    MessageEvent,
    Principal,
    ReplyEvent,
    SnapshotEvent,
    StateEvent,
)

TEXTS = ("hi", "fail", "refuse", "person", "sleep 0.3", "sleep 9", "stream a b c d e f g h")


class Client:
    """A tab or a device: keeps what it saw across its connections, resumes, resends, checks as it goes."""

    def __init__(self, name: str, principal: Principal, conversations: Any) -> None:
        self.name = name
        self.principal = principal
        self.conversations = conversations
        self.attachment: Any = None
        self.conversation: str | None = None
        self.epoch: str | None = None
        self.offset = 0
        # Offset -> logged event, or the id of an own message that was acknowledged there.
        self.seen: dict[int, Any] = {}
        self.sent: list[tuple[str, str]] = []
        self.acks: dict[str, int] = {}
        self.stream: dict[str, tuple[int, str]] = {}
        self.live = False

    async def attach(self) -> None:
        connection = Connection(self)
        try:
            attachment = await self.conversations.attach(
                self.principal,
                connection,
                conversation=self.conversation,
                epoch=self.epoch,
                offset=self.offset if self.epoch else None,
            )
        except Overloaded:
            return
        if self.epoch is not None:
            assert attachment.recovered
            assert attachment.epoch == self.epoch
        self.conversation, self.epoch = attachment.conversation, attachment.epoch
        for event in attachment.history:
            self.logged(event.offset, event)
        assert self.offset == attachment.offset
        self.stream.clear()
        if attachment.snapshot is not None:
            snapshot: SnapshotEvent = attachment.snapshot
            self.stream[snapshot.id] = (snapshot.seq, snapshot.text)
        self.attachment = connection.attachment = attachment

    def logged(self, offset: int, what: Any) -> None:
        assert offset == self.offset + 1, "a gap, or an event twice"
        self.offset = offset
        self.seen[offset] = what
        if isinstance(what, ReplyEvent):
            seq, text = self.stream.pop(what.id, (0, ""))
            assert seq == 0 or what.text.startswith(text)

    async def detach(self) -> None:
        if self.attachment is not None:
            attachment, self.attachment = self.attachment, None
            await attachment.detach()

    async def submit(self, id: str, text: str) -> None:
        attachment = self.attachment
        if attachment is None:
            return
        try:
            ack = await attachment.submit(id, text, None)
        except (Overloaded, DuplicateMismatch, trio.ClosedResourceError):
            return
        assert self.acks.setdefault(id, ack.offset) == ack.offset

    async def handoff(self) -> None:
        attachment = self.attachment
        if attachment is not None:
            with suppress(trio.ClosedResourceError):
                await attachment.handoff()


class Connection:
    """One sink; events after the client let go must not come."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.attachment: Any = None

    def deliver(self, event: Event) -> None:
        client = self.client
        assert client.attachment is self.attachment is not None, "an event outside the life of the attachment"
        match event:
            case AckEvent(id, offset):
                if offset > client.offset:
                    client.logged(offset, id)
                assert client.acks.setdefault(id, offset) == offset
            case DeltaEvent(id, _, seq, text):
                before, so_far = client.stream.get(id, (0, ""))
                assert seq == before + 1
                client.stream[id] = (seq, so_far + text)
            case MessageEvent() | ReplyEvent() | ErrorEvent() | StateEvent():
                client.logged(event.offset, event)
            case _:
                pass

    def detached(self) -> None:
        raise AssertionError("a sink that did not fail was given up")


steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "attach",
                "attach",
                "detach",
                "submit",
                "submit",
                "submit",
                "submit",
                "resend",
                "cancel",
                "handoff",
                "wait",
            ]
        ),
        st.integers(0, 3),  # who; 3 is the agent
        st.integers(0, 20),
    ),
    max_size=60,
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(steps, st.integers(0, 1000), st.booleans())
@example([("submit", 0, n) for n in range(20)] + [("wait", 0, 20)] * 3, 1, True)
@example([("submit", n % 3, n) for n in range(20)] + [("attach", 3, 0), ("submit", 3, 0), ("submit", 0, 0)], 1, True)
def test_any_schedule_keeps_the_protocol(
    bare_rig: Any, plan: list[tuple[str, int, int]], seed: int, slow: bool
) -> None:
    trio.run(_play, bare_rig(), plan, seed, slow, clock=MockClock(autojump_threshold=0))


async def _play(rig: Any, plan: list[tuple[str, int, int]], seed: int, slow: bool) -> None:
    chance = random.Random(seed)
    if slow:
        rig.store = rig.slow_store(seconds=lambda: chance.choice((0.0, 0.001, 0.02)))
    ann = Principal(subject="ann")
    people = [ann, ann, ann, Principal(subject="gus", role="agent")]
    async with rig.open(max_waiting=4, grace_seconds=2.0, handoff_seconds=5.0, turn_seconds=4.0) as conversations:
        clients = [Client(f"{number}", principal, conversations) for number, principal in enumerate(people)]
        await clients[0].attach()
        for client in clients[1:]:
            client.conversation = clients[0].conversation
        # Something is said, so that the conversation outlives everybody's leaving.
        await clients[0].submit("first", "hi")
        async with trio.open_nursery() as nursery:
            for number, (what, who, choice) in enumerate(plan):
                await trio.sleep(chance.choice((0.0, 0.0, 0.01, 0.1)))
                client = clients[who]
                match what:
                    case "attach":
                        await client.detach()
                        await client.attach()
                    case "detach":
                        await client.detach()
                    case "submit":
                        # Some ids are used by two clients, or twice with other words.
                        id = f"{number}" if choice % 5 else f"x{choice}"
                        client.sent.append((id, TEXTS[choice % len(TEXTS)]))
                        nursery.start_soon(client.submit, *client.sent[-1])
                    case "resend" if client.sent:
                        nursery.start_soon(client.submit, *client.sent[choice % len(client.sent)])
                    case "cancel" if client.attachment is not None:
                        sent = [id for other in clients for id, _ in other.sent] or ["none"]
                        client.attachment.cancel(chance.choice(sent))
                    case "handoff" if client.attachment is not None and client.principal.role == "customer":
                        nursery.start_soon(client.handoff)
                    case "wait":
                        await trio.sleep(choice / 4)
        await conversations.drained()
        for client in clients:
            await client.detach()
        await trio.sleep(60)
        assert (conversations.live, conversations.open_turns) == (0, 0)
        await _check_log(rig, clients)
    # A sink's failed assertion ends up here.
    assert [line for line in rig.logged() if line["event"] == "sink_failed"] == []


async def _check_log(rig: Any, clients: list[Client]) -> None:
    # Everybody comes once more, and has seen the whole log: nothing lost, nothing twice, in one order.
    assert clients[0].conversation is not None
    log = await rig.log_of(clients[0].conversation)
    assert [event.offset for event in log] == list(range(1, len(log) + 1))
    for client in clients:
        await client.attach()
        assert list(client.seen) == list(range(1, len(log) + 1))
        for offset, seen in client.seen.items():
            assert seen == (log[offset - 1] if not isinstance(seen, str) else log[offset - 1].id)
        await client.detach()

    messages = {event.id: event for event in log if isinstance(event, MessageEvent)}
    assert len(messages) == sum(isinstance(event, MessageEvent) for event in log)
    finals = [event for event in log if isinstance(event, ReplyEvent | ErrorEvent)]
    # Exactly one final event for each message of a customer, after it, none for a person's.
    asked = {id for id, message in messages.items() if message.author == "customer"}
    assert sorted(str(event.id) for event in finals) == sorted(asked)
    assert all(event.offset > messages[str(event.id)].offset for event in finals)
    # Whatever was acknowledged is in the log, where the ack said.
    for client in clients:
        for id, offset in client.acks.items():
            assert messages[id].offset == offset
    # Answers that were not stopped have the order of the messages.
    answered = [
        messages[event.id].offset for event in finals if isinstance(event, ReplyEvent) and event.source == "canned"
    ]
    assert answered == sorted(answered)
    # Who answers changes along the table's edges only.
    states = ["bot", *(event.state for event in log if isinstance(event, StateEvent))]
    assert all(edge != ("human", "waiting") and edge[0] != edge[1] for edge in pairwise(states))
