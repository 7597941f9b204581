"""Stage 6: validation decides whether the candidate becomes the policy, guards may stop it; old weights go."""

from __future__ import annotations

from journeyman.agent.data import Json, Split
from journeyman.workflows.attempts.versions import candidate_number, parent_of, prune
from journeyman.workflows.session.session import RunRef, Session, borrow

_ROUNDING = 1e-9  # a difference of exactly the margin is within it, however its sums were rounded


def promote(ref: RunRef, iteration: int) -> Json:
    """Promotes the candidate where its validation pass@1 is at least its parent's plus `evaluate.margin`.

    It is stopped where its pass@1 on a guard is below its parent's by more than that guard's margin.
    After a rejection the next iteration goes on from the parent: `Session.learner` brings its weights and optimizer
    back, `Session.sampler` its weights.
    """
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        parent = parent_of(session, iteration)
        scores = {e.policy_number: e.pass_at_1 for e in store.evaluations.of(run_id, Split.VALIDATION)}
        stopped_by = _regressions(session, number, parent.number)
        least = scores[parent.number] + session.settings.evaluate.margin - _ROUNDING
        promoted = scores[number] >= least and stopped_by is None
        store.policies.set_promoted(run_id, number, promoted=promoted, stopped_by=stopped_by)
        store.runs.finish_iteration(run_id, iteration)
        decision = {"policy": number, "promoted": promoted, "parent": parent.number, "pruned": prune(session)}
        return decision if stopped_by is None else decision | {"stopped_by": stopped_by}


def _regressions(session: Session, number: int, parent: int) -> str | None:
    """The guards on which the candidate fell too far below its parent, e.g. "guard words 0.410 -> 0.300", or None."""
    found = session.store.evaluations.of(session.run.id, Split.GUARD)
    scores = {(e.guard, e.policy_number): e.pass_at_1 for e in found}
    fallen = []
    for guard in session.settings.guard:
        before, now = scores[guard.name, parent], scores[guard.name, number]
        if now < before - guard.margin - _ROUNDING:
            fallen.append(f"guard {guard.name} {before:.3f} -> {now:.3f}")
    return ", ".join(fallen) or None
