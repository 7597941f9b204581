"""Trajectories out of the database: the query, and rows with their turns, tokens and scores made into objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from journeyman.agent.data import Segment, Task, Trajectory, Turn, Verdict, VerifierId
from journeyman.agent.errors import StoreError
from journeyman.storage.database import chunks
from journeyman.storage.runs.tasks import task_from_row
from journeyman.storage.schema.runs import PolicyVersion, TaskRow
from journeyman.storage.schema.trajectories import CountedScore, TokenBlob, TrajectoryGroup, TrajectoryRow, TurnRow
from journeyman.storage.trajectories.arrays import unpack_segment
from journeyman.storage.trajectories.rows import Row, trajectory_from_row, turn_from_row, verdict_from_row


@dataclass(frozen=True, slots=True, eq=False)
class StoredTrajectory:
    """A trajectory with what the store knows of it."""

    id: str
    run_id: str
    group_id: str
    group: str
    """Key of its group."""
    task: Task
    trajectory: Trajectory
    iteration: int
    policy_id: str | None
    policy_number: int | None
    parent_id: str | None
    relabeller: str | None
    verdicts: Mapping[VerifierId, Verdict]
    """Of each verifier its latest `ok`, or its latest of all; retracted ones are left out."""

    @property
    def key(self) -> str:
        """Natural key of the attempt within the run."""
        return f"{self.group}/{self.trajectory.attempt}"


def select_trajectories() -> Select[Any]:
    """Trajectories with group, task and policy version, in a fixed order: iteration, task, source, group, attempt."""
    group_columns = [c for c in TrajectoryGroup.__table__.columns if c.name != "id"]
    task_columns = [c.label(f"task__{c.name}") for c in TaskRow.__table__.columns]
    return (
        select(
            *TrajectoryRow.__table__.columns, *group_columns, *task_columns, PolicyVersion.number.label("policy_number")
        )
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
        .outerjoin(PolicyVersion, PolicyVersion.id == TrajectoryGroup.policy_version_id)
        .order_by(
            TrajectoryGroup.iteration,
            TaskRow.ordinal,
            TaskRow.hash,
            TrajectoryGroup.source,
            TrajectoryGroup.key,
            TrajectoryRow.attempt,
        )
    )


def load(connection: Connection, query: Select[Any], *, tokens: bool) -> list[StoredTrajectory]:
    """The trajectories of a query like `select_trajectories`; without `tokens` their segments are left out."""
    rows = connection.execute(query).mappings().all()
    ids = [row["id"] for row in rows]
    verdicts, turns = verdicts_of(connection, ids), _turns(connection, ids)
    segments = _segments(connection, ids) if tokens else {}
    return [_stored(row, turns[row["id"]], segments.get(row["id"], []), verdicts[row["id"]]) for row in rows]


def _stored(
    row: Row, turns: list[Turn], segments: list[Segment], verdicts: Mapping[VerifierId, Verdict]
) -> StoredTrajectory:
    task = task_from_row({n.removeprefix("task__"): v for n, v in row.items() if n.startswith("task__")})
    return StoredTrajectory(
        id=row["id"],
        run_id=row["run_id"],
        group_id=row["group_id"],
        group=row["key"],
        task=task,
        trajectory=trajectory_from_row(row, task.hash, tuple(turns), tuple(segments)),
        iteration=row["iteration"],
        policy_id=row["policy_version_id"],
        policy_number=row["policy_number"],
        parent_id=row["parent_id"],
        relabeller=row["relabeller"],
        verdicts=verdicts,
    )


def verdicts_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, Mapping[VerifierId, Verdict]]:
    """By trajectory the verdicts that count (the view `counted_score`); empty where there are none."""
    found: dict[str, dict[VerifierId, Verdict]] = defaultdict(dict)
    for chunk in chunks(ids):
        for row in connection.execute(select(CountedScore).where(CountedScore.c.trajectory_id.in_(chunk))).mappings():
            verifier = VerifierId(row["verifier"], row["version"], row["config_hash"])
            found[row["trajectory_id"]][verifier] = verdict_from_row(row)
    return found


def _turns(connection: Connection, ids: Sequence[str]) -> dict[str, list[Turn]]:
    found: dict[str, list[Turn]] = defaultdict(list)
    for chunk in chunks(ids):
        query = select(TurnRow.__table__).where(TurnRow.trajectory_id.in_(chunk)).order_by(TurnRow.position)
        for row in connection.execute(query).mappings():
            found[row["trajectory_id"]].append(turn_from_row(row))
    return found


def _segments(connection: Connection, ids: Sequence[str]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = defaultdict(list)
    for chunk in chunks(ids):
        query = select(TokenBlob.__table__).where(TokenBlob.trajectory_id.in_(chunk)).order_by(TokenBlob.position)
        for row in connection.execute(query).mappings():
            try:
                found[row["trajectory_id"]].append(unpack_segment(row["data"]))
            except StoreError as error:
                raise StoreError(f"trajectory {row['trajectory_id']}: {error}; see `journeyman db check`") from error
    return found
