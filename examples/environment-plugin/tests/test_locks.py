"""What every environment's tests should hold: it is whole, its expert solves it, and garbage breaks nothing."""

import asyncio
from itertools import islice

import pytest
from locks_environment import Locks

from journeyman import Message, Source, Split, StopReason, TaskSet, Trajectory, Turn


def play(task_set, task, actions):
    """Acts the actions out as a run does, and gives the attempt."""

    async def episode():
        environment, turns = task_set.open(task), []
        await environment.start()
        for action in actions:
            step = await environment.step(action)
            turns.append(Turn(action, step.observation.messages, step.reward))
            if step.terminated or step.truncated:
                break
        await environment.close()
        return Trajectory(task.hash, Source.POLICY, tuple(turns), (), StopReason.TERMINATED)

    return asyncio.run(episode())


def test_tasks_are_fixed_by_the_seed_and_of_one_split_each():
    locks = Locks()
    assert isinstance(locks, TaskSet)
    drawn = {split: [task.hash for task in islice(locks.tasks(split, 0), 50)] for split in list(Split)[:3]}
    assert drawn[Split.TRAIN] == [task.hash for task in islice(Locks().tasks(Split.TRAIN, 0), 50)]
    assert not set(drawn[Split.TRAIN]) & {*drawn[Split.VALIDATION], *drawn[Split.TEST]}


def test_the_expert_solves_what_garbage_does_not():
    locks = Locks(wheels=2)
    for task in islice(locks.tasks(Split.TRAIN, 0), 20):
        solved = play(locks, task, locks.demonstrate(task))
        assert [a.goal for a in locks.open(task).achieved_goals(solved)][-1] == task.goal
        lost = play(locks, task, [Message("assistant", text) for text in ("", "turn", "\x00 ]]}")])
        assert locks.open(task).achieved_goals(lost) == []


def test_what_was_reached_can_be_told_anew():
    locks = Locks(wheels=2)
    task = next(task for task in locks.tasks(Split.TRAIN, 0) if len(locks.demonstrate(task)) > 4)
    halfway = play(locks, task, locks.demonstrate(task)[:2])
    environment = locks.open(task)
    goal = environment.achieved_goals(halfway)[-1].goal
    told = environment.relabel(halfway, goal, 0)
    assert told.task.goal == goal != task.goal
    assert told.turns[-1].reward == 1.0


def test_options():
    with pytest.raises(ValueError, match="wheels"):
        Locks(wheels=0)
