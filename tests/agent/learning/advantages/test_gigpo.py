"""GiGPO against its formula: episode groups and the groups of steps from one state, written out step by step."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.gigpo import gigpo_advantages
from journeyman.agent.learning.advantages.group import group_advantages

grid = st.integers(-8, 8).map(lambda n: n / 4)
steps = st.lists(st.tuples(grid, st.sampled_from("stuv")), max_size=5)
"""The reward of each step, and the state it was taken in."""
attempts = st.lists(st.tuples(steps, st.booleans(), st.integers(0, 2)), max_size=8)
"""Steps, whether the verifier failed, group."""
scales = pytest.mark.parametrize("scale", ["group", "none"])
close = {"rtol": 1e-12, "atol": 1e-12}


def found_for(attempts, weight, discount, scale):
    rewards = [None if failed else [reward for reward, _ in steps] for steps, failed, _ in attempts]
    anchors = [[anchor for _, anchor in steps] for steps, _, _ in attempts]
    return gigpo_advantages(rewards, anchors, [group for _, _, group in attempts], weight, discount, scale)


def normalised(value, peers, scale):
    mean = math.fsum(peers) / len(peers)
    deviation = math.sqrt(math.fsum((peer - mean) ** 2 for peer in peers) / max(len(peers) - 1, 1))
    return (value - mean) / (deviation + 1e-4 if scale == "group" else 1.0)


def written_out(attempts, weight, discount, scale):
    def total(steps):
        return math.fsum(reward for reward, _ in steps)

    def from_there(steps, t):
        return math.fsum(discount**k * reward for k, (reward, _) in enumerate(steps[t:]))

    found = []
    for steps, failed, group in attempts:
        siblings = [other for other, failed_too, key in attempts if key == group and not failed_too]
        row = []
        for t, (_, anchor) in enumerate(() if failed else steps):
            peers = [from_there(other, k) for other in siblings for k, (_, at) in enumerate(other) if at == anchor]
            episode = normalised(total(steps), [total(other) for other in siblings], scale)
            row.append(episode + weight * normalised(from_there(steps, t), peers, scale))
        found.append(row)
    return found


@scales
@given(attempts=attempts, weight=st.sampled_from([0.0, 0.5, 1.0]), discount=st.sampled_from([0.5, 1.0]))
def test_equals_the_formula(scale, attempts, weight, discount):
    found = found_for(attempts, weight, discount, scale)
    for mine, theirs in zip(found, written_out(attempts, weight, discount, scale), strict=True):
        np.testing.assert_allclose(mine, theirs, **close)


def test_worked_example():
    # both begin in s, go to t or u, and the first comes back to s before it succeeds: returns from s 0.25, 1 and 0
    rewards, anchors = [[0.0, 0.0, 1.0], [0.0, 0.0]], [["s", "t", "s"], ["s", "u"]]
    found = gigpo_advantages(rewards, anchors, ["a", "a"], step_weight=2.0, discount=0.5, scale_rewards="none")
    mean = 1.25 / 3
    np.testing.assert_allclose(found[0], [0.5 + 2 * (0.25 - mean), 0.5, 0.5 + 2 * (1 - mean)], rtol=1e-12)
    np.testing.assert_allclose(found[1], [-0.5 - 2 * mean, -0.5], rtol=1e-12)


@scales
@given(attempts=attempts)
def test_states_that_are_met_once_leave_the_advantage_of_the_episode(scale, attempts):
    rewards = [None if failed else [reward for reward, _ in steps] for steps, failed, _ in attempts]
    anchors = [[(b, t) for t in range(len(steps))] for b, (steps, _, _) in enumerate(attempts)]
    groups = [group for _, _, group in attempts]
    episode = group_advantages([None if r is None else math.fsum(r) for r in rewards], groups, scale)
    found = gigpo_advantages(rewards, anchors, groups, scale_rewards=scale)
    assert [row.tolist() for row in found] == [[a] * len(r or ()) for a, r in zip(episode, rewards, strict=True)]


def test_a_state_in_another_group_is_another_state():
    found = gigpo_advantages([[1.0], [0.0]], [["s"], ["s"]], ["a", "b"])
    assert [row.tolist() for row in found] == [[0.0], [0.0]]


@scales
@given(attempts=attempts, data=st.data())
def test_permuted_attempts_have_permuted_advantages(scale, attempts, data):
    order = data.draw(st.permutations(range(len(attempts))))
    straight = found_for(attempts, 1.0, 0.5, scale)
    for mine, i in zip(found_for([attempts[i] for i in order], 1.0, 0.5, scale), order, strict=True):
        np.testing.assert_allclose(mine, straight[i], **close)


@scales
@given(rewards=st.lists(grid, min_size=1, max_size=8), shift=grid)
def test_a_reward_that_all_have_at_their_end_counts_for_nothing(scale, rewards, shift):
    anchors, groups = [["s", "t"]] * len(rewards), ["a"] * len(rewards)
    straight = gigpo_advantages([[0.0, reward] for reward in rewards], anchors, groups, 1.0, 0.5, scale)
    shifted = gigpo_advantages([[0.0, reward + shift] for reward in rewards], anchors, groups, 1.0, 0.5, scale)
    np.testing.assert_allclose(shifted, straight, **close)


def test_refuses_what_does_not_match():
    with pytest.raises(ValueError, match="2 attempts, states of 1 and 2 group keys"):
        gigpo_advantages([[0.0], [1.0]], [["s"]], ["a", "a"])
    with pytest.raises(ValueError, match=r"attempts with \[2\] values but \[1\] keys"):
        gigpo_advantages([[0.0, 1.0]], [["s"]], ["a"])
