"""Stage 1: G attempts at each of an iteration's tasks by the newest promoted policy."""

from __future__ import annotations

from journeyman.agent.data import Json, Source
from journeyman.workflows.attempts import Plan, attempt
from journeyman.workflows.curriculum import tasks_of
from journeyman.workflows.session import RunRef, borrow
from journeyman.workflows.versions import parent_of


def generate(ref: RunRef, iteration: int) -> Json:
    """Stores the attempts chunk by chunk; what is stored already is not made again."""
    with borrow(ref) as session:
        settings = session.settings.generate
        session.store.begin_iteration(session.run.id, iteration)
        policy = parent_of(session, iteration)
        purpose = ("generate", session.run.ordinal, iteration)
        plan = Plan(tasks_of(session, iteration), settings.attempts, settings.temperature, purpose)
        for chunk in attempt(session, policy, iteration, plan, f"iteration {iteration}: generate"):
            session.store.add_trajectories(session.run.id, chunk)
        attempts = session.store.counts(session.run.id).get((iteration, Source.POLICY), 0)
        return {"policy": policy.number, "tasks": len(plan.tasks), "attempts": attempts}
