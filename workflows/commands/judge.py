"""`journeyman rescore`, `retract` and `label`: verdicts given again, taken back, and given by people."""

from __future__ import annotations

import argparse
import getpass
from collections import Counter
from collections.abc import Sequence

from journeyman.agent.data import Status
from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.engines import build_rubric, open_rubric, open_task_set
from journeyman.workflows.settings.loading import settings_of, settings_with
from journeyman.workflows.terminal import say, say_json
from journeyman.workflows.updates.replay import remember

_PAGE = 1024
"""Attempts that are read, judged and stored at once."""
_MAY_SET = ("verifiers", "verification")
_HINT = "only what a verifier goes by can be set, verifiers.NAME.OPTION=VALUE or verification.LIMIT=VALUE"


def rescore(options: argparse.Namespace) -> None:
    """`journeyman rescore --verifier NAME`: old scores stay; what the verifier has judged already is left out.

    Verdicts are stored page by page, so whatever stops it, the same command goes on where it was.
    """
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: it is the number of attempts to judge, 1 or more")
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = store.runs.find(options.run)
        settings = settings_of(run)
        task_set = open_task_set(settings)  # some verifiers ask the environment, which must be there
        chosen = settings_with(run, options.overrides, _MAY_SET, _HINT)
        judging = build_rubric(chosen, {options.verifier: 1.0})
        judging.check()
        (criterion,) = judging.criteria
        unscored = store.verdicts.unscored(run.id, criterion.id)
        given = _judge(store, judging, unscored[: options.limit])
        rubric = open_rubric(settings, task_set)
        if criterion.id in {c.id for c in rubric.criteria}:
            for iteration in sorted({iteration for iteration, _ in store.trajectories.counts(run.id)}):
                remember(store, run.id, rubric, iteration)  # what failed may succeed by now
        disagrees = store.verdicts.disagreements(run.id, criterion.id)
    finally:
        store.close()
    statuses = {str(status): given[status] for status in Status}
    report = {"verifier": criterion.id.name, "version": criterion.id.version, "asked": given.total(), **statuses}
    report |= {"left": len(unscored) - given[Status.OK] - given[Status.ABSTAIN], "disagrees": disagrees}
    if options.json:
        say_json(report)
    else:
        say(_sentence(report))


def _judge(store: ReplayStore, judging: Rubric, ids: Sequence[str]) -> Counter[Status]:
    """Has the one verifier judge these attempts and stores its verdicts; how many of each status."""
    given: Counter[Status] = Counter()
    who = judging.criteria[0].id
    with Reporter().progress(f"rescore with {who.name}/{who.version}", len(ids)) as advance:
        for first in range(0, len(ids), _PAGE):
            page = store.trajectories.by_id(ids[first : first + _PAGE], tokens=False)
            judged = judging.score_all([(t.task, t.trajectory) for t in page])
            store.verdicts.add([(t.id, record) for t, (record,) in zip(page, judged, strict=True)])
            given.update(record.verdict.status for (record,) in judged)
            advance(len(page))
    return given


def _sentence(report: dict[str, object]) -> str:
    who = f"{report['verifier']}/{report['version']}"
    statuses = ", ".join(f"{report[status]} {status}" for status in Status)
    again = f"; {report['left']} are left, which the same command asks about" if report["left"] else ""
    judged = f"{who} judged {report['asked']} trajectories: {statuses}"
    return f"{judged}; on {report['disagrees']} of the run it disagrees with another verdict{again}"


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
        say_json(rows)
    elif rows:
        Reporter(stdout=True).table(f"trained on verdicts of {options.verifier}", rows)
    else:
        say(f"retracted {options.verifier}; no policy was trained on its verdicts")


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
    say(f"labelled {one.id}")
