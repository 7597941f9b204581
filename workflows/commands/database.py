"""`journeyman db ...`: the schema, the store's health, and the space it takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from journeyman.agent.errors import UsageError
from journeyman.storage.database import Database
from journeyman.storage.schema.migrate import HEAD
from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter
from journeyman.workflows.terminal import say, say_json

SHOWN = 20
"""Problems that are printed; --json has them all."""


def db(options: argparse.Namespace) -> None:
    """`journeyman db upgrade | check | vacuum | prune`."""
    _ACTIONS[options.action](options)


def _upgrade(options: argparse.Namespace) -> None:
    Database(options.store, must_exist=True, upgrade=True).close()
    say(f"{options.store} has schema {HEAD}")


def _check(options: argparse.Namespace) -> None:
    store = ReplayStore(options.store, must_exist=True)
    try:
        problems = store.upkeep.check()
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


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "upgrade": _upgrade,
    "check": _check,
    "vacuum": _vacuum,
    "prune": _prune,
}
