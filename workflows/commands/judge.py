"""`journeyman rescore`, `retract` and `label`: verdicts given again, taken back, and given by people."""

from __future__ import annotations

import argparse
import getpass
import json

from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.engines import build_rubric, open_rubric, open_task_set
from journeyman.workflows.settings.loading import settings_of
from journeyman.workflows.updates.replay import remember

_PAGE = 256


def rescore(options: argparse.Namespace) -> None:
    """`journeyman rescore --verifier NAME`: old scores stay; what the verifier has judged already is left out."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = store.runs.find(options.run)
        settings = settings_of(run)
        task_set = open_task_set(settings)  # some verifiers ask the environment, which must be there
        rubric = build_rubric(settings, {options.verifier: 1.0})
        (criterion,) = rubric.criteria
        ids = store.verdicts.unscored(run.id, criterion.id)
        reporter = Reporter()
        with reporter.progress(f"rescore with {criterion.id.name}/{criterion.id.version}", len(ids)) as advance:
            for first in range(0, len(ids), _PAGE):
                page = store.trajectories.by_id(ids[first : first + _PAGE])
                judged = rubric.score_all([(t.task, t.trajectory) for t in page])
                store.verdicts.add([(t.id, s) for t, (s,) in zip(page, judged, strict=True)])
                advance(len(page))
        for iteration in sorted({iteration for iteration, _ in store.trajectories.counts(run.id)}):
            remember(store, run.id, open_rubric(settings, task_set), iteration)  # what failed may succeed by now
        changed = store.verdicts.disagreements(run.id, criterion.id)
    finally:
        store.close()
    report = {"verifier": criterion.id.name, "version": criterion.id.version, "scored": len(ids), "disagrees": changed}
    print(json.dumps(report) if options.json else _sentence(report))


def _sentence(report: dict[str, object]) -> str:
    who = f"{report['verifier']}/{report['version']}"
    return f"{who} scored {report['scored']} trajectories; on {report['disagrees']} it disagrees with another verdict"


def retract(options: argparse.Namespace) -> None:
    """`journeyman retract NAME/VERSION --reason WHY`: its verdicts count no more; who learned from them is listed."""
    name, slash, version = options.verifier.rpartition("/")
    if not slash:
        raise UsageError(f"{options.verifier!r} names no version: write NAME/VERSION, e.g. goal/1")
    store = ReplayStore(options.store, must_exist=True)
    try:
        affected = store.verdicts.retract(name, version, options.reason)
    finally:
        store.close()
    rows = [{"run": a.run, "policy": f"v{a.policy}", "trajectories": a.trajectories} for a in affected]
    if options.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        Reporter(stdout=True).table(f"trained on verdicts of {options.verifier}", rows)
    else:
        print(f"retracted {options.verifier}; no policy was trained on its verdicts")


def label(options: argparse.Namespace) -> None:
    """`journeyman label TRAJECTORY --score S | --better-than OTHER | --tied-with OTHER`."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        one = store.trajectories.find(options.trajectory)
        rival = options.better_than or options.tied_with
        other = store.trajectories.find(rival) if rival else None
        value = options.score if other is None else 0.5 if options.tied_with else 1.0
        person = options.person or getpass.getuser()
        store.labels.add(NewLabel(one.id, other.id if other else None, value, person, options.comment))
    finally:
        store.close()
    print(f"labelled {one.id}")
