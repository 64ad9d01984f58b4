"""The batching decision, without threads or clocks."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.errors import Overloaded
from csgate.inference.schedule import BatchPlan, Schedule

BUCKETS = (1, 2, 4, 8)
FLAT = dict.fromkeys(BUCKETS, 0.01)
"""What a GPU costs: the same for any size."""


@dataclass(eq=False)
class Waiting:
    name: str = ""
    principal: str = "p"
    priority: int = 1
    deadline: float = 100.0
    arrived: float = 0.0
    taken: int = field(default=0, compare=False)


def schedule(max_items: int = 100, costs: dict[int, float] | None = None, **options: object) -> Schedule[Waiting]:
    return Schedule(BatchPlan(BUCKETS, costs or FLAT), max_items=max_items, **options)  # type: ignore[arg-type]


def names(items: list[Waiting]) -> list[str]:
    return [item.name for item in items]


# --- The plan --------------------------------------------------------------------------------------------------------


def test_where_padding_is_free_a_batch_is_padded() -> None:
    plan = BatchPlan(BUCKETS, FLAT)
    assert [plan.size(n) for n in range(1, 12)] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert plan.most == 8


def test_where_rows_cost_a_batch_is_cut_to_a_bucket() -> None:
    plan = BatchPlan(BUCKETS, {bucket: 0.000_3 * bucket for bucket in BUCKETS})
    assert [plan.size(n) for n in range(1, 10)] == [1, 2, 2, 4, 4, 4, 4, 8, 8]


def test_some_are_kept_back_for_the_device_to_go_on_with() -> None:
    """All eight at once would leave it idle until their callers have come again; all nine cannot run at once."""
    costs = {4: 0.001, 8: 0.002_05}
    assert BatchPlan((4, 8), costs).size(8) == 4
    assert BatchPlan((4, 8), costs).size(9) == 8


def test_a_little_speed_is_given_up_for_a_shorter_wait() -> None:
    plan = BatchPlan(BUCKETS, {bucket: 0.1 * bucket for bucket in BUCKETS})
    assert plan.most == 1


def test_where_items_are_long_in_preparing_batches_are_small() -> None:
    """Pictures on a CPU: a tenth of a millisecond saved a batch is little beside their decoding."""
    plan = BatchPlan(BUCKETS, {bucket: 0.000_4 * bucket for bucket in BUCKETS})
    assert plan.most == 8
    assert plan.prepared_in(0.000_4).most == 2
    assert BatchPlan(BUCKETS, FLAT).prepared_in(0.000_1).most == 8


def test_what_preparing_takes_is_learned() -> None:
    plan = BatchPlan(BUCKETS, {bucket: 0.000_4 * bucket for bucket in BUCKETS})
    queue: Schedule[Waiting] = Schedule(plan, max_items=100, workers=1)

    def sizes(count: int, prepare_s: float) -> list[int]:
        taken = []
        for _ in range(count):
            while len(queue) < 20:
                queue.offer(Waiting())
            batch = queue.take(0.0).batch
            taken.append(len(batch))
            queue.release(len(batch), prepare_s * len(batch))
        return taken

    slow = sizes(60, 0.000_4)
    assert (slow[0], slow[-1]) == (8, 2)
    fast = sizes(60, 0.000_01)
    assert (fast[0], fast[-1]) == (2, 8)


def test_without_measurements_rows_are_taken_to_cost() -> None:
    plan = BatchPlan(BUCKETS)
    assert plan.size(5) == 4
    assert [plan.bucket(rows) for rows in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]


# --- The schedule ----------------------------------------------------------------------------------------------------


def test_nothing_waits() -> None:
    decision = schedule().take(0.0)
    assert (decision.batch, decision.expired, decision.wait_until) == ([], [], None)


def test_the_bound_is_a_typed_refusal_with_a_time() -> None:
    queue = schedule(2)
    queue.offer(Waiting())
    queue.offer(Waiting())
    with pytest.raises(Overloaded) as caught:
        queue.offer(Waiting())
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 0.1
    assert len(queue) == 2
    queue.take(0.0)
    queue.offer(Waiting())


def test_urgent_classes_go_first() -> None:
    queue = schedule()
    for name, priority in (("late", 2), ("usual", 1), ("urgent", 0)):
        queue.offer(Waiting(name, priority=priority))
    assert names(queue.take(0.0).batch) == ["urgent", "usual", "late"]


def test_principals_of_a_class_take_turns() -> None:
    queue = schedule()
    for number in range(5):
        queue.offer(Waiting(f"greedy{number}", "greedy"))
    queue.offer(Waiting("a0", "a"))
    queue.offer(Waiting("b0", "b"))
    queue.offer(Waiting("a1", "a"))
    assert names(queue.take(0.0).batch) == ["greedy0", "a0", "b0", "greedy1", "a1", "greedy2", "greedy3", "greedy4"]


def test_expired_items_are_set_aside_and_cost_no_room_in_the_batch() -> None:
    queue = schedule()
    for number in range(8):
        queue.offer(Waiting(f"old{number}", deadline=1.0))
    queue.offer(Waiting("new"))
    decision = queue.take(1.0)
    assert names(decision.batch) == ["new"]
    assert len(decision.expired) == 8
    assert len(queue) == 0


def test_only_expired_items_make_no_batch_and_take_no_worker() -> None:
    queue = schedule(workers=1)
    queue.offer(Waiting(deadline=1.0))
    decision = queue.take(2.0)
    assert (decision.batch, len(decision.expired)) == ([], 1)


def test_abandoned_items_leave_at_once() -> None:
    queue = schedule(2)
    first, second = Waiting("first", "a"), Waiting("second", "a")
    queue.offer(first)
    queue.offer(second)
    assert queue.discard(first)
    assert not queue.discard(first)
    assert len(queue) == 1
    assert names(queue.take(0.0).batch) == ["second"]
    assert not queue.discard(second)


def test_discarding_the_last_item_of_a_class_forgets_the_class() -> None:
    queue = schedule()
    item = Waiting(priority=0)
    queue.offer(item)
    queue.discard(item)
    queue.offer(Waiting("next", priority=3))
    assert names(queue.take(0.0).batch) == ["next"]


def test_without_a_delay_one_item_is_enough() -> None:
    queue = schedule()
    queue.offer(Waiting("one"))
    assert names(queue.take(0.0).batch) == ["one"]


def test_a_delay_counts_from_the_first_item() -> None:
    queue = schedule(max_delay_s=0.5)
    queue.offer(Waiting("one", arrived=10.0))
    queue.offer(Waiting("two", arrived=10.4))
    decision = queue.take(10.4)
    assert (decision.batch, decision.wait_until) == ([], 10.5)
    assert names(queue.take(10.5).batch) == ["one", "two"]


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    queue = schedule(max_delay_s=0.5)
    for number in range(8):
        queue.offer(Waiting(str(number), arrived=10.0))
    assert len(queue.take(10.0).batch) == 8


def test_parallel_workers_share_what_waits() -> None:
    queue = schedule(workers=2, parallel=True)
    for number in range(6):
        queue.offer(Waiting(str(number)))
    assert len(queue.take(0.0).batch) == 3
    assert len(queue.take(0.0).batch) == 3
    queue.release()
    queue.release()
    for number in range(6):
        queue.offer(Waiting(str(number)))
    assert len(queue.take(0.0).batch) == 3


def test_workers_that_take_turns_fill_their_batches() -> None:
    queue = schedule(workers=2)
    for number in range(6):
        queue.offer(Waiting(str(number)))
    assert len(queue.take(0.0).batch) == 6


def test_draining_empties_it() -> None:
    queue = schedule()
    for priority in (0, 1):
        queue.offer(Waiting(priority=priority))
    assert len(queue.drain()) == 2
    assert len(queue) == 0
    assert queue.take(0.0).batch == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.integers(0, 2), st.sampled_from("abc"), st.floats(0, 20)),
            st.tuples(st.just("take"), st.just(0), st.just(""), st.just(0.0)),
            st.tuples(st.just("discard"), st.integers(0, 50), st.just(""), st.just(0.0)),
        ),
        max_size=60,
    )
)
def test_every_item_comes_out_exactly_once(steps: list[tuple[str, int, str, float]]) -> None:
    queue = schedule(max_items=20, workers=3, parallel=True, costs={b: 0.01 * b for b in BUCKETS})
    inside: list[Waiting] = []
    now = 0.0
    for step, number, principal, life in steps:
        now += 1.0
        if step == "offer":
            item = Waiting(principal=principal, priority=number, deadline=now + life, arrived=now)
            try:
                queue.offer(item)
            except Overloaded:
                assert len(inside) == 20
            else:
                inside.append(item)
        elif step == "discard" and inside:
            assert queue.discard(inside.pop(number % len(inside)))
        elif step == "take":
            decision = queue.take(now)
            assert len(decision.batch) <= 8
            assert all(item.deadline > now for item in decision.batch)
            assert all(item.deadline <= now for item in decision.expired)
            for item in (*decision.batch, *decision.expired):
                inside.remove(item)
            if decision.batch:
                queue.release()
            assert decision.batch or decision.expired or not inside
        assert len(queue) == len(inside)
    assert sorted(map(id, queue.drain())) == sorted(map(id, inside))
