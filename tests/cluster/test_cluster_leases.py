"""Leases where Redis answers late, not at all, or for somebody else by now; a link that says what the test wants."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from csgate.cluster.codec import encode, encode_turn
from csgate.cluster.keys import Keys
from csgate.cluster.leases import Lease, Leases
from csgate.cluster.scripts import RENEW, TAKE, TURNS
from csgate.config import ClusterSettings
from csgate.errors import StoreUnavailable
from csgate.events import Principal
from csgate.session import Header, OpenTurn

from ..session.conftest import Rig

HEAD = encode(Header("c", "epoch", "shop", "t1", "ann"))
OPEN = encode_turn(OpenTurn("m", "hi", None, Principal("ann"), "en"))
RENEW_S = 0.5


class Link:
    """Answers a command by its script or its name."""

    def __init__(self, **scripted: Callable[[], Any]) -> None:
        self.asked: list[str] = []
        self.names = {RENEW.sha: "renew", TAKE.sha: "take", TURNS.sha: "turns"}
        self.scripted = scripted

    async def one(self, command: Any) -> Any:
        await trio.lowlevel.checkpoint()
        name = self.names.get(command[1]) or command[0].decode().lower()
        self.asked.append(name)
        return self.scripted[name]()

    async def ask(self, *commands: Any) -> list[Any]:
        return [await self.one(command) for command in commands]


class Ears:
    def __init__(self) -> None:
        self.given_turns: list[str] = []
        self.lost_leases: list[str] = []

    def given(self, turns: Any) -> None:
        self.given_turns += [one.turn.id for one in turns]

    def lost(self, conversation: str) -> None:
        self.lost_leases.append(conversation)


def away() -> Any:
    raise StoreUnavailable("away", retry_after=1.0)


def made(link: Link) -> tuple[Leases, Ears]:
    ears: Any = Ears()
    anything: Any = link
    settings = ClusterSettings(lease_seconds=2.0, renew_seconds=RENEW_S)
    leases = Leases(anything, Keys("x"), "0" * 16, settings, Rig().telemetry)
    leases.ears = ears
    return leases, ears


async def through(task: Callable[[], Any], seconds: float) -> None:
    with trio.move_on_after(seconds):
        await task()


async def test_what_happened_while_redis_was_asked_to_renew(autojump_clock: object) -> None:
    leases, ears = made(Link(renew=lambda: away() if trio.current_time() < 2 * RENEW_S else (leases.forget("c"), 0)[1]))
    leases.opened("c", "m", "1", 1)
    await through(leases.renew, 3 * RENEW_S - 0.1)
    assert leases.held == {}, "forgotten meanwhile, and not touched after that"
    assert ears.lost_leases == []


async def test_a_lease_without_turns_is_let_go_and_one_that_is_lost_is_told_once(autojump_clock: object) -> None:
    answers = iter((0, 2, -1))
    link = Link(renew=lambda: next(answers))
    leases, ears = made(link)
    leases.held["empty"] = Lease("1", 1)
    await through(leases.renew, RENEW_S + 0.1)
    assert leases.held == {}
    leases.opened("c", "m", "1", 1)
    await through(leases.renew, 4 * RENEW_S + 0.1)
    assert leases._wanted == {"c"}, "another node has accepted something"
    leases.lose("c")
    assert ears.lost_leases == ["c"]
    assert leases.fence("c") == ""
    assert link.asked == ["renew"] * 3, "what is lost is not renewed"
    leases.lose("never held")
    leases.ears = None
    leases.opened("d", "m", "1", 1)
    leases.lose("d")
    assert leases.held["d"].lost


async def test_turns_of_others_that_cannot_be_fetched_now(autojump_clock: object) -> None:
    turns = [b"m", b"%016d01" % 7 + OPEN]
    answers: list[Callable[[], Any]] = [away, list, lambda: [HEAD, None, turns]]
    link = Link(turns=lambda: answers.pop(0)())
    leases, ears = made(link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leases.fetch)

        async def look() -> None:
            leases.look("c")
            await trio.testing.wait_all_tasks_blocked()

        await look()  # nothing is held
        assert link.asked == []
        leases.opened("c", "a", "1", 1)
        await look()
        assert ears.given_turns == [], "Redis is away: the next renewal counts again"
        await look()
        assert ears.given_turns == [], "the lease was somebody else's by then"
        await look()
        assert ears.given_turns == ["m"]
        assert leases.held["c"].turns == {"a", "m"}
        # Lost between the hint and the question.
        leases.look("c")
        leases.lose("c")
        await trio.testing.wait_all_tasks_blocked()
        # Nothing is left of a lease whose turns have all ended.
        leases.held["d"] = Lease("1", 1)
        answers.append(list)
        leases.look("d")
        await trio.testing.wait_all_tasks_blocked()
        assert "d" not in leases.held
        # Ended, and begun anew, while Redis was asked.
        leases.opened("e", "m", "1", 1)
        answers.append(lambda: (leases.forget("e"), leases.opened("e", "n", "2", 2), [HEAD, None, turns])[2])
        leases.look("e")
        await trio.testing.wait_all_tasks_blocked()
        assert leases.held["e"].turns == {"n"}
        assert link.asked == ["turns"] * 5
        nursery.cancel_scope.cancel()


async def test_a_search_whose_finds_are_gone_taken_or_out_of_reach() -> None:
    found = [[b"c", 1.0]]
    answers: list[Callable[[], Any]] = []
    link = Link(zrange=lambda: found, exists=lambda: 0, take=lambda: answers.pop(0)())
    leases, ears = made(link)
    untaken: list[str] = []
    leases.after_not_taking = untaken.append  # type: ignore[method-assign]
    answers += [away, lambda: [b"held"]]
    with pytest.raises(StoreUnavailable):
        await leases.take_abandoned(at_once=True)
    assert await leases.take_abandoned(at_once=True) == 0
    assert untaken == ["c", "c"]
    answers.append(lambda: [b"taken", b"3", HEAD, None, [b"m", b"%016d02" % 7 + OPEN]])
    assert await leases.take_abandoned(at_once=True) == 1
    assert ears.given_turns == ["m"]
    assert leases.fence("c") == "3"
    assert not await leases._take("c", 1), "held by now"


def unforeseen() -> Any:
    raise RuntimeError("unforeseen")


async def test_what_nobody_foresaw_is_followed_by_another_round(autojump_clock: object) -> None:
    turns = [b"n", b"%016d01" % 7 + OPEN]
    fetches: list[Callable[[], Any]] = [unforeseen, lambda: [HEAD, None, turns]]
    link = Link(
        renew=lambda: unforeseen() if trio.current_time() < 2 * RENEW_S else 2,
        turns=lambda: fetches.pop(0)() if fetches else [],
        zrange=lambda: unforeseen() if trio.current_time() < 2 * RENEW_S else [],
    )
    leases, ears = made(link)
    leases.opened("c", "a", "1", 1)
    async with trio.open_nursery() as nursery:
        for task in (leases.renew, leases.fetch, leases.search):
            nursery.start_soon(task)
        await trio.sleep(5 * RENEW_S + 0.1)
        nursery.cancel_scope.cancel()
    assert ears.given_turns == ["m"]
    assert link.asked.count("zrange") > 2
    assert link.asked.count("turns") == 2


async def test_nothing_to_release_asks_nothing() -> None:
    link = Link()
    leases, _ = made(link)
    leases.held["c"] = Lease("1", 1)
    leases.lose("c")
    await leases.release()
    assert link.asked == []
    assert leases.held == {}
