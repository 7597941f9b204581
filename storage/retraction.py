"""Second thoughts about verdicts: scoring again what is stored, and taking a faulty verifier's word back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select

from journeyman.agent.data import ScoreRecord, Status, VerifierId
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.database import Database, insert_new
from journeyman.storage.loading import chunks
from journeyman.storage.rows import score_row
from journeyman.storage.schema import PolicyVersion, Retraction, Run, new_id, now
from journeyman.storage.schema_trajectories import CountedScore, Score, TrainingUse, TrajectoryGroup, TrajectoryRow

ANY_CONFIGURATION = "*"


@dataclass(frozen=True, slots=True)
class Affected:
    """A policy version that learned from retracted verdicts, e.g. `Affected("countdown", 4, 812)`."""

    run: str
    policy: int
    trajectories: int


class SecondThoughts:
    """The part of the replay store that lets verdicts be given again and taken back."""

    database: Database

    def unscored(self, run_id: str, verifier: VerifierId) -> list[str]:
        """Ids of the run's trajectories that the verifier (in this version and configuration) has not judged.

        One that it failed on, by an error or a timeout, is not judged.
        """
        judged = select(Score.trajectory_id).where(
            *_is(verifier), Score.trajectory_id == TrajectoryRow.id, Score.status.in_((Status.OK, Status.ABSTAIN))
        )
        query = (
            select(TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, ~judged.exists())
            .order_by(TrajectoryRow.id)
        )
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def add_attempts(self, scores: Sequence[tuple[str, ScoreRecord]]) -> None:
        """Further verdicts on stored trajectories, by id: those of the same verifier are kept, and count no more."""
        ids = sorted({trajectory_id for trajectory_id, _ in scores})
        with self.database.write() as connection:
            asked: Counter[tuple[str, VerifierId]] = Counter()
            for chunk in chunks(ids):
                key = (Score.trajectory_id, Score.verifier, Score.version, Score.config_hash)
                query = select(*key, func.max(Score.attempt)).where(Score.trajectory_id.in_(chunk)).group_by(*key)
                for trajectory_id, name, version, config_hash, last in connection.execute(query):
                    asked[trajectory_id, VerifierId(name, version, config_hash)] = last + 1
            rows = []
            for trajectory_id, record in scores:
                rows.append(score_row(trajectory_id, record, asked[trajectory_id, record.verifier]))
                asked[trajectory_id, record.verifier] += 1
            insert_new(connection, Score, rows)

    def disagreements(self, run_id: str, verifier: VerifierId) -> int:
        """On how many of the run's trajectories another verifier's counted score differs from this one's."""
        mine, other = CountedScore.alias("mine"), CountedScore.alias("other")
        same = (other.c.trajectory_id == mine.c.trajectory_id) & (other.c.score != mine.c.score)
        query = (
            select(func.count(func.distinct(mine.c.trajectory_id)))
            .join_from(mine, other, same)
            .join(TrajectoryRow, TrajectoryRow.id == mine.c.trajectory_id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(TrajectoryGroup.run_id == run_id, mine.c.verifier == verifier.name)
            .where(mine.c.version == verifier.version, mine.c.config_hash == verifier.config_hash)
        )
        with self.database.read() as connection:
            return connection.scalar(query) or 0

    def retract(self, verifier: str, version: str, reason: str, config_hash: str = ANY_CONFIGURATION) -> list[Affected]:
        """Takes the verifier's verdicts back, those to come too; the policy versions that learned from them.

        Raises UnknownNameError where it never gave one.
        """
        row = {"id": new_id(), "verifier": verifier, "version": version, "config_hash": config_hash}
        which = [Score.verifier == verifier, Score.version == version]
        which += [] if config_hash == ANY_CONFIGURATION else [Score.config_hash == config_hash]
        with self.database.write() as connection:
            if not connection.scalar(select(Score.id).where(*which).limit(1)):
                known = connection.execute(select(Score.verifier, Score.version).distinct())
                raise UnknownNameError("verifier", f"{verifier}/{version}", (f"{n}/{v}" for n, v in known))
            insert_new(connection, Retraction, [row | {"reason": reason, "created_at": now()}])
            query = (
                select(Run.name, PolicyVersion.number, func.count(func.distinct(TrainingUse.trajectory_id)))
                .join(PolicyVersion, PolicyVersion.run_id == Run.id)
                .join(TrainingUse, TrainingUse.policy_version_id == PolicyVersion.id)
                .join(Score, Score.trajectory_id == TrainingUse.trajectory_id)
                .where(*which, Score.created_at <= PolicyVersion.created_at)
                .where(or_(TrainingUse.advantage != 0, TrainingUse.nll_weight > 0))
                .group_by(Run.id, Run.name, PolicyVersion.number)
                .order_by(Run.name, PolicyVersion.number)
            )
            return [Affected(*found) for found in connection.execute(query)]


def _is(verifier: VerifierId) -> tuple[ColumnElement[bool], ...]:
    return (
        Score.verifier == verifier.name,
        Score.version == verifier.version,
        Score.config_hash == verifier.config_hash,
    )
