"""Pictures of acknowledged messages are kept, whatever becomes of their turn."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from csgate.errors import BadImage, Overloaded, StoreUnavailable
from csgate.events import AckEvent, Draft, ErrorEvent, MessageEvent, Picture, Principal, ReplyEvent
from csgate.session import Turn
from csgate.session.answering import KEPT_WITHIN_S
from tests.session.conftest import inline_sqlite

PHOTO = Picture(b"photo", "binary", "pictures/1")


class Keeper:
    """Keeps after ``seconds``, once it has failed with each of ``errors``."""

    def __init__(self, *errors: Exception, seconds: float = 0.0, always: Exception | None = None) -> None:
        self.errors = list(errors)
        self.seconds = seconds
        self.always = always
        self.tries = 0
        self.kept: list[tuple[str, str | None]] = []

    async def __call__(self, conversation: str, picture: Picture) -> None:
        self.tries += 1
        await trio.sleep(self.seconds)
        if self.errors:
            raise self.errors.pop(0)
        if self.always is not None:
            raise self.always
        self.kept.append((conversation, picture.reference))


async def test_a_picture_is_kept_before_the_reply_and_all_see_where(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async def answer(turn: Turn) -> Draft:
        return Draft(text="a cup", image_url="results/2")

    rig.answer, rig.keep = answer, Keeper(StoreUnavailable("away"), StoreUnavailable("away"), seconds=1.0)
    one, other = rig.recorder(), rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, one)
        await attachment.submit("a", "before", None)
        await one.wait(ReplyEvent)
        await conversations.attach(ann, other, conversation=attachment.conversation)
        await attachment.submit("b", "look", PHOTO)
        reply = await one.wait(ReplyEvent, count=2)
        assert rig.keep.kept == [(attachment.conversation, "pictures/1")]
        assert rig.keep.tries == 3
        assert trio.current_time() > 3.0
        assert reply.image_url == "results/2"
        assert (await other.wait(MessageEvent)).image_url == "pictures/1"
        log = await rig.log_of(attachment.conversation)
    assert [event.image_url for event in log] == [None, "results/2", "pictures/1", "results/2"]


async def test_what_has_no_reference_is_not_kept(autojump_clock: object, rig: Any, ann: Principal) -> None:
    rig.keep = Keeper()
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", Picture(b"photo", "binary"))
        await sink.wait(ReplyEvent)
    assert rig.keep.tries == 0


async def test_what_cannot_be_kept_ends_in_the_error_that_says_so(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.keep = Keeper(always=StoreUnavailable("away"))
    sink = rig.recorder()
    async with rig.open(turn_seconds=20.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", PHOTO)
        error = await sink.wait(ErrorEvent)
        assert (error.id, error.code, error.message) == ("a", "overloaded", StoreUnavailable.safe_en)
        assert 10.0 < trio.current_time() < 20.0
        assert not sink.of(ReplyEvent)


@pytest.mark.parametrize("text", ["hi", "refuse"])
async def test_a_bad_picture_is_told_as_such(autojump_clock: object, rig: Any, ann: Principal, text: str) -> None:
    """Whoever notices first; together with the store's trouble it is the peer's own doing that is told."""
    rig.keep = Keeper(BadImage("no end") if text == "hi" else StoreUnavailable("away"), always=Overloaded("away"))
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", text, PHOTO)
        assert (await sink.wait(ErrorEvent)).code == "bad_image"


@pytest.mark.parametrize(("failure", "code"), [(BadImage("lies"), "bad_image"), (ValueError("a bug"), "internal")])
async def test_of_two_failures_the_peers_own_is_told(
    autojump_clock: object, rig: Any, ann: Principal, failure: Exception, code: str
) -> None:
    async def answer(turn: Turn) -> Draft:
        try:
            await trio.sleep_forever()
        finally:
            raise failure

    rig.answer, rig.keep = answer, Keeper(Overloaded("away"), seconds=30.0)
    sink = rig.recorder()
    async with rig.open(turn_seconds=30.1) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", PHOTO)
        assert (await sink.wait(ErrorEvent)).code == code


async def test_a_stopped_turn_ends_at_once_and_its_picture_is_kept(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    rig.keep = Keeper(seconds=5.0)
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 9", PHOTO)
        await attachment.submit("b", "waits", Picture(b"other", "binary", "pictures/2"))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        attachment.cancel("b")
        attachment.cancel("a")
        assert {(await sink.wait(ErrorEvent, count=count)).code for count in (1, 2)} == {"cancelled"}
        assert trio.current_time() - began < 1.0
        assert not rig.keep.kept
        await trio.sleep(6.0)
        assert {reference for _, reference in rig.keep.kept} == {"pictures/1", "pictures/2"}


async def test_a_person_gets_to_see_the_picture(autojump_clock: object, rig: Any, ann: Principal) -> None:
    """Nobody answers, but the turn is open until the picture is kept."""
    rig.keep = Keeper(StoreUnavailable("away"), seconds=1.0)
    sink, seen = rig.recorder(), rig.recorder()
    async with rig.open(turn_seconds=20.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "hi", None)
        await sink.wait(ReplyEvent)
        agent = await conversations.attach(
            Principal("bob", tenant=ann.tenant, role="agent"), seen, conversation=attachment.conversation
        )
        await agent.submit("b", "I am here", None)
        await attachment.submit("c", "look", PHOTO)
        attachment.cancel("c")
        muted = await sink.wait(ReplyEvent, count=2)
        assert (muted.id, muted.source) == ("c", "muted")
        assert rig.keep.kept == [(attachment.conversation, "pictures/1")]
        assert (await seen.wait(MessageEvent)).image_url == "pictures/1"
        rig.keep.always = StoreUnavailable("away")
        await attachment.submit("d", "look", PHOTO)
        assert (await sink.wait(ErrorEvent)).code == "overloaded"
        await attachment.submit("e", "words alone", None)
        assert (await sink.wait(ReplyEvent, count=3)).source == "muted"


async def test_a_turn_that_fails_otherwise_has_its_picture_kept(
    autojump_clock: object, rig: Any, ann: Principal
) -> None:
    async def answer(turn: Turn) -> Draft:
        await trio.sleep(1.0)
        raise StoreUnavailable("no model")

    rig.answer, rig.keep = answer, Keeper(seconds=1.2)
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "look", PHOTO)
        assert (await sink.wait(ErrorEvent)).code == "overloaded"
        conversations.begin_drain()
        await conversations.drained()
        assert rig.keep.kept == [(attachment.conversation, "pictures/1")]


@pytest.mark.parametrize("seconds", [0.3, 2.0])
async def test_a_stopped_turn_is_open_in_the_store_until_its_picture_is_kept(
    autojump_clock: object, bare_rig: Any, ann: Principal, seconds: float
) -> None:
    """So that the next process would keep it; but a slow store makes nobody wait long."""
    rig = bare_rig(inline_sqlite())
    rig.keep = Keeper(seconds=seconds)
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 9", None)
        await attachment.submit("b", "waits", PHOTO)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        attachment.cancel("b")
        await sink.wait(ErrorEvent)
        assert trio.current_time() - began == pytest.approx(min(seconds, KEPT_WITHIN_S), abs=0.2)
        assert len(rig.keep.kept) == (seconds < KEPT_WITHIN_S)
        conversations.begin_drain()
        await conversations.drained()
        assert rig.keep.kept == [(attachment.conversation, "pictures/1")]


@pytest.mark.parametrize(
    ("keeper", "told"),
    [
        (Keeper(always=StoreUnavailable("the bucket is gone")), ["the bucket is gone"]),
        (Keeper(seconds=1e6), ["no answer from the store"]),
        (Keeper(ValueError("a bug")), [None]),
        (Keeper(BadImage("no picture")), []),
    ],
)
async def test_a_picture_that_is_lost_after_a_stop_is_told_to_the_log(
    autojump_clock: object, bare_rig: Any, ann: Principal, keeper: Keeper, told: list[str | None]
) -> None:
    rig = bare_rig()
    rig.keep = keeper
    sink = rig.recorder()
    async with rig.open(turn_seconds=20.0) as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 9", None)
        await attachment.submit("b", "hi", PHOTO)
        attachment.cancel("b")
        await sink.wait(ErrorEvent)
        await trio.sleep(60)
        assert await sink.wait(AckEvent, count=2)
    lost = [line for line in rig.logged() if line["event"] == "picture_lost"]
    assert [line.get("detail") for line in lost] == told
    assert all(line["conversation"] == attachment.conversation for line in lost)


async def test_nothing_is_kept_for_a_conversation_that_was_removed(
    autojump_clock: object, bare_rig: Any, ann: Principal
) -> None:
    rig = bare_rig()
    rig.keep = Keeper(seconds=5.0)
    sink = rig.recorder()
    async with rig.open() as conversations:
        attachment = await conversations.attach(ann, sink)
        await attachment.submit("a", "sleep 9", PHOTO)
        await attachment.submit("b", "hi", PHOTO)
        await wait_all_tasks_blocked()
        conversations._office.vanished([attachment.conversation])
        await conversations.drained()
        await trio.sleep(10.0)
    assert not rig.keep.kept
