"""Runs and their iterations in the store, and how each run stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, select, update

from journeyman.agent.data import Json
from journeyman.agent.errors import StoreError, UnknownNameError, UsageError
from journeyman.storage.database import Database, insert_new, present
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.schema.runs import Iteration, PolicyVersion, RubricTerm, Run

SILENT_S = 60.0
"""A run that is under way gives a sign of life more often than this."""
_ID_END = 6  # characters of an id's end that may stand for it


class RunState(StrEnum):
    """How a run stands by what it has told the store itself; one that was killed could not tell."""

    RUNNING = "running"
    STOPPED = "stopped"
    """By Ctrl-C."""
    FAILED = "failed"
    """Stopped by an error."""
    FINISHED = "finished"
    DROPPING = "dropping"
    """Being deleted, with some of it gone already."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One row of `run`, and what the store knows of how it stands."""

    id: str
    name: str
    ordinal: int
    settings: Mapping[str, Json]
    state: RunState
    stage: str | None
    """Where it is, or where it stopped, e.g. `generate 3`."""
    host: str | None
    """Name of the machine that drives it, or drove it last."""
    reason: str | None
    """Why it stopped, in one line."""
    seen_at: datetime
    """Of its last sign of life."""
    silent_s: float
    """Seconds since then by the store's clock; below 0 where that was set back meanwhile."""
    has_policy: bool

    @property
    def own_name(self) -> str:
        """Its name with its id's end, as its folder of results is called: no other run has it."""
        return f"{self.name}-{self.id[-8:]}"

    @property
    def finished(self) -> bool:
        """Whether it is complete."""
        return self.state is RunState.FINISHED

    @property
    def alive(self) -> bool:
        """Whether it says that it runs, and did so lately."""
        return self.state is RunState.RUNNING and abs(self.silent_s) < SILENT_S

    @property
    def stands_for_name(self) -> bool:
        """Whether it may be what its name means: it is finished or under way, or has a policy and did not fail."""
        going_on = self.state in (RunState.RUNNING, RunState.STOPPED) and self.has_policy
        return self.finished or self.alive or going_on


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

    def begin(self, run_id: str, host: str) -> None:
        """The run is driven from now on by this machine; whatever stopped it before is over."""
        self._change(run_id, Run.state != RunState.FINISHED, state=RunState.RUNNING, host=host, reason=None)

    def sign(self, run_id: str, stage: str | None = None) -> None:
        """A sign of life of a run that is under way, and where it is by now; None is where it was."""
        self._change(run_id, Run.state == RunState.RUNNING, **({} if stage is None else {"stage": stage}))

    def stop(self, run_id: str, state: RunState, reason: str) -> None:
        """The run does not go on, and why; what it said before of having stopped stands."""
        self._change(run_id, Run.state == RunState.RUNNING, state=state, reason=reason)

    def finish(self, run_id: str) -> None:
        """Marks the run as complete."""
        with self.database.write() as connection:
            finish_run(connection, run_id)

    def _change(self, run_id: str, also: ColumnElement[bool], **values: Any) -> None:
        with self.database.write() as connection:
            _change(connection, run_id, also, **values)

    def seconds(self, run_id: str) -> float:
        """Wall time from the run's start to its end, or to now; 0 where the clock was set back meanwhile."""
        with self.database.read() as connection:
            start, end = connection.execute(select(Run.created_at, Run.finished_at).where(Run.id == run_id)).one()
            seconds: float = ((end or present(connection)) - start).total_seconds()
        return max(seconds, 0.0)

    def all(self, name: str | None = None) -> list[RunInfo]:
        """All runs, or those of one name, oldest first."""
        query = _with_policies().order_by(Run.created_at, Run.ordinal)
        if name is not None:
            query = query.where(Run.name == name)
        with self.database.read() as connection:
            at = present(connection)
            return [_info(row, at) for row in connection.execute(query).mappings()]

    def newest(self) -> RunInfo:
        """The newest run that stands for its name, else the newest of all; raises UsageError where there is none."""
        runs = self.all()
        if not runs:
            raise UsageError("there is no run in the store yet: `journeyman run SETTINGS.toml` makes one")
        return next((run for run in reversed(runs) if run.stands_for_name), runs[-1])

    def find(self, wanted: str) -> RunInfo:
        """The run whose id is or ends in `wanted`, or the newest of that name that stands for it, else the newest.

        Raises UnknownNameError where there is none, and UsageError where the end of an id is that of several.
        """
        runs, end = self.all(), wanted.lower().replace("-", "")
        named = [run for run in runs if run.name == wanted]
        if named:
            return next((run for run in reversed(named) if run.stands_for_name), named[-1])
        found = [run for run in runs if len(end) >= _ID_END and run.id.replace("-", "").endswith(end)]
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs have an id that ends in {wanted!r}: give more of it")
        if not found:
            raise UnknownNameError("run", wanted, {r.name for r in runs}, "`journeyman status` lists the runs")
        return found[0]

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

    def iteration_seconds(self, run_id: str) -> dict[int, float]:
        """Wall time of each finished iteration, pauses before a resumption included; 0 where the clock was set back."""
        query = select(Iteration.number, Iteration.started_at, Iteration.finished_at).where(Iteration.run_id == run_id)
        with self.database.read() as connection:
            rows = connection.execute(query.where(Iteration.finished_at.is_not(None))).all()
        return {number: max((end - start).total_seconds(), 0.0) for number, start, end in rows}


def create_run(
    connection: Connection, name: str, settings: Mapping[str, Json], terms: Sequence[TermInfo] = ()
) -> RunInfo:
    """A new run of that name; see `Runs.create`."""
    last = connection.scalar(select(func.max(Run.ordinal)).where(Run.name == name))
    at, run_id = present(connection), new_id()
    row = {"id": run_id, "name": name, "ordinal": 0 if last is None else last + 1, "settings": dict(settings)}
    connection.execute(insert(Run), [row | {"state": RunState.RUNNING, "created_at": at, "seen_at": at}])
    insert_new(connection, RubricTerm, [{"run_id": run_id, **asdict(term)} for term in terms])
    return _info(connection.execute(_with_policies().where(Run.id == run_id)).mappings().one(), at)


def finish_run(connection: Connection, run_id: str) -> None:
    """Marks the run as complete; the first time stands."""
    done = {"state": RunState.FINISHED, "finished_at": now(), "stage": None, "reason": None}
    _change(connection, run_id, Run.finished_at.is_(None), **done)


def _change(connection: Connection, run_id: str, also: ColumnElement[bool], **values: Any) -> None:
    change = update(Run).where(Run.id == run_id, Run.state != RunState.DROPPING, also)
    connection.execute(change.values(seen_at=present(connection), **values))


def _with_policies() -> Select[Any]:
    has_policy = select(PolicyVersion.id).where(PolicyVersion.run_id == Run.id).exists()
    return select(Run.__table__, has_policy.label("has_policy"))


def _info(row: Mapping[Any, Any], at: datetime) -> RunInfo:
    seen = row["seen_at"] or row["created_at"]
    return RunInfo(
        **{name: row[name] for name in ("id", "name", "ordinal", "settings", "stage", "host", "reason")},
        state=RunState(row["state"]),
        seen_at=seen,
        silent_s=(at - seen).total_seconds(),
        has_policy=bool(row["has_policy"]),
    )
