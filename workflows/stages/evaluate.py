"""Stage 5: how good is a policy on held-out tasks, by pass@1 and pass@k."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from math import comb

from journeyman.agent.data import Json, Source, Split
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.attempts.attempts import Plan, attempt, judged
from journeyman.workflows.attempts.outages import without_outage
from journeyman.workflows.attempts.versions import candidate_number
from journeyman.workflows.session.engines import Guard
from journeyman.workflows.session.session import RunRef, Session, borrow


def evaluate(ref: RunRef, iteration: int) -> Json:
    """The iteration's candidate on the validation tasks and on every guard's.

    Its parent was evaluated on them when it was the candidate; a run's first policy by iteration 0.
    """
    with borrow(ref) as session:
        candidate = session.store.policies.numbered(session.run.id, candidate_number(iteration))
        row = as_row(measure(session, candidate, Split.VALIDATION, iteration))
        for guard in session.guards:
            found = measure_guard(session, candidate, guard, iteration)
            row[f"guard {guard.settings.name}"] = found.pass_at_1
        return row


def test(ref: RunRef) -> Json:
    """The first policy and the newest promoted one on the test tasks, which decide nothing."""
    with borrow(ref) as session:
        policies = session.store.policies.of(session.run.id)
        promoted = [p for p in policies if p.promoted]
        last = max(p.iteration for p in policies)
        found = {p.number: measure(session, p, Split.TEST, last) for p in (promoted[0], promoted[-1])}
        return {f"v{number}": as_row(info) for number, info in found.items()}


@dataclass(frozen=True, slots=True)
class _Exam:
    """Held-out tasks, how they are attempted, and what judges that."""

    split: Split
    plan: Plan
    rubric: Rubric
    guard: str = ""


def measure(session: Session, policy: PolicyInfo, split: Split, iteration: int) -> EvaluationInfo:
    """Attempts every task of the split `evaluate.attempts` times, stores attempts and result, and returns the result.

    All policies are evaluated with the same random numbers, so that differences between them vary less.
    """
    settings = session.settings.evaluate
    tasks = session.store.tasks.of(session.run.id, split)
    limits = session.limits(settings.temperature)
    plan = Plan(tasks, settings.attempts, limits, ("evaluate", split), session.open_environment)
    return _measure(session, policy, iteration, _Exam(split, plan, session.rubric))


def measure_guard(session: Session, policy: PolicyInfo, guard: Guard, iteration: int) -> EvaluationInfo:
    """The same for a guard's tasks."""
    settings = guard.settings
    tasks = session.store.tasks.of(session.run.id, Split.GUARD, guard.origin)
    limits = replace(
        session.limits(session.settings.evaluate.temperature),
        max_turns=guard.task_set.max_turns,
        turn_tokens=settings.max_tokens or session.settings.generate.max_tokens,
    )
    plan = Plan(tasks, settings.attempts, limits, ("evaluate", guard.origin), guard.task_set.open)
    return _measure(session, policy, iteration, _Exam(Split.GUARD, plan, guard.rubric, settings.name))


def _measure(session: Session, policy: PolicyInfo, iteration: int, exam: _Exam) -> EvaluationInfo:
    """The stored result, which stands whatever is made of its verdicts later, or a new one."""
    for info in session.store.evaluations.of(session.run.id, exam.split):
        if (info.policy_number, info.iteration, info.guard) == (policy.number, iteration, exam.guard):
            return info
    tasks = {task.hash: task for task in exam.plan.tasks}
    what = f"guard {exam.guard}" if exam.guard else exam.split
    for chunk in attempt(session, policy, iteration, exam.plan, f"v{policy.number} on {what}"):
        rows = [(tasks[row.trajectory.task_hash], row) for row in chunk]
        session.store.trajectories.add(session.run.id, judged(exam.rubric, rows))
    info = _result(session, policy, iteration, exam)
    session.store.evaluations.add(session.run.id, info)
    return info


def pass_at_k(attempts: int, successes: int, k: int) -> float:
    """The chance that k attempts drawn from those made hold a success: 1 - C(n - c, k) / C(n, k).

    The unbiased estimate of Chen et al. 2021 (arXiv:2107.03374), equation 1.
    """
    return 1.0 - comb(attempts - successes, k) / comb(attempts, k)


def as_row(info: EvaluationInfo) -> dict[str, Json]:
    """The result as a table row."""
    return {
        "policy": info.policy_number,
        "tasks": info.tasks,
        "k": info.k,
        "pass@1": info.pass_at_1,
        "pass@k": info.pass_at_k,
        "mean_reward": info.mean_reward,
    }


def _result(session: Session, policy: PolicyInfo, iteration: int, exam: _Exam) -> EvaluationInfo:
    own = {task.hash for task in exam.plan.tasks}  # another guard's are of the same split

    def read() -> list[StoredTrajectory]:
        stored = session.store.trajectories.of(
            session.run.id,
            source=Source.POLICY,
            split=exam.split,
            iterations=[iteration],
            policy_number=policy.number,
            tokens=False,
        )
        return [t for t in stored if t.task.hash in own]

    stored = without_outage(session.store, exam.rubric, read, f"v{policy.number} on {exam.guard or exam.split}")
    k, rubric = exam.plan.attempts, exam.rubric
    judged_stored = [t for t in stored if not rubric.failed(t.verdicts)]
    by_task = [list(group) for _, group in groupby(judged_stored, key=lambda t: t.task.hash)]
    counts = [(len(group), sum(rubric.succeeded(t.verdicts) for t in group)) for group in by_task]
    rewards = [r for r in (rubric.reward(t.verdicts) for t in stored) if r is not None]
    count = max(len(counts), 1)
    return EvaluationInfo(
        split=exam.split,
        iteration=iteration,
        policy_number=policy.number,
        tasks=len(counts),
        k=k,
        pass_at_1=sum(pass_at_k(n, c, 1) for n, c in counts) / count,
        pass_at_k=sum(pass_at_k(n, c, min(n, k)) for n, c in counts) / count,
        mean_reward=sum(rewards) / len(rewards) if rewards else None,
        guard=exam.guard,
    )
