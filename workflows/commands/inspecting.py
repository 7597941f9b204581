"""`journeyman inspect`: a run's trajectories, chosen by what they are and what became of them, or one in full."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from journeyman.agent.data import Json, Segment
from journeyman.agent.errors import UsageError
from journeyman.storage.runs.runs import RunInfo
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.searching import Order, Search
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.console import Reporter, as_text
from journeyman.workflows.session.engines import open_renderer
from journeyman.workflows.settings.loading import settings_of
from journeyman.workflows.terminal import say_json

Decode = Callable[[Sequence[int]], str]
SHOWN = 20
"""Trajectories that are listed where `--limit` does not say how many."""
_CHOOSE = ("run", "task", "iteration", "failed", "fate", "best", "worst", "limit")


def inspect(options: argparse.Namespace) -> None:
    """`journeyman inspect [TRAJECTORY]`."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        if options.trajectory is None:
            _list(store, options)
        else:
            _show(store, options)
    finally:
        store.close()


def _list(store: ReplayStore, options: argparse.Namespace) -> None:
    run = store.runs.find(options.run) if options.run else store.runs.newest()
    order = Order.BEST if options.best else Order.WORST if options.worst else Order.NEWEST
    limit = options.limit or SHOWN
    wanted = Search(options.task, options.iteration, options.failed, options.fate, order, limit)
    fates = store.trajectories.search(run.id, wanted)
    found = store.trajectories.by_id(list(fates), tokens=options.logprobs)
    rows = [_row(t, fates[t.id], logprobs=options.logprobs) for t in found]
    if options.json:
        say_json(rows)
        return
    reporter = Reporter(stdout=True)
    if rows:
        reporter.table(f"{order} trajectories of run {run.id} ({run.name})", [_short(row) for row in rows])
    which = f"the {len(rows)} {order}" if rows else "none"
    reporter.line(f"{which} that match, of the run's {store.trajectories.tally(run.id)}")


def _row(stored: StoredTrajectory, fate: str, *, logprobs: bool) -> dict[str, Json]:
    prompt = stored.task.prompt[-1].content.splitlines()
    answer = stored.trajectory.final_text.splitlines()
    row: dict[str, Json] = {
        "trajectory": stored.id,
        "source": stored.trajectory.source,
        "iteration": stored.iteration,
        "split": stored.task.split,
        "hash": stored.task.hash,
        "task": (prompt[0] if prompt else "")[:40],
        "said last": (answer[-1] if answer else "")[:40],
        "scores": ", ".join(
            f"{v.name} {d.score if d.score is not None else d.status}" for v, d in stored.verdicts.items()
        ),
        "fate": fate,
    }
    return row | ({"mean log-prob": _mean_logprob(stored)} if logprobs else {})


def _short(row: Mapping[str, Json]) -> dict[str, Json]:
    """The row as a table has room for it: ids by their ends, which every command takes."""
    return {n: v for n, v in row.items() if n != "hash"} | {"trajectory": row["trajectory"][-12:]}


def _mean_logprob(stored: StoredTrajectory) -> float | None:
    """Of the tokens that the policy chose; None where they are an expert's, or were pruned."""
    known = [s.behaviour_logprobs for s in stored.trajectory.segments if s.behaviour_logprobs is not None]
    return float(np.concatenate(known).mean()) if known and sum(map(len, known)) else None


def _show(store: ReplayStore, options: argparse.Namespace) -> None:
    given = [f"--{name}" for name in _CHOOSE if getattr(options, name) not in (None, False)]
    if given:
        raise UsageError(f"{', '.join(given)} choose what is listed: leave out either them or the trajectory's id")
    found = store.trajectories.find(options.trajectory)
    run = store.runs.find(found.run_id)
    details = _details(store, found)
    if options.logprobs:
        decode = open_renderer(settings_of(run)).decode
        details["segments"] = [_tokens(segment, decode) for segment in found.trajectory.segments]
    if options.json:
        say_json(details)
    else:
        _print(run, found, details)


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
        "fate": store.trajectories.fate_of(stored.id),
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


def _tokens(segment: Segment, decode: Decode) -> list[dict[str, Json]]:
    """The segment's completion token by token; what the policy did not choose has no log-prob."""
    logprobs = iter([] if segment.behaviour_logprobs is None else segment.behaviour_logprobs.tolist())
    return [
        {"id": token, "text": decode([token]), "trained": trained, "logprob": next(logprobs, None) if trained else None}
        for token, trained in zip(segment.completion_ids.tolist(), segment.loss_mask.tolist(), strict=True)
    ]


def _print(run: RunInfo, stored: StoredTrajectory, details: dict[str, Json]) -> None:
    reporter = Reporter(stdout=True)

    def line(name: str, text: object) -> None:
        reporter.line(f"{name:<12} {'-' if text is None else text}")

    for name in ("id", "run", "source", "iteration", "policy", "attempt", "stop_reason", "error", "fate"):
        line(name, details[name])
    line("task", f"{stored.task.split}, goal {stored.task.goal}, hash {stored.task.hash}")
    decode = open_renderer(settings_of(run)).decode
    marks = "in bold" if reporter.looked_at else "between » and «"
    for number, segment in enumerate(stored.trajectory.segments):
        reporter.line(f"segment {number}, trained tokens {marks}:")
        reporter.block(_pieces(segment, decode))
        for token in details["segments"][number] if "segments" in details else ():
            if token["trained"]:
                line("log-prob", f"{as_text(token['logprob'])} {token['text']!r}")
    for row in details["scores"]:
        got = "" if row["extracted"] is None else f", got {row['extracted']}"
        asked = "" if row["expected"] is None else f", expected {row['expected']}"
        why = "" if row["explanation"] is None else f": {row['explanation']}"
        line("score", f"{row['verifier']} {row['status'] if row['score'] is None else row['score']}{got}{asked}{why}")
    for use in details["trained"]:
        numbers = ", ".join(f"{name} {as_text(use[name])}" for name in ("reward", "advantage", "nll_weight"))
        line("trained", f"v{use['version']}: {numbers}")
    line("parent", details["parent"])
    line("relabeller", details["relabeller"])
    line("children", ", ".join(details["children"]) or None)


def _pieces(segment: Segment, decode: Decode) -> list[tuple[str, bool]]:
    """The segment's text in pieces, each with whether its tokens are trained."""
    mask = segment.loss_mask
    starts = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    pieces = [(decode(segment.prompt_ids.tolist()), False)]
    for start, end in itertools.pairwise(starts):
        trained = end > start and bool(mask[start])
        pieces.append((decode(segment.completion_ids[start:end].tolist()), trained))
    return pieces
