"""Which tasks are worth attempting: those that are neither solved nor hopeless, and those that nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chance import keyed_rng
from journeyman.agent.exploration.curriculum import best, contrast, thompson_scores, ucb_scores

records = st.lists(
    st.integers(0, 5000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=20
)


def columns(found):
    attempts, successes = zip(*found, strict=True)
    return np.array(attempts), np.array(successes)


def test_contrast_is_greatest_in_the_middle() -> None:
    np.testing.assert_allclose(contrast(np.array([0.0, 0.25, 0.5, 0.75, 1.0])), [0, 0.75, 1, 0.75, 0])


def test_ucb_worked_example() -> None:
    # N = 12, S = 5: prior rate 6/14; rates (4 + 6/7) / 10, (6/7) / 4, (1 + 6/7) / 4; logs of 13
    rate = np.array([34 / 70, 6 / 28, 13 / 28])
    expected = 4 * rate * (1 - rate) + 0.5 * np.sqrt(2 * np.log(13) / np.array([10, 4, 4]))
    np.testing.assert_allclose(ucb_scores(np.array([8, 2, 2]), np.array([8, 2, 2]), np.array([4, 0, 1]), 0.5), expected)


@given(records, st.floats(0, 2))
def test_ucb_is_between_the_contrast_and_the_bonus_of_the_untried(found, explore) -> None:
    attempts, successes = columns(found)
    scores = ucb_scores(attempts, attempts, successes, explore)
    assert np.all(scores >= 0)
    assert np.all(scores <= 1 + explore * np.sqrt(np.log1p(attempts.sum())) + 1e-9)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.01, 0.99), st.floats(0.1, 2))
def test_of_two_tasks_alike_the_one_tried_less_comes_first(few, more, rate, explore) -> None:
    attempts = np.array([100 * few, 100 * (few + more)])
    successes = np.round(attempts * round(rate, 2)).astype(int)
    without, with_bonus = (ucb_scores(attempts, attempts, successes, e) for e in (0.0, explore))
    bonus = with_bonus - without
    assert bonus[0] > bonus[1] > 0


def test_the_known_middle_beats_both_ends() -> None:
    attempts, successes = np.array([800, 800, 800]), np.array([0, 400, 800])
    assert np.argmax(ucb_scores(attempts, attempts, successes, 0.25)) == 1
    draws = [np.argmax(thompson_scores(attempts, attempts, successes, keyed_rng(i))) for i in range(50)]
    assert set(draws) == {1}


def test_a_task_never_tried_is_an_ordinary_one() -> None:
    hopeless_run = ucb_scores(np.array([400, 0, 8]), np.array([400, 0, 8]), np.array([0, 0, 4]), 0.0)
    assert hopeless_run[2] > hopeless_run[1] > hopeless_run[0]


@given(records, st.integers(0, 99))
def test_thompson_is_in_range_and_keyed(found, seed) -> None:
    attempts, successes = columns(found)
    scores = thompson_scores(attempts, attempts, successes, keyed_rng(seed))
    assert np.all((scores >= 0) & (scores <= 1))
    np.testing.assert_array_equal(scores, thompson_scores(attempts, attempts, successes, keyed_rng(seed)))


def test_attempts_that_broke_promise_nothing() -> None:
    """Of two tasks alike in what was judged the one that broke less is chosen; one that always broke is no find."""
    attempts, judged, successes = np.array([16, 8, 80]), np.array([8, 8, 0]), np.array([4, 4, 0])
    scores = ucb_scores(attempts, judged, successes, 0.0)
    np.testing.assert_allclose(scores[0], scores[1] * 10 / 18)
    assert scores[2] <= 2 / 82 < scores[0]
    drawn = np.mean([thompson_scores(attempts, judged, successes, keyed_rng(i)) for i in range(200)], axis=0)
    np.testing.assert_allclose(drawn[0], drawn[1] * 10 / 18, rtol=0.1)
    assert drawn[2] <= 2 / 82


def test_thompson_explores_what_is_uncertain() -> None:
    attempts, successes = np.array([40, 4]), np.array([20, 1])
    first = [np.argmax(thompson_scores(attempts, attempts, successes, keyed_rng("t", i))) for i in range(400)]
    assert 20 < sum(first) < 200


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(1, 25), st.integers(0, 99))
def test_best_takes_the_highest_each_once(scores, count, seed) -> None:
    values = np.array(scores, dtype=float)
    found = best(values, count, keyed_rng(seed))
    assert len(set(found.tolist())) == len(found) == min(count, len(scores))
    assert values[found].tolist() == sorted(scores, reverse=True)[:count]
    np.testing.assert_array_equal(found, best(values, count, keyed_rng(seed)))


def test_ties_are_drawn() -> None:
    assert len({best(np.zeros(10), 1, keyed_rng(i))[0] for i in range(200)}) == 10


def test_refuses_more_successes_than_attempts() -> None:
    with pytest.raises(ValueError, match="more successes than judged attempts"):
        ucb_scores(np.array([1]), np.array([1]), np.array([2]))
