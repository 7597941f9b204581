"""Stage 5: how good is a policy on held-out tasks, by pass@1 and pass@k."""

from __future__ import annotations

from functools import partial

from journeyman.agent.data import Json, Split
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.attempts.attempts import attempt, judged, make_again
from journeyman.workflows.attempts.exams import Exam, answers, exam_of, guard_exam, mean_pass_at_k, results
from journeyman.workflows.attempts.outages import without_outage
from journeyman.workflows.attempts.versions import candidate_number
from journeyman.workflows.session.session import RunRef, Session, borrow


def evaluate(ref: RunRef, iteration: int) -> Json:
    """The iteration's candidate on the validation tasks and on every guard's.

    Its parent was evaluated on them when it was the candidate; a run's first policy by iteration 0.
    """
    with borrow(ref) as session:
        candidate = session.store.policies.numbered(session.run.id, candidate_number(iteration))
        row = as_row(measure(session, candidate, iteration, exam_of(session, Split.VALIDATION)))
        for guard in session.guards:
            found = measure(session, candidate, iteration, guard_exam(session, guard))
            row[f"guard {guard.settings.name}"] = found.pass_at_1
        return row


def test(ref: RunRef) -> Json:
    """The first policy and the newest promoted one on the test tasks, which decide nothing."""
    with borrow(ref) as session:
        policies = session.store.policies.of(session.run.id)
        promoted = [p for p in policies if p.promoted]
        last = max(p.iteration for p in policies)
        exam = exam_of(session, Split.TEST)
        found = {p.number: measure(session, p, last, exam) for p in (promoted[0], promoted[-1])}
        return {f"v{number}": as_row(info) for number, info in found.items()}


def measure(session: Session, policy: PolicyInfo, iteration: int, exam: Exam) -> EvaluationInfo:
    """Attempts every task of the exam, stores attempts and result, and returns the result.

    A stored result stands, whatever is made of its verdicts later.
    """
    for info in session.store.evaluations.of(session.run.id, exam.split):
        if (info.policy_number, info.iteration, info.guard) == (policy.number, iteration, exam.guard):
            return info
    tasks = {task.hash: task for task in exam.plan.tasks}
    for chunk in attempt(session, policy, iteration, exam.plan, f"v{policy.number} on {exam.name}"):
        rows = [(tasks[row.trajectory.task_hash], row) for row in chunk]
        session.store.trajectories.add(session.run.id, judged(exam.rubric, rows))
    info = _result(session, policy, iteration, exam)
    session.store.evaluations.add(session.run.id, info)
    return info


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


def _result(session: Session, policy: PolicyInfo, iteration: int, exam: Exam) -> EvaluationInfo:
    """Of the attempts that have a reward: a verifier's failure or an environment's is no failure of the policy's."""
    rubric, k = exam.rubric, exam.plan.attempts
    read = partial(answers, session, policy, iteration, exam)
    again = partial(make_again, session, policy, iteration, exam.plan)
    stored = without_outage(session.store, rubric, read, f"v{policy.number} on {exam.name}", again)
    found = results(rubric, stored)
    rewards = [r for r in (rubric.reward(t.verdicts) for t in stored) if r is not None]
    return EvaluationInfo(
        split=exam.split,
        iteration=iteration,
        policy_number=policy.number,
        tasks=sum(r.judged > 0 for r in found.values()),
        k=k,
        pass_at_1=mean_pass_at_k(found.values(), 1),
        pass_at_k=mean_pass_at_k(found.values(), k),
        mean_reward=sum(rewards) / len(rewards) if rewards else None,
        guard=exam.guard,
    )
