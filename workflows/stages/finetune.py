"""Stage 4: one update of the policy, by the iteration's objective.

`grpo` compares the iteration's own attempts, and older ones from the replay store, with their siblings, and imitates
verified positives beside; `bc` imitates all successes; `dpo` learns from pairs. What each is made of is in
updates/material.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from journeyman.agent.data import Json
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.attempts.versions import candidate_number, start_of, version_path
from journeyman.workflows.session.ranks import as_rank, learn_in_ranks
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.settings.objectives import Objective
from journeyman.workflows.updates.material import Material, gather
from journeyman.workflows.updates.replay import remember

_AS_RANK = "import sys; from journeyman.workflows.stages.finetune import train_as_rank; train_as_rank(*sys.argv[1:])"


def finetune(ref: RunRef, iteration: int) -> Json:
    """Trains the policy, the newest promoted one if `finetune.begin` is left alone, and saves it as a candidate."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {p.number for p in store.policies.of(run_id)}:
            remember(store, run_id, session.rubric, iteration)
            if (processes := session.settings.learner.processes) > 1:
                learn_in_ranks(session.reporter, processes, _AS_RANK, [ref.store_url, run_id, str(iteration)])
            else:
                _train(session, iteration)
        candidate = store.policies.numbered(run_id, number)
        return {"policy": number, **candidate.stats}


def train_as_rank(store_url: str, run_id: str, iteration: str) -> None:
    """What each of the processes of `learner.processes` does; never returns."""
    as_rank(RunRef(store_url, run_id), lambda session: _train(session, int(iteration)))


def _train(session: Session, iteration: int) -> None:
    objective = objective_of(session, iteration)
    make_version(session, iteration, objective, gather(session, iteration, objective))


def objective_of(session: Session, iteration: int) -> Objective:
    """The iteration's, by `finetune.objective`."""
    objectives = session.settings.finetune.objectives
    return objectives[min(iteration, len(objectives)) - 1]


def make_version(
    session: Session,
    iteration: int,
    objective: Objective,
    material: Material,
    notes: Mapping[str, Json] | None = None,
) -> None:
    """The iteration's candidate, taught by the material: its weights, then its row, with `notes` beside its numbers.

    It is promoted as it is where no version was before.
    """
    store, run_id = session.store, session.run.id
    number, start = candidate_number(iteration), start_of(session, iteration)
    learner = session.learner(start)
    session.learner_became(None)  # should it fail, nobody takes what it leaves for the start
    taught = material.teach(session, iteration, learner)
    path = version_path(session, number)
    learner.save(session.artifacts / path, number, None if start is None else start.path)
    if not learner.ranks.first:
        return
    stats = {**taught.stats, **(notes or {})}
    promoted = None if store.policies.newest_promoted(run_id) else True
    parent_id = None if start is None else start.id
    store.policies.add(run_id, NewPolicy(number, parent_id, iteration, objective, path, stats, promoted), taught.uses)
    session.learner_became(store.policies.numbered(run_id, number))
