"""Deletes a run with all its rows; a kill meanwhile leaves a run that says so and can be dropped again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, or_, select, update
from sqlalchemy.orm import aliased

from journeyman.agent.errors import UsageError
from journeyman.storage.database import Database
from journeyman.storage.runs.runs import RunState
from journeyman.storage.schema.base import Base
from journeyman.storage.schema.outcomes import hold, settle
from journeyman.storage.schema.runs import Lease, PolicyVersion, Run
from journeyman.storage.schema.trajectories import ReplayEntry, ReplayPool, TrajectoryGroup, TrajectoryRow

_PAGE = 500  # trajectories deleted in one transaction, so that other writers wait for seconds at most


def continued_by(connection: Connection, run_id: str) -> list[str]:
    """Names and ids of the other runs whose policies go on from one of the run's."""
    mine = select(PolicyVersion.id).where(PolicyVersion.run_id == run_id)
    query = (
        select(Run.name, Run.id)
        .join(PolicyVersion, PolicyVersion.run_id == Run.id)
        .where(PolicyVersion.parent_id.in_(mine), Run.id != run_id)
        .distinct()
    )
    return [f"{name} ({i})" for name, i in connection.execute(query.order_by(Run.id))]


def begin_drop(database: Database, run_id: str) -> None:
    """Marks the run, in one transaction with the end of its work and of its pools: nothing is done or drawn any more.

    Raises UsageError where another run goes on from it: that run's first weights are its.
    """
    with database.write() as connection:
        others = continued_by(connection, run_id)
        if others:
            raise UsageError(
                f"run {run_id} cannot be dropped: {', '.join(others)} began with a policy of it, whose weights and row "
                "it needs; drop those first"
            )
        connection.execute(update(Run).where(Run.id == run_id).values(state=RunState.DROPPING))
        for table in (Lease, ReplayEntry, ReplayPool):
            connection.execute(delete(table).where(table.run_id == run_id))


def drop_trajectories(database: Database, run_id: str) -> int:
    """Deletes the marked run's trajectories with all that is about them, page by page; how many those were."""
    count = 0
    child = aliased(TrajectoryRow)
    leaves = (
        select(TrajectoryRow.id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .where(TrajectoryGroup.run_id == run_id, ~select(child.id).where(child.parent_id == TrajectoryRow.id).exists())
        .limit(_PAGE)
    )
    while True:
        with database.write() as connection:
            ids = list(connection.scalars(leaves))
            if not ids:
                return count
            groups = list(
                connection.scalars(select(TrajectoryRow.group_id).where(TrajectoryRow.id.in_(ids)).distinct())
            )
            hold(connection, groups=groups)
            _delete_owned(connection, TrajectoryRow.__tablename__, TrajectoryRow.id.in_(ids))
            left = select(TrajectoryRow.id).where(TrajectoryRow.group_id.in_(groups))
            settle(connection, list(connection.scalars(left)))  # their group is counted anew
            count += len(ids)


def end_drop(database: Database, run_id: str) -> None:
    """Deletes what is left of the marked run, its own row too, in one transaction."""
    with database.write() as connection:
        _delete_owned(connection, Run.__tablename__, Run.id == run_id)


def _delete_owned(connection: Connection, name: str, which: ColumnElement[bool]) -> None:
    """Deletes these rows of the table of that name, and before them all rows that refer to them, however far."""
    root = Base.metadata.tables[name]
    owned: dict[Table, ColumnElement[bool]] = {root: which}
    order: Sequence[Table] = Base.metadata.sorted_tables
    for table in order:
        links = [
            and_(*(key.parent.in_(select(key.column).where(owned[link.referred_table])) for key in link.elements))
            for link in table.foreign_key_constraints
            if link.referred_table is not table and link.referred_table in owned
        ]
        if links and table is not root:
            owned[table] = or_(*links)
    for table in reversed(order):
        if table in owned:
            connection.execute(delete(table).where(owned[table]))
