"""Turn-level credit against its formula, written out group by group."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.turns import turn_advantages

grid = st.integers(-8, 8).map(lambda n: n / 4)
attempts = st.lists(st.tuples(st.one_of(st.none(), st.lists(grid, max_size=5)), st.integers(0, 2)), max_size=10)
scales = pytest.mark.parametrize("scale", ["group", "batch", "none"])
close = {"rtol": 1e-12, "atol": 1e-12}


def deviation(values):
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))


def written_out(attempts, scale, discount):
    returns = [
        [math.fsum(discount ** (k - t) * rewards[k] for k in range(t, len(rewards))) for t in range(len(rewards))]
        for rewards in (rewards or [] for rewards, _ in attempts)
    ]
    everything, found = [value for row in returns for value in row], []
    for row, (_, group) in zip(returns, attempts, strict=True):
        own = [value for other, (_, key) in zip(returns, attempts, strict=True) if key == group for value in other]
        by = {"group": deviation(own or [0]), "batch": deviation(everything or [0]), "none": 1 - 1e-4}[scale] + 1e-4
        found.append([(value - math.fsum(own) / len(own)) / by for value in row])
    return found


@scales
@given(attempts=attempts, discount=st.sampled_from([0.0, 0.5, 1.0]))
def test_equals_the_formula(scale, attempts, discount):
    found = turn_advantages([a[0] for a in attempts], [a[1] for a in attempts], scale, discount)
    assert [len(row) for row in found] == [len(rewards or ()) for rewards, _ in attempts]
    for mine, theirs in zip(found, written_out(attempts, scale, discount), strict=True):
        np.testing.assert_allclose(mine, theirs, **close)


def test_a_late_turn_is_compared_with_all_turns():
    # of the second turns only the failure's is there: by its number it would have nothing to be worse than
    found = turn_advantages([[1.0], [0.0, 0.0]], ["a", "a"], "none")
    np.testing.assert_allclose(np.concatenate(found), [2 / 3, -1 / 3, -1 / 3], rtol=1e-12)


@scales
@given(attempts=attempts, shift=grid)
def test_what_all_turns_of_all_share_counts_for_nothing(scale, attempts, shift):
    groups = [group for _, group in attempts]
    shifted = [None if rewards is None else [reward + shift for reward in rewards] for rewards, _ in attempts]
    straight = turn_advantages([rewards for rewards, _ in attempts], groups, scale, discount=0.0)
    for mine, theirs in zip(turn_advantages(shifted, groups, scale, discount=0.0), straight, strict=True):
        np.testing.assert_allclose(mine, theirs, **close)


@scales
@given(attempts=attempts, data=st.data())
def test_permuted_attempts_have_permuted_advantages(scale, attempts, data):
    order = data.draw(st.permutations(range(len(attempts))))
    straight = turn_advantages([a[0] for a in attempts], [a[1] for a in attempts], scale, 0.5)
    permuted = turn_advantages([attempts[i][0] for i in order], [attempts[i][1] for i in order], scale, 0.5)
    for mine, i in zip(permuted, order, strict=True):
        np.testing.assert_allclose(mine, straight[i], **close)


def test_equal_returns_have_exactly_none():
    found = turn_advantages([[0.0, 0.1], [0.1]], ["a", "a"], "group")
    assert [row.tolist() for row in found] == [[0.0, 0.0], [0.0]]


def test_refuses_keys_that_do_not_match():
    with pytest.raises(ValueError, match="1 attempts but 0 group keys"):
        turn_advantages([[0.0]], [])
