"""Tasks in the store, and which of them a run may not learn from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select

from journeyman.agent.data import Split, Task, as_messages
from journeyman.agent.errors import StoreError
from journeyman.storage.database import Database, insert_new
from journeyman.storage.schema.base import new_id
from journeyman.storage.schema.runs import Run, TaskRow


class Tasks:
    """The part of the replay store that knows tasks."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, run_id: str, tasks: Iterable[Task], *, origin: str, first_ordinal: int = 0) -> None:
        """Tasks in the order given; one whose hash the run has already is left as it is."""
        rows = [task_row(run_id, task, origin, first_ordinal + i) for i, task in enumerate(tasks)]
        with self.database.write() as connection:
            insert_new(connection, TaskRow, rows)

    def of(self, run_id: str, split: Split, origin: str | None = "generated") -> list[Task]:
        """The run's tasks of one split and origin (None: any), in their order."""
        query = select(TaskRow).where(TaskRow.run_id == run_id, TaskRow.split == split)
        if origin is not None:
            query = query.where(TaskRow.origin == origin)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(TaskRow.ordinal)).mappings().all()
        return [task_from_row(row) for row in rows]

    def held_out(self, run_id: str) -> frozenset[str]:
        """Hashes of the run's validation, test and guard tasks."""
        query = select(TaskRow.hash).where(TaskRow.run_id == run_id, TaskRow.split != Split.TRAIN)
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    def trained_on(self, name: str, *, before_ordinal: int) -> frozenset[str]:
        """Hashes of the training tasks, relabelled ones too, of the earlier runs of a name."""
        earlier = select(Run.id).where(Run.name == name, Run.ordinal < before_ordinal)
        query = select(TaskRow.hash).where(TaskRow.run_id.in_(earlier), TaskRow.split == Split.TRAIN)
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))


def task_row(run_id: str, task: Task, origin: str, ordinal: int) -> dict[str, Any]:
    """The task as a row of `task`; raises StoreError where goal or payload are no JSON."""
    try:
        json.dumps([task.goal, task.payload], allow_nan=False)  # SQLite would store a NaN, PostgreSQL would not
    except (TypeError, ValueError) as error:
        raise StoreError(f"task {task.hash}: its goal or payload cannot be stored as JSON: {error}") from error
    return {
        "id": new_id(),
        "run_id": run_id,
        "ordinal": ordinal,
        "origin": origin,
        "environment": task.environment,
        "split": task.split,
        "hash": task.hash,
        "goal": task.goal,
        "payload": dict(task.payload),
        "prompt": [m.to_json() for m in task.prompt],
    }


def task_from_row(row: Mapping[Any, Any]) -> Task:
    """The inverse of `task_row`."""
    return Task(
        environment=row["environment"],
        goal=row["goal"],
        prompt=as_messages(row["prompt"]),
        split=Split(row["split"]),
        hash=row["hash"],
        payload=row["payload"],
    )
