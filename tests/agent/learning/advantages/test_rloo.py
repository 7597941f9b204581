"""RLOO against its definition: each attempt's reward minus the mean of the others'."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.rloo import leave_one_out_advantages

rewards = st.integers(-160, 160).map(lambda n: n / 32)
attempts = st.lists(st.tuples(st.one_of(st.none(), rewards), st.integers(0, 4)), min_size=1, max_size=30)


def written_out(rewards, groups):
    found = []
    for i, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        others = [r for j, (r, g) in enumerate(zip(rewards, groups, strict=True)) if j != i and g == group]
        others = [r for r in others if r is not None]
        found.append(0.0 if reward is None or not others else reward - math.fsum(others) / len(others))
    return found


@given(attempts=attempts)
def test_equals_the_formula(attempts):
    rewards, groups = zip(*attempts, strict=True)
    found = leave_one_out_advantages(rewards, groups)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, written_out(rewards, groups), rtol=1e-12, atol=1e-12)


def test_worked_example():
    # against 1, 0 and 0: mean 1/3; against the other three 2/3
    found = leave_one_out_advantages([1, 0, None, 1, 0], ["a"] * 5)
    np.testing.assert_allclose(found, [2 / 3, -2 / 3, 0, 2 / 3, -2 / 3], rtol=1e-12)


@given(reward=st.floats(-10, 10), size=st.integers(1, 9))
def test_equal_rewards_have_exactly_none(reward, size):
    found = leave_one_out_advantages([reward] * size + [0.0, 1.0], ["x"] * size + ["y", "y"])
    assert found.tolist() == [0.0] * size + [-1.0, 1.0]


@given(attempts=attempts, data=st.data())
def test_permuted_attempts_have_permuted_advantages(attempts, data):
    order = data.draw(st.permutations(range(len(attempts))))
    rewards, groups = zip(*attempts, strict=True)
    permuted = leave_one_out_advantages([rewards[i] for i in order], [groups[i] for i in order])
    np.testing.assert_allclose(permuted, leave_one_out_advantages(rewards, groups)[order], rtol=1e-12, atol=1e-12)


@given(attempts=attempts, shifts=st.lists(rewards, min_size=5, max_size=5))
def test_what_all_rewards_of_a_group_share_counts_for_nothing(attempts, shifts):
    rewards, groups = zip(*attempts, strict=True)
    shifted = [None if reward is None else reward + shifts[group] for reward, group in attempts]
    found = leave_one_out_advantages(shifted, groups)
    np.testing.assert_allclose(found, leave_one_out_advantages(rewards, groups), rtol=1e-12, atol=1e-12)


def test_no_attempts_give_no_advantages():
    assert leave_one_out_advantages([], []).shape == (0,)


def test_refuses_keys_that_do_not_match():
    with pytest.raises(ValueError, match="2 rewards but 1 group keys"):
        leave_one_out_advantages([0.0, 1.0], ["a"])
