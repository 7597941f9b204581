"""Stage 1: G attempts at each of an iteration's tasks by the newest promoted policy."""

from __future__ import annotations

from journeyman.agent.data import Json, Source
from journeyman.agent.errors import StoreError
from journeyman.storage.leases import Claim
from journeyman.workflows.attempts.attempts import Plan, in_chunks, make_chunk
from journeyman.workflows.attempts.curriculum import choose_tasks, tasks_of
from journeyman.workflows.attempts.sharing import Work, finish_together, held
from journeyman.workflows.attempts.versions import parent_of
from journeyman.workflows.session.session import RunRef, Session, borrow


def generate(ref: RunRef, iteration: int) -> Json:
    """Stores the attempts chunk by chunk, made here or by workers of the run; what is stored is not made again."""
    with borrow(ref) as session:
        chosen = [task.hash for task in choose_tasks(session, iteration)]
        session.store.runs.begin_iteration(session.run.id, iteration, chosen)
        finish_together(session, chunks_to_make(session, iteration), f"iteration {iteration}: generate")
        attempts = session.store.trajectories.counts(session.run.id).get((iteration, Source.POLICY), 0)
        tasks = attempts // session.settings.generate.attempts
        return {"policy": parent_of(session, iteration).number, "tasks": tasks, "attempts": attempts}


def plan_of(session: Session, iteration: int) -> Plan:
    """The iteration's attempts at its training tasks."""
    settings, purpose = session.settings.generate, ("generate", session.run.ordinal, iteration)
    limits = session.limits(settings.temperature)
    return Plan(tasks_of(session, iteration), settings.attempts, limits, purpose, session.open_environment)


def chunks_to_make(session: Session, iteration: int) -> Work:
    """The iteration's chunks as work, each claimed alone and by its first task's name, so that it is made whole."""
    policy, plan = parent_of(session, iteration), plan_of(session, iteration)
    chunks = in_chunks(session, plan.tasks)

    def make(claim: Claim) -> None:
        with held(session, claim):
            (first,) = claim.subjects
            if first not in chunks:
                what = f"no chunk of iteration {iteration} begins with task {first}"
                raise StoreError(f"{what}: see that all workers of the run have the same version of journeyman")
            rows = make_chunk(session, policy, iteration, plan, chunks[first])
        session.store.trajectories.add(session.run.id, rows, finishes=claim)

    return Work(f"generate/{iteration}", chunks.keys, make, claimed_at_once=1)
