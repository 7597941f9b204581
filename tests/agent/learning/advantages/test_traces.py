"""Eligibility traces: step by step against their definition, off-line against the forward view, and learning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.learning.advantages.returns import lambda_returns
from journeyman.agent.learning.advantages.traces import Traces, sarsa_step, td_step, watkins_step

STATES, ACTIONS = 4, 2
kinds = pytest.mark.parametrize("kind", ["accumulating", "replacing"])
share = st.sampled_from([0.0, 0.3, 0.9, 1.0])
unit = st.integers(-32, 32).map(lambda n: n / 32)
visits = st.lists(st.tuples(st.integers(0, STATES - 1), st.integers(0, ACTIONS - 1), unit), min_size=2, max_size=12)
"""State, action, and the reward that followed; the last one says only where an episode was cut off."""
close = {"rtol": 1e-12, "atol": 1e-12}


def transitions(visits, terminated):
    """(state, action), reward and the next (state, action), which is None at the end of an episode that terminated."""
    pairs = [(state, action) for state, action, _ in visits]
    following = [*pairs[1:-1], None if terminated else pairs[-1]]
    return list(zip(pairs[:-1], [reward for _, _, reward in visits[:-1]], following, strict=True))


def td_on_states(values, traces, step_size, taken, reward, following):
    """`td_step` of transitions that have actions too."""
    return td_step(values, traces, step_size, taken[0], reward, None if following is None else following[0])


def table(step, seed=0):
    return np.random.default_rng(seed).normal(size=STATES if step is td_on_states else (STATES, ACTIONS))


def entry(step, taken):
    return taken[0] if step is td_on_states else taken


def value_after(step, values, following):
    if following is None:
        return 0.0
    return max(values[following[0]]) if step is watkins_step else values[entry(step, following)]


def is_cut(step, values, following):
    """Whether the action to come is not the best one, for Q(lambda)."""
    return step is watkins_step and following is not None and values[following] < max(values[following[0]])


def written_out(step, values, episode, step_size, discount, lam, kind):
    """Each trace from the times k of its visits since the last cut: (discount lam)^(t - k) for each, or the last."""
    values, since = values.copy(), 0
    for t, (taken, reward, following) in enumerate(episode):
        error = reward + discount * value_after(step, values, following) - values[entry(step, taken)]
        cut = is_cut(step, values, following)
        for place in np.ndindex(values.shape):
            times = [k for k in range(since, t + 1) if np.atleast_1d(entry(step, episode[k][0])).tolist() == [*place]]
            times = times if kind == "accumulating" else times[-1:]
            values[place] += step_size * error * sum((discount * lam) ** (t - k) for k in times)
        since = t + 1 if cut else since
    return values


@kinds
@pytest.mark.parametrize("step", [td_on_states, sarsa_step, watkins_step])
@given(visits=visits, terminated=st.booleans(), discount=share, lam=share)
def test_on_line_learning_equals_the_definition(kind, step, visits, terminated, discount, lam):
    episode, values = transitions(visits, terminated), table(step)
    expected = written_out(step, values, episode, 0.25, discount, lam, kind)
    traces = Traces(values.shape, discount, lam, kind)
    for taken, reward, following in episode:
        step(values, traces, 0.25, taken, reward, following)
    np.testing.assert_allclose(values, expected, **close)


def off_line(step, values, episode, step_size, discount, lam, kind="accumulating"):
    """What an episode would change, the table staying as it is until its end."""
    traces, changes = Traces(values.shape, discount, lam, kind), np.zeros(values.shape)
    for taken, reward, following in episode:
        changed = values.copy()
        step(changed, traces, step_size, taken, reward, following)
        changes += changed - values
    return changes


@pytest.mark.parametrize("step", [td_on_states, sarsa_step])
@given(visits=visits, terminated=st.booleans(), discount=share, lam=share)
def test_off_line_the_backward_view_is_the_forward_view(step, visits, terminated, discount, lam):
    """Each visit moves its entry towards its lambda return (Sutton & Barto 2018, sections 12.1 and 12.2)."""
    episode, values = transitions(visits, terminated), table(step)
    estimates = np.array([values[entry(step, taken)] for taken, _, _ in episode])
    bootstrap = value_after(step, values, episode[-1][2])
    targets = lambda_returns([reward for _, reward, _ in episode], estimates, discount, lam, bootstrap)
    expected = np.zeros(values.shape)
    for (taken, _, _), target, estimate in zip(episode, targets, estimates, strict=True):
        expected[entry(step, taken)] += 0.5 * (target - estimate)
    np.testing.assert_allclose(off_line(step, values, episode, 0.5, discount, lam), expected, **close)


@given(visits=visits, terminated=st.booleans(), discount=share, lam=share)
def test_off_line_watkins_looks_forward_to_the_first_action_that_is_not_greedy(visits, terminated, discount, lam):
    """The lambda return, of the best actions' values, up to there (ibid., section 12.10)."""
    episode, values = transitions(visits, terminated), table(watkins_step)
    target, expected = 0.0, np.zeros(values.shape)
    for t in reversed(range(len(episode))):
        taken, reward, following = episode[t]
        best = value_after(watkins_step, values, following)
        stops = t == len(episode) - 1 or is_cut(watkins_step, values, following)
        target = reward + discount * (best if stops else (1 - lam) * best + lam * target)
        expected[taken] += 0.5 * (target - values[taken])
    np.testing.assert_allclose(off_line(watkins_step, values, episode, 0.5, discount, lam), expected, **close)


@given(visits=visits)
def test_off_line_replacing_traces_are_first_visit_monte_carlo(visits):
    """With discount and lambda 1 (Singh & Sutton 1996)."""
    episode, values = transitions(visits, terminated=True), table(td_on_states)
    expected = np.zeros(STATES)
    for t in reversed(range(len(episode))):
        state = episode[t][0][0]
        expected[state] = sum(reward for _, reward, _ in episode[t:]) - values[state]
    np.testing.assert_allclose(off_line(td_on_states, values, episode, 1.0, 1.0, 1.0, "replacing"), expected, **close)


@kinds
def test_worked_example(kind):
    # state 0 is visited twice: its trace is then 0.5 + 1, or 1; the error 1 of the second visit is spread by it
    values, traces = np.zeros(2), Traces((2,), discount=1.0, lam=0.5, kind=kind)
    assert td_step(values, traces, 0.5, 0, 0.0, 0) == 0.0
    assert td_step(values, traces, 0.5, 0, 1.0, None) == 1.0
    assert values.tolist() == ([0.75, 0.0] if kind == "accumulating" else [0.5, 0.0])
    traces.cut()
    assert traces.eligibility.tolist() == [0.0, 0.0]


def test_an_action_that_ties_for_the_best_is_greedy():
    values, traces = np.zeros((2, 2)), Traces((2, 2), discount=1.0, lam=1.0)
    watkins_step(values, traces, 0.5, (0, 1), 0.0, (1, 1))
    watkins_step(values, traces, 0.5, (1, 1), 1.0, None)
    assert values.tolist() == [[0.0, 0.5], [0.0, 0.5]]


@kinds
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.9])
def test_td_finds_the_values_of_a_random_walk(kind, lam):
    """Five states, steps to either side, 1 at the right end and 0 at the left (Sutton & Barto 2018, example 6.2)."""
    rng, values = np.random.default_rng(0), np.full(5, 0.5)
    for episode in range(2000):
        traces, state = Traces((5,), 1.0, lam, kind), 2
        while state is not None:
            after = state + rng.choice((-1, 1))
            following = after if 0 <= after < 5 else None
            td_step(values, traces, 0.1 / (1 + episode / 20), state, float(after == 5), following)
            state = following
    np.testing.assert_allclose(values, np.arange(1, 6) / 6, atol=0.05)


@kinds
@pytest.mark.parametrize("step", [sarsa_step, watkins_step])
def test_control_finds_the_way_along_a_corridor(kind, step):
    """Six states, left or right, 1 at the right end, a fifth of the actions by chance, 0.9 a step."""
    rng, values = np.random.default_rng(0), np.zeros((6, 2))

    def act(state):
        best = rng.choice(np.flatnonzero(values[state] == values[state].max()))
        return state, int(rng.integers(2) if rng.random() < 0.2 else best)

    for _ in range(200):
        traces, taken = Traces((6, 2), 0.9, 0.8, kind), act(0)
        while taken is not None:
            after = max(taken[0] - 1, 0) if taken[1] == 0 else taken[0] + 1
            following = None if after == 6 else act(after)
            step(values, traces, 0.1, taken, float(after == 6), following)
            taken = following
    assert values.argmax(axis=1).tolist() == [1] * 6
    if step is watkins_step:  # those of the greedy policy, though a tenth of the actions went back
        np.testing.assert_allclose(values[:, 1], 0.9 ** np.arange(5, -1, -1), atol=0.02)
    else:
        assert values[0, 1] < 0.9**5 - 0.02
