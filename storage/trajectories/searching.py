"""Which of a run's trajectories a person wants to see: by task, iteration, failure and fate, the best first, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Float, Integer, Select, String, column, select, table

from journeyman.agent.errors import UnknownNameError, UsageError
from journeyman.storage.database import chunks
from journeyman.storage.schema.runs import TaskRow
from journeyman.storage.schema.trajectories import TrajectoryGroup, TrajectoryRow

_ID = TrajectoryRow.__table__.c.id.type
_VIEW = table(
    "v_trajectory",
    *(column(name, _ID) for name in ("id", "run_id")),
    column("success", Integer),
    column("score", Float),
    column("fate", String),
)


class Order(StrEnum):
    """Which of them come first."""

    NEWEST = "newest"
    BEST = "best"
    WORST = "worst"


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; all of it must hold."""

    task: str | None = None
    """Hash of the task, or its beginning or end."""
    iteration: int | None = None
    failed: bool = False
    """Judged, and no success by the run's rubric."""
    fate: str | None = None
    """A fate of the view `v_trajectory`, or a word that it begins with, e.g. `dropped`."""
    order: Order = Order.NEWEST
    """The best and the worst are those that were judged, by success, then by score."""
    limit: int = 20


def search(connection: Connection, run_id: str, wanted: Search) -> dict[str, str]:
    """Ids of the run's trajectories that are looked for, in order, each with its fate.

    Raises UnknownNameError or UsageError for a task, an iteration or a fate that the run has none of.
    """
    query = (
        select(TrajectoryRow.id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .where(TrajectoryGroup.run_id == run_id)
    )
    if wanted.task is not None:
        query = query.where(TrajectoryGroup.task_id == _task(connection, run_id, wanted.task))
    if wanted.iteration is not None:
        _check_iteration(connection, run_id, wanted.iteration)
        query = query.where(TrajectoryGroup.iteration == wanted.iteration)
    if wanted.failed or wanted.fate is not None or wanted.order is not Order.NEWEST:  # the view costs more
        query = query.join(_VIEW, _VIEW.c.id == TrajectoryRow.id).where(_VIEW.c.run_id == run_id)
        query = _by_view(connection, query, run_id, wanted)
    ids = list(connection.scalars(query.order_by(TrajectoryRow.id.desc()).limit(wanted.limit)))
    fates = fates_of(connection, ids)
    return {i: fates[i] for i in ids}


def fates_of(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """By trajectory what became of it in training; see the view `v_trajectory`."""
    found: dict[str, str] = {}
    for chunk in chunks(ids):
        rows = connection.execute(select(_VIEW.c.id, _VIEW.c.fate).where(_VIEW.c.id.in_(chunk)))
        found |= {row.id: row.fate for row in rows}
    return found


def _by_view(connection: Connection, query: Select[Any], run_id: str, wanted: Search) -> Select[Any]:
    if wanted.failed:
        query = query.where(_VIEW.c.success == 0)
    if wanted.fate is not None:
        query = query.where(_VIEW.c.fate.in_(_fates(connection, run_id, wanted.fate)))
    if wanted.order is Order.NEWEST:
        return query
    query = query.where(_VIEW.c.success.is_not(None), _VIEW.c.score.is_not(None))
    if wanted.order is Order.BEST:
        return query.order_by(_VIEW.c.success.desc(), _VIEW.c.score.desc())
    return query.order_by(_VIEW.c.success, _VIEW.c.score)


def _task(connection: Connection, run_id: str, wanted: str) -> str:
    """Id of the task."""
    query = select(TaskRow.hash, TaskRow.id).where(TaskRow.run_id == run_id).order_by(TaskRow.ordinal)
    ids = {row.hash: row.id for row in connection.execute(query)}
    found = [h for h in ids if wanted == h] or [
        h for h in ids if wanted and (h.startswith(wanted) or h.endswith(wanted))
    ]
    if len(found) > 1:
        raise UsageError(f"{len(found)} tasks of the run have a hash like {wanted!r}: give more of it")
    if not found:
        raise UnknownNameError("task", wanted, list(ids)[:5], "`journeyman inspect TRAJECTORY` shows a task's hash")
    return str(ids[found[0]])


def _check_iteration(connection: Connection, run_id: str, number: int) -> None:
    query = select(TrajectoryGroup.iteration).where(TrajectoryGroup.run_id == run_id)
    known = list(connection.scalars(query.distinct()))
    if number not in known:
        there = f"has trajectories of {min(known)} to {max(known)}" if known else "has no trajectories yet"
        raise UsageError(f"there is no iteration {number}: the run {there}")


def _fates(connection: Connection, run_id: str, wanted: str) -> list[str]:
    known = list(connection.scalars(select(_VIEW.c.fate).where(_VIEW.c.run_id == run_id).distinct()))
    found = [fate for fate in known if fate == wanted or fate.startswith(wanted)] if wanted else []
    if not found:
        listed = ", ".join(repr(fate) for fate in sorted(known)) or "none yet"
        raise UsageError(f"no trajectory of the run has the fate {wanted!r}; there are {listed}")
    return found
