"""Held-out tasks as exams: how they are attempted, and what came of it, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import comb

from journeyman.agent.data import Source, Split
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.attempts.attempts import Plan
from journeyman.workflows.session.engines import Guard, step_seconds
from journeyman.workflows.session.session import Session


@dataclass(frozen=True, slots=True)
class Exam:
    """Held-out tasks, how they are attempted, and what judges that."""

    split: Split
    plan: Plan
    rubric: Rubric
    guard: str = ""
    """Name of the guard whose tasks they are."""

    @property
    def name(self) -> str:
        """What it is called where people read it, e.g. `validation` or `guard words`."""
        return f"guard {self.guard}" if self.guard else str(self.split)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What came of the attempts at one task, e.g. `TaskResult(8, 7, 3, 1)`: 8 made, 7 judged, 3 solved it, 1 broke."""

    attempts: int
    judged: int
    successes: int
    broken: int

    @property
    def whole(self) -> bool:
        """Whether every attempt was judged."""
        return self.judged == self.attempts


def exam_of(session: Session, split: Split) -> Exam:
    """The run's tasks of the split.

    All policies are examined with the same random numbers, so that differences between them vary less.
    """
    settings = session.settings.evaluate
    limits = session.limits(settings.temperature)
    tasks = session.store.tasks.of(session.run.id, split)
    plan = Plan(tasks, settings.attempts, limits, ("evaluate", split), session.open_environment)
    return Exam(split, plan, session.rubric)


def guard_exam(session: Session, guard: Guard) -> Exam:
    """A guard's tasks."""
    settings = guard.settings
    limits = replace(
        session.limits(session.settings.evaluate.temperature),
        max_turns=guard.task_set.max_turns,
        turn_tokens=settings.max_tokens or session.settings.generate.max_tokens,
        step_seconds=step_seconds(settings.environment, f"guard.{settings.name}.environment", guard.task_set),
    )
    tasks = session.store.tasks.of(session.run.id, Split.GUARD, guard.origin)
    plan = Plan(tasks, settings.attempts, limits, ("evaluate", guard.origin), guard.task_set.open)
    return Exam(Split.GUARD, plan, guard.rubric, settings.name)


def answers(session: Session, policy: PolicyInfo, iteration: int, exam: Exam) -> list[StoredTrajectory]:
    """The policy's stored attempts at the exam, without tokens."""
    stored = session.store.trajectories.of(
        session.run.id,
        source=Source.POLICY,
        split=exam.split,
        iterations=[iteration],
        policy_number=policy.number,
        tokens=False,
    )
    own = {task.hash for task in exam.plan.tasks}  # another guard's are of the same split
    return [t for t in stored if t.task.hash in own]


def results(rubric: Rubric, stored: Sequence[StoredTrajectory]) -> dict[str, TaskResult]:
    """By hash of the task; the attempts at one stand together."""
    found = {}
    for task, group in groupby(stored, key=lambda t: t.task.hash):
        attempts = list(group)
        judged = [t for t in attempts if not rubric.failed(t.verdicts)]
        successes = sum(rubric.succeeded(t.verdicts) for t in judged)
        broken = sum(t.trajectory.broken for t in attempts)
        found[task] = TaskResult(len(attempts), len(judged), successes, broken)
    return found


def mean_pass_at_k(found: Iterable[TaskResult], k: int) -> float:
    """The mean over the tasks of which an attempt was judged; 0 where there is none."""
    judged = [r for r in found if r.judged]
    return sum(pass_at_k(r.judged, r.successes, min(r.judged, k)) for r in judged) / max(len(judged), 1)


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """The chance that k attempts drawn from those made hold a success: 1 - C(n - c, k) / C(n, k).

    The unbiased estimate of Chen et al. 2021 (arXiv:2107.03374), equation 1.
    """
    return 1.0 - comb(attempts - successes, k) / comb(attempts, k)
