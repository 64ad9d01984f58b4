"""The circuit breaker against a plain model of it."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Held
from hypothesis.stateful import RuleBasedStateMachine, consumes, initialize, invariant, rule

from csgate.inference.generation.breaker import TRANSITIONS, Breaker, BreakerState, Permit

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def taken(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def test_opens_after_so_many_in_a_row() -> None:
    breaker = Breaker(3, 10.0)
    for went in ("fail", "fail", "succeed", "fail", "release", "fail"):
        getattr(taken(breaker, 0.0), went)(0.0)
        assert breaker.state is CLOSED
    taken(breaker, 1.0).fail(2.0)
    assert breaker.state is OPEN
    assert breaker.admit(11.9) is None
    assert breaker.retry_after(5.0) == 7.0


def test_one_probe_decides() -> None:
    breaker = Breaker(1, 10.0)
    taken(breaker, 0.0).fail(0.0)
    probe = taken(breaker, 10.0)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(10.0) is None
    assert breaker.retry_after(10.0) == 0.0
    probe.fail(12.0)
    assert breaker.admit(21.9) is None
    taken(breaker, 22.0).succeed(23.0)
    assert breaker.state is CLOSED
    assert breaker.retry_after(23.0) == 0.0


def test_a_probe_without_a_verdict_makes_room_for_another() -> None:
    breaker = Breaker(1, 10.0)
    taken(breaker, 0.0).fail(0.0)
    first = taken(breaker, 10.0)
    first.release(11.0)
    second = taken(breaker, 11.0)
    first.fail(11.0)  # it had its say
    assert breaker.state is HALF_OPEN
    second.succeed(12.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("went", ["succeed", "fail", "release"])
def test_what_began_before_it_opened_says_nothing(went: str) -> None:
    breaker = Breaker(1, 10.0)
    old, bad = taken(breaker, 0.0), taken(breaker, 0.0)
    bad.fail(1.0)
    getattr(old, went)(2.0)
    assert breaker.state is OPEN
    assert breaker.retry_after(2.0) == 9.0
    taken(breaker, 11.0)
    assert breaker.admit(11.0) is None


class BreakerMachine(RuleBasedStateMachine):
    """The model: state, failures in a row, the moment it rests until, and which permits still count."""

    permits = Held("permits")

    @initialize(limit=st.integers(1, 4), open_s=st.floats(0.5, 20))
    def start(self, limit: int, open_s: float) -> None:
        self.breaker = Breaker(limit, open_s)
        self.limit, self.open_s = limit, open_s
        self.state, self.row, self.until, self.now = CLOSED, 0, 0.0, 0.0
        self.counting: set[Permit] = set()

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits)
    def ask(self) -> Permit | None:
        if self.state is OPEN and self.now >= self.until:
            self.move(HALF_OPEN)
        let_in = self.state is CLOSED or (self.state is HALF_OPEN and not self.counting)
        permit = self.breaker.admit(self.now)
        assert (permit is not None) == let_in
        if permit is not None:
            self.counting.add(permit)
        return permit

    @rule(permit=consumes(permits), went=st.sampled_from(["succeed", "fail", "release"]), twice=st.booleans())
    def settle(self, permit: Permit | None, went: str, twice: bool) -> None:
        if permit is None:
            return
        getattr(permit, went)(self.now)
        if twice:
            permit.fail(self.now)
        if permit not in self.counting:
            return
        self.counting.discard(permit)
        if went == "fail":
            self.row += 1
            if self.state is HALF_OPEN or self.row >= self.limit:
                self.until = self.now + self.open_s
                self.move(OPEN)
        elif went == "succeed":
            self.row = 0
            if self.state is HALF_OPEN:
                self.move(CLOSED)

    def move(self, state: BreakerState) -> None:
        assert state in {to for (origin, _), to in TRANSITIONS.items() if origin is self.state}
        self.state, self.row = state, 0
        self.counting.clear()

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.state is self.state
            assert 0 <= self.breaker.retry_after(self.now) <= self.open_s + 1e-6


TestBreakerMachine = BreakerMachine.TestCase
