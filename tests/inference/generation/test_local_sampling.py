from collections import Counter

import numpy as np
import pytest

from csgate.inference.generation.local_sampling import FAILED, Chooser, choose
from csgate.inference.generation.request import Sampling

LOGITS = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))


def draw(sampling: Sampling, times: int, top_k: int = 50) -> Counter[int]:
    chooser = Chooser(sampling, ())
    return Counter(choose(LOGITS.copy(), [chooser], top_k)[0] for _ in range(times))


def test_temperature_0_takes_the_likeliest() -> None:
    assert draw(Sampling(temperature=0), 20) == {0: 20}


def test_the_model_s_own_distribution_at_temperature_1() -> None:
    counts = draw(Sampling(temperature=1, top_p=1, seed=1), 4000)
    assert [counts[token] / 4000 for token in range(4)] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_top_p_takes_the_fewest_that_reach_it() -> None:
    assert set(draw(Sampling(temperature=1, top_p=0.79, seed=1), 500)) == {0, 1}
    assert set(draw(Sampling(temperature=1, top_p=0.81, seed=1), 500)) == {0, 1, 2}
    assert set(draw(Sampling(temperature=1, top_p=0.01, seed=1), 50)) == {0}


def test_top_k_takes_so_many() -> None:
    assert set(draw(Sampling(temperature=1, top_p=1, seed=1), 500, top_k=2)) == {0, 1}
    assert set(draw(Sampling(temperature=1, top_p=1, seed=1), 500, top_k=0)) == {0, 1, 2, 3}


def test_next_to_no_temperature_takes_the_likeliest() -> None:
    assert draw(Sampling(temperature=5e-324, top_p=1, seed=1), 20) == {0: 20}


def test_a_low_temperature_sharpens() -> None:
    assert draw(Sampling(temperature=0.2, top_p=1, seed=1), 1000)[0] > 900


def test_a_seed_gives_the_same_draws_whatever_runs_beside_it() -> None:
    def tokens(others: int) -> list[int]:
        random = np.random.default_rng(others)
        choosers = [Chooser(Sampling(temperature=1, top_p=1, seed=7), ())]
        choosers += [Chooser(Sampling(temperature=1.5), ()) for _ in range(others)]
        rows = [np.concatenate([LOGITS, random.random((others, 4), np.float32)]) for _ in range(30)]
        return [choose(row, choosers, 50)[0] for row in rows]

    assert tokens(0) == tokens(3) == tokens(7)
    assert len(set(tokens(0))) > 1


def test_any_number_is_a_seed() -> None:
    for seed in (-5, 0, 2**80):
        assert draw(Sampling(temperature=1, top_p=1, seed=seed), 40) == draw(
            Sampling(temperature=1, top_p=1, seed=seed), 40
        )


def test_greedy_and_drawn_rows_may_stand_side_by_side() -> None:
    sure, loose = Chooser(Sampling(temperature=0), ()), Chooser(Sampling(temperature=2, top_p=1, seed=3), ())
    got = [choose(np.repeat(LOGITS, 2, axis=0), [sure, loose], 50) for _ in range(50)]
    assert {first for first, _ in got} == {0}
    assert len({second for _, second in got}) > 1


def test_a_repetition_penalty_passes_over_what_was_there() -> None:
    chooser = Chooser(Sampling(temperature=0), [0], penalty=2.0)
    logits = np.array([[3.0, 2.0, -1.0, -1.2]], np.float32)
    assert choose(logits.copy(), [chooser], 50) == [1]
    chooser.note(1)
    assert choose(logits.copy(), [chooser], 50) == [0]
    assert choose(np.array([[-1.0, -1.5, -1.8, -9]], np.float32), [chooser], 50) == [2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_without_numbers_fails_alone(value: float) -> None:
    rows = np.concatenate([LOGITS, LOGITS])
    rows[0, 2] = value
    choosers = [Chooser(Sampling(temperature=0.5, top_p=0.1), ()) for _ in range(2)]
    assert choose(rows, choosers, 50) == [FAILED, 0]
