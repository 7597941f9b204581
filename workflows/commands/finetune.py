"""`journeyman finetune`: a policy version from what a finished run has stored, with no sampler and no rollouts.

It is one iteration more, without attempts of its own: so it has a number of its own, and the stages that evaluate,
audit and promote a candidate take it as they take all others. A run that is not finished would take that number itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence

from journeyman.agent.data import Json, Split
from journeyman.agent.errors import SettingsError, UsageError, suggestion
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.attempts.versions import candidate_number, start_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.checking import check_update
from journeyman.workflows.session.runs import find_run
from journeyman.workflows.session.session import Session, lend
from journeyman.workflows.stages.audit import audit
from journeyman.workflows.stages.evaluate import as_row, evaluate
from journeyman.workflows.stages.finetune import objective_of, train
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import promoted_text
from journeyman.workflows.terminal import say_json
from journeyman.workflows.updates.material import Material, gather
from journeyman.workflows.updates.replay import remember

SECTIONS = ("finetune", "imitation", "preference", "estimator", "critic", "kl", "replay", "optimizer")
"""Of the settings: those that say what an update does, which may be other ones than the run's."""
RECIPE = "recipe"
"""Of a version's statistics: what it was made of, as a hash."""


def finetune(options: argparse.Namespace) -> None:
    """`journeyman finetune RUN --objective NAME`."""
    overrides = [*update_settings(options.overrides), f"finetune.objective={options.objective}"]
    if options.begin:
        if not re.fullmatch(r"base|v[1-9]\d*", options.begin):
            raise UsageError(f"--from {options.begin!r} is neither `base` nor a version, e.g. v3")
        overrides.append(f"finetune.begin={options.begin}")
    with lend(find_run(options.store, options.run), Reporter(), overrides) as session:
        policy = stored_version(session, options.overrides)
        if options.promote:
            policy = decided(session, policy)
        row = _row(session, policy)
    if options.json:
        say_json(row | {"stats": policy.stats})
    else:
        Reporter(stdout=True).table(f"run {policy.run_id}", [row])


def update_settings(overrides: Sequence[str]) -> Sequence[str]:
    """The overrides; raises SettingsError for one that is none of an update."""
    for override in overrides:
        section = override.partition("=")[0].strip().partition(".")[0]
        if section not in (known := (*SECTIONS, "learner")):
            raise SettingsError(f"--set {override}: no setting of an update: {suggestion(section, known)}")
    return overrides


def stored_version(session: Session, overrides: Sequence[str]) -> PolicyInfo:
    """The version that the session's settings make of what the run has stored; made once.

    The same settings, beginning and material are the same version, though it was promoted since: to go on from it, name
    it. What was set otherwise than in the run, `overrides`, is kept with its statistics.

    Raises UsageError where the run is not finished, or has nothing to learn from; SettingsError where no update can be
    made with these settings. Nothing is begun then.
    """
    run, store = session.run, session.store
    if not run.finished:
        raise UsageError(
            f"run {run.id} ({run.name}) is not finished, and its next iteration makes the next version: "
            "`journeyman resume` it first"
        )
    check_update(session.settings, session.rubric)
    last = max([0, *(iteration for iteration, _ in store.trajectories.counts(run.id))])
    for iteration in range(last + 1):
        remember(store, run.id, session.rubric, iteration)
    iteration = max([last, *(p.number - 1 for p in store.policies.of(run.id))]) + 1
    _finish_iterations(session)
    if (known := _made_already(session, iteration)) is not None:
        return known
    material = _material(session, iteration)
    if (problem := material.missing(session)) is not None:
        raise UsageError(f"run {run.id} ({run.name}) has nothing to learn from: {problem}")
    store.runs.begin_iteration(run.id, iteration)
    notes = {RECIPE: _recipe(session, iteration, material), "overrides": list(overrides)}
    train(session, iteration, alone=True, notes=notes)
    store.runs.finish_iteration(run.id, iteration)
    return store.policies.numbered(run.id, candidate_number(iteration))


def _finish_iterations(session: Session) -> None:
    """Those whose version is there are over, also where the process that made it was killed before it could say so."""
    done = session.store.runs.iteration_seconds(session.run.id)
    for policy in session.store.policies.of(session.run.id):
        if policy.iteration not in done:
            session.store.runs.finish_iteration(session.run.id, policy.iteration)


def _made_already(session: Session, iteration: int) -> PolicyInfo | None:
    """The version that an update in the iteration would make again: it has that beginning, or is it by now."""
    start, objective = start_of(session, iteration), objective_of(session, iteration)
    beginning = None if start is None else start.id
    for policy in session.store.policies.of(session.run.id):
        may_be = policy.kind == objective and beginning in (policy.parent_id, policy.id)
        if may_be and policy.stats.get(RECIPE) == _recipe(
            session, policy.iteration, _material(session, policy.iteration)
        ):
            return policy
    return None


def _material(session: Session, iteration: int) -> Material:
    return gather(session, iteration, objective_of(session, iteration), alone=True)


def _recipe(session: Session, iteration: int, material: Material) -> str:
    """16 hex digits that name what an update in the iteration is made of: settings, beginning, and material."""
    start = start_of(session, iteration)
    settings = session.settings.model_dump(mode="json", include=set(SECTIONS))
    settings["finetune"] |= {"begin": None if start is None else start.id}
    text = json.dumps([settings, material.key(session)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def decided(session: Session, policy: PolicyInfo) -> PolicyInfo:
    """The version once validation and guards have said whether it is promoted; what is done is not done again.

    Raises UsageError where the run has no validation tasks.
    """
    if not session.store.tasks.of(session.run.id, Split.VALIDATION):
        raise UsageError(f"run {session.run.id} ({session.run.name}) has no validation tasks to promote a version by")
    for stage in (evaluate, audit):
        stage(session.ref, policy.iteration)
    if policy.promoted is None:
        promote(session.ref, policy.iteration)
    return session.store.policies.numbered(session.run.id, policy.number)


def _row(session: Session, policy: PolicyInfo) -> dict[str, Json]:
    numbers = {p.id: f"v{p.number}" for p in session.store.policies.of(session.run.id)}
    evaluations = session.store.evaluations.of(session.run.id, Split.VALIDATION)
    found = [as_row(e) for e in evaluations if (e.policy_number, e.iteration) == (policy.number, policy.iteration)]
    return {
        "policy": f"v{policy.number}",
        "kind": policy.kind,
        "parent": "base" if policy.parent_id is None else numbers.get(policy.parent_id),
        "steps": policy.stats["steps"],
        "loss": policy.stats.get("loss"),
        **({f"validation {name}": found[0][name] for name in ("pass@1", "pass@k")} if found else {}),
        "promoted": promoted_text(policy),
    }
