"""Group advantages against the formulas written out group by group."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.group import group_advantages
from journeyman.agent.learning.advantages.steps import step_advantages

attempts = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(-5, 5, allow_subnormal=False)), st.integers(0, 4)), min_size=1, max_size=30
)


def written_out(attempts, scale):
    """One group at a time, with torch's unbiased standard deviation."""

    def deviation(values):
        return torch.tensor(values, dtype=torch.float64).std().item() if len(values) > 1 else 0.0

    everything = [reward for reward, _ in attempts if reward is not None]
    result = []
    for reward, group in attempts:
        siblings = [r for r, g in attempts if g == group and r is not None]
        if reward is None:
            result.append(0.0)
            continue
        scales = {"group": deviation(siblings) + 1e-4, "batch": deviation(everything) + 1e-4, "none": 1.0}
        result.append((reward - sum(siblings) / len(siblings)) / scales[scale])
    return result


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(attempts=attempts)
def test_equals_the_formula_for_groups_of_any_size(scale, attempts):
    rewards, groups = zip(*attempts, strict=True)
    np.testing.assert_allclose(group_advantages(rewards, groups, scale), written_out(attempts, scale), atol=1e-8)


def test_worked_example():
    # mean 0.5, unbiased std 0.57735: (1 - 0.5) / 0.57745
    found = group_advantages([1, 0, None, 1, 0], ["a"] * 5, "group")
    np.testing.assert_allclose(found, [0.865876, -0.865876, 0, 0.865876, -0.865876], atol=1e-5)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(reward=st.floats(-10, 10), size=st.integers(1, 9))
def test_a_group_of_equal_rewards_has_exactly_none(scale, reward, size):
    found = group_advantages([reward] * size + [0.0, 1.0], ["x"] * size + ["y", "y"], scale)
    assert found[:size].tolist() == [0.0] * size
    assert found[size] < 0 < found[size + 1]


def test_no_attempts_give_no_advantages():
    assert group_advantages([], [], "batch").shape == (0,)


def test_refuses_keys_that_do_not_match():
    with pytest.raises(ValueError, match="2 rewards but 1 group keys"):
        group_advantages([0.0, 1.0], ["a"])


def test_step_advantages_worked_example():
    # steps 1, 0, 1 and 0.5, 0.5: mean 0.6, unbiased std 0.41833; normalised 0.95596, -1.43395, 0.95596, -0.23899 twice
    found = step_advantages([[1.0, 0.0, 1.0], None, [0.5, 0.5], [0.25]], ["a", "a", "a", "b"])
    np.testing.assert_allclose(found[0], [0.47798, -0.47798, 0.95596], atol=1e-4)
    np.testing.assert_allclose(found[2], [-0.47798, -0.23899], atol=1e-4)
    assert [f.tolist() for f in (found[1], found[3])] == [[], [0.0]]


step_scores = st.lists(
    st.tuples(st.one_of(st.none(), st.lists(st.floats(0, 1, allow_subnormal=False), max_size=5)), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(attempts=step_scores, discount=st.sampled_from([0.0, 0.3, 1.0]))
def test_step_advantages_equal_the_formula(scale, attempts, discount):
    scores, groups = zip(*attempts, strict=True)
    flat = [(score, group) for steps, group in attempts for score in steps or ()]
    normalised = iter(written_out(flat, scale))
    expected = [[next(normalised) for _ in steps or ()] for steps in scores]
    found = step_advantages(scores, groups, scale, discount)
    assert len(found) == len(attempts)
    for mine, steps in zip(found, expected, strict=True):
        sums = [sum(discount**k * value for k, value in enumerate(steps[i:])) for i in range(len(steps))]
        np.testing.assert_allclose(mine, sums, atol=1e-7)


def test_step_advantages_refuse_keys_that_do_not_match():
    with pytest.raises(ValueError, match="1 attempts but 0 group keys"):
        step_advantages([[0.0]], [])
