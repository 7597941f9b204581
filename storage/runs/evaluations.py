"""How policy versions did on held-out tasks, and what the audits say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from journeyman.agent.data import Split
from journeyman.storage.database import Database, insert_new
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.runs import Audit, Evaluation, PolicyVersion


@dataclass(frozen=True, slots=True)
class EvaluationInfo:
    """One row of `evaluation`, e.g. 200 validation tasks with k = 8 attempts each."""

    split: Split
    iteration: int
    policy_number: int
    tasks: int
    k: int
    pass_at_1: float
    pass_at_k: float
    mean_reward: float | None
    guard: str = ""
    """Name of the guard, where `split` is that of the guards."""


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """One row of `audit`, e.g. `AuditInfo(3, Split.VALIDATION, "repetition", 0.12, 800)`."""

    policy_number: int
    split: Split
    metric: str
    value: float
    count: int
    """Of how many attempts, or verdicts, it is the mean or the share."""


class Evaluations:
    """The part of the replay store that says how good a policy is, and how far that can be believed."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, run_id: str, info: EvaluationInfo) -> None:
        """The result of one evaluation; one that is there already is left as it is."""
        row = {name: getattr(info, name) for name in EvaluationInfo.__slots__ if name != "policy_number"}
        row |= {"id": new_id(), "created_at": now()}
        ids = self._version_ids(run_id)
        with self.database.write() as connection:
            insert_new(connection, Evaluation, [row | {"policy_version_id": ids[info.policy_number]}])

    def of(self, run_id: str, split: Split | None = None) -> list[EvaluationInfo]:
        """The run's evaluations by iteration, version, split and guard."""
        query = (
            select(Evaluation, PolicyVersion.number.label("policy_number"))
            .join(PolicyVersion, PolicyVersion.id == Evaluation.policy_version_id)
            .where(PolicyVersion.run_id == run_id)
            .order_by(Evaluation.iteration, PolicyVersion.number, Evaluation.split, Evaluation.guard)
        )
        if split is not None:
            query = query.where(Evaluation.split == split)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = EvaluationInfo.__slots__
        return [EvaluationInfo(**{n: r[n] for n in names} | {"split": Split(r["split"])}) for r in rows]

    def add_audit(self, run_id: str, found: Sequence[AuditInfo]) -> None:
        """What an audit found, in one transaction; numbers that are there already are left as they are."""
        ids = self._version_ids(run_id)
        names = [name for name in AuditInfo.__slots__ if name != "policy_number"]
        rows = [
            {name: getattr(info, name) for name in names} | {"policy_version_id": ids[info.policy_number]}
            for info in found
        ]
        with self.database.write() as connection:
            insert_new(connection, Audit, rows)

    def audits(self, run_id: str) -> list[AuditInfo]:
        """The run's audits by version, split and metric."""
        query = (
            select(Audit, PolicyVersion.number.label("policy_number"))
            .join(PolicyVersion, PolicyVersion.id == Audit.policy_version_id)
            .where(PolicyVersion.run_id == run_id)
            .order_by(PolicyVersion.number, Audit.split, Audit.metric)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = AuditInfo.__slots__
        return [AuditInfo(**{n: r[n] for n in names} | {"split": Split(r["split"])}) for r in rows]

    def _version_ids(self, run_id: str) -> dict[int, str]:
        query = select(PolicyVersion.number, PolicyVersion.id).where(PolicyVersion.run_id == run_id)
        with self.database.read() as connection:
            return {row.number: row.id for row in connection.execute(query)}
