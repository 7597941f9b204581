"""Countdown: combine all the given numbers by + - * / so that the value is the target.

Tasks come from reasoning-gym's generator, demonstrations from an exact solver, and hindsight is exact: an attempt
that uses the numbers rightly but reaches another value is a solution for that value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from pydantic import Field

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import (
    Achieved,
    Episode,
    Json,
    Message,
    Split,
    Task,
    Trajectory,
    canonical_hash,
)
from journeyman.agent.environments.dataset import SingleTurn
from journeyman.agent.environments.expressions import evaluate, solutions

_BLOCK = 64  # tasks drawn from one generator before the next is made


@dataclass(frozen=True)
class Countdown:
    """The task set. Sizes are inclusive; every task has a solution."""

    count: Annotated[int, Field(ge=2, le=6)] = 3
    """How many numbers a task has; the solver is exhaustive, so 6 is slow."""
    max_value: Annotated[int, Field(ge=1)] = 20
    """Numbers are from 1 to this."""
    max_target: Annotated[int, Field(ge=1)] = 100
    """Targets are from 1 to this, relabelled ones too."""
    rubric: Mapping[str, float] = field(default_factory=lambda: {"goal": 1.0})
    max_turns: ClassVar[int] = 1
    instant: ClassVar[bool] = True

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless: tasks of reasoning-gym's `countdown`, less those without an exact solution."""
        import reasoning_gym

        block = 0
        while True:
            entries = reasoning_gym.create_dataset(
                "countdown",
                min_numbers=self.count,
                max_numbers=self.count,
                max_value=self.max_value,
                min_target=1,
                max_target=self.max_target,
                seed=keyed_seed("countdown", split, seed, block) % 2**31,
                size=_BLOCK,
            )
            for entry in entries:
                numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
                if _solves(entry["answer"], numbers, target) or solutions(numbers, target):
                    yield countdown_task(numbers, target, self.max_target, split)
            block += 1

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The simplest solution, always the same one: demonstrations that agree are easier to learn from.

        None after an answer, which is the last.
        """
        return None if after else [Message("assistant", solutions(task.payload["numbers"], task.goal)[0])]

    def open(self, task: Task) -> CountdownEnvironment:
        """A fresh single-turn environment."""
        return CountdownEnvironment(task)


class CountdownEnvironment(SingleTurn):
    """One attempt: the answer ends the episode."""

    def achieved_goals(self, trajectory: Trajectory) -> Sequence[Achieved]:
        """The value reached, where the answer uses every number once and the value is a possible target."""
        parsed = evaluate(answer_of(trajectory.final_text))
        if parsed is None:
            return []
        value, used = parsed
        fits = value.denominator == 1 and 1 <= value <= self._task.payload["max_target"]
        if not fits or sorted(used) != sorted(self._task.payload["numbers"]):
            return []
        return [Achieved(int(value), 0)]

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The same answer, asked for by a prompt with `goal` as its target, whether or not that is its value."""
        payload = self._task.payload
        task = countdown_task(payload["numbers"], goal, payload["max_target"], Split.TRAIN)
        return Episode(task, (replace(trajectory.turns[0], observation=()),), start_turn)


def countdown_task(numbers: Sequence[int], target: int, max_target: int, split: Split) -> Task:
    """The task with these numbers, shown largest first: one order, so that equal tasks read alike."""
    numbers = sorted(numbers, reverse=True)
    canonical: Json = {"numbers": numbers, "target": target}
    return Task(
        environment="countdown",
        goal=target,
        prompt=(Message("user", f"reach {target} from {', '.join(map(str, numbers))}"),),
        split=split,
        hash=canonical_hash("countdown", canonical),
        payload={"numbers": numbers, "max_target": max_target},
    )


def _solves(text: str, numbers: Sequence[int], target: int) -> bool:
    parsed = evaluate(text)
    return parsed is not None and parsed[0] == target and sorted(parsed[1]) == sorted(numbers)


def answer_of(text: str) -> str:
    """The expression answered with: what follows the last "=" or ":" or line break, e.g. "(9-3)*8" of "so: (9-3)*8"."""
    return re.split(r"[=:\n]", text.strip())[-1].strip()
