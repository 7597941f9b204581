"""Trajectories, their tokens and their scores in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, func, select

from journeyman.agent.data import ScoreRecord, Segment, Source, Split, Status, Task, Trajectory, Verdict, VerifierId
from journeyman.agent.errors import StoreError, UnknownNameError
from journeyman.storage.arrays import pack_segment, unpack_segment
from journeyman.storage.database import Database, insert_new
from journeyman.storage.rows import (
    NewTrajectory,
    Row,
    score_row,
    task_from_row,
    task_row,
    trajectory_from_row,
    trajectory_row,
    verdict_from_row,
)
from journeyman.storage.runs import Use
from journeyman.storage.schema import PolicyVersion, Score, TaskRow, TokenBlob, TrainingUse, TrajectoryRow

_CHUNK = 500  # values in one IN list: below every database's limit


@dataclass(frozen=True, slots=True, eq=False)
class StoredTrajectory:
    """A trajectory with what the store knows of it."""

    id: str
    run_id: str
    key: str
    task: Task
    trajectory: Trajectory
    iteration: int
    policy_id: str | None
    policy_number: int | None
    parent_id: str | None
    relabeller: str | None
    verdicts: Mapping[VerifierId, Verdict]
    """Of each verifier its latest `ok`, or its latest of all."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A trajectory that might be drawn for training: what a draw looks at, without turns and tokens."""

    id: str
    task_hash: str
    iteration: int
    turns: int
    verdicts: Mapping[VerifierId, Verdict]


class TrajectoryStore:
    """The part of the replay store that holds trajectories."""

    database: Database

    def add_trajectories(self, run_id: str, rows: Sequence[NewTrajectory], relabelled: Sequence[Task] = ()) -> None:
        """Stores a chunk in one transaction: all of it or nothing; keys that are there already are left alone.

        `relabelled` are the tasks of hindsight rows that the run may not have yet.
        """
        with self.database.write() as connection:
            insert_new(connection, TaskRow, [task_row(run_id, task, "hindsight", 0) for task in relabelled])
            hashes = {row.trajectory.task_hash for row in rows}
            task_ids = _ids(connection, TaskRow, TaskRow.hash, run_id, hashes)
            if missing := hashes - task_ids.keys():
                raise StoreError(f"{len(missing)} trajectories are of tasks that run {run_id} does not have")
            values = [trajectory_row(run_id, task_ids[row.trajectory.task_hash], row) for row in rows]
            insert_new(connection, TrajectoryRow, values)
            ids = _ids(connection, TrajectoryRow, TrajectoryRow.key, run_id, {row.key for row in rows})
            blobs = [
                {"trajectory_id": ids[row.key], "position": i, "data": pack_segment(segment)}
                for row in rows
                for i, segment in enumerate(row.trajectory.segments)
            ]
            insert_new(connection, TokenBlob, blobs)
            insert_new(connection, Score, [score_row(ids[row.key], s) for row in rows for s in row.scores])

    def add_scores(self, scores: Iterable[tuple[str, ScoreRecord]]) -> None:
        """Verdicts on stored trajectories, by trajectory id."""
        with self.database.write() as connection:
            insert_new(connection, Score, [score_row(trajectory_id, record) for trajectory_id, record in scores])

    def keys(self, run_id: str, iteration: int, source: Source) -> frozenset[str]:
        """Keys of the trajectories stored so far, for finding what is still to do."""
        query = select(TrajectoryRow.key).where(
            TrajectoryRow.run_id == run_id, TrajectoryRow.iteration == iteration, TrajectoryRow.source == source
        )
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    def trajectories(
        self,
        run_id: str,
        *,
        source: Source | None = None,
        split: Split | None = None,
        iterations: Collection[int] | None = None,
        policy_number: int | None = None,
        tokens: bool = True,
    ) -> list[StoredTrajectory]:
        """The run's trajectories in a fixed order (iteration, task, source, attempt, key)."""
        query = _select().where(TrajectoryRow.run_id == run_id)
        if source is not None:
            query = query.where(TrajectoryRow.source == source)
        if split is not None:
            query = query.where(TaskRow.split == split)
        if iterations is not None:
            query = query.where(TrajectoryRow.iteration.in_(iterations))
        if policy_number is not None:
            query = query.where(PolicyVersion.number == policy_number)
        with self.database.read() as connection:
            return _load(connection, connection.execute(query).mappings().all(), tokens=tokens)

    def candidates(self, run_id: str, source: Source, iterations: Collection[int] | None) -> list[Candidate]:
        """Attempts at training tasks in a fixed order; `iterations` None is all of them."""
        query = (
            select(TrajectoryRow.id, TaskRow.hash, TrajectoryRow.iteration, TrajectoryRow.turn_count)
            .join(TaskRow, TaskRow.id == TrajectoryRow.task_id)
            .where(TrajectoryRow.run_id == run_id, TrajectoryRow.source == source, TaskRow.split == Split.TRAIN)
            .order_by(TrajectoryRow.key)
        )
        if iterations is not None:
            query = query.where(TrajectoryRow.iteration.in_(iterations))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
            verdicts = _verdicts(connection, [row[0] for row in rows])
        return [Candidate(*row, verdicts.get(row[0], {})) for row in rows]

    def by_id(self, ids: Sequence[str]) -> list[StoredTrajectory]:
        """The trajectories with these ids, in that order, tokens and all."""
        found: dict[str, StoredTrajectory] = {}
        with self.database.read() as connection:
            for chunk in _chunks(ids):
                rows = connection.execute(_select().where(TrajectoryRow.id.in_(chunk))).mappings().all()
                found |= {t.id: t for t in _load(connection, rows, tokens=True)}
        return [found[i] for i in ids]

    def find(self, wanted: str) -> StoredTrajectory:
        """The trajectory whose id ends in `wanted` (the end tells ids apart, the beginning is their time).

        Raises UnknownNameError where there is none, or more than one.
        """
        with self.database.read() as connection:
            ids = [i for i in connection.scalars(select(TrajectoryRow.id)) if i.endswith(wanted.lower())]
        if len(ids) != 1:
            remedy = "`journeyman inspect` without an id lists the newest ones"
            raise UnknownNameError("trajectory", wanted, ids[:5], remedy)
        return self.by_id(ids)[0]

    def newest(self, run_id: str, count: int) -> list[StoredTrajectory]:
        """The trajectories stored last, newest first, without tokens."""
        query = _select().where(TrajectoryRow.run_id == run_id).order_by(None)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(TrajectoryRow.id.desc()).limit(count)).mappings().all()
            return _load(connection, rows, tokens=False)

    def uses_of(self, trajectory_id: str) -> list[tuple[int, Use]]:
        """Which versions were trained on the trajectory, and how."""
        query = (
            select(TrainingUse, PolicyVersion.number)
            .join(PolicyVersion, PolicyVersion.id == TrainingUse.policy_version_id)
            .where(TrainingUse.trajectory_id == trajectory_id)
            .order_by(PolicyVersion.number)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [(r["number"], Use(r["trajectory_id"], r["reward"], r["advantage"], r["nll_weight"])) for r in rows]

    def children_of(self, trajectory_id: str) -> list[str]:
        """Ids of the relabels made from the trajectory."""
        query = select(TrajectoryRow.id).where(TrajectoryRow.parent_id == trajectory_id).order_by(TrajectoryRow.key)
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def counts(self, run_id: str) -> dict[tuple[int, Source], int]:
        """How many trajectories there are by iteration and source, held-out attempts left out."""
        query = (
            select(TrajectoryRow.iteration, TrajectoryRow.source, func.count())
            .join(TaskRow, TaskRow.id == TrajectoryRow.task_id)
            .where(TrajectoryRow.run_id == run_id, TaskRow.split == Split.TRAIN)
            .group_by(TrajectoryRow.iteration, TrajectoryRow.source)
        )
        with self.database.read() as connection:
            return {(i, Source(s)): n for i, s, n in connection.execute(query).all()}


def _select() -> Select[Any]:
    task_columns = [c.label(f"task__{c.name}") for c in TaskRow.__table__.columns]
    return (
        select(*TrajectoryRow.__table__.columns, *task_columns, PolicyVersion.number.label("policy_number"))
        .join(TaskRow, TaskRow.id == TrajectoryRow.task_id)
        .outerjoin(PolicyVersion, PolicyVersion.id == TrajectoryRow.policy_version_id)
        .order_by(
            TrajectoryRow.iteration,
            TaskRow.ordinal,
            TaskRow.hash,
            TrajectoryRow.source,
            TrajectoryRow.attempt,
            TrajectoryRow.key,
        )
    )


def _load(connection: Connection, rows: Sequence[Row], *, tokens: bool) -> list[StoredTrajectory]:
    ids = [row["id"] for row in rows]
    verdicts = _verdicts(connection, ids)
    segments = _segments(connection, ids) if tokens else {}
    stored = []
    for row in rows:
        task = task_from_row({n.removeprefix("task__"): v for n, v in row.items() if n.startswith("task__")})
        trajectory = trajectory_from_row(row, task.hash, tuple(segments.get(row["id"], ())))
        stored.append(
            StoredTrajectory(
                id=row["id"],
                run_id=row["run_id"],
                key=row["key"],
                task=task,
                trajectory=trajectory,
                iteration=row["iteration"],
                policy_id=row["policy_version_id"],
                policy_number=row["policy_number"],
                parent_id=row["parent_id"],
                relabeller=row["relabeller"],
                verdicts=verdicts.get(row["id"], {}),
            )
        )
    return stored


def _verdicts(connection: Connection, ids: Sequence[str]) -> dict[str, dict[VerifierId, Verdict]]:
    found: dict[str, dict[VerifierId, Verdict]] = defaultdict(dict)
    for chunk in _chunks(ids):
        query = select(Score).where(Score.trajectory_id.in_(chunk)).order_by(Score.attempt)
        for row in connection.execute(query).mappings():
            verifier = VerifierId(row["verifier"], row["version"], row["config_hash"])
            verdict, known = verdict_from_row(row), found[row["trajectory_id"]].get(verifier)
            if known is None or known.status is not Status.OK or verdict.status is Status.OK:
                found[row["trajectory_id"]][verifier] = verdict
    return found


def _segments(connection: Connection, ids: Sequence[str]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = defaultdict(list)
    for chunk in _chunks(ids):
        query = select(TokenBlob).where(TokenBlob.trajectory_id.in_(chunk)).order_by(TokenBlob.position)
        for row in connection.execute(query).mappings():
            found[row["trajectory_id"]].append(unpack_segment(row["data"]))
    return found


def _ids(connection: Connection, table: Any, column: Any, run_id: str, values: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in _chunks(sorted(values)):
        query = select(column, table.id).where(table.run_id == run_id, column.in_(chunk))
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
