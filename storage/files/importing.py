"""Exported rows into the store: the inverse of `exporting`. All of them or none: an import is one transaction.

So one that is killed leaves nothing, and nobody sees a run with a part of its rows. On SQLite other writers wait till
it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from journeyman.agent.data import Json, VerifierId
from journeyman.storage.database import chunks, insert_new
from journeyman.storage.files.checking import checked
from journeyman.storage.files.exporting import USE
from journeyman.storage.files.row_schema import ExportedRow
from journeyman.storage.runs.policies import add_imported
from journeyman.storage.runs.runs import RunInfo, create_run, finish_run
from journeyman.storage.runs.tasks import task_row
from journeyman.storage.schema.runs import Retraction, TaskRow
from journeyman.storage.schema.trajectories import Score, TrainingUse, TrajectoryRow
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel, insert_label, labels_of
from journeyman.storage.trajectories.rows import NewTrajectory, score_row
from journeyman.storage.trajectories.trajectories import ids_of
from journeyman.storage.trajectories.verdicts import retraction_row
from journeyman.storage.trajectories.writing import add_chunk

_PAGE = 500
_Key = tuple[str, int]
"""An attempt's name within its run: its group's key, and its number."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    run: RunInfo
    rows: int
    retracted: Mapping[VerifierId, str]
    """Whose verdicts count no more from now on, in the whole store, and why."""


def import_run(
    store: ReplayStore, name: str, settings: Mapping[str, Json], read: Callable[[], Iterable[Any]], where: str
) -> Imported:
    """A new run of that name, finished, with exported rows.

    `read` gives the rows, again where the transaction has to be tried again; `where` is what an error says they are
    from. Raises what `import_rows` raises, and then there is no such run.
    """

    def work(connection: Connection) -> Imported:
        run = create_run(connection, name, settings)
        count, retracted = _import(connection, run.id, checked(read(), where))
        finish_run(connection, run.id)
        return Imported(run, count, retracted)

    return store.database.write_again(work)


def import_rows(store: ReplayStore, run_id: str, rows: Iterable[Any]) -> int:
    """Stores exported rows in a run, all or none; how many. Attempts that the run has already are left as they are.

    Their policy versions become versions of the run without weights. An attempt keeps its id where the store has none
    of that id. Raises DataError for what is no such row.
    """
    with store.database.write() as connection:
        return _import(connection, run_id, checked(rows))[0]


def _import(connection: Connection, run_id: str, rows: Iterator[ExportedRow]) -> tuple[int, Mapping[VerifierId, str]]:
    """How many rows there are, and the new retractions.

    Labels come last, since one may compare an attempt with a later one; they are held in memory till then.
    """
    count = 0
    labels: list[tuple[_Key, Any]] = []
    retracted: dict[VerifierId, str] = {}
    query = select(Retraction.verifier, Retraction.version, Retraction.config_hash)
    known = {VerifierId(*row) for row in connection.execute(query)}
    while page := list(islice(rows, _PAGE)):
        _import_page(connection, run_id, page, count)
        labels += [(row.key, label) for row in page for label in row.labels]
        retracted |= {s.by: s.retracted for row in page for s in row.scores if s.retracted is not None}
        count += len(page)
    new = {by: why for by, why in retracted.items() if by not in known}
    insert_new(
        connection, Retraction, [retraction_row(by.name, by.version, by.config_hash, w) for by, w in new.items()]
    )
    _import_labels(connection, run_id, labels)
    return count, new


def _import_page(connection: Connection, run_id: str, page: Sequence[ExportedRow], before: int) -> None:
    tasks = {row.task.hash: row.task.task() for row in page}
    told = [task_row(run_id, task, "imported", before + i) for i, task in enumerate(tasks.values())]
    insert_new(connection, TaskRow, told)
    numbers = {use.policy for row in page for use in row.uses} | {row.policy for row in page if row.policy is not None}
    policies = add_imported(connection, run_id, numbers)
    taken = _taken(connection, [row.id for row in page])
    for is_relabel in (False, True):  # a parent may be in the same page
        rows = [row for row in page if (row.parent is not None) is is_relabel]
        parents = ids_of(connection, run_id, {row.parent for row in rows if row.parent is not None})
        add_chunk(connection, run_id, [_new(row, policies, parents, taken) for row in rows], ())
    ids = ids_of(connection, run_id, {row.key for row in page})
    scores = [score_row(ids[row.key], score.record(), score.attempt) for row in page for score in row.scores]
    uses = [
        {"trajectory_id": ids[row.key], "policy_version_id": policies[use.policy]}
        | {name: getattr(use, name) for name in USE}
        for row in page
        for use in row.uses
    ]
    insert_new(connection, Score, scores)
    insert_new(connection, TrainingUse, uses)


def _taken(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the store has already: of the run that was exported, say."""
    found: set[str] = set()
    for chunk in chunks(ids):
        found.update(connection.scalars(select(TrajectoryRow.id).where(TrajectoryRow.id.in_(chunk))))
    return found


def _new(row: ExportedRow, policies: Mapping[int, str], parents: Mapping[_Key, str], taken: set[str]) -> NewTrajectory:
    return NewTrajectory(
        row.group,
        row.trajectory(),
        row.iteration,
        None if row.policy is None else policies[row.policy],
        None if row.parent is None else parents[row.parent],
        row.relabeller,
        id=None if row.id in taken else row.id,
    )


def _import_labels(connection: Connection, run_id: str, labels: Sequence[tuple[_Key, Any]]) -> None:
    """Adds the labels that are not there yet: labels have no natural key, so all they say is compared."""
    keys = {key for key, _ in labels} | {label.other for _, label in labels if label.other is not None}
    ids = ids_of(connection, run_id, keys)
    there = set(labels_of(connection, run_id)) if labels else set()
    for key, label in labels:
        other = None if label.other is None else ids[label.other]
        new = NewLabel(ids[key], other, label.value, label.person, label.comment, label.at())
        if new not in there:
            insert_label(connection, new)
