"""`journeyman db ...`: the schema, the store's health, the space it takes, and runs that are to go."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

from journeyman.agent.errors import UsageError
from journeyman.storage.database import Database
from journeyman.storage.runs.runs import RunInfo, RunState
from journeyman.storage.schema.migrate import HEAD
from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.life import artifacts_of, only_one, output_of, standing
from journeyman.workflows.session.session import DRIVER
from journeyman.workflows.session.weights import damaged, seal_as_it_is, unsealed
from journeyman.workflows.settings.loading import settings_of
from journeyman.workflows.terminal import ask, say, say_json

SHOWN = 20
"""Problems that are printed; --json has them all."""


def db(options: argparse.Namespace) -> None:
    """`journeyman db upgrade | check | vacuum | prune | drop | seal`."""
    _ACTIONS[options.action](options)


def _upgrade(options: argparse.Namespace) -> None:
    Database(options.store, must_exist=True, upgrade=True).close()
    say(f"{options.store} has schema {HEAD}")


def _check(options: argparse.Namespace) -> None:
    store = ReplayStore(options.store, must_exist=True)
    try:
        problems = [*store.upkeep.check(), *damaged(store)]
    finally:
        store.close()
    if options.json:
        say_json([asdict(p) for p in problems])
    elif problems:
        Reporter(stdout=True).table(f"problems in {options.store}", [asdict(p) for p in problems[:SHOWN]])
    else:
        say(f"{options.store} is whole")
    if problems:
        raise UsageError(f"{len(problems)} problems: restore a copy, or export what is good and import it elsewhere")


def _vacuum(options: argparse.Namespace) -> None:
    store = ReplayStore(options.store, must_exist=True)
    try:
        store.upkeep.vacuum()
    finally:
        store.close()


def _prune(options: argparse.Namespace) -> None:
    if options.keep < 1:
        raise UsageError(f"--keep {options.keep}: the newest iteration's tokens are needed, so keep 1 or more")
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = store.runs.find(options.run)
        iterations = [iteration for iteration, _ in store.trajectories.counts(run.id)]
        first_kept = max(iterations, default=0) - options.keep + 1
        count = store.upkeep.prune(run.id, before_iteration=first_kept)
    finally:
        store.close()
    say(f"deleted the tokens of {count} segments before iteration {first_kept}; `journeyman db vacuum` frees the disk")


def _drop(options: argparse.Namespace) -> None:
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = _the_one(store, options.run)
        _check_idle(store, run)
        artifacts = artifacts_of(run)
        with only_one(artifacts) if artifacts is not None and artifacts.is_dir() else nullcontext():
            folders = [folder for folder in (artifacts, output_of(run)) if folder is not None and folder.is_dir()]
            what = f"run {run.id} ({run.name}), {store.trajectories.tally(run.id)}"
            files = "".join(f", {folder}" for folder in folders)
            if not options.yes and not ask(f"Delete {what}{files}?"):
                raise UsageError("nothing was deleted")
            store.upkeep.drop(run.id, partial(_delete, folders))
    finally:
        store.close()
    say(f"deleted {what}{files}; `journeyman db vacuum` frees the database's part of the disk")


def _seal(options: argparse.Namespace) -> None:
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = _the_one(store, options.run)
        _check_idle(store, run)
        policies = unsealed(store, run)
        names = ", ".join(f"v{policy.number}" for policy in policies)
        if not policies:
            raise UsageError(f"no weights of run {run.id} ({run.name}) are here without a manifest")
        if not options.yes and not ask(f"Take the weights of {names} of run {run.id} ({run.name}) as they are?"):
            raise UsageError("nothing was sealed")
        with only_one(Path(settings_of(run).store.artifacts, run.id)):
            for policy in policies:
                seal_as_it_is(store, run, policy)
    finally:
        store.close()
    say(f"{names} of run {run.id} ({run.name}) have manifests now: what they hold today is what is loaded from now on")


def _the_one(store: ReplayStore, wanted: str) -> RunInfo:
    """The run of that id, or the only one of that name: what is deleted is not to be guessed at."""
    named = store.runs.all(wanted)
    if len(named) > 1:
        listed = ", ".join(f"{run.id} ({standing(run)})" for run in named)
        raise UsageError(f"{len(named)} runs are called {wanted!r}: give the id of one: {listed}")
    return named[0] if named else store.runs.find(wanted)


def _check_idle(store: ReplayStore, run: RunInfo) -> None:
    """Raises UsageError where a process drives the run, or a worker is at work for it."""
    if standing(run) == RunState.RUNNING:
        where = f" on {run.host}" if run.host else ""
        raise UsageError(f"run {run.id} ({run.name}) is under way{where}: stop it first, or wait for its end")
    seconds = run.settings.get("generate", {}).get("lease_seconds", 0.0)
    workers = [name for name in store.queue.workers(run.id, seconds=seconds) if name != DRIVER]
    if workers:
        raise UsageError(f"{', '.join(workers)} is at work for run {run.id} ({run.name}): stop it, or wait for it")


def _delete(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "upgrade": _upgrade,
    "check": _check,
    "vacuum": _vacuum,
    "prune": _prune,
    "drop": _drop,
    "seal": _seal,
}
