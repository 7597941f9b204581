"""Views, documented queries and `rescore`'s store part at 100,000 attempts: `python benchmarks/queries.py`.

A run of ten iterations: groups of 8 attempts at training and at held-out tasks, relabels, verdicts of two verifiers
(and of a second version of one, on every tenth), training uses, evaluations, audits. Medians of several askings, every
row read: by the clock, and of a processor (client and server together), which is what a quiet machine's clock shows and
what the limit beside it is about. PostgreSQL is one that pip brings, started on the spot.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import text
from store import databases

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Segment,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Trajectory,
    Turn,
    Verdict,
    VerifierId,
)
from journeyman.storage.runs.evaluations import AuditInfo, EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.runs.runs import TermInfo
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory

GROUP, ITERATIONS = 8, 10
CHUNK = 2048
"""Attempts of one transaction."""
PAGE = 1024
"""Attempts that `rescore` reads at once."""
REPEATS = 5
RESCORED = 48_000
"""Attempts that the command is to judge."""
SETTINGS = Path(__file__).parents[1] / "examples" / "countdown.toml"
BY_ID_S, RUN_S, QUERY_S, RESCORE_S = 0.02, 2.0, 3.0, 120.0
GOAL, GOAL_2, WORDS = VerifierId("goal", "1", "00"), VerifierId("goal", "2", "00"), VerifierId("words", "1", "00")
QUERIES = re.findall(
    r"^## (.+?)\n.*?```sql\n(.+?)```",
    (Path(__file__).parents[1] / "docs" / "queries.md").read_text(),
    re.DOTALL | re.MULTILINE,
)
VIEWS = {
    "v_trajectory": ("id = :attempt", "run_id = :run"),
    "v_group": ("id = :group", "run_id = :run"),
    "v_iteration": ("run_id = :run AND iteration = 5", "run_id = :run"),
    "v_verifier_disagreement": ("trajectory_id = :attempt", "run_id = :run"),
    "v_lineage": ("trajectory_id = :relabel", "run_id = :run"),
    "v_guard": ("run_id = :run AND policy = 5", "run_id = :run"),
    "v_audit": ("run_id = :run AND policy = 5", "run_id = :run"),
    "v_turn": ("trajectory_id = :attempt", "run_id = :run"),
    "v_success": ("trajectory_id = :attempt", "run_id = :run"),
    "counted_score": (
        "trajectory_id = :attempt",
        "trajectory_id IN (SELECT id FROM v_trajectory WHERE run_id = :run)",
    ),
}
"""What one row is asked by, and what a whole run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=100_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as urls:
        for kind in options.databases:
            started = time.perf_counter()
            store, run = filled(urls[kind](), options.attempts)
            print(f"{kind}: {options.attempts:,} attempts written in {time.perf_counter() - started:.0f} s")
            for part in (views, documented, lookups, rescoring, command):
                over += sum(told(kind, *row) for row in part(store, run))
            store.close()
    sys.exit(f"{over} over their limits" if over else 0)


def told(kind: str, what: str, rows: int, took: Took, limit: float) -> bool:
    """Prints one row; whether it took longer than it may."""
    over = took.processor > limit
    numbers = f"{rows:>9,} rows {took.clock:9.4f} s by the clock {took.processor:9.4f} s of a processor"
    print(f"{kind:<10} {what:<78} {numbers}  limit {limit:g} s{'  OVER' if over else ''}", flush=True)
    return over


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that something took."""

    clock: float
    processor: float
    """Of this process and of the database's server."""

    def __add__(self, other: Took) -> Took:
        return Took(self.clock + other.clock, self.processor + other.processor)


class Watch:
    """Measures what goes on until `took` is asked, and begins anew."""

    def __init__(self, store: ReplayStore) -> None:
        self.server: int | None = None
        if not store.database.is_sqlite:
            with store.database.read() as connection:
                self.server = parent_of(connection.scalar(text("SELECT pg_backend_pid()")))
        self.before = self._now()

    def took(self) -> Took:
        """Since the watch was made or asked last."""
        now = self._now()
        found = Took(now.clock - self.before.clock, now.processor - self.before.processor)
        self.before = self._now()
        return found

    def _now(self) -> Took:
        served = 0.0 if self.server is None else served_by(self.server)
        own = os.times()  # of the commands that were run and ended too
        spent = time.process_time() + own.children_user + own.children_system
        return Took(time.perf_counter(), spent + served)


def numbers_of(pid: str) -> list[str]:
    """What /proc says of a process after its name: the parent is 1, times in ticks are 11 to 14."""
    return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()


def parent_of(pid: Any) -> int:
    return int(numbers_of(str(pid))[1])


def served_by(server: int) -> float:
    """Processor seconds of the server and its processes, those that have ended too."""
    ticks = 0
    for pid in (entry.name for entry in Path("/proc").iterdir()):
        if pid.isdigit():
            try:
                numbers = numbers_of(pid)
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                continue
            if int(pid) == server:
                ticks += sum(map(int, numbers[11:15]))
            elif int(numbers[1]) == server:
                ticks += sum(map(int, numbers[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def views(store: ReplayStore, run: str) -> Iterator[Row]:
    names = named(store, run)
    for view, (one, whole) in VIEWS.items():
        yield f"{view} by id", *asked(store, f"SELECT * FROM {view} WHERE {one}", names), BY_ID_S
        yield f"{view} of the run", *asked(store, f"SELECT * FROM {view} WHERE {whole}", names), RUN_S


def documented(store: ReplayStore, run: str) -> Iterator[Row]:
    names = named(store, run)
    for question, query in QUERIES:
        yield question, *asked(store, query, names), QUERY_S


def named(store: ReplayStore, run: str) -> dict[str, str]:
    """What the queries' parameters stand for: an attempt of the middle iteration, its group and task, and a relabel."""
    query = (
        "SELECT id, group_id, task FROM v_trajectory WHERE run_id = :run AND iteration = 5 AND source = '{}' LIMIT 1"
    )
    with store.database.read() as connection:
        attempt, group, task = connection.execute(text(query.format("policy")), {"run": run}).one()
        relabel, _, _ = connection.execute(text(query.format("hindsight")), {"run": run}).one()
    return {"run": run, "attempt": str(attempt), "group": str(group), "task": task, "relabel": str(relabel)}


def asked(store: ReplayStore, query: str, names: dict[str, str]) -> tuple[int, Took]:
    """How many rows, and the median of reading them all, the first time apart, which fills caches."""
    statement = text(query)
    used = {name: value for name, value in names.items() if f":{name}" in query}
    with store.database.read() as connection:
        rows = len(connection.execute(statement, used).all())
        return rows, median(store, lambda: connection.execute(statement, used).all())


def median(store: ReplayStore, work: Callable[[], Any]) -> Took:
    """Of several times; what is over in an instant is done many times each, since a server's clock ticks slowly."""
    watch = Watch(store)
    work()
    often = 1 if watch.took().clock > 0.05 else 50
    found = []
    for _ in range(REPEATS):
        watch.took()
        for _ in range(often):
            work()
        took = watch.took()
        found.append(Took(took.clock / often, took.processor / often))
    return Took(statistics.median(f.clock for f in found), statistics.median(f.processor for f in found))


Row: TypeAlias = tuple[str, int, Took, float]
"""What was asked, how many rows came, what it took, and the limit in seconds."""


def lookups(store: ReplayStore, run: str) -> Iterator[Row]:
    """What commands ask beside the views."""
    name = named(store, run)["attempt"]
    trajectories = store.trajectories
    yield "an attempt by its id", 1, median(store, lambda: trajectories.find(name)), BY_ID_S
    yield "an attempt by the end of its id", 1, median(store, lambda: trajectories.find(name[-12:])), 0.2
    yield "attempts by iteration and source", ITERATIONS, median(store, lambda: trajectories.counts(run)), RUN_S
    judged = len(trajectories.judged(run, 5, Source.POLICY))
    took = median(store, lambda: trajectories.judged(run, 5, Source.POLICY))
    yield "an iteration's attempts with their verdicts", judged, took, RUN_S
    watch = Watch(store)
    yield "db check: problems", len(store.upkeep.check()), watch.took(), RESCORE_S


def rescoring(store: ReplayStore, run: str) -> Iterator[Row]:
    """All that `rescore` does but the verifying: which attempts, reading and writing them by pages, disagreements."""
    watch = Watch(store)
    ids = store.verdicts.unscored(run, GOAL_2)
    total = watch.took()
    yield "rescore: which attempts", len(ids), total, RUN_S
    reading = writing = Took(0.0, 0.0)
    for first in range(0, len(ids), PAGE):
        page = store.trajectories.by_id(ids[first : first + PAGE], tokens=False)
        reading += watch.took()
        store.verdicts.add([(t.id, judged(GOAL_2, first + i)) for i, t in enumerate(page)])
        writing += watch.took()
    yield "rescore: reading attempts", len(ids), reading, RESCORE_S
    yield "rescore: writing verdicts", len(ids), writing, RESCORE_S
    watch.took()
    differing = store.verdicts.disagreements(run, GOAL_2)
    last = watch.took()
    yield "rescore: disagreements", differing, last, QUERY_S
    yield "rescore: all of it but the verifying", len(ids), total + reading + writing + last, RESCORE_S


def command(store: ReplayStore, run: str) -> Iterator[Row]:
    """`journeyman rescore` with a cheap verifier, two processes at most, as a person runs it."""
    url = store.database.url.render_as_string()
    rescore = ["rescore", run, "--verifier", "exact", "--limit", str(RESCORED), "--store", url, "--json"]
    rescore += ["--set", "verification.workers=2"]
    watch = Watch(store)
    done = subprocess.run([sys.executable, "-m", "journeyman.workflows.cli", *rescore], check=True, capture_output=True)
    yield "journeyman rescore", json.loads(done.stdout)["ok"], watch.took(), RESCORE_S


# filling


def filled(url: str, count: int) -> tuple[ReplayStore, str]:
    """A store with one run of `count` attempts: of each iteration 3/4 training, 1/8 held-out, 1/8 relabels."""
    store = ReplayStore(url)
    run = store.runs.create(
        "bench", tomllib.loads(SETTINGS.read_text()), [TermInfo("goal", 1.0), TermInfo("words", 0.0)]
    ).id
    store.policies.add(run, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
    groups = max(count // ITERATIONS // GROUP, 8)
    training, held = groups * 3 // 4, groups // 8
    store.tasks.add(run, [task_of(i) for i in range(training)], origin="generated")
    held_out = [task_of(10**6 + i, (Split.VALIDATION, Split.TEST)[i % 2]) for i in range(held)]
    store.tasks.add(run, held_out, origin="generated")
    for iteration in range(1, ITERATIONS + 1):
        store.runs.begin_iteration(run, iteration)
        policy = store.policies.numbered(run, iteration).id
        tasks = [*(task_of(i) for i in range(training)), *held_out]
        rows = [attempt(task, iteration, policy, i) for task in tasks for i in range(GROUP)]
        write(store, run, rows)
        ids = store.trajectories.ids_of(run, {(row.group, row.trajectory.attempt) for row in rows[: training * GROUP]})
        parents = list(ids.values())[: (groups - training - held) * GROUP]
        relabels = [relabel(parent, iteration, policy, i) for i, parent in enumerate(parents)]
        write(store, run, relabels, [task_of(10**7 + i // GROUP + 10**5 * iteration) for i in range(len(relabels))])
        told_anew = store.trajectories.ids_of(run, {(row.group, row.trajectory.attempt) for row in relabels})
        finish(store, run, iteration, policy, [*ids.values()], [*told_anew.values()])
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not store.database.is_sqlite:
            connection.exec_driver_sql("ANALYZE")  # as autovacuum does in time
    return store, run


def finish(
    store: ReplayStore, run: str, iteration: int, policy: str, attempts: Sequence[str], relabels: Sequence[str]
) -> None:
    """What an iteration learned from, and how it did."""
    uses = [Use(name, float(i % 3 == 0), "00", float(i % 4 != 0), 0.0) for i, name in enumerate(attempts)]
    uses += [Use(name, 1.0, "00", None, 1.0) for name in relabels]
    version = iteration + 1
    store.policies.add(run, NewPolicy(version, policy, iteration, "finetune", "x", {"loss": 0.5}), uses)
    store.policies.set_promoted(run, version, promoted=True)
    store.evaluations.add(run, EvaluationInfo(Split.VALIDATION, iteration, version, 100, 8, 0.25, 0.5, None))
    store.evaluations.add(run, EvaluationInfo(Split.GUARD, iteration, version, 100, 4, 0.25, 0.5, None, "facts"))
    metrics = ("repetition", "rubric_only")
    store.evaluations.add_audit(run, [AuditInfo(version, Split.VALIDATION, metric, 0.1, 800) for metric in metrics])
    store.runs.finish_iteration(run, iteration)


def write(store: ReplayStore, run: str, rows: Sequence[NewTrajectory], tasks: Sequence[Task] = ()) -> None:
    for first in range(0, len(rows), CHUNK):
        chunk = slice(first, first + CHUNK)
        store.trajectories.add(run, rows[chunk], list({task.hash: task for task in tasks[chunk]}.values()))


def task_of(number: int, split: Split = Split.TRAIN) -> Task:
    prompt = Message("user", f"Combine the numbers {number % 17}, {number % 13} and 11 to get {number % 97}.")
    return Task("countdown", number % 97, (prompt,), split, f"{number:032x}", {"numbers": [number % 17, 3, 9]})


IDS = np.arange(16, dtype=np.int32)
SEGMENT = Segment(IDS[:8], IDS[8:], np.ones(8, np.bool_), np.zeros(8, np.float32))


def said(number: int) -> Turn:
    return Turn(Message("assistant", f"({number}-3)*8"), (), 0.0)


def attempt(task: Task, iteration: int, policy: str, number: int) -> NewTrajectory:
    salt = int(task.hash, 16) + iteration + number
    made = Trajectory(task.hash, Source.POLICY, (said(salt),), (SEGMENT,), StopReason.TERMINATED, attempt=number)
    scores = [judged(GOAL, salt), judged(WORDS, salt + 1)] + ([judged(GOAL_2, salt + 1)] if salt % 10 == 0 else [])
    return NewTrajectory(f"policy/{iteration}/{task.hash}/v{iteration}", made, iteration, policy, scores=tuple(scores))


def relabel(parent: str, iteration: int, policy: str, number: int) -> NewTrajectory:
    task = task_of(10**7 + number // GROUP + 10**5 * iteration)
    made = Trajectory(
        task.hash, Source.HINDSIGHT, (said(number),), (SEGMENT,), StopReason.TERMINATED, attempt=number % GROUP
    )
    scores = (judged(GOAL, 0), judged(WORDS, number))
    return NewTrajectory(f"told/{iteration}/{task.hash}", made, iteration, policy, parent, "final/2", scores)


def judged(verifier: VerifierId, number: int) -> ScoreRecord:
    """One in 50 fails, a third of the others pass."""
    if number % 50 == 49:
        return ScoreRecord(verifier, Verdict(Status.TIMEOUT), 10_000.0)
    return ScoreRecord(verifier, Verdict(Status.OK, float(number % 3 == 0), extracted="24", expected="24"), 0.2)


if __name__ == "__main__":
    main()
