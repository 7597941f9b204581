"""`journeyman status` and `plugins`: how the runs in the store stand, and what is installed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from journeyman.agent.data import Json, Split
from journeyman.agent.plugins import ENVIRONMENTS, ESTIMATORS, VERIFIERS, installed
from journeyman.storage.runs.runs import RunInfo
from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.life import standing
from journeyman.workflows.settings.objectives import OBJECTIVES
from journeyman.workflows.stages.audit import SIGNS
from journeyman.workflows.stages.report import LEARNED, learned, promoted_text
from journeyman.workflows.terminal import say_json


def status(options: argparse.Namespace) -> None:
    """`journeyman status [RUN]`."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        runs = [store.runs.find(options.run)] if options.run else store.runs.all()
        rows = [_run_row(store, run) for run in runs]
        ages = [_ago(run.silent_s) for run in runs]
        shown = store.runs.find(options.run) if options.run else store.runs.newest() if runs else None
        versions = _version_rows(store, shown) if shown else []
        updates = _update_rows(store, shown) if shown else []
        watched = _watched_rows(store, shown) if shown else []
    finally:
        store.close()
    if options.json:
        say_json({"runs": rows, "versions": versions, "updates": updates, "watched": watched})
        return
    reporter = Reporter(stdout=True)
    if shown is None:
        reporter.line(f"no runs in {options.store}: `journeyman run SETTINGS.toml` makes one")
        return
    shortened = [_short(row) | {"last sign": age} for row, age in zip(rows, ages, strict=True)]
    reporter.table(f"runs in {options.store}", shortened)
    for row in rows:
        if row["reason"]:
            where = f" in {row['stage']}" if row["stage"] else ""
            reporter.line(f"run {row['run'][-8:]} ({row['name']}) {row['state']}{where}: {row['reason']}")
    if versions:
        reporter.table(f"policy versions of run {shown.id} ({shown.name})", versions)
    if updates:
        reporter.table("what the updates say of themselves", updates)
    if watched:
        reporter.table("guards and audits", watched)


def plugins(options: argparse.Namespace) -> None:
    """`journeyman plugins`."""
    rows = [
        {"kind": group.rsplit(".", 1)[1], "name": info.name, "object": info.target, "from": info.distribution}
        for group in (ENVIRONMENTS, VERIFIERS, ESTIMATORS)
        for info in installed(group).values()
    ]
    if options.json:
        say_json(rows)
    else:
        Reporter(stdout=True).table("plugins", rows)


def _run_row(store: ReplayStore, run: RunInfo) -> dict[str, Json]:
    tested = store.evaluations.of(run.id, Split.TEST)
    promoted = store.policies.newest_promoted(run.id)
    tally = store.trajectories.tally(run.id)
    return {
        "run": run.id,
        "name": run.name,
        "state": standing(run),
        "stage": run.stage,
        "last sign": run.seen_at.isoformat(timespec="seconds"),
        "newest promoted": f"v{promoted.number}" if promoted else None,
        "trajectories": tally.all,
        "attempts": tally.attempts,
        "held out": tally.held_out,
        "demonstrations": tally.demonstrations,
        "relabels": tally.relabels,
        "test pass@1": " -> ".join(f"{e.pass_at_1:.3f}" for e in tested) or None,
        "reason": run.reason,
    }


def _short(row: Mapping[str, Json]) -> dict[str, Json]:
    """The row as a table has room for it; the id's end is what every command takes too, the reason has its own line."""
    left_out = ("reason", "trajectories")
    return {n: v for n, v in row.items() if n not in left_out} | {"run": row["run"][-8:]}


def _ago(seconds: float) -> str:
    """E.g. `12 s ago`; a time to come, by a clock that was set back since, is now."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0.0):.0f} s ago"


def _version_rows(store: ReplayStore, run: RunInfo) -> list[dict[str, Json]]:
    scores = {e.policy_number: e for e in store.evaluations.of(run.id, Split.VALIDATION)}
    numbers = {p.id: p.number for p in store.policies.of(run.id)}
    return [
        {
            "policy": f"v{p.number}",
            "kind": p.kind,
            "parent": f"v{numbers[p.parent_id]}" if p.parent_id in numbers else None,
            "validation pass@1": scores[p.number].pass_at_1 if p.number in scores else None,
            "validation pass@k": scores[p.number].pass_at_k if p.number in scores else None,
            "promoted": promoted_text(p),
            "hand-over": None if p.handover_gap is None else f"{p.handover_gap:.1e}",
            "weights": p.path if p.kept else "deleted",
        }
        for p in store.policies.of(run.id)
    ]


def _update_rows(store: ReplayStore, run: RunInfo) -> list[dict[str, Json]]:
    """A row for each version that an update made, with a chosen few of its statistics; empty columns are left out."""
    rows = {p.number: learned(p) for p in store.policies.of(run.id) if p.kind in OBJECTIVES}
    columns = [column for column in LEARNED if any(row[column] is not None for row in rows.values())]
    return [{"policy": f"v{number}"} | {column: row[column] for column in columns} for number, row in rows.items()]


def _watched_rows(store: ReplayStore, run: RunInfo) -> list[dict[str, Json]]:
    """A row for each version, with its pass@1 on each guard and the audit's signs; empty columns are left out."""
    found: dict[tuple[int, str], float] = {}
    for e in store.evaluations.of(run.id, Split.GUARD):
        found[e.policy_number, f"guard {e.guard}"] = e.pass_at_1
    for info in store.evaluations.audits(run.id):
        if info.split is Split.VALIDATION and info.metric in SIGNS:
            found[info.policy_number, info.metric] = info.value
    numbers = sorted({number for number, _ in found})
    guards = sorted({name for _, name in found if name not in SIGNS})
    columns = [name for name in (*guards, *SIGNS) if any((number, name) in found for number in numbers)]
    return [
        {"policy": f"v{number}"} | {name.replace("_", " "): found.get((number, name)) for name in columns}
        for number in numbers
    ]
