"""Stage 1: G attempts at each of an iteration's tasks by the newest promoted policy."""

from __future__ import annotations

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Source, Split, Task
from journeyman.workflows.attempts import Plan, attempt
from journeyman.workflows.session import RunRef, Session, borrow
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


def tasks_of(session: Session, iteration: int) -> list[Task]:
    """The iteration's training tasks: pass after pass over all of them, each pass in an order of its own."""
    tasks = session.store.tasks(session.run.id, Split.TRAIN)
    count = session.settings.generate.tasks
    chosen: list[Task] = []
    for place in range((iteration - 1) * count, iteration * count):
        turn, i = divmod(place, len(tasks))
        if i == 0 or not chosen:
            order = keyed_rng(session.settings.run.seed, "order", session.run.ordinal, turn).permutation(len(tasks))
        chosen.append(tasks[order[i]])
    return list({task.hash: task for task in chosen}.values())  # once a task, where there are fewer than `count`
