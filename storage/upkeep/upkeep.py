"""Upkeep: is the store whole, what may be thrown away, and the disk space that gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from journeyman.agent.data import Source
from journeyman.storage.database import Database
from journeyman.storage.replay.pools import leave
from journeyman.storage.schema.trajectories import SegmentRow, TokenBlob, TrajectoryGroup, TrajectoryRow
from journeyman.storage.upkeep.dropping import begin_drop, drop_trajectories, end_drop
from journeyman.storage.upkeep.integrity import Problem, problems


class Upkeep:
    """The part of the replay store that looks after itself."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def check(self) -> list[Problem]:
        """Every rule that the database cannot keep by itself; an empty list is a whole store. Changes nothing."""
        return problems(self.database)

    def prune(self, run_id: str, *, before_iteration: int) -> int:
        """Deletes the tokens of attempts and relabels of earlier iterations; how many segments that was.

        Rows, turns, scores and uses stay, so every question about the past has its answer still; the attempts can
        no longer be trained on. Demonstrations and held-out attempts' scores are left alone.
        """
        old = (
            select(TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(
                TrajectoryGroup.run_id == run_id,
                TrajectoryGroup.source != Source.EXPERT,
                TrajectoryGroup.iteration < before_iteration,
            )
        )
        with self.database.write() as connection:
            gone = connection.execute(delete(TokenBlob).where(TokenBlob.trajectory_id.in_(old))).rowcount
            connection.execute(update(SegmentRow).where(SegmentRow.trajectory_id.in_(old)).values(kept=False))
            leave(connection, run_id, before_iteration)
        return gone

    def drop(self, run_id: str, files: Callable[[], None]) -> int:
        """Deletes the run and everything of it; how many trajectories that were. `files` deletes what is on the disk.

        The run is marked first and its row goes last, so that a kill leaves one that says so and can be dropped again;
        its files go before its row, which knows where they are. Raises UsageError where another run goes on from it.
        """
        begin_drop(self.database, run_id)
        count = drop_trajectories(self.database, run_id)
        files()
        end_drop(self.database, run_id)
        return count

    def vacuum(self) -> None:
        """Gives the space of what was deleted back to the disk; needs as much room again while it works."""
        engine = self.database.engine
        raw = engine.raw_connection()  # no transaction may be open
        driver: Any = raw.driver_connection
        errors: Any = engine.dialect.dbapi
        try:
            if not self.database.is_sqlite:
                driver.autocommit = True
            driver.execute("VACUUM")
        except errors.Error as error:
            wrapped = DBAPIError.instance("VACUUM", None, error, errors.Error, dialect=engine.dialect)
            raise self.database.refused(wrapped) from error
        finally:
            raw.detach()
            raw.close()
