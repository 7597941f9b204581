"""Stage 6: validation decides whether the candidate becomes the policy; old weights go."""

from __future__ import annotations

from journeyman.agent.data import Json, Split
from journeyman.workflows.session import RunRef, borrow
from journeyman.workflows.versions import candidate_number, parent_of, prune


def promote(ref: RunRef, iteration: int) -> Json:
    """Promotes the candidate where its validation pass@1 is at least its parent's plus `evaluate.margin`.

    After a rejection the next iteration goes on from the parent: `Session.learner` brings its weights and optimizer
    back, `Session.sampler` its weights.
    """
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        parent = parent_of(session, iteration)
        scores = {e.policy_number: e.pass_at_1 for e in store.evaluations(run_id, Split.VALIDATION)}
        promoted = scores[number] >= scores[parent.number] + session.settings.evaluate.margin
        store.set_promoted(run_id, number, promoted=promoted)
        store.finish_iteration(run_id, iteration)
        return {"policy": number, "promoted": promoted, "parent": parent.number, "pruned": prune(session)}
