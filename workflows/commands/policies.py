"""`journeyman evaluate` and `journeyman export-policy`: what to do with a policy version once there is one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from journeyman.agent.data import Json, Split
from journeyman.agent.errors import UsageError
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.attempts.exams import exam_of
from journeyman.workflows.attempts.versions import WARM_START
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import chosen_version, find_run, start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.defaults import DEFAULT_STORE
from journeyman.workflows.settings.loading import load_settings
from journeyman.workflows.stages.evaluate import as_row, measure
from journeyman.workflows.stages.prepare import prepare

BASE = "base"
"""Kind of a version that is a base model as it was found."""


def evaluate(options: argparse.Namespace) -> None:
    """`journeyman evaluate RUN|SETTINGS`."""
    split = Split(options.split)
    if options.target.endswith(".toml"):
        if options.policy or options.store != DEFAULT_STORE:
            raise UsageError("--policy and --store go with a run; a settings file says itself: --set store.url=URL")
        row = _evaluate_base(options, split)
    elif options.model or options.overrides:
        raise UsageError(
            "--model and --set go with a settings file, which says on which tasks: journeyman evaluate SETTINGS.toml"
        )
    else:
        with lend(find_run(options.store, options.target), Reporter()) as session:
            policy = chosen_version(session, options.policy)
            row = as_row(measure(session, policy, policy.iteration, exam_of(session, split)))
    if options.json:
        print(json.dumps(row, indent=2))
    else:
        Reporter(stdout=True).table(f"{options.target} on {split}", [row])


def export_policy(options: argparse.Namespace) -> None:
    """`journeyman export-policy RUN FOLDER`."""
    from journeyman.agent.learning.checkpoint import export_merged

    folder = Path(options.folder)
    if folder.exists():
        raise UsageError(f"{folder} exists already: name a new folder")
    with lend(find_run(options.store, options.run), Reporter()) as session:
        policy = chosen_version(session, options.policy)
        export_merged(session.policy_ref(policy), folder)
    if options.json:
        print(json.dumps({"policy": policy.number, "folder": str(folder)}))
    else:
        print(f"v{policy.number} of run {policy.run_id} is in {folder}; try: vllm serve {folder}")


def _evaluate_base(options: argparse.Namespace, split: Split) -> Json:
    """A run without a loop, for a model as it is found; it is stored like any other."""
    overrides = [*options.overrides, "run.iterations=0", *([f"model.name={options.model}"] if options.model else [])]
    settings = load_settings(options.target, overrides)
    if not settings.tasks.model_dump()[split]:
        raise UsageError(f"there is nothing to evaluate on: tasks.{split} is 0")
    ref = start_run(
        settings.model_copy(update={"run": settings.run.model_copy(update={"name": f"{settings.run.name}.base"})})
    )
    with lend(ref, Reporter()) as session:
        prepare(ref)
        base = NewPolicy(WARM_START, None, 0, BASE, session.base_model, {}, promoted=True)
        session.store.policies.add(ref.run_id, base)
        policy = session.store.policies.numbered(ref.run_id, WARM_START)
        info = measure(session, policy, 0, exam_of(session, split))
        session.store.runs.finish(ref.run_id)
    return as_row(info)
