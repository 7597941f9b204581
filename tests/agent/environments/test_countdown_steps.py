"""Countdown in steps: the rules of a step, an exact word on what can still be reached, solutions, exact relabels."""

from __future__ import annotations

import asyncio
from itertools import islice, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Step, StopReason, Trajectory, Turn
from journeyman.agent.environments.countdown_steps import (
    CountdownSteps,
    countdown_steps_task,
    next_steps,
    numbers_left,
    reachable,
    solution,
    still_reachable,
)
from journeyman.agent.protocols import GoalEnvironment, TaskSet

numbers = st.lists(st.integers(1, 12), min_size=2, max_size=4)


def attempt(task, *texts: str) -> Trajectory:
    """An attempt that said these, a turn each."""
    turns = tuple(Turn(Message("assistant", text)) for text in texts)
    return Trajectory(task.hash, Source.POLICY, turns, (), StopReason.TERMINATED)


def played(environment, *texts: str) -> list[Step]:
    return [asyncio.run(environment.step(Message("assistant", text))) for text in texts]


def values_by_trees(given_numbers: tuple[int, ...]) -> set[int]:
    """Every value of every way to split the numbers into two parts, by another way than the solver's."""
    if len(given_numbers) == 1:
        return set(given_numbers)
    found = set()
    for order in set(permutations(given_numbers)):
        for cut in range(1, len(order)):
            for a in values_by_trees(order[:cut]):
                for b in values_by_trees(order[cut:]):
                    found |= {a + b, a * b}
                    found |= {a - b} if a >= b else set()
                    found |= {a // b} if b and a % b == 0 else set()
    return found


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_reachable_is_exact(given_numbers: list[int]) -> None:
    values = values_by_trees(tuple(given_numbers))
    assert {goal for goal in range(200) if reachable(given_numbers, goal)} == {v for v in values if v < 200}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("9-8\n3+1", [(3, 1), (4,)]),
        ("8 * 3\n9+24\n", [(24, 9), (33,)]),
        ("9/3\n8-3", [(8, 3), (5,)]),
        ("9-8\n9+3", [(3, 1), ()]),  # 9 is used up
        ("9+9\n18-3", [(), ()]),  # there is one 9 only
        ("8-9", [()]),
        ("8/3", [()]),
        ("9-8\n3+1\n4+4", [(3, 1), (4,), ()]),  # one number is left
        ("9-8\n\n3+1", [(3, 1), (4,)]),  # a blank line is no step
        ("9-8=1", [()]),
        ("9-8 3+1", [()]),
        ("9**8", [()]),
        ("９-8", [()]),
        ("9-" + "1" * 5000, [()]),
        ("", []),
    ],
)
def test_a_step_keeps_the_rules_or_not(text: str, left: list[tuple[int, ...]]) -> None:
    assert numbers_left([3, 8, 9], text) == left


def test_a_division_by_zero_is_no_step() -> None:
    assert numbers_left([4, 4, 3], "4-4\n3/0") == [(3, 0), ()]
    assert numbers_left([4, 4, 3], "4-4\n0/3") == [(3, 0), (0,)]


@pytest.mark.parametrize(
    ("said", "truth"),
    [
        (("9-8", "3+1"), [True, True]),
        (("9-8\n3+1",), [True]),
        (("9-8\n3-1",), [False]),
        (("9-8", "3-1"), [True, False]),
        (("9+8", "17-3"), [False, False]),
        (("4=4", "3+1"), [False, False]),  # what comes after a broken rule does not help
        (("9/3", "8-3"), [False, False]),
        (("8-3", "9-5"), [True, True]),
        (("9-8",), [True]),
    ],
)
def test_the_truth_after_each_turn(said: tuple[str, ...], truth: list[bool]) -> None:
    task = countdown_steps_task([3, 8, 9], 4, 100, Split.TRAIN)
    assert still_reachable(task, attempt(task, *said)) == truth


@settings(max_examples=40, deadline=None)
@given(numbers)
def test_every_next_step_keeps_the_rules(given_numbers: list[int]) -> None:
    start = tuple(sorted(given_numbers, reverse=True))
    for line, left in next_steps(start):
        assert numbers_left(given_numbers, line) == [left]


def test_sums_come_first_and_solutions_agree() -> None:
    assert solution([1, 2, 3], 6) == ["3+2", "5+1"]
    assert solution([3, 8, 9], 4) == ["9+3", "12-8"]
    assert solution([5], 5) == []
    with pytest.raises(ValueError, match="50 cannot be reached from"):
        solution([1, 1, 1], 50)


@pytest.mark.parametrize("count", [3, 4])
def test_tasks_are_solved_by_their_demonstrations(count: int) -> None:
    task_set = CountdownSteps(count=count, max_value=12, max_target=60)
    assert isinstance(task_set, TaskSet)
    for task in islice(task_set.tasks(Split.TEST, 3), 30):
        actions = task_set.demonstrate(task)
        assert len(actions) == task_set.max_turns == count - 1
        assert task_set.demonstrate(task, actions[:1]) == actions[1:]
        assert task_set.demonstrate(task, actions) is None
        steps = played(task_set.open(task), *(a.content for a in actions))
        assert [(step.reward, step.terminated) for step in steps] == [(0, False)] * (count - 2) + [(1, True)]
        trajectory = attempt(task, *(a.content for a in actions))
        assert [(g.goal, g.turn) for g in task_set.open(task).achieved_goals(trajectory)] == [(task.goal, count - 2)]
        assert still_reachable(task, trajectory) == [True] * (count - 1)
        assert max(task.payload["numbers"]) <= 12
        assert task.goal <= 60


def test_streams_repeat_by_seed_and_differ_by_split() -> None:
    def first(split: Split, seed: int) -> list[str]:
        return [t.hash for t in islice(CountdownSteps().tasks(split, seed), 5)]

    assert first(Split.TRAIN, 0) == first(Split.TRAIN, 0)
    assert len({tuple(first(split, seed)) for split in set(Split) - {Split.GUARD} for seed in (0, 1)}) == 6


def test_permuted_numbers_are_the_same_task() -> None:
    hashes = {countdown_steps_task(p, 24, 100, Split.TRAIN).hash for p in permutations([3, 8, 9])}
    assert len(hashes) == 1
    assert countdown_steps_task([3, 8, 9], 25, 100, Split.TRAIN).hash not in hashes


@settings(max_examples=40, deadline=None)
@given(numbers, st.randoms())
def test_a_relabel_is_a_solution_of_its_new_task(given_numbers: list[int], chance) -> None:
    left, lines = tuple(sorted(given_numbers, reverse=True)), []
    while len(left) > 1:
        line, left = chance.choice(list(next_steps(left)))
        lines.append(line)
    task = countdown_steps_task(given_numbers, 9999, 100, Split.TRAIN)
    environment = CountdownSteps().open(task)
    assert isinstance(environment, GoalEnvironment)
    trajectory = attempt(task, *lines)
    goals = [achieved.goal for achieved in environment.achieved_goals(trajectory)]
    assert goals == ([left[0]] if 1 <= left[0] <= 100 else [])
    for goal in goals:
        episode = environment.relabel(trajectory, goal, 0)
        assert episode.task.prompt[0].content.startswith(f"{goal} from ")
        assert [turn.action.content for turn in episode.turns] == lines
        assert [turn.reward for turn in episode.turns] == [0] * (len(lines) - 1) + [1]
        again = CountdownSteps().open(episode.task).achieved_goals(attempt(episode.task, *lines))
        assert [g.goal for g in again] == [episode.task.goal]


def test_the_rest_of_an_attempt_is_an_attempt_with_the_numbers_left() -> None:
    task = countdown_steps_task([3, 8, 9], 9999, 100, Split.TRAIN)
    episode = CountdownSteps().open(task).relabel(attempt(task, "9-8", "3+1"), 4, 1)
    assert episode.task.prompt[0].content == "4 from 3, 1"
    assert [(turn.action.content, turn.observation[0].content, turn.reward) for turn in episode.turns] == [
        ("3+1", "left 4", 1.0)
    ]


@pytest.mark.parametrize("said", [("9-8",), ("9-8", "9+3"), ("9+8", "17+8"), ("",), ("nonsense",), ("3*9", "27*8")])
def test_what_is_not_finished_or_breaks_the_rules_reaches_nothing(said: tuple[str, ...]) -> None:
    task = countdown_steps_task([3, 8, 9], 20, 100, Split.TRAIN)
    assert CountdownSteps().open(task).achieved_goals(attempt(task, *said)) == []


@pytest.mark.parametrize(
    ("said", "answers", "rewards"),
    [
        (("9+8", "17+3"), ["left 17, 3", "left 20"], [0, 1]),
        (("9+8\n17+3",), ["left 20"], [1]),  # several steps at once
        (("9-8", "3+1"), ["left 3, 1", "left 4"], [0, 0]),
        (("9+8", "9+3"), ["left 17, 3", "no step from 17, 3: take two of the numbers, as in 17+3"], [0, 0]),
        (("20",), ["no step from 9, 8, 3: take two of the numbers, as in 9+3"], [0]),
    ],
)
def test_each_message_is_answered_until_one_number_is_left(said, answers, rewards) -> None:
    environment = CountdownSteps().open(countdown_steps_task([3, 8, 9], 20, 100, Split.TRAIN))
    assert asyncio.run(environment.start()).messages[0].content == "20 from 9, 8, 3"
    steps = played(environment, *said)
    assert [step.observation.messages for step in steps] == [(Message("user", text),) for text in answers]
    assert [step.reward for step in steps] == rewards
    assert [step.terminated for step in steps] == [False] * (len(said) - 1) + [True]
    assert not any(step.truncated for step in steps)
