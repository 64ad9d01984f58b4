"""Turns: so many in a pass of the loop, in order, and none that waits is forgotten."""

import trio
import trio.testing

from csgate.gateway.pace import A_PASS, take_turn


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_no_more_than_so_many_in_a_pass_and_first_come_first_served() -> None:
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    taken: list[tuple[int, int]] = []

    async def work(number: int) -> None:
        await take_turn()
        taken.append((passes.count, number))

    async with trio.open_nursery() as nursery:
        for number in range(10 * A_PASS):
            nursery.start_soon(work, number)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
        nursery.start_soon(work, -1)
    trio.lowlevel.remove_instrument(passes)
    assert [number for _, number in taken] == [*range(10 * A_PASS), -1]

    taken.clear()
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    async with trio.open_nursery() as nursery:
        for number in range(10 * A_PASS):
            nursery.start_soon(work, number)
    trio.lowlevel.remove_instrument(passes)
    assert sorted(number for _, number in taken) == list(range(10 * A_PASS))
    by_pass = [sum(1 for at, _ in taken if at == one) for one in {at for at, _ in taken}]
    assert max(by_pass) <= A_PASS
    assert len(by_pass) >= 10


async def test_one_alone_never_waits() -> None:
    for _ in range(5 * A_PASS):
        with trio.testing.assert_no_checkpoints():
            await take_turn()
        await trio.testing.wait_all_tasks_blocked()


async def test_who_leaves_the_line_costs_nobody_a_turn() -> None:
    done = 0

    async def work(scope: trio.CancelScope) -> None:
        nonlocal done
        with scope:
            await take_turn()
            done += 1

    scopes = [trio.CancelScope() for _ in range(6 * A_PASS)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(work, scope)
        await trio.lowlevel.checkpoint()
        for scope in scopes[::2]:
            scope.cancel()
    assert done >= 3 * A_PASS
    with trio.fail_after(1):
        for _ in range(3 * A_PASS):
            await take_turn()
