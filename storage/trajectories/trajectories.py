"""Trajectories, their tokens and their scores in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, String, cast, func, select

from journeyman.agent.data import Source, Split, StopReason, Task, Verdict, VerifierId
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.database import Database, chunks
from journeyman.storage.leases import Claim, finish
from journeyman.storage.runs.policies import Use
from journeyman.storage.schema.base import id_end, is_id
from journeyman.storage.schema.runs import PolicyVersion, TaskRow
from journeyman.storage.schema.trajectories import (
    GroupTally,
    TokenBlob,
    TrainingUse,
    TrajectoryGroup,
    TrajectoryRow,
)
from journeyman.storage.trajectories.loading import StoredTrajectory, load, select_trajectories, verdicts_of
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.searching import Search, fates_of, search
from journeyman.storage.trajectories.writing import add_chunk, remove_broken

__all__ = ["JudgedAttempt", "StoredTrajectory", "Tally", "Trajectories"]

_SUGGESTED = 5
"""Ids that are named where more than one fits."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedAttempt:
    """An attempt with the verdicts that count, without turns and tokens."""

    id: str
    group: str
    """Key of its group."""
    verdicts: Mapping[VerifierId, Verdict]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many trajectories a run has; the kinds do not overlap, so that they add up to all."""

    attempts: int
    """Of its policies at training tasks."""
    held_out: int
    """At validation, test and guard tasks."""
    demonstrations: int
    """By experts, DAgger's and revisions among them."""
    relabels: int
    """By hindsight."""

    @property
    def all(self) -> int:
        """Of all kinds."""
        return self.attempts + self.held_out + self.demonstrations + self.relabels

    def __str__(self) -> str:
        kinds = f"{self.attempts} attempts, {self.held_out} held-out ones"
        return f"{self.all} trajectories ({kinds}, {self.demonstrations} demonstrations, {self.relabels} relabels)"


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
            keyed = [(row, ids.get((row.group, row.trajectory.attempt))) for row in rows]
            add_chunk(connection, run_id, [replace(row, id=i) for row, i in keyed if i is not None])

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

    def with_tokens(self, run_id: str) -> frozenset[str]:
        """Ids of the run's trajectories that can be trained on: not those whose tokens were pruned, or never there."""
        query = (
            select(TokenBlob.trajectory_id)
            .join(TrajectoryRow, TrajectoryRow.id == TokenBlob.trajectory_id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, TokenBlob.position == 0)
        )
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    def ids_of(self, run_id: str, attempts: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Ids by group key and number of the attempt; those that are not there are left out."""
        with self.database.read() as connection:
            return ids_of(connection, run_id, attempts)

    def find(self, wanted: str) -> StoredTrajectory:
        """The trajectory whose id ends in `wanted` (the end tells ids apart, the beginning is their time).

        Raises UnknownNameError where there is none, or more than one.
        """
        end = id_end(wanted)
        fits = TrajectoryRow.id == end if is_id(end) else cast(TrajectoryRow.id, String).endswith(end, autoescape=True)
        query = select(TrajectoryRow.id).where(fits)
        with self.database.read() as connection:
            ids = list(connection.scalars(query.order_by(TrajectoryRow.id).limit(_SUGGESTED)))
        if len(ids) != 1:
            remedy = "`journeyman inspect` without an id lists the newest ones"
            raise UnknownNameError("trajectory", wanted, ids, remedy)
        return self.by_id(ids)[0]

    def search(self, run_id: str, wanted: Search) -> dict[str, str]:
        """Ids of those that are looked for, in order, each with its fate in training; see `searching`."""
        with self.database.read() as connection:
            return search(connection, run_id, wanted)

    def fate_of(self, trajectory_id: str) -> str:
        """What became of the trajectory in training, by the view `v_trajectory`."""
        with self.database.read() as connection:
            return fates_of(connection, [trajectory_id])[trajectory_id]

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

    def solved(self, run_id: str, iteration: int) -> tuple[int, int]:
        """The iteration's attempts of its policy at training tasks: how many were judged, and how many succeeded."""
        query = (
            select(func.sum(GroupTally.scored), func.sum(GroupTally.successes))
            .join(TrajectoryGroup, TrajectoryGroup.id == GroupTally.group_id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.iteration == iteration)
            .where(TrajectoryGroup.source == Source.POLICY, TaskRow.split == Split.TRAIN)
        )
        with self.database.read() as connection:
            scored, successes = connection.execute(query).one()
        return scored or 0, successes or 0

    def counts(self, run_id: str) -> dict[tuple[int, Source], int]:
        """How many trajectories there are by iteration and source, held-out attempts left out."""
        return {(i, source): n for (i, source, split), n in self._counted(run_id).items() if split is Split.TRAIN}

    def tally(self, run_id: str) -> Tally:
        """How many trajectories there are, and of which kinds: the numbers that all commands show."""
        counted = self._counted(run_id)
        held_out = sum(n for (_, _, split), n in counted.items() if split is not Split.TRAIN)
        of = {
            s: sum(n for (_, source, split), n in counted.items() if (source, split) == (s, Split.TRAIN))
            for s in Source
        }
        return Tally(of[Source.POLICY], held_out, of[Source.EXPERT], of[Source.HINDSIGHT])

    def _counted(self, run_id: str) -> dict[tuple[int, Source, Split], int]:
        """By iteration, source and split."""
        query = (
            select(TrajectoryGroup.iteration, TrajectoryGroup.source, TaskRow.split, func.count())
            .join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TrajectoryGroup.run_id == run_id)
            .group_by(TrajectoryGroup.iteration, TrajectoryGroup.source, TaskRow.split)
        )
        with self.database.read() as connection:
            return {(i, Source(s), Split(split)): n for i, s, split, n in connection.execute(query)}


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
