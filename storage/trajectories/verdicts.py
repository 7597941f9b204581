"""Verdicts on what is stored: given, given again by another verifier, and taken back where one was faulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select
from sqlalchemy.orm import aliased

from journeyman.agent.data import ScoreRecord, Status, VerifierId
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.database import Database, chunks, insert_new
from journeyman.storage.leases import Claim, finish
from journeyman.storage.runs.policies import IMPORTED
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.outcomes import hold, settle, settle_judged_by
from journeyman.storage.schema.runs import PolicyVersion, Retraction, Run
from journeyman.storage.schema.trajectories import Score, TrainingUse, TrajectoryGroup, TrajectoryRow
from journeyman.storage.trajectories.bulk import insert_all
from journeyman.storage.trajectories.rows import score_row

ANY_CONFIGURATION = "*"


@dataclass(frozen=True, slots=True)
class Affected:
    """A policy version that learned from retracted verdicts, e.g. `Affected("countdown", 4, 812)`."""

    run: str
    policy: int
    trajectories: int


class Verdicts:
    """The part of the replay store that takes verdicts on stored trajectories, and takes them back."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def unscored(self, run_id: str, verifier: VerifierId) -> list[str]:
        """Ids of the run's trajectories that the verifier (in this version and configuration) has not judged.

        One that it failed on, by an error or a timeout, is not judged; those come last.
        """
        asked = select(Score.trajectory_id).where(*_is(verifier), Score.trajectory_id == TrajectoryRow.id)
        judged = asked.where(Score.status.in_((Status.OK, Status.ABSTAIN)))
        query = (
            select(TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, ~judged.exists())
            .order_by(asked.exists(), TrajectoryRow.id)
        )
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def add(self, scores: Sequence[tuple[str, ScoreRecord]], *, finishes: Claim | None = None) -> None:
        """Further verdicts on stored trajectories, by id: the verifier's earlier ones are kept, its latest `ok` counts.

        `finishes` is the claim of which they are the outcome: said twice, they are stored once. Raises LeaseLostError
        where another worker has taken the claim over: its outcome will count.
        """

        def work(connection: Connection) -> None:
            if finishes is None or finish(connection, finishes):
                ids = sorted({trajectory_id for trajectory_id, _ in scores})
                hold(connection, trajectories=ids)
                asked = _asked(connection, ids)
                rows = []
                for trajectory_id, record in scores:
                    rows.append(score_row(trajectory_id, record, asked[trajectory_id, record.verifier]))
                    asked[trajectory_id, record.verifier] += 1
                insert_all(connection, Score, rows)
                settle(connection, ids)

        self.database.write_again(work)

    def disagreements(self, run_id: str, verifier: VerifierId) -> int:
        """On how many of the run's trajectories another verifier's counted score differs from this one's."""
        mine, other = aliased(Score), aliased(Score)
        differs = and_(other.trajectory_id == mine.trajectory_id, other.counts, other.score != mine.score)
        query = (
            select(func.count(func.distinct(mine.trajectory_id)))
            .select_from(TrajectoryGroup)
            .join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
            .join(mine, and_(mine.trajectory_id == TrajectoryRow.id, *_is(verifier, mine), mine.counts))
            .join(other, differs)
            .where(TrajectoryGroup.run_id == run_id)
        )
        with self.database.read() as connection:
            return connection.scalar(query) or 0

    def retract(self, verifier: str, version: str, reason: str, config_hash: str = ANY_CONFIGURATION) -> list[Affected]:
        """Takes the verifier's verdicts back, those to come too; the policy versions that learned from them.

        When an imported version was trained is not known: it counts as trained after all the verdicts.
        Raises UnknownNameError where the verifier never gave one.
        """
        row = retraction_row(verifier, version, config_hash, reason)
        which = [Score.verifier == verifier, Score.version == version]
        which += [] if config_hash == ANY_CONFIGURATION else [Score.config_hash == config_hash]
        with self.database.write() as connection:
            if not connection.scalar(select(Score.id).where(*which).limit(1)):
                known = connection.execute(select(Score.verifier, Score.version).distinct())
                raise UnknownNameError("verifier", f"{verifier}/{version}", (f"{n}/{v}" for n, v in known))
            hold(connection, alone=True)
            insert_new(connection, Retraction, [row])
            settle_judged_by(connection, verifier, version)
            query = (
                select(Run.name, PolicyVersion.number, func.count(func.distinct(TrainingUse.trajectory_id)))
                .join(PolicyVersion, PolicyVersion.run_id == Run.id)
                .join(TrainingUse, TrainingUse.policy_version_id == PolicyVersion.id)
                .join(Score, Score.trajectory_id == TrainingUse.trajectory_id)
                .where(*which, or_(Score.created_at <= PolicyVersion.created_at, PolicyVersion.kind == IMPORTED))
                .where(or_(TrainingUse.advantage != 0, TrainingUse.nll_weight > 0))
                .group_by(Run.id, Run.name, PolicyVersion.number)
                .order_by(Run.name, PolicyVersion.number)
            )
            return [Affected(*found) for found in connection.execute(query)]

    def retracted(self, verifiers: Sequence[VerifierId]) -> list[tuple[VerifierId, str]]:
        """Those of the verifiers whose verdicts no longer count, with the reason."""
        with self.database.read() as connection:
            rows = connection.execute(select(Retraction.__table__)).mappings().all()
        return [
            (one, row["reason"])
            for one in verifiers
            for row in rows
            if (row["verifier"], row["version"]) == (one.name, one.version)
            and row["config_hash"] in (one.config_hash, ANY_CONFIGURATION)
        ]


def retraction_row(verifier: str, version: str, config_hash: str, reason: str) -> dict[str, object]:
    """A row of the table `retraction`."""
    which = {"verifier": verifier, "version": version, "config_hash": config_hash}
    return {"id": new_id(), **which, "reason": reason, "created_at": now()}


def _asked(connection: Connection, ids: Sequence[str]) -> Counter[tuple[str, VerifierId]]:
    """How often each verifier was asked about each of the trajectories."""
    asked: Counter[tuple[str, VerifierId]] = Counter()
    for chunk in chunks(ids):
        key = (Score.trajectory_id, Score.verifier, Score.version, Score.config_hash)
        query = select(*key, func.max(Score.attempt)).where(Score.trajectory_id.in_(chunk)).group_by(*key)
        for trajectory_id, name, version, config_hash, last in connection.execute(query):
            asked[trajectory_id, VerifierId(name, version, config_hash)] = last + 1
    return asked


def _is(verifier: VerifierId, score: type[Score] = Score) -> tuple[ColumnElement[bool], ...]:
    return (
        score.verifier == verifier.name,
        score.version == verifier.version,
        score.config_hash == verifier.config_hash,
    )
