"""Estimators: what each makes of attempts, by its formula, and what holds for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.advantages.attempts import Attempt, Estimator
from journeyman.agent.learning.advantages.batch import ReinforceEstimator, ReinforcePlusPlusEstimator
from journeyman.agent.learning.advantages.gae import GaeEstimator
from journeyman.agent.learning.advantages.gigpo import GigpoEstimator
from journeyman.agent.learning.advantages.group import GroupEstimator
from journeyman.agent.learning.advantages.rloo import RlooEstimator
from journeyman.agent.learning.advantages.turns import TurnEstimator
from journeyman.agent.plugins import ESTIMATORS, installed, load_plugin

ALL = [
    GroupEstimator(),
    GroupEstimator("none"),
    RlooEstimator(),
    ReinforceEstimator(),
    ReinforcePlusPlusEstimator(),
    GaeEstimator(),
    GaeEstimator(over="turns", lam=0.5),
    GaeEstimator(n_step=2, normalise=False),
    TurnEstimator(),
    GigpoEstimator(),
]


def attempt(reward, turns=(0, 0, 1), group="g", turn_rewards=(0.0, 0.0), **more):
    return Attempt(group, reward, np.array(turns, np.intp), turn_rewards, **more)


def valued(reward, values, **more):
    return attempt(reward, values_N=np.array(values, np.float64), **more)


def test_an_attempts_own_estimators_give_every_token_the_same():
    three = [attempt(1.0), attempt(0.0), attempt(0.5, turns=(0,))]
    group = [c.advantages_N.tolist() for c in GroupEstimator("none").credit(three)]
    assert group == [[0.5] * 3, [-0.5] * 3, [0.0]]
    assert [c.advantages_N.tolist() for c in RlooEstimator().credit(three)] == [[0.75] * 3, [-0.75] * 3, [0.0]]
    shifted = ReinforceEstimator(shift=0.1).credit(three)
    assert [c.advantages_N[0] for c in shifted] == pytest.approx([0.6, -0.4, 0.1])
    assert all(c.returns_N is None for c in shifted)


def test_a_penalty_of_tokens_is_taken_from_the_attempts_reward():
    far = {"kl_weight": 0.1, "log_ratios_N": np.array([1.0, 0.0, 3.0])}
    near = {"kl_weight": 0.1, "log_ratios_N": np.array([-2.0, 0.0, 0.0])}
    pair = [attempt(1.0, **far), attempt(0.0, **near)]
    assert pair[0].total == pytest.approx(0.6)
    found = [c.advantages_N[0] for c in GroupEstimator("none").credit(pair)]
    assert found == pytest.approx([0.2, -0.2])


def test_reinforce_plus_plus_puts_penalties_where_they_arise():
    pair = [
        attempt(1.0, kl_weight=0.5, log_ratios_N=np.array([1.0, 0.0, 0.0])),
        attempt(0.0, kl_weight=0.5, log_ratios_N=np.zeros(3)),
    ]
    returns = np.array([0.5, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = np.concatenate([c.advantages_N for c in ReinforcePlusPlusEstimator().credit(pair)])
    np.testing.assert_allclose(found, (returns - returns.mean()) / (returns.std(ddof=1) + 1e-4))


def test_gae_over_tokens_and_its_targets():
    (found,) = GaeEstimator(discount=0.5, lam=0.5, normalise=False).credit([valued(1.0, [0.2, 0.4, 0.6])])
    last = 1.0 - 0.6
    middle = (0.5 * 0.6 - 0.4) + 0.25 * last
    first = (0.5 * 0.4 - 0.2) + 0.25 * middle
    np.testing.assert_allclose(found.advantages_N, [first, middle, last])
    np.testing.assert_allclose(found.returns_N, [first + 0.2, middle + 0.4, 1.0])


def test_gae_over_turns_reads_the_value_before_each_and_gives_its_tokens_one_target():
    (found,) = GaeEstimator(discount=0.5, lam=1.0, over="turns", turn_rewards=True, normalise=False).credit(
        [valued(1.0, [0.2, 9.0, 0.6], turn_rewards=(0.5, 0.25))]
    )
    second, first = 1.25, 0.5 + 0.5 * 1.25  # Monte-Carlo returns of the turns
    np.testing.assert_allclose(found.returns_N, [first, first, second])
    np.testing.assert_allclose(found.advantages_N, [first - 0.2, first - 0.2, second - 0.6])


def test_what_was_cut_off_is_worth_at_its_end_what_the_critic_foresees():
    cut, ended = valued(0.0, [0.0] * 3, truncated=True, final_value=0.8), valued(0.0, [0.0] * 3)
    found = GaeEstimator(lam=1.0, normalise=False).credit([cut, ended])
    assert [c.returns_N.tolist() for c in found] == [[0.8] * 3, [0.0] * 3]


def test_n_step_returns_are_of_the_family():
    (found,) = GaeEstimator(n_step=1, normalise=False).credit([valued(1.0, [0.2, 0.4, 0.6])])
    np.testing.assert_allclose(found.returns_N, [0.4, 0.6, 1.0])


def test_turns_have_what_came_from_them_on():
    pair = [attempt(1.0, turn_rewards=(0.5, 0.0)), attempt(0.0)]
    found = [c.advantages_N.tolist() for c in TurnEstimator(scale_rewards="none").credit(pair)]
    mean = (1.5 + 1.0 + 0 + 0) / 4
    assert found == [[1.5 - mean, 1.5 - mean, 1.0 - mean], [-mean] * 3]


def test_gigpo_compares_turns_from_one_state_and_nothing_where_states_are_not_known():
    told = [attempt(1.0, states=("s", "t", "end")), attempt(0.0, states=("s", "u", "end"))]
    options = {"discount": 0.5, "scale_rewards": "none"}
    found = [c.advantages_N.tolist() for c in GigpoEstimator(**options).credit(told)]
    assert found == [[0.75, 0.75, 0.5], [-0.75, -0.75, -0.5]]
    unknown = [attempt(1.0), attempt(0.0, states=("s",))]
    assert [c.advantages_N.tolist() for c in GigpoEstimator(**options).credit(unknown)] == [[0.5] * 3, [-0.5] * 3]


@pytest.mark.parametrize("estimator", ALL, ids=repr)
@given(
    rewards=st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_what_holds_for_every_estimator(estimator, rewards, seed):
    """One number a token; attempts in another order have the same credit; without rewards there is none."""
    chance = np.random.default_rng(seed)
    attempts = []
    for i, reward in enumerate(rewards):
        turns = np.sort(chance.integers(0, 3, chance.integers(0, 6)))
        own = tuple(chance.random(3).tolist())
        states = tuple(chance.integers(0, 2, 4).tolist())
        values, ratios = chance.normal(size=(2, len(turns)))
        more = {"values_N": values, "log_ratios_N": ratios, "kl_weight": 0.3, "states": states}
        attempts.append(Attempt(i % 2, reward, turns, own, **more))
    order = chance.permutation(len(attempts))
    found, again = estimator.credit(attempts), estimator.credit([attempts[i] for i in order])
    for one, of in zip(found, attempts, strict=True):
        assert one.advantages_N.shape == of.turns_N.shape
        assert one.masked().advantages_N.tolist() == [0.0] * len(of.turns_N)
        assert np.all(np.isfinite(one.advantages_N))
    for i, one in zip(order, again, strict=True):
        np.testing.assert_allclose(one.advantages_N, found[i].advantages_N, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 1.5}, r"estimator.lam is 1.5: it must be in \[0, 1\]"),
        ({"n_step": 0}, "estimator.n_step is 0"),
        ({"lambda": 0.9}, "has no option 'lambda': did you mean 'lam'"),
    ],
)
def test_refuses_options_that_cannot_work(options, message):
    with pytest.raises(SettingsError, match=message):
        load_plugin(ESTIMATORS, "gae", options)


def test_every_installed_estimator_is_one():
    names = set(installed(ESTIMATORS))
    assert {"group", "rloo", "reinforce", "reinforce_pp", "gae", "turns", "gigpo"} <= names
    assert all(isinstance(load_plugin(ESTIMATORS, name, {}), Estimator) for name in names)
