"""Stage 6: validation decides whether the candidate becomes the policy, guards may stop it; old weights go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from journeyman.agent.data import Json, Split
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.attempts.exams import Exam, TaskResult, answers, exam_of, guard_exam, mean_pass_at_k, results
from journeyman.workflows.attempts.versions import candidate_number, parent_of, prune
from journeyman.workflows.session.session import RunRef, Session, borrow

MOST_BROKEN = 0.02
"""Share of a candidate's attempts at an exam that outages may break; above it the candidate is not promoted."""
_ROUNDING = 1e-9  # a difference of exactly the margin is within it, however its sums were rounded


def promote(ref: RunRef, iteration: int) -> Json:
    """Promotes the candidate where its validation pass@1 is at least its parent's plus `evaluate.margin`.

    It is stopped where its pass@1 on a guard is below its parent's by more than that guard's margin. Both are compared
    on the tasks at which every attempt of both was judged, and nobody is promoted of whose attempts outages broke more
    than 2 %: a policy that breaks its environment on hard tasks gains nothing by it.
    After a rejection the next iteration goes on from the parent: `Session.learner` brings its weights and optimizer
    back, `Session.sampler` its weights.
    """
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        parent, candidate = parent_of(session, iteration), store.policies.numbered(run_id, number)
        validation = _compare(session, parent, candidate, exam_of(session, Split.VALIDATION))
        stops = [validation.no_ground]
        for guard in session.guards:
            found = _compare(session, parent, candidate, guard_exam(session, guard))
            stops.append(found.no_ground or found.fallen_by(guard.settings.margin))
        stopped_by = ", ".join(filter(None, stops)) or None
        promoted = stopped_by is None and validation.fallen_by(-session.settings.evaluate.margin) is None
        store.policies.set_promoted(run_id, number, promoted=promoted, stopped_by=stopped_by)
        store.runs.finish_iteration(run_id, iteration)
        decision = {"policy": number, "promoted": promoted, "parent": parent.number, "pruned": prune(session)}
        return decision if stopped_by is None else decision | {"stopped_by": stopped_by}


@dataclass(frozen=True)
class _Comparison:
    """A candidate beside its parent at one exam, task by task."""

    exam: str
    before: dict[str, TaskResult]
    now: dict[str, TaskResult]

    @cached_property
    def common(self) -> list[str]:
        """The tasks at which every attempt of both was judged."""
        return [task for task, one in self.before.items() if one.whole and task in self.now and self.now[task].whole]

    @property
    def no_ground(self) -> str | None:
        """Why nothing can be said in the candidate's favour, or None."""
        broken, attempts = (sum(getattr(r, name) for r in self.now.values()) for name in ("broken", "attempts"))
        if broken > MOST_BROKEN * attempts:
            return f"outages broke {broken} of {attempts} attempts on {self.exam}"
        return None if self.common else f"no task of {self.exam} was judged whole for both"

    def fallen_by(self, margin: float) -> str | None:
        """The fall of pass@1 where it is more than the margin, e.g. "guard words 0.410 -> 0.300"; else None."""
        before, now = (mean_pass_at_k([found[task] for task in self.common], 1) for found in (self.before, self.now))
        return f"{self.exam} {before:.3f} -> {now:.3f}" if now < before - margin - _ROUNDING else None


def _compare(session: Session, parent: PolicyInfo, candidate: PolicyInfo, exam: Exam) -> _Comparison:
    before, now = (results(exam.rubric, answers(session, p, p.iteration, exam)) for p in (parent, candidate))
    return _Comparison(exam.name, before, now)
