"""Policy versions in the store, with the trajectories that each was trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from journeyman.agent.data import Json
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.database import Database, insert_new
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.runs import PolicyVersion, Run
from journeyman.storage.schema.trajectories import TrainingUse

IMPORTED = "imported"
"""Kind of a version that came with exported trajectories: without weights, and never promoted."""


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """One row of `policy_version`."""

    id: str
    run_id: str
    number: int
    parent_id: str | None
    iteration: int
    kind: str
    path: str
    promoted: bool | None
    kept: bool
    stats: Mapping[str, Json]
    stopped_by: str | None
    """The guards that kept it from being promoted."""
    handover_gap: float | None
    """Mean difference of sampler's and learner's log-probs on probe sequences, nats a token: the largest so far."""


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A version to store; the fields are those of `PolicyVersion`."""

    number: int
    parent_id: str | None
    iteration: int
    kind: str
    path: str
    stats: Mapping[str, Json]
    promoted: bool | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What one update used of one trajectory; the fields are those of `TrainingUse`."""

    trajectory_id: str
    reward: float | None
    rubric_hash: str
    advantage: float | None
    nll_weight: float
    """With the importance weight of the draw that it was imitated by."""
    ratio: float | None = None
    importance_weight: float = 1.0


class Policies:
    """The part of the replay store that knows policy versions."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, run_id: str, policy: NewPolicy, uses: Iterable[Use] = ()) -> None:
        """A version whose files are written already, with the trajectories it was trained on, in one transaction.

        One with that number is left as it is.
        """
        row = _policy_row(run_id, policy)
        used = [{"policy_version_id": row["id"], **{n: getattr(use, n) for n in Use.__slots__}} for use in uses]
        with self.database.write() as connection:
            insert_new(connection, PolicyVersion, [row])
            if connection.scalar(select(PolicyVersion.id).where(PolicyVersion.id == row["id"])):
                insert_new(connection, TrainingUse, used)

    def of(self, run_id: str) -> list[PolicyInfo]:
        """The run's versions by number."""
        return self._policies(PolicyVersion.run_id == run_id)

    def numbered(self, run_id: str, number: int) -> PolicyInfo:
        """One version; raises UnknownNameError."""
        found = {p.number: p for p in self.of(run_id)}
        if number not in found:
            raise UnknownNameError("policy version", f"v{number}", (f"v{n}" for n in found))
        return found[number]

    def ancestors(self, policy: PolicyInfo) -> list[PolicyInfo]:
        """What the version was trained from, its parent first; of other runs too, where a run continues one."""
        found: list[PolicyInfo] = []
        parent = policy.parent_id
        while parent is not None:
            found += self._policies(PolicyVersion.id == parent)
            parent = found[-1].parent_id
        return found

    def newest_promoted(self, run_id: str, before: int | None = None) -> PolicyInfo | None:
        """The promoted version with the highest number (below `before`), or None."""
        found = [p for p in self.of(run_id) if p.promoted and (before is None or p.number < before)]
        return found[-1] if found else None

    def newest_promoted_of(self, name: str, *, before_ordinal: int) -> PolicyInfo | None:
        """The newest promoted version of the earlier runs of a name, or None."""
        earlier = select(Run.id).where(Run.name == name, Run.ordinal < before_ordinal).order_by(Run.ordinal.desc())
        with self.database.read() as connection:
            run_ids = list(connection.scalars(earlier))
        return next((found for found in map(self.newest_promoted, run_ids) if found is not None), None)

    def set_promoted(self, run_id: str, number: int, *, promoted: bool, stopped_by: str | None = None) -> None:
        """Records the word of validation and guards; the first one stands."""
        with self.database.write() as connection:
            version = (PolicyVersion.run_id == run_id) & (PolicyVersion.number == number)
            undecided = PolicyVersion.promoted.is_(None)
            decision = update(PolicyVersion).values(promoted=promoted, stopped_by=stopped_by)
            connection.execute(decision.where(version, undecided))

    def note_hand_over(self, policy_id: str, gap: float) -> None:
        """Records how well a sampler that was handed the version agreed with its learner; the largest gap stands."""
        known = PolicyVersion.handover_gap
        wider = (PolicyVersion.id == policy_id) & (known.is_(None) | (known < gap))
        with self.database.write() as connection:
            connection.execute(update(PolicyVersion).where(wider).values(handover_gap=gap))

    def set_pruned(self, policy_ids: Collection[str]) -> None:
        """Records that the files of these versions are deleted."""
        with self.database.write() as connection:
            connection.execute(update(PolicyVersion).where(PolicyVersion.id.in_(policy_ids)).values(kept=False))

    def _policies(self, condition: Any) -> list[PolicyInfo]:
        query = select(PolicyVersion).where(condition).order_by(PolicyVersion.number)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = PolicyInfo.__slots__
        return [PolicyInfo(**{name: row[name] for name in names}) for row in rows]


def add_imported(connection: Connection, run_id: str, numbers: Collection[int]) -> dict[int, str]:
    """Versions that imported trajectories name, without weights and never promoted, made where there are none; ids."""
    rows = []
    for number in sorted(numbers):
        policy = NewPolicy(number, None, max(number - 1, 0), IMPORTED, "", {}, promoted=False)
        rows.append(_policy_row(run_id, policy) | {"kept": False})
    insert_new(connection, PolicyVersion, rows)
    query = select(PolicyVersion.number, PolicyVersion.id).where(PolicyVersion.run_id == run_id)
    return {row.number: row.id for row in connection.execute(query)}


def _policy_row(run_id: str, policy: NewPolicy) -> dict[str, Any]:
    told = {name: getattr(policy, name) for name in NewPolicy.__slots__}
    return {"id": new_id(), "run_id": run_id, "kept": True, "created_at": now(), **told}
