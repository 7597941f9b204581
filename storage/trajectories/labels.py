"""What people say: scores and pairwise preferences, kept beside the verifiers' verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, or_, select

from journeyman.agent.errors import UsageError
from journeyman.storage.database import Database
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.trajectories import Label, TrajectoryGroup, TrajectoryRow
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.writing import add_chunk


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A person's word, or a judge's; the fields are those of `Label`, and `created_at` is when it was said."""

    trajectory_id: str
    other_id: str | None
    value: float
    person: str
    comment: str | None = None
    created_at: datetime = field(default_factory=now)


class Labels:
    """The part of the replay store that holds people's labels."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, label: NewLabel) -> None:
        """Stores the label; raises UsageError for a value outside [0, 1], or a comparison across tasks."""
        with self.database.write() as connection:
            insert_label(connection, label)

    def add_compared(self, run_id: str, new: NewTrajectory, value: float, person: str, comment: str) -> None:
        """Stores a trajectory and the label that compares it with its parent: both or nothing.

        A trajectory that is there already has been compared, and is left alone. Raises what `Trajectories.add`
        and `add` raise.
        """

        def work(connection: Connection) -> None:
            for child in add_chunk(connection, run_id, [new], ()):
                insert_label(connection, NewLabel(child, new.parent_id, value, person, comment))

        self.database.write_again(work)

    def of(self, run_id: str) -> list[NewLabel]:
        """The labels of the run's trajectories, oldest first."""
        with self.database.read() as connection:
            return labels_of(connection, run_id)


def labels_of(connection: Connection, run_id: str) -> list[NewLabel]:
    """The labels of the run's trajectories, oldest first."""
    query = (
        select(Label.__table__)
        .join(TrajectoryRow, TrajectoryRow.id == Label.trajectory_id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .where(TrajectoryGroup.run_id == run_id)
        .order_by(Label.created_at, Label.id)
    )
    rows = connection.execute(query).mappings().all()
    return [NewLabel(**{name: row[name] for name in NewLabel.__slots__}) for row in rows]


def insert_label(connection: Connection, label: NewLabel) -> None:
    """Stores the label; raises UsageError where it says what no label can."""
    if not 0 <= label.value <= 1:
        raise UsageError(f"a label of {label.value} is not in [0, 1]: 0 is worst, 1 is best")
    if label.other_id is not None:
        compared = or_(TrajectoryRow.id == label.trajectory_id, TrajectoryRow.id == label.other_id)
        query = select(TrajectoryGroup.task_id).join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
        if len(set(connection.scalars(query.where(compared)))) != 1 or label.other_id == label.trajectory_id:
            raise UsageError("only two attempts at the same task can be compared: `journeyman inspect` has both")
    values = {name: getattr(label, name) for name in NewLabel.__slots__}
    connection.execute(Label.__table__.insert().values(id=new_id(), **values))  # type: ignore[attr-defined]
