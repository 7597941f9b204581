"""Trajectories, their tokens and their scores in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from journeyman.agent.data import Source, Split, StopReason, Task, Verdict, VerifierId
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.database import Database, chunks
from journeyman.storage.leases import Claim, finish
from journeyman.storage.runs.policies import Use
from journeyman.storage.schema.runs import PolicyVersion, TaskRow
from journeyman.storage.schema.trajectories import TrainingUse, TrajectoryGroup, TrajectoryRow
from journeyman.storage.trajectories.loading import StoredTrajectory, load, select_trajectories, verdicts_of
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.writing import add_chunk, remove_broken

__all__ = ["JudgedAttempt", "StoredTrajectory", "Trajectories"]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedAttempt:
    """An attempt with the verdicts that count, without turns and tokens."""

    id: str
    group: str
    """Key of its group."""
    verdicts: Mapping[VerifierId, Verdict]


class Trajectories:
    """The part of the replay store that holds trajectories."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(
        self,
        run_id: str,
        rows: Sequence[NewTrajectory],
        relabelled: Sequence[Task] = (),
        *,
        finishes: Claim | None = None,
    ) -> None:
        """Stores a chunk in one transaction: all of it or nothing; attempts that are there already are left alone.

        `relabelled` are the tasks of hindsight rows that the run may not have yet; `finishes` is the claim of which
        the chunk is the outcome. Raises StoreError for a task that the run does not have, and LeaseLostError where
        another worker has taken the claim over: its outcome will count.
        """

        def work(connection: Connection) -> None:
            if finishes is not None:
                finish(connection, finishes)
            add_chunk(connection, run_id, rows, relabelled)

        self.database.write_again(work)

    def replace_broken(self, run_id: str, rows: Sequence[NewTrajectory]) -> None:
        """Stores attempts in the place, and under the ids, of those that an outage broke; all of it or nothing.

        The old ones' turns, tokens and scores go. An attempt that did not break, or from which an update learned, is
        left as it is.
        """

        def work(connection: Connection) -> None:
            ids = remove_broken(connection, run_id, rows)
            new = [row for row in rows if (row.group, row.trajectory.attempt) in ids]
            add_chunk(connection, run_id, new, ids=ids)

        self.database.write_again(work)

    def groups(self, run_id: str, iteration: int, source: Source) -> frozenset[str]:
        """Keys of the groups stored so far, for finding what is still to do."""
        query = select(TrajectoryGroup.key).where(
            TrajectoryGroup.run_id == run_id, TrajectoryGroup.iteration == iteration, TrajectoryGroup.source == source
        )
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    def of(
        self,
        run_id: str,
        *,
        source: Source | None = None,
        split: Split | None = None,
        iterations: Collection[int] | None = None,
        policy_number: int | None = None,
        tokens: bool = True,
    ) -> list[StoredTrajectory]:
        """The run's trajectories in a fixed order (iteration, task, source, group, attempt)."""
        query = select_trajectories().where(TrajectoryGroup.run_id == run_id)
        if source is not None:
            query = query.where(TrajectoryGroup.source == source)
        if split is not None:
            query = query.where(TaskRow.split == split)
        if iterations is not None:
            query = query.where(TrajectoryGroup.iteration.in_(iterations))
        if policy_number is not None:
            query = query.where(PolicyVersion.number == policy_number)
        with self.database.read() as connection:
            return load(connection, query, tokens=tokens)

    def judged(self, run_id: str, iteration: int, source: Source) -> list[JudgedAttempt]:
        """The iteration's attempts at training tasks in a fixed order (group, attempt), judged or not yet."""
        query = (
            select(TrajectoryRow.id, TrajectoryGroup.key)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.iteration == iteration)
            .where(TrajectoryGroup.source == source, TaskRow.split == Split.TRAIN)
            .order_by(TrajectoryGroup.key, TrajectoryRow.attempt)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
            verdicts = verdicts_of(connection, [i for i, _ in rows])
            return [JudgedAttempt(i, group, verdicts[i]) for i, group in rows]

    def by_id(self, ids: Sequence[str], *, tokens: bool = True) -> list[StoredTrajectory]:
        """The trajectories with these ids, in that order; without `tokens` their segments are left out."""
        found: dict[str, StoredTrajectory] = {}
        with self.database.read() as connection:
            for chunk in chunks(ids):
                query = select_trajectories().where(TrajectoryRow.id.in_(chunk))
                found |= {t.id: t for t in load(connection, query, tokens=tokens)}
        return [found[i] for i in ids]

    def ids_of(self, run_id: str, attempts: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Ids by group key and number of the attempt; those that are not there are left out."""
        with self.database.read() as connection:
            return ids_of(connection, run_id, attempts)

    def find(self, wanted: str) -> StoredTrajectory:
        """The trajectory whose id ends in `wanted` (the end tells ids apart, the beginning is their time).

        Raises UnknownNameError where there is none, or more than one.
        """
        with self.database.read() as connection:
            known = connection.scalars(select(TrajectoryRow.id))
            end = wanted.lower().replace("-", "")  # queries show ids without dashes where the database keeps them so
            ids = [i for i in known if i.replace("-", "").endswith(end)]
        if len(ids) != 1:
            remedy = "`journeyman inspect` without an id lists the newest ones"
            raise UnknownNameError("trajectory", wanted, ids[:5], remedy)
        return self.by_id(ids)[0]

    def newest(self, run_id: str, count: int) -> list[StoredTrajectory]:
        """The trajectories stored last, newest first, without tokens."""
        query = select_trajectories().where(TrajectoryGroup.run_id == run_id).order_by(None)
        with self.database.read() as connection:
            return load(connection, query.order_by(TrajectoryRow.id.desc()).limit(count), tokens=False)

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
        return [(r["number"], Use(**{name: r[name] for name in Use.__slots__})) for r in rows]

    def children_of(self, trajectory_id: str) -> list[str]:
        """Ids of the relabels and of DAgger's demonstrations made from the trajectory."""
        query = select(TrajectoryRow.id).where(TrajectoryRow.parent_id == trajectory_id).order_by(TrajectoryRow.id)
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def broken(self, run_id: str, iteration: int) -> int:
        """How many of the iteration's attempts, held-out ones too, an outage broke."""
        query = (
            select(func.count())
            .select_from(TrajectoryGroup)
            .join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.iteration == iteration)
            .where(TrajectoryRow.stop_reason == StopReason.ERROR)
        )
        with self.database.read() as connection:
            return connection.scalar(query) or 0

    def counts(self, run_id: str) -> dict[tuple[int, Source], int]:
        """How many trajectories there are by iteration and source, held-out attempts left out."""
        query = (
            select(TrajectoryGroup.iteration, TrajectoryGroup.source, func.count())
            .join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TrajectoryGroup.run_id == run_id, TaskRow.split == Split.TRAIN)
            .group_by(TrajectoryGroup.iteration, TrajectoryGroup.source)
        )
        with self.database.read() as connection:
            return {(i, Source(s)): n for i, s, n in connection.execute(query).all()}


def ids_of(connection: Connection, run_id: str, attempts: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Ids by group key and number of the attempt; see `Trajectories.ids_of`."""
    found: dict[tuple[str, int], str] = {}
    for chunk in chunks(sorted({group for group, _ in attempts})):
        query = (
            select(TrajectoryGroup.key, TrajectoryRow.attempt, TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.key.in_(chunk))
        )
        found |= {(group, attempt): i for group, attempt, i in connection.execute(query)}
    return {attempt: found[attempt] for attempt in attempts if attempt in found}
