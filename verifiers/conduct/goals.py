"""Goal environments' own checks: was the task's goal reached, and which turns were for nothing?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from journeyman.agent.data import StopReason, Task, Trajectory, Verdict
from journeyman.agent.plugins import load_named_environment
from journeyman.agent.protocols import GoalEnvironment, Retraceable, TaskSet
from journeyman.agent.steps import StepSpan, split_steps


@dataclass(frozen=True)
class GoalReached:
    """Score 1 where the task's goal is among the goals that the environment says the trajectory reached."""

    name: ClassVar[str] = "goal"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where the environment has no goals."""
        environment = task_set(task.environment).open(task)
        if not isinstance(environment, GoalEnvironment):
            return Verdict.abstain(f"environment {task.environment!r} has no goals to reach")
        goals = [achieved.goal for achieved in environment.achieved_goals(trajectory)]
        return Verdict.passed(task.goal in goals, extracted=goals[-1] if goals else None, expected=task.goal)


@dataclass(frozen=True)
class GoalSteps:
    """Each turn's score: 0 where it changed nothing, or ended the attempt away from the goal, else 1.

    The verdict's score is the mean over the turns, 1 where nothing was said. It is no outcome: an attempt that never
    arrives may score 1, so watch it (weight 0) and name it in `finetune.step_verifier`.
    """

    name: ClassVar[str] = "goal_steps"
    version: ClassVar[str] = "1"

    def steps_of(self, trajectory: Trajectory) -> list[StepSpan]:
        """The turns in which something was said."""
        return split_steps(trajectory, "turn")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where the environment has no goals, or does not tell its states."""
        environment = task_set(task.environment).open(task)
        if not isinstance(environment, GoalEnvironment) or not isinstance(environment, Retraceable):
            return Verdict.abstain(f"environment {task.environment!r} tells no states on the way to a goal")
        acted_out = trajectory.acted_out
        states = environment.states(turn.action for turn in acted_out)
        good = [before != after for before, after in pairwise(states)]
        good += [False] * (len(trajectory.turns) - len(acted_out))
        reached = any(achieved.goal == task.goal for achieved in environment.achieved_goals(trajectory))
        if good and trajectory.stop_reason is StopReason.TERMINATED and not reached:
            good[-1] = False
        scores = tuple(float(good[step.turn]) for step in self.steps_of(trajectory))
        wasted = ", ".join(str(turn + 1) for turn, was_good in enumerate(good) if not was_good)
        mean = sum(scores) / len(scores) if scores else 1.0
        return Verdict.scored(mean, steps=scores, why=f"for nothing: turn {wasted}" if wasted else None)


def task_set(name: str) -> TaskSet:
    """The task set, without options, of the environment that a task names; see `load_named_environment`."""
    found: TaskSet = load_named_environment(name)  # a task carries all that acting it out needs
    return found
