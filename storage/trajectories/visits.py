"""What the policy did before an iteration: its newest attempts, for telling what is new."""

from __future__ import annotations

from journeyman.agent.data import Source, Split
from journeyman.storage.database import Database
from journeyman.storage.schema.runs import TaskRow
from journeyman.storage.schema.trajectories import TrajectoryGroup, TrajectoryRow
from journeyman.storage.trajectories.loading import StoredTrajectory, load, select_trajectories


def past_attempts(database: Database, run_id: str, iteration: int, limit: int) -> list[StoredTrajectory]:
    """The policy's attempts at training tasks in iterations before this one, at most the newest `limit`, oldest first.

    Turns only: no tokens are read. The order goes by natural keys, and so does the cut, so that a resumed run finds
    the same.
    """
    query = (
        select_trajectories()
        .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.source == Source.POLICY)
        .where(TaskRow.split == Split.TRAIN, TrajectoryGroup.iteration < iteration)
        .order_by(None)
        .order_by(TrajectoryGroup.iteration.desc(), TrajectoryGroup.key, TrajectoryRow.attempt)
        .limit(limit)
    )
    with database.read() as connection:
        return load(connection, query, tokens=False)[::-1]
