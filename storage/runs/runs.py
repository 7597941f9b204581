"""Runs and their iterations in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, func, insert, select, update

from journeyman.agent.data import Json
from journeyman.agent.errors import StoreError, UnknownNameError
from journeyman.storage.database import Database, insert_new
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.runs import Iteration, RubricTerm, Run


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


class Runs:
    """The part of the replay store that knows runs, and when their iterations began and ended."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, name: str, settings: Mapping[str, Json], terms: Iterable[TermInfo] = ()) -> RunInfo:
        """A new run of that name. In the views of one without terms every verifier that judged is asked for success."""
        told = list(terms)
        return self.database.write_again(lambda connection: create_run(connection, name, settings, told))

    def finish(self, run_id: str) -> None:
        """Marks the run as complete."""
        with self.database.write() as connection:
            finish_run(connection, run_id)

    def seconds(self, run_id: str) -> float:
        """Wall time from the run's start to its end, or to now."""
        with self.database.read() as connection:
            start, end = connection.execute(select(Run.created_at, Run.finished_at).where(Run.id == run_id)).one()
        seconds: float = ((end or now()) - start).total_seconds()
        return seconds

    def all(self, name: str | None = None) -> list[RunInfo]:
        """All runs, or those of one name, oldest first."""
        query = select(Run).order_by(Run.created_at, Run.ordinal)
        if name is not None:
            query = query.where(Run.name == name)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [RunInfo(r["id"], r["name"], r["ordinal"], r["settings"], r["finished_at"] is not None) for r in rows]

    def find(self, wanted: str) -> RunInfo:
        """The run whose id ends in `wanted`, or the newest of that name; raises UnknownNameError."""
        runs, end = self.all(), wanted.lower().replace("-", "")
        for run in reversed(runs):
            if run.name == wanted or (len(end) >= 6 and run.id.replace("-", "").endswith(end)):
                return run
        raise UnknownNameError("run", wanted, {r.name for r in runs}, "`journeyman status` lists the runs")

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


def create_run(
    connection: Connection, name: str, settings: Mapping[str, Json], terms: Sequence[TermInfo] = ()
) -> RunInfo:
    """A new run of that name; see `Runs.create`."""
    count = connection.scalar(select(func.count()).select_from(Run).where(Run.name == name)) or 0
    run = RunInfo(new_id(), name, count, settings, finished=False)
    row = {"id": run.id, "name": name, "ordinal": count, "settings": dict(settings), "created_at": now()}
    connection.execute(insert(Run), [row])
    insert_new(connection, RubricTerm, [{"run_id": run.id, **asdict(term)} for term in terms])
    return run


def finish_run(connection: Connection, run_id: str) -> None:
    """Marks the run as complete; the first time stands."""
    connection.execute(update(Run).where(Run.id == run_id, Run.finished_at.is_(None)).values(finished_at=now()))
