"""`journeyman work RUN`: a worker that joins a run which another process drives, on this machine or another."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Collection

from journeyman.agent.errors import UsageError
from journeyman.workflows.attempts.sharing import PAUSE_S, Work, do_some
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import find_run
from journeyman.workflows.session.session import Session, join
from journeyman.workflows.stages.generate import chunks_to_make
from journeyman.workflows.stages.score import attempts_to_score

STAGES: dict[str, Callable[[Session, int], Work]] = {"generate": chunks_to_make, "score": attempts_to_score}
"""Whose work is shared; a kind of work begins with `<stage>/<iteration>`."""


def work(options: argparse.Namespace) -> None:
    """`journeyman work RUN`: works until the run is finished, or with `--once` until there is nothing to claim."""
    reporter = Reporter()
    with join(find_run(options.store, options.run), reporter) as session:
        folder = session.artifacts / session.run.id
        if "generate" in options.kinds and not folder.is_dir():
            remedy = "start the worker where the run was started, share that folder, or take --kinds score"
            raise UsageError(f"the weights of run {session.run.name} are not here, there is no {folder}: {remedy}")
        reporter.line(f"{session.worker} works for run {session.run.id} ({session.run.name}) in {options.store}")
        done = work_for(session, options.kinds, once=options.once)
    parts = ", ".join(f"{count} of {kind}" for kind, count in done.items())
    reporter.line(f"done: {parts or 'nothing'}")


def work_for(session: Session, stages: Collection[str], *, once: bool) -> Counter[str]:
    """Claims by kind that this worker did, e.g. `{"generate/1": 3}`, once the run is finished."""
    done: Counter[str] = Counter()
    while True:
        finished = session.store.runs.find(session.run.id).finished
        before = done.total()
        for kind in session.store.queue.kinds_to_do(session.run.id, seconds=session.settings.generate.lease_seconds):
            stage, iteration, *_ = kind.split("/")
            if stage not in stages or (shared := STAGES[stage](session, int(iteration))).kind != kind:
                continue  # not asked for, or scores by another rubric
            while do_some(session, shared):
                done[kind] += 1
        if done.total() > before:
            continue
        if once or finished:
            return done
        time.sleep(PAUSE_S)
