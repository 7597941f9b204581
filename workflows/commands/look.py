"""`journeyman status`, `inspect` and `plugins`: what is in the store and what is installed."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from journeyman.agent.data import Json, Segment, Split
from journeyman.agent.plugins import ENVIRONMENTS, VERIFIERS, installed
from journeyman.storage.runs.runs import RunInfo
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.console import Reporter, as_text
from journeyman.workflows.session.engines import open_renderer
from journeyman.workflows.settings.loading import settings_of
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.stages.audit import SIGNS
from journeyman.workflows.stages.report import promoted_text

NEWEST = 20
"""Trajectories that `inspect` lists."""


def status(options: argparse.Namespace) -> None:
    """`journeyman status [RUN]`."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        runs = [store.runs.find(options.run)] if options.run else store.runs.all()
        rows = [_run_row(store, run) for run in runs]
        versions = _version_rows(store, runs[-1]) if runs else []
        watched = _watched_rows(store, runs[-1]) if runs else []
    finally:
        store.close()
    if options.json:
        print(json.dumps({"runs": rows, "versions": versions, "watched": watched}, indent=2))
        return
    reporter = Reporter(stdout=True)
    if not runs:
        reporter.line(f"no runs in {options.store}: `journeyman run SETTINGS.toml` makes one")
        return
    reporter.table(f"runs in {options.store}", rows)
    if versions:
        reporter.table(f"policy versions of run {runs[-1].id} ({runs[-1].name})", versions)
    if watched:
        reporter.table("guards and audits", watched)


def inspect(options: argparse.Namespace) -> None:
    """`journeyman inspect [TRAJECTORY]`."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        if options.trajectory is None:
            run = store.runs.find(options.run or _newest_name(store))
            rows = [_trajectory_row(t) for t in store.trajectories.newest(run.id, NEWEST)]
            _print_rows(f"newest trajectories of run {run.id}", rows, as_json=options.json)
            return
        found = store.trajectories.find(options.trajectory)
        details = _details(store, found)
        run = store.runs.find(found.run_id)
    finally:
        store.close()
    if options.json:
        print(json.dumps(details, indent=2))
    else:
        _print_trajectory(settings_of(run), found, details)


def plugins(options: argparse.Namespace) -> None:
    """`journeyman plugins`."""
    rows = [
        {"kind": group.rsplit(".", 1)[1], "name": info.name, "object": info.target, "from": info.distribution}
        for group in (ENVIRONMENTS, VERIFIERS)
        for info in installed(group).values()
    ]
    _print_rows("plugins", rows, as_json=options.json)


def _print_rows(title: str, rows: list[dict[str, Json]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        Reporter(stdout=True).table(title, rows)


def _run_row(store: ReplayStore, run: RunInfo) -> dict[str, Json]:
    tested = store.evaluations.of(run.id, Split.TEST)
    promoted = store.policies.newest_promoted(run.id)
    return {
        "run": run.id[-8:],
        "name": run.name,
        "state": "finished" if run.finished else "unfinished",
        "newest promoted": f"v{promoted.number}" if promoted else None,
        "trajectories": sum(store.trajectories.counts(run.id).values()),
        "test pass@1": " -> ".join(f"{e.pass_at_1:.3f}" for e in tested) or None,
    }


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
            "weights": p.path if p.kept else "deleted",
        }
        for p in store.policies.of(run.id)
    ]


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


def _newest_name(store: ReplayStore) -> str:
    runs = store.runs.all()
    return runs[-1].id if runs else "none"


def _trajectory_row(stored: StoredTrajectory) -> dict[str, Json]:
    prompt = stored.task.prompt[-1].content.splitlines()
    answer = stored.trajectory.final_text.splitlines()
    return {
        "trajectory": stored.id[-12:],
        "source": stored.trajectory.source,
        "iteration": stored.iteration,
        "split": stored.task.split,
        "task": (prompt[0] if prompt else "")[:40],
        "said last": (answer[-1] if answer else "")[:40],
        "scores": ", ".join(
            f"{v.name} {d.score if d.score is not None else d.status}" for v, d in stored.verdicts.items()
        ),
    }


def _details(store: ReplayStore, stored: StoredTrajectory) -> dict[str, Json]:
    trajectory = stored.trajectory
    return {
        "id": stored.id,
        "run": stored.run_id,
        "key": stored.key,
        "source": trajectory.source,
        "iteration": stored.iteration,
        "policy": stored.policy_number,
        "attempt": trajectory.attempt,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "task": {"hash": stored.task.hash, "split": stored.task.split, "goal": stored.task.goal},
        "prompt": [m.to_json() for m in stored.task.prompt],
        "turns": [
            {"action": t.action.to_json(), "observation": [m.to_json() for m in t.observation]}
            for t in trajectory.turns
        ],
        "scores": [
            {
                "verifier": f"{v.name}/{v.version}",
                "status": d.status,
                "score": d.score,
                "extracted": d.extracted,
                "expected": d.expected,
                "explanation": d.explanation,
            }
            for v, d in stored.verdicts.items()
        ],
        "parent": stored.parent_id,
        "relabeller": stored.relabeller,
        "children": store.trajectories.children_of(stored.id),
        "trained": [
            {"version": number, "reward": u.reward, "advantage": u.advantage, "nll_weight": u.nll_weight}
            for number, u in store.trajectories.uses_of(stored.id)
        ],
    }


def _print_trajectory(settings: Settings, stored: StoredTrajectory, details: dict[str, Json]) -> None:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for name in ("id", "source", "iteration", "policy", "attempt", "stop_reason", "error"):
        console.print(f"{name:<12} {details[name] if details[name] is not None else '-'}", markup=False)
    console.print(f"{'task':<12} {stored.task.split}, goal {stored.task.goal}, hash {stored.task.hash}", markup=False)
    decode = open_renderer(settings).decode
    for number, segment in enumerate(stored.trajectory.segments):
        marks = "in bold" if console.is_terminal else "between » and «"
        console.print(f"segment {number}, trained tokens {marks}:")
        console.print(_marked(segment, decode, plain=not console.is_terminal))
    for row in details["scores"]:
        got = "" if row["extracted"] is None else f", got {row['extracted']}"
        asked = "" if row["expected"] is None else f", expected {row['expected']}"
        why = "" if row["explanation"] is None else f": {row['explanation']}"
        score = row["status"] if row["score"] is None else row["score"]
        console.print(f"{'score':<12} {row['verifier']} {score}{got}{asked}{why}", markup=False)
    for use in details["trained"]:
        numbers = ", ".join(f"{name} {as_text(use[name])}" for name in ("reward", "advantage", "nll_weight"))
        console.print(f"{'trained':<12} v{use['version']}: {numbers}", markup=False)
    for name in ("parent", "relabeller"):
        console.print(f"{name:<12} {details[name] or '-'}", markup=False)
    console.print(f"{'children':<12} {', '.join(details['children']) or '-'}", markup=False)


def _marked(segment: Segment, decode: Callable[[Sequence[int]], str], *, plain: bool) -> Text:
    """The segment's text with the trained tokens marked: by style, or by » and « where there is none."""
    text = Text(decode(segment.prompt_ids.tolist()), style="dim")
    mask = segment.loss_mask
    starts = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    for start, end in itertools.pairwise(starts):
        piece = decode(segment.completion_ids[start:end].tolist())
        trained = end > start and bool(mask[start])
        text.append(f"»{piece}«" if trained and plain else piece, style="bold green" if trained else "dim")
    return text
