"""Runs and versions by name: starting one, finding the one that is meant, and the one that is to be resumed."""

from __future__ import annotations

import re
from pathlib import Path

from journeyman.agent.errors import UsageError
from journeyman.agent.plugins import look_in
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.checking import check, check_folders
from journeyman.workflows.session.engines import rubric_terms
from journeyman.workflows.session.prefect_server import check_prefect
from journeyman.workflows.session.session import RunRef, Session
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings


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
    """The run to resume: the one named, or the newest that is not finished. Raises UsageError where there is none."""
    store = ReplayStore(store_url, must_exist=True)
    try:
        runs = [store.runs.find(wanted)] if wanted else [run for run in store.runs.all() if not run.finished]
    finally:
        store.close()
    if not runs or runs[-1].finished:
        what = f"run {wanted!r} is finished" if wanted else "every run is finished"
        raise UsageError(f"nothing to resume in {store_url}: {what}; `journeyman run` starts a new one")
    settings = parse_settings(runs[-1].settings, f"run {runs[-1].id}")
    here = settings.store.model_copy(update={"url": store_url})
    return RunRef(store_url, runs[-1].id), settings.model_copy(update={"store": here})


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
