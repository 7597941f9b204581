"""Stage 2: every verifier's verdict on every attempt that has none yet."""

from __future__ import annotations

from journeyman.agent.data import Json, Source
from journeyman.workflows.attempts import attempts_of
from journeyman.workflows.session import RunRef, borrow


def score(ref: RunRef, iteration: int) -> Json:
    """Scores the iteration's attempts chunk by chunk; the mean reward and the share of successes."""
    with borrow(ref) as session:
        store, rubric, size = session.store, session.rubric, session.settings.generate.chunk
        unscored = [
            t
            for t in attempts_of(session, iteration, tokens=False)
            if any(c.id not in t.verdicts for c in rubric.criteria)
        ]
        with session.reporter.progress(f"iteration {iteration}: score", len(unscored)) as advance:
            for first in range(0, len(unscored), size):
                chunk = unscored[first : first + size]
                store.add_scores((t.id, record) for t in chunk for record in rubric.score(t.task, t.trajectory))
                advance(len(chunk))
        attempts = store.judged(session.run.id, iteration, Source.POLICY)
        rewards = [rubric.reward(a.verdicts) for a in attempts]
        known = [r for r in rewards if r is not None]
        return {
            "attempts": len(attempts),
            "failed_to_score": len(rewards) - len(known),
            "mean_reward": sum(known) / max(len(known), 1),
            "success": sum(rubric.succeeded(a.verdicts) for a in attempts) / max(len(attempts), 1),
        }
