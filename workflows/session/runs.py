"""Runs and versions by name: starting one, finding the one that is meant, and the one that is to be resumed."""

from __future__ import annotations

import re
from pathlib import Path

from journeyman.agent.errors import UsageError
from journeyman.agent.plugins import look_in
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.runs.runs import RunInfo, RunState
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.checking import check, check_folders
from journeyman.workflows.session.engines import rubric_terms
from journeyman.workflows.session.life import standing
from journeyman.workflows.session.prefect_server import check_prefect
from journeyman.workflows.session.session import RunRef, Session
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings

BASE_SUFFIX = ".base"
"""Of the name of a run that only evaluates the base model of its settings."""


def start_run(settings: Settings) -> RunRef:
    """Checks everything the settings name, then stores a new run; nothing is written where a check fails.

    It is stored with absolute paths, so that it can be resumed, joined and looked at from any folder.
    """
    look_in(settings.run.modules)  # settings that Prefect hands over come from no file here
    check(settings)
    if settings.run.engine == "prefect":
        check_prefect()
    check_folders(settings)
    stored = settings.anchored(str(Path.cwd()))
    store = ReplayStore(settings.store.url)
    try:
        run = store.runs.create(settings.run.name, stored.model_dump(mode="json"), rubric_terms(settings))
    finally:
        store.close()
    return RunRef(settings.store.url, run.id)


def unfinished_run(store_url: str, wanted: str | None) -> tuple[RunRef, Settings]:
    """The newest run that can go on, of the name or id that is `wanted`, if any; raises UsageError where none can."""
    store = ReplayStore(store_url, must_exist=True)
    try:
        runs = store.runs.all(wanted) or [store.runs.find(wanted)] if wanted else store.runs.all()
    finally:
        store.close()
    run = next((run for run in reversed(runs) if _why_not(run) is None), None)
    if run is None:
        left = runs if wanted else [run for run in runs if not run.finished]
        why = f"run {left[-1].id} ({left[-1].name}) {_why_not(left[-1])}" if left else "every run is finished"
        raise UsageError(f"nothing to resume in {store_url}: {why}; `journeyman run` starts a new one")
    settings = parse_settings(run.settings, f"run {run.id}")
    here = settings.store.model_copy(update={"url": store_url})
    return RunRef(store_url, run.id), settings.model_copy(update={"store": here})


def _why_not(run: RunInfo) -> str | None:
    """What keeps the run from being resumed; None where nothing does."""
    state = standing(run)
    if state == RunState.RUNNING and run.host is not None:  # without one nobody has begun to drive it
        return f"is under way on {run.host}, its last sign of life was {max(run.silent_s, 0.0):.0f} s ago"
    if state in (RunState.FINISHED, RunState.DROPPING):
        return "is finished" if run.finished else "is being deleted"
    if not run.settings:
        return "was imported"
    if run.name.endswith(BASE_SUFFIX):
        return "evaluates a base model: `journeyman evaluate` the settings file again"
    return None


def find_run(store_url: str, wanted: str) -> RunRef:
    """The stored run of that name or id; raises UnknownNameError."""
    store = ReplayStore(store_url, must_exist=True)
    try:
        return RunRef(store_url, store.runs.find(wanted).id)
    finally:
        store.close()


def chosen_version(session: Session, wanted: str | None) -> PolicyInfo:
    """The version `wanted` ("v3" or "3"), or the newest promoted one; raises UsageError where its weights are gone."""
    if wanted is None:
        newest = session.store.policies.newest_promoted(session.run.id)
        if newest is None:
            raise UsageError(f"run {session.run.id} has no policy yet: its warm start is not done")
        return newest
    if not re.fullmatch(r"v?\d+", wanted):
        raise UsageError(f"--policy {wanted!r} is not a version, e.g. v3: `journeyman status` lists them")
    policy = session.store.policies.numbered(session.run.id, int(wanted.removeprefix("v")))
    if not policy.kept:
        raise UsageError(f"the weights of v{policy.number} are deleted: store.keep_last says how many are kept")
    return policy
