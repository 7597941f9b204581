"""Stage 4: one update of the policy, by the iteration's objective.

`grpo` compares the iteration's own attempts, and older ones from the replay store, with their siblings, and imitates
verified positives beside; `bc` imitates all successes; `dpo` learns from pairs. What each is made of is in
updates/material.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from journeyman.agent.data import Json
from journeyman.agent.errors import MicroBatchTooLargeError
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.attempts.versions import candidate_number, start_of, version_path
from journeyman.workflows.session.ranks import as_rank, learn_in_ranks
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.objectives import Objective
from journeyman.workflows.updates.agreement import agree
from journeyman.workflows.updates.material import gather
from journeyman.workflows.updates.replay import remember

_AS_RANK = "import sys; from journeyman.workflows.stages.finetune import train_as_rank; train_as_rank(*sys.argv[1:])"


def finetune(ref: RunRef, iteration: int) -> Json:
    """Trains the policy, the newest promoted one if `finetune.begin` is left alone, and saves it as a candidate."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {p.number for p in store.policies.of(run_id)}:
            remember(store, run_id, session.rubric, iteration)
            train(session, iteration)
        candidate = store.policies.numbered(run_id, number)
        return {"policy": number, **candidate.stats}


def train(session: Session, iteration: int, *, alone: bool = False, notes: Mapping[str, Json] | None = None) -> None:
    """Makes the iteration's candidate, by `learner.processes`; `notes` are kept with its numbers.

    `alone` is an iteration without attempts of its own.
    """
    if session.settings.learner.processes > 1:
        _train_in_ranks(session, iteration, {"alone": alone, "notes": notes})
    else:
        _make_version(session, iteration, alone, notes)


def _train_in_ranks(session: Session, iteration: int, how: Json) -> None:
    """Several processes make the update; anew with micro-batches of half the size where one has no memory."""
    ref, settings = session.ref, session.settings
    while True:
        told = [ref.store_url, ref.run_id, str(iteration), json.dumps(how), settings.model_dump_json()]
        try:
            return learn_in_ranks(session.reporter, settings.learner.processes, _AS_RANK, told)
        except MicroBatchTooLargeError as error:
            session.reporter.line(f"  iteration {iteration}: {error}; begins anew with that")
            smaller = settings.learner.model_copy(update={"micro_batch_tokens": max(1, error.tokens // 2)})
            settings = settings.model_copy(update={"learner": smaller})


def train_as_rank(store_url: str, run_id: str, iteration: str, how: str, settings: str) -> None:
    """What each of the processes does, told as JSON how and with which settings; never returns."""

    def make(session: Session) -> None:
        session.settings = parse_settings(json.loads(settings), f"run {run_id}")
        _make_version(session, int(iteration), **json.loads(how))

    as_rank(RunRef(store_url, run_id), make)


def objective_of(session: Session, iteration: int) -> Objective:
    """The iteration's, by `finetune.objective`."""
    objectives = session.settings.finetune.objectives
    return objectives[min(iteration, len(objectives)) - 1]


def _make_version(session: Session, iteration: int, alone: bool, notes: Mapping[str, Json] | None) -> None:
    """Weights first, then their row. It is promoted as it is where no version was before."""
    store, run_id, objective = session.store, session.run.id, objective_of(session, iteration)
    material = gather(session, iteration, objective, alone=alone)
    number, start = candidate_number(iteration), start_of(session, iteration)
    learner = session.learner(start)
    agree(learner.ranks, "material", material.key(session))
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
