"""Which goals are proposed, from which turn on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Achieved
from journeyman.storage.hindsight import Proposal, Strategy, propose

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
