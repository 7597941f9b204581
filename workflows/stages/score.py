"""Stage 2: every verifier's verdict on every attempt that has none yet."""

from __future__ import annotations

from functools import partial

from journeyman.agent.data import Json, Source
from journeyman.storage.leases import Claim
from journeyman.workflows.attempts.attempts import attempts_of, make_again
from journeyman.workflows.attempts.outages import without_outage
from journeyman.workflows.attempts.sharing import Work, finish_together, held
from journeyman.workflows.attempts.versions import parent_of
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.stages.generate import plan_of


def score(ref: RunRef, iteration: int) -> Json:
    """Has the iteration's attempts scored, here or by workers of the run; mean reward and share of successes."""
    with borrow(ref) as session:
        finish_together(session, attempts_to_score(session, iteration), f"iteration {iteration}: score")
        store, rubric = session.store, session.rubric
        read = partial(store.trajectories.judged, session.run.id, iteration, Source.POLICY)
        policy, plan = parent_of(session, iteration), plan_of(session, iteration)
        again = partial(make_again, session, policy, iteration, plan)
        attempts = without_outage(store, rubric, read, f"iteration {iteration}: score", again)
        rewards = [rubric.reward(a.verdicts) for a in attempts]
        known = [r for r in rewards if r is not None]
        return {
            "attempts": len(attempts),
            "without_reward": len(rewards) - len(known),
            "mean_reward": sum(known) / len(known) if known else None,
            "success": sum(rubric.succeeded(a.verdicts) for a in attempts) / max(len(attempts), 1),
        }


def attempts_to_score(session: Session, iteration: int) -> Work:
    """The iteration's unscored attempts as work, named by their ids; those of `generate.chunk` tasks at once.

    Another rubric, say with a verifier's next version, is other work: what was scored is scored again by what is new.
    """
    store, rubric, settings = session.store, session.rubric, session.settings.generate

    def unscored() -> list[str]:
        attempts = attempts_of(session, iteration, tokens=False)
        return [t.id for t in attempts if any(c.id not in t.verdicts for c in rubric.criteria)]

    def judge(claim: Claim) -> None:
        with held(session, claim):
            found = store.trajectories.by_id(claim.subjects, tokens=False)
            judged = rubric.score_all([(t.task, t.trajectory) for t in found])
            scores = [
                (t.id, record)
                for t, records in zip(found, judged, strict=True)
                for record in records
                if record.verifier not in t.verdicts
            ]
        store.verdicts.add(scores, finishes=claim)

    return Work(f"score/{iteration}/{rubric.hash}", unscored, judge, claimed_at_once=settings.chunk * settings.attempts)
