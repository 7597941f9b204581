"""Monte-Carlo, n-step and lambda returns and GAE against their sums written out term by term."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.returns import discounted_returns, gae, lambda_returns, n_step_returns

unit = st.floats(-1, 1, allow_subnormal=False)
decisions = st.lists(st.tuples(unit, unit), max_size=20)
share = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, allow_subnormal=False))
close = {"rtol": 1e-12, "atol": 1e-12}


def columns(decisions):
    return [reward for reward, _ in decisions], [value for _, value in decisions]


def n_step(rewards, values, n, discount, bootstrap):
    """Sutton & Barto 2018, equation 7.1; beyond the last decision there is the bootstrap value alone."""
    count, after, found = len(rewards), [*values, bootstrap], []
    for t in range(count):
        end = min(t + n, count)
        terms = [discount ** (k - t) * rewards[k] for k in range(t, end)]
        found.append(math.fsum([*terms, discount ** (end - t) * after[end]]))
    return found


def lambda_mean(rewards, values, discount, lam, bootstrap):
    """Equation 12.3: the mean of the n-step returns, the last of them with all the weight that is left."""
    count = len(rewards)
    by_n = {n: n_step(rewards, values, n, discount, bootstrap) for n in range(1, count + 1)}
    found = []
    for t in range(count):
        left = count - t
        terms = [(1 - lam) * lam ** (n - 1) * by_n[n][t] for n in range(1, left)]
        found.append(math.fsum([*terms, lam ** (left - 1) * by_n[left][t]]))
    return found


def sum_of_errors(rewards, values, discount, lam, bootstrap):
    """arXiv:1506.02438, equation 16."""
    after = [*values, bootstrap]
    errors = [reward + discount * after[t + 1] - after[t] for t, reward in enumerate(rewards)]
    return [
        math.fsum((discount * lam) ** (k - t) * errors[k] for k in range(t, len(rewards))) for t in range(len(rewards))
    ]


@given(decisions=decisions, discount=share, bootstrap=unit)
def test_monte_carlo_returns_equal_the_formula(decisions, discount, bootstrap):
    rewards, values = columns(decisions)
    expected = n_step(rewards, values, len(rewards), discount, bootstrap)
    np.testing.assert_allclose(discounted_returns(rewards, discount, bootstrap), expected, **close)


@given(decisions=decisions, n=st.integers(1, 25), discount=share, bootstrap=unit)
def test_n_step_returns_equal_the_formula(decisions, n, discount, bootstrap):
    rewards, values = columns(decisions)
    expected = n_step(rewards, values, n, discount, bootstrap)
    np.testing.assert_allclose(n_step_returns(rewards, values, n, discount, bootstrap), expected, **close)


@given(decisions=decisions, discount=share, lam=share, bootstrap=unit)
def test_lambda_returns_equal_the_formula(decisions, discount, lam, bootstrap):
    rewards, values = columns(decisions)
    expected = lambda_mean(rewards, values, discount, lam, bootstrap)
    np.testing.assert_allclose(lambda_returns(rewards, values, discount, lam, bootstrap), expected, **close)


@given(decisions=decisions, discount=share, lam=share, bootstrap=unit)
def test_gae_equals_the_formula(decisions, discount, lam, bootstrap):
    rewards, values = columns(decisions)
    expected = sum_of_errors(rewards, values, discount, lam, bootstrap)
    np.testing.assert_allclose(gae(rewards, values, discount, lam, bootstrap), expected, **close)


@given(decisions=decisions, discount=share, lam=share, bootstrap=unit)
def test_advantages_plus_values_are_lambda_returns(decisions, discount, lam, bootstrap):
    rewards, values = columns(decisions)
    found = gae(rewards, values, discount, lam, bootstrap) + values
    np.testing.assert_allclose(found, lambda_returns(rewards, values, discount, lam, bootstrap), **close)


@given(decisions=decisions, discount=share, bootstrap=unit)
def test_the_family_has_one_step_and_monte_carlo_as_its_ends(decisions, discount, bootstrap):
    rewards, values = columns(decisions)
    one_step = n_step_returns(rewards, values, 1, discount, bootstrap)
    whole = discounted_returns(rewards, discount, bootstrap)
    np.testing.assert_allclose(lambda_returns(rewards, values, discount, 0.0, bootstrap), one_step, **close)
    np.testing.assert_allclose(lambda_returns(rewards, values, discount, 1.0, bootstrap), whole, **close)
    np.testing.assert_allclose(n_step_returns(rewards, values, 20, discount, bootstrap), whole, **close)


def test_worked_example_terminated_and_truncated():
    rewards, values = [0.0, 0.0, 1.0], [0.5, 0.25, 0.75]
    assert n_step_returns(rewards, values, 1, 0.5).tolist() == [0.125, 0.375, 1.0]
    assert n_step_returns(rewards, values, 1, 0.5, bootstrap=2.0).tolist() == [0.125, 0.375, 2.0]
    # delta: 0.125 - 0.5, 0.375 - 0.25, 1 - 0.75 and, cut off before a state worth 2, 2 - 0.75; they fade by 0.25
    assert gae(rewards, values, 0.5, 0.5).tolist() == [-0.328125, 0.1875, 0.25]
    assert gae(rewards, values, 0.5, 0.5, bootstrap=2.0).tolist() == [-0.265625, 0.4375, 1.25]


def test_a_long_attempt_is_exact_too():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 4000)).astype(np.float32)
    found = gae(rewards, values, 0.99, 0.95, bootstrap=0.5)
    assert found.dtype == np.float64
    targets = lambda_returns(rewards, values, 0.99, 0.95, bootstrap=0.5)
    np.testing.assert_allclose(found + values, targets, **close)
    np.testing.assert_allclose(
        found[-300:], sum_of_errors(*np.float64([rewards, values])[:, -300:], 0.99, 0.95, 0.5), **close
    )


def test_no_decisions_have_no_returns():
    assert discounted_returns([], 1.0, 5.0).shape == (0,)
    assert n_step_returns([], [], 3, 1.0, 5.0).shape == (0,)
    assert lambda_returns([], [], 1.0, 0.5, 5.0).shape == gae([], [], 1.0, 0.5, 5.0).shape == (0,)


@pytest.mark.parametrize("returns", [lambda_returns, gae])
def test_refuses_values_that_do_not_match(returns):
    with pytest.raises(ValueError, match=r"rewards of shape \(2,\) but values of shape \(1,\)"):
        returns([0.0, 1.0], [0.5], 1.0, 0.5)


def test_refuses_no_steps():
    with pytest.raises(ValueError, match="returns over 0 steps"):
        n_step_returns([0.0], [0.0], 0, 1.0)
