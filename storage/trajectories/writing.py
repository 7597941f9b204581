"""Trajectories into the database: which of a chunk are new, and their rows in seven tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from journeyman.agent.data import Source, Split, StopReason, Task
from journeyman.agent.errors import StoreError
from journeyman.storage.database import chunks, insert_new
from journeyman.storage.runs.tasks import task_row
from journeyman.storage.schema.outcomes import hold, settle
from journeyman.storage.schema.runs import TaskRow
from journeyman.storage.schema.trajectories import (
    Label,
    Score,
    SegmentRow,
    TokenBlob,
    TrainingUse,
    TrajectoryGroup,
    TrajectoryRow,
    TurnRow,
)
from journeyman.storage.trajectories.bulk import insert_all
from journeyman.storage.trajectories.rows import (
    NewTrajectory,
    group_row,
    score_row,
    segment_rows,
    trajectory_row,
    turn_rows,
)


def add_chunk(
    connection: Connection,
    run_id: str,
    rows: Sequence[NewTrajectory],
    relabelled: Sequence[Task] = (),
) -> list[str]:
    """Inserts what is not there yet, and gives its ids; see `Trajectories.add`."""
    tasks = sorted(relabelled, key=lambda task: task.hash)  # in one order, lest two writers wait for each other
    insert_new(connection, TaskRow, [task_row(run_id, task, "hindsight", 0) for task in tasks])
    _refuse_held_out(connection, run_id, rows)
    groups, known = _groups(connection, run_id, rows)
    hold(connection, groups=list(groups.values()))
    new = {
        (row.group, row.trajectory.attempt): row
        for row in rows
        if (groups[row.group], row.trajectory.attempt) not in known
    }
    made = [(row, trajectory_row(groups[row.group], row)) for row in new.values()]
    insert_all(connection, TrajectoryRow, [values for _, values in made])
    parts: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row, values in made:
        segments = segment_rows(values["id"], row.trajectory.segments)
        parts[TurnRow] += turn_rows(values["id"], row.trajectory.turns)
        parts[SegmentRow] += segments
        parts[TokenBlob] += segments
        parts[Score] += [score_row(values["id"], s) for s in row.scores]
    for table, found in parts.items():
        insert_all(connection, table, found)
    settle(connection, [values["id"] for _, values in made], first=not any(row.trajectory.broken for row, _ in made))
    return [values["id"] for _, values in made]


def remove_broken(connection: Connection, run_id: str, rows: Sequence[NewTrajectory]) -> dict[tuple[str, int], str]:
    """Deletes the stored attempts in whose place the rows are to come; their ids by group key and attempt.

    Only such as an outage broke, and that nothing was made of: no update learned from them, and nobody labelled them.
    """
    keys = {(row.group, row.trajectory.attempt) for row in rows}
    used = select(TrainingUse.trajectory_id).where(TrainingUse.trajectory_id == TrajectoryRow.id).exists()
    labelled = select(Label.id).where(TrajectoryRow.id.in_((Label.trajectory_id, Label.other_id))).exists()
    gone: dict[tuple[str, int], str] = {}
    for chunk in chunks(sorted({group for group, _ in keys})):
        query = (
            select(TrajectoryGroup.key, TrajectoryRow.attempt, TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.key.in_(chunk))
            .where(TrajectoryRow.stop_reason == StopReason.ERROR, ~used, ~labelled)
        )
        gone |= {(group, attempt): i for group, attempt, i in connection.execute(query) if (group, attempt) in keys}
    hold(connection, trajectories=list(gone.values()))
    for chunk in chunks(sorted(gone.values())):
        for table in (TurnRow, TokenBlob, SegmentRow, Score):
            connection.execute(delete(table).where(table.trajectory_id.in_(chunk)))
        connection.execute(delete(TrajectoryRow).where(TrajectoryRow.id.in_(chunk)))
    return gone


def _refuse_held_out(connection: Connection, run_id: str, rows: Sequence[NewTrajectory]) -> None:
    """Raises StoreError for a relabel or a demonstration whose task is one of validation, test or a guard."""
    hashes = {row.trajectory.task_hash for row in rows if row.trajectory.source is not Source.POLICY}
    for chunk in chunks(sorted(hashes)):
        query = select(TaskRow.hash).where(TaskRow.run_id == run_id, TaskRow.split != Split.TRAIN)
        if held_out := connection.scalar(query.where(TaskRow.hash.in_(chunk)).limit(1)):
            what = f"the task of a relabel or a demonstration, {held_out},"
            raise StoreError(f"{what} is held out: refuse it by `ReplayStore.held_out`")


def _groups(
    connection: Connection, run_id: str, rows: Sequence[NewTrajectory]
) -> tuple[dict[str, str], set[tuple[str, int]]]:
    """Id of each group by key, those of groups that are new made; and (group id, attempt) of what is stored."""
    first = {row.group: row for row in sorted(rows, key=lambda row: row.group)}
    ids = _ids(connection, TrajectoryGroup.key, TrajectoryGroup.id, TrajectoryGroup.run_id == run_id, first)
    stored: set[tuple[str, int]] = set()
    for chunk in chunks(list(ids.values())):
        query = select(TrajectoryRow.group_id, TrajectoryRow.attempt).where(TrajectoryRow.group_id.in_(chunk))
        stored |= {(group, attempt) for group, attempt in connection.execute(query)}
    missing = [row for key, row in first.items() if key not in ids]
    hashes = {row.trajectory.task_hash for row in missing}
    tasks = _ids(connection, TaskRow.hash, TaskRow.id, TaskRow.run_id == run_id, hashes)
    if unknown := hashes - tasks.keys():
        raise StoreError(f"{len(unknown)} trajectories are of tasks that run {run_id} does not have")
    made = [group_row(run_id, tasks[row.trajectory.task_hash], row) for row in missing]
    insert_all(connection, TrajectoryGroup, made)
    return ids | {row["key"]: row["id"] for row in made}, stored


def _ids(connection: Connection, column: Any, id_column: Any, of_run: Any, values: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in chunks(sorted(values)):
        query = select(column, id_column).where(of_run, column.in_(chunk))
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found
