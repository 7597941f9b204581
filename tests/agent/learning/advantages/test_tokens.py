"""What goes between turns and their tokens, for turns of any lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.returns import discounted_returns, gae
from journeyman.agent.learning.advantages.tokens import (
    token_advantages,
    token_rewards,
    turn_rewards,
    turn_starts,
    turn_values,
)

grid = st.integers(-160, 160).map(lambda n: n / 32)
turns = st.lists(st.tuples(grid, st.integers(1, 5)), max_size=8)
"""The reward and the length of each turn."""


def laid_out(turns, first=3):
    """Rewards of the turns, and the turn of each token: numbered from `first`, every other number left out."""
    return [reward for reward, _ in turns], [
        first + 2 * u for u, (_, length) in enumerate(turns) for _ in range(length)
    ]


@given(turns=turns)
def test_a_turns_reward_falls_due_at_its_last_token(turns):
    rewards, numbers = laid_out(turns)
    expected = [value for reward, length in turns for value in [0.0] * (length - 1) + [reward]]
    found = token_rewards(rewards, numbers)
    assert found.tolist() == expected
    assert turn_rewards(found, numbers).tolist() == rewards


@given(turns=turns)
def test_a_turns_advantage_is_on_all_its_tokens(turns):
    advantages, numbers = laid_out(turns)
    expected = [value for value, length in turns for _ in range(length)]
    assert token_advantages(advantages, numbers).tolist() == expected
    assert turn_values(token_advantages(advantages, numbers), numbers).tolist() == advantages


@given(turns=turns)
def test_undiscounted_returns_are_the_same_over_tokens_and_over_turns(turns):
    rewards, numbers = laid_out(turns)
    over_tokens = discounted_returns(token_rewards(rewards, numbers), 1.0)
    np.testing.assert_allclose(turn_values(over_tokens, numbers), discounted_returns(rewards, 1.0), atol=1e-12)


def test_gae_over_turns_worked_example():
    # two turns of 2 and 3 tokens: V at their first tokens is 0.5 and 0.25, whatever it is at the others
    numbers, values = [0, 0, 1, 1, 1], [0.5, 9.0, 0.25, 9.0, 9.0]
    rewards = [0.0, -0.25, 0.0, 0.0, 0.5]
    # delta: -0.25 + 0.25 - 0.5 = -0.5 and 0.5 - 0.25 = 0.25, which fades by 0.5
    found = gae(turn_rewards(rewards, numbers), turn_values(values, numbers), discount=1.0, lam=0.5)
    assert token_advantages(found, numbers).tolist() == [-0.375, -0.375, 0.25, 0.25, 0.25]


def test_no_tokens_have_nothing():
    assert turn_starts([]).shape == turn_values([], []).shape == turn_rewards([], []).shape == (0,)
    assert token_rewards([], []).shape == token_advantages([], []).shape == (0,)


def test_what_is_given_stays_as_it_was():
    values = np.array([0.5, 0.25])
    turn_values(values, [0, 1])[:] = 7.0
    assert values.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("reduce", [turn_values, turn_rewards])
def test_refuses_other_than_one_number_for_each_token(reduce):
    with pytest.raises(ValueError, match=r"2 tokens but numbers of shape \(3,\)"):
        reduce([0.0, 1.0, 2.0], [0, 1])


@pytest.mark.parametrize("spread", [token_rewards, token_advantages])
def test_refuses_other_than_one_number_for_each_turn(spread):
    with pytest.raises(ValueError, match=r"tokens of 2 turns but numbers of shape \(3,\)"):
        spread([0.0, 1.0, 2.0], [0, 0, 1])


def test_refuses_turns_out_of_order():
    with pytest.raises(ValueError, match="token 2 belongs to an earlier turn"):
        turn_starts([0, 1, 0])
