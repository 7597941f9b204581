"""REINFORCE with a batch baseline, and REINFORCE++, against their formulas written out token by token."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.agent.learning.advantages.batch import (
    ReinforcePlusPlusEstimator,
    batch_advantages,
    normalised_over_batch,
)

grid = st.integers(-160, 160).map(lambda n: n / 32)
some_rewards = st.lists(st.one_of(st.none(), grid), max_size=20)
attempts = st.lists(st.tuples(st.one_of(st.none(), grid), st.lists(grid, max_size=6)), max_size=10)
close = {"rtol": 1e-12, "atol": 1e-12}


@given(rewards=some_rewards)
def test_the_baseline_is_the_mean_of_the_batch(rewards):
    known = [reward for reward in rewards if reward is not None]
    mean = math.fsum(known) / max(len(known), 1)
    np.testing.assert_allclose(batch_advantages(rewards), [0 if r is None else r - mean for r in rewards], **close)


@given(reward=st.floats(-10, 10), size=st.integers(0, 9))
def test_equal_rewards_have_exactly_none(reward, size):
    assert batch_advantages([reward] * size).tolist() == [0.0] * size
    rows = [np.full(3, reward)] * size
    assert [row.tolist() for row in normalised_over_batch(rows, [True] * size)] == [[0.0] * 3] * size


@given(rewards=some_rewards, shift=grid)
def test_what_all_rewards_share_counts_for_nothing(rewards, shift):
    shifted = batch_advantages([None if reward is None else reward + shift for reward in rewards])
    np.testing.assert_allclose(shifted, batch_advantages(rewards), **close)


def reinforce_plus_plus(rewards, kl, beta, discount=1.0):
    """What the estimator gives the tokens of attempts with this KL at each."""
    told = [
        Attempt(
            "g", reward, np.zeros(len(row), np.intp), (0.0,), log_ratios_N=np.array(row, np.float64), kl_weight=beta
        )
        for reward, row in zip(rewards, kl, strict=True)
    ]
    return [credit.advantages_N for credit in ReinforcePlusPlusEstimator(discount).credit(told)]


def written_out(attempts, beta, discount):
    """A_t = r - beta x the KL from t on, minus the mean over the tokens of the batch, over their deviation."""
    returns = [
        [
            discount ** (len(kl) - 1 - t) * (reward or 0.0)
            - math.fsum(beta * discount ** (k - t) * kl[k] for k in range(t, len(kl)))
            for t in range(len(kl))
        ]
        for reward, kl in attempts
    ]
    pooled = [value for (reward, _), row in zip(attempts, returns, strict=True) if reward is not None for value in row]
    mean = math.fsum(pooled) / max(len(pooled), 1)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in pooled) / max(len(pooled) - 1, 1))
    return [
        [0.0 if reward is None else (value - mean) / (std + 1e-4) for value in row]
        for (reward, _), row in zip(attempts, returns, strict=True)
    ]


@given(attempts=attempts, beta=st.sampled_from([0.0, 0.125, 1.0]), discount=st.sampled_from([0.5, 1.0]))
def test_reinforce_plus_plus_equals_the_formula(attempts, beta, discount):
    rewards, kl = [reward for reward, _ in attempts], [row for _, row in attempts]
    found = reinforce_plus_plus(rewards, kl, beta, discount)
    expected = written_out(attempts, beta, discount)
    assert [len(row) for row in found] == [len(row) for row in kl]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, **close)


def test_reinforce_plus_plus_worked_example():
    # returns 1 and 1, and -0.1 twice, since the second token pays 0.1: their mean is 0.45; None enters nothing
    found = reinforce_plus_plus([1.0, None, 0.0], [[0.0, 0.0], [9.0], [0.0, 1.0]], beta=0.1)
    values = np.array([1.0, 1.0, -0.1, -0.1])
    expected = (values - 0.45) / (values.std(ddof=1) + 1e-4)
    np.testing.assert_allclose(np.concatenate([found[0], found[2]]), expected, rtol=1e-12)
    assert found[1].tolist() == [0.0]


@given(attempts=attempts, shift=grid)
def test_a_reward_that_all_have_counts_for_nothing(attempts, shift):
    rewards, kl = [reward for reward, _ in attempts], [row for _, row in attempts]
    shifted = [None if reward is None else reward + shift for reward in rewards]
    pairs = zip(
        reinforce_plus_plus(shifted, kl, 0.25),
        reinforce_plus_plus(rewards, kl, 0.25),
        strict=True,
    )
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


@given(attempts=attempts, data=st.data())
def test_permuted_attempts_have_permuted_advantages(attempts, data):
    order = data.draw(st.permutations(range(len(attempts))))
    straight = reinforce_plus_plus([a[0] for a in attempts], [a[1] for a in attempts], 0.25)
    permuted = reinforce_plus_plus([attempts[i][0] for i in order], [attempts[i][1] for i in order], 0.25)
    for mine, i in zip(permuted, order, strict=True):
        np.testing.assert_allclose(mine, straight[i], **close)


def test_normalised_tokens_have_mean_0_and_deviation_1_whatever_their_attempt():
    rng = np.random.default_rng(0)
    rows = [rng.normal(3.0, 5.0, size) for size in (1, 40, 0, 200)]
    found = normalised_over_batch(rows, [True, True, True, True])
    pooled = np.concatenate(found)
    assert abs(pooled.mean()) < 1e-12
    assert abs(pooled.std(ddof=1) - 1) < 1e-4
