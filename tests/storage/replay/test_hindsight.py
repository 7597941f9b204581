"""Which goals are proposed, from which turn on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Achieved
from journeyman.storage.replay.hindsight import Proposal, Strategy, best_of_group, group_goals, propose

achieved = st.lists(st.integers(0, 5), min_size=0, max_size=6, unique=True).map(
    lambda goals: [Achieved(goal, turn) for turn, goal in enumerate(goals)]
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_final_is_the_last_goal_from_the_start() -> None:
    reached = [Achieved("a", 0), Achieved("b", 3), Achieved("c", 2)]
    assert propose(reached, "z", [Strategy.FINAL], 1, rng()) == [Proposal(Strategy.FINAL, "b", 0)]
    assert Proposal(Strategy.FINAL, "b", 0).relabeller == "final/2"


@given(achieved, st.integers(0, 5), st.sets(st.sampled_from(list(Strategy))), st.integers(1, 4), st.integers(0, 99))
def test_proposals_are_reached_after_their_start_and_new(reached, goal, strategies, draws, seed) -> None:
    found = propose(reached, goal, sorted(strategies), draws, np.random.default_rng(seed))
    turns = {a.goal: a.turn for a in reached}
    assert all(p.goal != goal and turns[p.goal] >= p.start_turn for p in found)
    assert len({(p.goal, p.start_turn) for p in found}) == len(found)
    assert found == propose(reached, goal, sorted(strategies), draws, np.random.default_rng(seed))
    if Strategy.FINAL in strategies and any(a.goal != goal for a in reached):
        assert found


def test_future_starts_later_too() -> None:
    reached = [Achieved(i, i) for i in range(10)]
    starts = {p.start_turn for p in propose(reached, None, [Strategy.FUTURE], 50, rng())}
    assert min(starts) < 3
    assert max(starts) > 6


def test_future_wastes_no_turn() -> None:
    reached = [Achieved("a", 0), Achieved("b", 1), Achieved("c", 4), Achieved("d", 5), Achieved("e", 6)]
    found = {(p.goal, p.start_turn) for p in propose(reached, None, [Strategy.FUTURE], 500, rng())}
    expected = {"a": [0], "b": [0, 1], "c": [4], "d": [4, 5], "e": [4, 5, 6]}  # turns 2 and 3 reached nothing new
    assert found == {(goal, start) for goal, starts in expected.items() for start in starts}


def test_nothing_reached_nothing_proposed() -> None:
    assert propose([], 1, list(Strategy), 3, rng()) == []
    assert propose([Achieved(1, 0)], 1, list(Strategy), 3, rng()) == []


def test_best_is_the_highest_reward_then_the_most_goals_then_the_first() -> None:
    one, two = [Achieved("a", 0)], [Achieved("a", 0), Achieved("b", 1)]
    assert best_of_group([0.0, 0.5, 0.0], [two, one, one]) == 1
    assert best_of_group([0.0, 0.0, 0.0], [one, two, two]) == 1
    assert best_of_group([0.9, 0.0, None], [[], one, two]) == 1
    assert best_of_group([0.0, None], [[], []]) is None
    assert propose(two, "z", [Strategy.BEST], 1, rng()) == [Proposal(Strategy.BEST, "b", 0)]


@given(st.lists(achieved, min_size=2, max_size=5), st.integers(0, 5), st.integers(1, 4), st.integers(0, 99))
def test_the_goals_of_a_hindsight_group_give_contrast(siblings, goal, count, seed) -> None:
    found = group_goals(siblings, goal, count, np.random.default_rng(seed))
    reached = [sum(a.goal == g for one in siblings for a in one) for g in range(6)]
    contrast = [g for g in range(6) if 0 < reached[g] < len(siblings) and g != goal]
    assert len(found) == len(set(found)) == min(count, len(contrast))
    assert set(found) <= set(contrast)


def test_long_ways_that_about_half_reached_are_drawn_more_often() -> None:
    far = [Achieved("near", 0), Achieved("far", 9)]
    siblings = [far, far, [Achieved("near", 0)], []]
    drawn = [group_goals(siblings, "z", 1, np.random.default_rng(seed))[0] for seed in range(200)]
    assert drawn.count("far") > 150  # k (G - k) t: 40 against 3
    assert "near" in drawn
