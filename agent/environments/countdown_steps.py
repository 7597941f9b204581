"""Countdown in steps: each takes two of the numbers still there, and the environment puts its value in their place.

From 9, 8, 3 the goal 4 is reached by the step "9-8", after which 3 and 1 are left, and "3+1". All values are whole
numbers, 0 or more. So after every step it is known exactly whether the goal can still be reached: the truth that a
process reward model is measured by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, combinations
from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from journeyman.agent.data import Json, Message, Split, Task, Trajectory, canonical_hash
from journeyman.agent.environments.countdown import Countdown
from journeyman.agent.environments.goal_episode import GoalEpisode
from journeyman.agent.steps import split_text

Numbers: TypeAlias = tuple[int, ...]
"""Those still there, largest first; empty once a step has broken the rules."""

_STEP = re.compile(r"([0-9]{1,9})([-+*/])([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True)
class CountdownSteps:
    """The task set. Sizes are inclusive; every task has a solution."""

    count: Annotated[int, Field(ge=2, le=6)] = 3
    """How many numbers a task has; the solver is exhaustive, so 6 is slow."""
    max_value: Annotated[int, Field(ge=1)] = 10
    """Numbers are from 1 to this."""
    max_target: Annotated[int, Field(ge=1)] = 100
    """Targets are from 1 to this, relabelled ones too."""
    instant: ClassVar[bool] = True
    rubric: Mapping[str, float] = field(default_factory=lambda: {"goal": 1.0})

    @property
    def max_turns(self) -> int:
        """As many as there are steps to one number."""
        return max(self.count - 1, 1)

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless: those of `countdown` that whole numbers, 0 or more, solve."""
        for task in Countdown(self.count, self.max_value, self.max_target).tasks(split, seed):
            numbers = task.payload["numbers"]
            if reachable(numbers, task.goal):
                yield countdown_steps_task(numbers, task.goal, self.max_target, split)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The first solution in the order of `next_steps`, a step a turn; None where the goal is reached or lost."""
        left = self.open(task).states(after)[-1]
        steps = solution(left, task.goal) if reachable(left, task.goal) else []
        return [Message("assistant", step) for step in steps] or None

    def open(self, task: Task) -> CountdownStepsEpisode:
        """A fresh episode."""
        return CountdownStepsEpisode(task)


class CountdownStepsEpisode(GoalEpisode[Numbers]):
    """One attempt. A message may hold several steps, a line each; they are answered together."""

    def __init__(self, task: Task) -> None:
        numbers = task.payload["numbers"]
        super().__init__(task, (), largest_first(numbers), max_turns=max(len(numbers) - 1, 1))

    def after(self, state: Numbers, action: Message) -> Numbers:
        """The numbers left by the message's steps; none where there is no step, or one breaks the rules."""
        lines = split_text(action.content, "newline")
        return numbers_left(state, action.content)[-1] if lines else ()

    def goal_at(self, state: Numbers) -> Json:
        """The one number left, if it is a possible target."""
        return state[0] if len(state) == 1 and 1 <= state[0] <= self.task.payload["max_target"] else None

    def ends(self, state: Numbers) -> bool:
        """Whether no step can follow."""
        return len(state) < 2

    def tell(self, action: Message) -> str:
        """What is left, e.g. "left 3, 1", or that those were no steps."""
        before, left = self.path[-2:]
        if not left:
            return f"no step from {_listed(before)}: take two of the numbers, as in {before[0]}+{before[-1]}"
        return f"left {_listed(left)}"

    def between(self, start: Numbers, goal: Json) -> CountdownStepsEpisode:
        """A fresh episode of making `goal` of the numbers `start`."""
        task = self.task
        return CountdownStepsEpisode(countdown_steps_task(start, goal, task.payload["max_target"], task.split))


def countdown_steps_task(numbers: Sequence[int], target: int, max_target: int, split: Split) -> Task:
    """The task with these numbers, shown largest first: one order, so that equal tasks read alike."""
    ordered = largest_first(numbers)
    canonical: Json = {"numbers": list(ordered), "target": target}
    return Task(
        environment="countdown_steps",
        goal=target,
        prompt=(Message("user", f"{target} from {_listed(ordered)}"),),
        split=split,
        hash=canonical_hash("countdown_steps", canonical),
        payload={"numbers": list(ordered), "max_target": max_target},
    )


def numbers_left(numbers: Sequence[int], text: str) -> list[Numbers]:
    """After each line of `text` the numbers still there: (3, 1) after "9-8" of 9, 8, 3.

    None are after a line that breaks the rules (its form, a number that is not there, a value that is no whole number
    of 0 or more), and after all that follow. Blanks and blank lines do not count, so that the lines are the steps of
    `agent/steps.py`.
    """
    lines = (text[start:end].strip().replace(" ", "") for start, end in split_text(text, "newline"))
    return list(accumulate(lines, _after, initial=largest_first(numbers)))[1:]


def still_reachable(task: Task, trajectory: Trajectory) -> list[bool]:
    """After each turn, whether the task's goal can still be reached: the truth about each step."""
    states = CountdownStepsEpisode(task).states(turn.action for turn in trajectory.turns)
    return [reachable(left, task.goal) for left in states[1:]]


def reachable(numbers: Sequence[int], goal: int) -> bool:
    """Whether some steps make the goal of all the numbers; of a single number, whether it is; of none, no."""
    return goal in _values(largest_first(numbers))


def solution(numbers: Sequence[int], goal: int) -> list[str]:
    """Steps that make the goal of the numbers, always the same ones. Raises ValueError where there are none."""
    left = largest_first(numbers)
    if not reachable(left, goal):
        raise ValueError(f"{goal} cannot be reached from {left}")
    steps = []
    while len(left) > 1:
        step, left = next((step, rest) for step, rest in next_steps(left) if reachable(rest, goal))
        steps.append(step)
    return steps


def next_steps(numbers: Numbers) -> Iterator[tuple[str, Numbers]]:
    """Steps from `numbers`, e.g. "9-8", and the numbers then left.

    Sums come first, then differences, products and quotients. Every set of numbers that one step can leave is there;
    those that only change sides, and 0/a for 0*a, are not.
    """
    for operator in "+-*/":
        for i, j in combinations(range(len(numbers)), 2):
            value = _apply(numbers[i], operator, numbers[j])
            if value is not None:
                rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
                yield f"{numbers[i]}{operator}{numbers[j]}", largest_first([*rest, value])


def largest_first(numbers: Sequence[int]) -> Numbers:
    """In the one order in which equal numbers read alike."""
    return tuple(sorted(numbers, reverse=True))


@lru_cache(maxsize=100_000)
def _values(numbers: Numbers) -> frozenset[int]:
    """Every value that can be made of all the numbers."""
    if len(numbers) < 2:
        return frozenset(numbers)
    return frozenset().union(*(_values(rest) for _, rest in next_steps(numbers)))


def _after(numbers: Numbers, step: str) -> Numbers:
    """The numbers left by a step."""
    match = _STEP.fullmatch(step)
    if match is None:
        return ()
    left, operator, right = int(match[1]), match[2], int(match[3])
    rest = list(numbers)
    for used in (left, right):
        if used not in rest:
            return ()
        rest.remove(used)
    value = _apply(left, operator, right)
    return () if value is None else largest_first([*rest, value])


def _listed(numbers: Numbers) -> str:
    return ", ".join(map(str, numbers))


def _apply(left: int, operator: str, right: int) -> int | None:
    """The value, where it is a whole number and 0 or more."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right if left >= right else None
    if operator == "*":
        return left * right
    return left // right if right and left % right == 0 else None
