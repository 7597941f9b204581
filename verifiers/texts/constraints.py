"""Texts judged by the constraints of their task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from journeyman.agent.constraints.constraints import canonical_constraints, satisfied, sentence_of
from journeyman.agent.data import Task, Trajectory, Verdict


@dataclass(frozen=True)
class ConstraintsSatisfied:
    """The share of the goal's constraints that the final text satisfies, in [0, 1]; 1 is success.

    The goal is a list of constraints as `agent/constraints/constraints.py` has them, of any environment.
    """

    name: ClassVar[str] = "constraints"
    version: ClassVar[str] = "3"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Names the missed ones; abstains where there is no goal. Raises UsageError for a goal of another form."""
        if task.goal is None:
            return Verdict.abstain("the task has no goal")
        constraints = canonical_constraints(task.goal)
        kept = satisfied(constraints, trajectory.final_text)
        missed = [sentence_of(c) for c in constraints if c not in kept]
        return Verdict.scored(
            len(kept) / len(constraints),
            extracted=trajectory.final_text,
            expected=" ".join(map(sentence_of, constraints)),
            why=f"missed: {' '.join(missed)}" if missed else None,
        )
