"""Runs, policy versions and tasks in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from journeyman.agent.data import Json, Split, Task
from journeyman.agent.errors import StoreError, UnknownNameError
from journeyman.storage.database import Database, insert_new
from journeyman.storage.rows import task_from_row, task_row
from journeyman.storage.schema import Iteration, PolicyVersion, RubricTerm, Run, TaskRow, new_id, now
from journeyman.storage.schema_trajectories import TrainingUse

IMPORTED = "imported"
"""Kind of a version that came with exported trajectories: without weights, and never promoted."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One row of `run`."""

    id: str
    name: str
    ordinal: int
    settings: Mapping[str, Json]
    finished: bool


@dataclass(frozen=True, slots=True)
class TermInfo:
    """One row of `rubric_term`."""

    verifier: str
    weight: float
    gate: float | None = None
    shaping: bool = False
    guard: str = ""


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


class RunStore:
    """The part of the replay store that knows runs and what belongs to them, trajectories aside."""

    database: Database

    # runs

    def create_run(self, name: str, settings: Mapping[str, Json], terms: Iterable[TermInfo] = ()) -> RunInfo:
        """A new run of that name. In the views of one without terms every verifier that judged is asked for success."""
        told = list(terms)

        def work(connection: Connection) -> RunInfo:
            count = connection.scalar(select(func.count()).select_from(Run).where(Run.name == name)) or 0
            run = RunInfo(new_id(), name, count, settings, finished=False)
            row = {"id": run.id, "name": name, "ordinal": count, "settings": dict(settings), "created_at": now()}
            connection.execute(insert(Run), [row])
            insert_new(connection, RubricTerm, [{"run_id": run.id, **asdict(term)} for term in told])
            return run

        return self.database.write_again(work)

    def finish_run(self, run_id: str) -> None:
        """Marks the run as complete."""
        with self.database.write() as connection:
            connection.execute(update(Run).where(Run.id == run_id, Run.finished_at.is_(None)).values(finished_at=now()))

    def seconds(self, run_id: str) -> float:
        """Wall time from the run's start to its end, or to now."""
        with self.database.read() as connection:
            start, end = connection.execute(select(Run.created_at, Run.finished_at).where(Run.id == run_id)).one()
        seconds: float = ((end or now()) - start).total_seconds()
        return seconds

    def runs(self, name: str | None = None) -> list[RunInfo]:
        """All runs, or those of one name, oldest first."""
        query = select(Run).order_by(Run.created_at, Run.ordinal)
        if name is not None:
            query = query.where(Run.name == name)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [RunInfo(r["id"], r["name"], r["ordinal"], r["settings"], r["finished_at"] is not None) for r in rows]

    def run(self, wanted: str) -> RunInfo:
        """The run whose id ends in `wanted`, or the newest of that name; raises UnknownNameError."""
        runs, end = self.runs(), wanted.lower().replace("-", "")
        for run in reversed(runs):
            if run.name == wanted or (len(end) >= 6 and run.id.replace("-", "").endswith(end)):
                return run
        raise UnknownNameError("run", wanted, {r.name for r in runs}, "`journeyman status` lists the runs")

    # iterations

    def begin_iteration(self, run_id: str, number: int, tasks: Sequence[str] = ()) -> None:
        """Notes when the iteration began, with the hashes of the tasks chosen for it; the first time stands."""
        with self.database.write() as connection:
            row = {"run_id": run_id, "number": number, "tasks": list(tasks), "started_at": now()}
            insert_new(connection, Iteration, [row])

    def chosen_tasks(self, run_id: str, number: int) -> list[str]:
        """Hashes of the tasks chosen for the iteration, in order; raises StoreError where it has not begun."""
        query = select(Iteration.tasks).where(Iteration.run_id == run_id, Iteration.number == number)
        with self.database.read() as connection:
            found = connection.scalar(query)
        if found is None:
            raise StoreError(f"iteration {number} of run {run_id} has not begun: its tasks are not chosen yet")
        return list(found)

    def finish_iteration(self, run_id: str, number: int) -> None:
        """Notes when the iteration was over; the first time stands."""
        which = (Iteration.run_id == run_id) & (Iteration.number == number) & Iteration.finished_at.is_(None)
        with self.database.write() as connection:
            connection.execute(update(Iteration).where(which).values(finished_at=now()))

    # policy versions

    def add_policy(self, run_id: str, policy: NewPolicy, uses: Iterable[Use] = (), *, kept: bool = True) -> None:
        """A version whose files are written already, with the trajectories it was trained on, in one transaction.

        One with that number is left as it is. `kept` False says that there are no files.
        """
        row = {
            "id": new_id(),
            "run_id": run_id,
            "kept": kept,
            "created_at": now(),
            **{name: getattr(policy, name) for name in NewPolicy.__slots__},
        }
        used = [{"policy_version_id": row["id"], **{n: getattr(use, n) for n in Use.__slots__}} for use in uses]
        with self.database.write() as connection:
            insert_new(connection, PolicyVersion, [row])
            if connection.scalar(select(PolicyVersion.id).where(PolicyVersion.id == row["id"])):
                insert_new(connection, TrainingUse, used)

    def add_imported_policies(self, run_id: str, numbers: Collection[int]) -> None:
        """Versions that imported trajectories name: without weights, and never promoted."""
        policy = NewPolicy(0, None, 0, IMPORTED, "", {}, promoted=False)
        for number in sorted(set(numbers) - {p.number for p in self.policies(run_id)}):
            self.add_policy(run_id, replace(policy, number=number, iteration=max(number - 1, 0)), kept=False)

    def policies(self, run_id: str) -> list[PolicyInfo]:
        """The run's versions by number."""
        return self._policies(PolicyVersion.run_id == run_id)

    def policy(self, run_id: str, number: int) -> PolicyInfo:
        """One version; raises UnknownNameError."""
        found = {p.number: p for p in self.policies(run_id)}
        if number not in found:
            raise UnknownNameError("policy version", f"v{number}", (f"v{n}" for n in found))
        return found[number]

    def newest_promoted(self, run_id: str, before: int | None = None) -> PolicyInfo | None:
        """The promoted version with the highest number (below `before`), or None."""
        found = [p for p in self.policies(run_id) if p.promoted and (before is None or p.number < before)]
        return found[-1] if found else None

    def newest_promoted_of(self, name: str, *, before_ordinal: int) -> PolicyInfo | None:
        """The newest promoted version of the earlier runs of a name, or None."""
        for run in reversed(self.runs(name)):
            promoted = self.newest_promoted(run.id) if run.ordinal < before_ordinal else None
            if promoted is not None:
                return promoted
        return None

    def set_promoted(self, run_id: str, number: int, *, promoted: bool, stopped_by: str | None = None) -> None:
        """Records the word of validation and guards; the first one stands."""
        with self.database.write() as connection:
            version = (PolicyVersion.run_id == run_id) & (PolicyVersion.number == number)
            undecided = PolicyVersion.promoted.is_(None)
            decision = update(PolicyVersion).values(promoted=promoted, stopped_by=stopped_by)
            connection.execute(decision.where(version, undecided))

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

    # tasks

    def add_tasks(self, run_id: str, tasks: Iterable[Task], *, origin: str, first_ordinal: int = 0) -> None:
        """Tasks in the order given; one whose hash the run has already is left as it is."""
        rows = [task_row(run_id, task, origin, first_ordinal + i) for i, task in enumerate(tasks)]
        with self.database.write() as connection:
            insert_new(connection, TaskRow, rows)

    def tasks(self, run_id: str, split: Split, origin: str | None = "generated") -> list[Task]:
        """The run's tasks of one split and origin (None: any), in their order."""
        query = select(TaskRow).where(TaskRow.run_id == run_id, TaskRow.split == split)
        if origin is not None:
            query = query.where(TaskRow.origin == origin)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(TaskRow.ordinal)).mappings().all()
        return [task_from_row(row) for row in rows]

    def held_out(self, run_id: str) -> frozenset[str]:
        """Hashes of the run's validation, test and guard tasks."""
        query = select(TaskRow.hash).where(TaskRow.run_id == run_id, TaskRow.split != Split.TRAIN)
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))

    def trained_on(self, name: str, *, before_ordinal: int) -> frozenset[str]:
        """Hashes of the training tasks, relabelled ones too, of the earlier runs of a name."""
        earlier = select(Run.id).where(Run.name == name, Run.ordinal < before_ordinal)
        query = select(TaskRow.hash).where(TaskRow.run_id.in_(earlier), TaskRow.split == Split.TRAIN)
        with self.database.read() as connection:
            return frozenset(connection.scalars(query))
