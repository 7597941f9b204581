"""Exported rows into the store: the inverse of `exporting`. Importing a file again adds nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from journeyman.agent.data import ScoreRecord, Segment, Source, Split, StopReason, Task, Trajectory, VerifierId
from journeyman.agent.data import as_messages as messages
from journeyman.agent.errors import DataError
from journeyman.storage.database import insert_new
from journeyman.storage.files.exporting import FORMAT, USE
from journeyman.storage.schema.trajectories import TrainingUse
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.storage.trajectories.rows import NewTrajectory, score_row, turn_from_row, verdict_from_row
from journeyman.storage.trajectories.verdicts import insert_judgements, retraction_row

_PAGE = 500
_Key = tuple[str, int]
"""An attempt's name within its run: its group's key, and its number."""


def import_rows(store: ReplayStore, run_id: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Stores exported rows in a run; how many. Attempts that the run has already are left as they are.

    Their policy versions become versions of the run without weights. Raises DataError for a row that is no such row,
    which `check_rows` finds before anything is stored.
    Labels come last, since one may compare an attempt with a later one; they are held in memory till then.
    """
    count = 0
    labels: list[_ReadLabel] = []
    for page in pages(rows, _PAGE):
        try:
            _import_page(store, run_id, page, count)
            labels += [_read_label(row, label) for row in page for label in row["labels"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _no_rows(error, count, page) from error
        count += len(page)
    _import_labels(store, run_id, labels)
    return count


def check_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises the DataError that `import_rows` would, and one where there are no rows; nothing is stored."""
    keys: set[_Key] = set()
    compared: dict[_Key, _Key] = {}
    count = 0
    for page in pages(rows, _PAGE):
        try:
            keys |= {(row["group"], row["attempt"]) for row in page}
            for row in page:
                _check_row(row, keys)
                read = (_read_label(row, label) for label in row["labels"])
                compared |= {label.other: label.key for label in read if label.other is not None}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _no_rows(error, count, page) from error
        count += len(page)
    for other, key in compared.items():
        if other not in keys:
            raise DataError(f"a label compares {key} with {other}, which is not among the rows")
    if not count:
        raise DataError("there are no rows to import")


def _check_row(row: Mapping[str, Any], keys: Collection[_Key]) -> None:
    if row["format"] != FORMAT:
        raise ValueError(f"format {row['format']}, not {FORMAT}")
    _task(row["task"])
    _read_trajectory(row)
    for score in row["scores"]:
        _record(score)
        score["attempt"], score["retracted"]
    for use in row["uses"]:
        use["policy"], [use[name] for name in USE]
    row["iteration"], row["policy"], row["relabeller"]
    if row["parent"] and tuple(row["parent"]) not in keys:
        raise ValueError(f"the parent {row['parent']} is not among the rows before")


def _no_rows(error: Exception, before: int, page: Sequence[Any]) -> DataError:
    why = f"{type(error).__name__}: {error}"
    return DataError(f"rows {before + 1} to {before + len(page)} are no exported trajectories ({why})")


def pages(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The rows in lists of `size`, the last one shorter."""
    iterator = iter(rows)
    while page := list(islice(iterator, size)):
        yield page


def _segment(row: Mapping[str, Any]) -> Segment:
    logprobs = row["behaviour_logprobs"]
    return Segment(
        np.array(row["prompt_ids"], np.int32),
        np.array(row["completion_ids"], np.int32),
        np.array(row["loss_mask"], np.bool_),
        None if logprobs is None else np.array(logprobs, np.float32),
    )


def _import_page(store: ReplayStore, run_id: str, page: Sequence[Mapping[str, Any]], before: int) -> None:
    tasks = {row["task"]["hash"]: _task(row["task"]) for row in page}
    store.tasks.add(run_id, tasks.values(), origin="imported", first_ordinal=before)
    trained = {use["policy"] for row in page for use in row["uses"]}
    store.policies.add_imported(run_id, trained | {row["policy"] for row in page if row["policy"] is not None})
    policies = {p.number: p.id for p in store.policies.of(run_id)}
    for is_relabel in (False, True):  # a parent may be in the same page
        rows = [row for row in page if bool(row["parent"]) is is_relabel]
        parents = store.trajectories.ids_of(run_id, {tuple(row["parent"]) for row in rows if is_relabel})
        store.trajectories.add(run_id, [_trajectory(row, policies, parents) for row in rows])
    ids = store.trajectories.ids_of(run_id, {(row["group"], row["attempt"]) for row in page})
    scores = [
        score_row(ids[row["group"], row["attempt"]], _record(score), score["attempt"])
        for row in page
        for score in row["scores"]
    ]
    uses = [
        {"trajectory_id": ids[row["group"], row["attempt"]], "policy_version_id": policies[use["policy"]]}
        | {name: use[name] for name in USE}
        for row in page
        for use in row["uses"]
    ]
    retractions = {
        (score["verifier"], score["version"], score["config_hash"]): score["retracted"]
        for row in page
        for score in row["scores"]
        if score["retracted"] is not None
    }
    with store.database.write() as connection:
        insert_judgements(connection, scores, [retraction_row(*which, why) for which, why in retractions.items()])
        insert_new(connection, TrainingUse, uses)


def _task(row: Mapping[str, Any]) -> Task:
    prompt = messages(row["prompt"])
    return Task(row["environment"], row["goal"], prompt, Split(row["split"]), row["hash"], row["payload"])


def _trajectory(
    row: Mapping[str, Any], policies: Mapping[int, str], parents: Mapping[tuple[str, int], str]
) -> NewTrajectory:
    parent = parents[tuple(row["parent"])] if row["parent"] else None
    policy = None if row["policy"] is None else policies[row["policy"]]
    return NewTrajectory(row["group"], _read_trajectory(row), row["iteration"], policy, parent, row["relabeller"])


def _read_trajectory(row: Mapping[str, Any]) -> Trajectory:
    return Trajectory(
        row["task"]["hash"],
        Source(row["source"]),
        tuple(turn_from_row(turn) for turn in row["turns"]),
        tuple(_segment(segment) for segment in row["segments"]),
        StopReason(row["stop_reason"]),
        row["attempt"],
        row["error"],
        row["seconds"],
    )


def _record(row: Mapping[str, Any]) -> ScoreRecord:
    verifier = VerifierId(row["verifier"], row["version"], row["config_hash"])
    return ScoreRecord(verifier, verdict_from_row(row), row["latency_ms"])


class _ReadLabel(NamedTuple):
    """A label as a file has it."""

    key: _Key
    other: _Key | None
    value: float
    person: str
    comment: str | None
    at: datetime


def _read_label(row: Mapping[str, Any], label: Mapping[str, Any]) -> _ReadLabel:
    other = None if label["other"] is None else (str(label["other"][0]), int(label["other"][1]))
    said = float(label["value"]), str(label["person"]), label["comment"]
    return _ReadLabel((row["group"], row["attempt"]), other, *said, datetime.fromisoformat(label["created_at"]))


def _import_labels(store: ReplayStore, run_id: str, labels: Sequence[_ReadLabel]) -> None:
    """Adds the labels that are not there yet: labels have no natural key, so all they say is compared."""
    ids = store.trajectories.ids_of(
        run_id, {key for label in labels for key in (label.key, label.other) if key is not None}
    )
    there = set(store.labels.of(run_id))
    for label in labels:
        if label.other is not None and label.other not in ids:
            raise DataError(f"a label compares {label.key} with {label.other}, which is not among the rows")
        other = None if label.other is None else ids[label.other]
        new = NewLabel(ids[label.key], other, label.value, label.person, label.comment, label.at)
        if new not in there:
            store.labels.add(new)
