"""Whether exported rows are whole: each by the schema, and all of them together, before anything is stored.

Rows go by one at a time. What is remembered of them is small: names, and digests of their tasks.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ValidationError

from journeyman.agent.data import Source, Task, VerifierId
from journeyman.agent.errors import DataError
from journeyman.storage.files.formats import one_line
from journeyman.storage.files.row_schema import FORMAT, ExportedRow

_REMEDY = "mend the row, or export the run again with `journeyman export`"
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN.maxlevel = 2

_Key = tuple[str, int]


def check_rows(rows: Iterable[Any], where: str = "the rows") -> int:
    """How many rows there are; raises DataError, naming `where` they are, for the first that cannot be imported."""
    return sum(1 for _ in checked(rows, where))


def checked(rows: Iterable[Any], where: str = "the rows") -> Iterator[ExportedRow]:
    """The rows by the schema; raises DataError for one that breaks it or the rows before, or where there are none."""
    all_of_them = _Together()
    number = 0
    for number, raw in enumerate(rows, 1):
        try:
            row = _read(raw)
            all_of_them.add(row, number)
        except ValueError as error:
            raise DataError(f"{where}, row {number}: {_reason(error)}; {_REMEDY}") from None
        yield row
    if not number:
        raise DataError(f"{where}: there are no rows to import; `journeyman export` writes some")
    if (waiting := next(iter(all_of_them.compared.values()), None)) is not None:
        raise DataError(
            f"{where}, row {waiting.number}: labels: {waiting.what}, which is not among the rows; {_REMEDY}"
        )


def _read(raw: Any) -> ExportedRow:
    if not isinstance(raw, dict):
        raise ValueError(f"a row is an object, not {_SHOWN.repr(raw)}")
    found = raw.get("format")
    if found != FORMAT:
        raise ValueError(f"format: this is no row of layout {FORMAT}, which is read here, but of {_SHOWN.repr(found)}")
    return ExportedRow.model_validate(raw)


def _reason(error: ValueError) -> str:
    """The field and what is wrong with it, on one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    why = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] in ("missing", "value_error") else f", got {_SHOWN.repr(first['input'])}"
    return one_line(f"{field}: {why}{got}" if field else f"{why}{got}")


class _Group(NamedTuple):
    """What all attempts of a group have in common."""

    task: str
    source: Source
    iteration: int
    policy: int | None


class _Waiting(NamedTuple):
    """An attempt that a label names before its row has come."""

    number: int
    what: str
    task: str


class _Together:
    """What the rows so far say, for the rules that no row can break alone."""

    def __init__(self) -> None:
        self.compared: dict[_Key, _Waiting] = {}
        """Attempts that labels name and that have not come yet."""
        self._ids: set[str] = set()
        self._attempts: set[_Key] = set()
        self._groups: dict[str, _Group] = {}
        self._tasks: dict[str, bytes] = {}
        self._retracted: dict[VerifierId, str | None] = {}

    def add(self, row: ExportedRow, number: int) -> None:
        """Takes the row in; raises ValueError, naming the field, where it does not go with the rows before."""
        if row.id in self._ids:
            raise ValueError(f"id: {row.id} is there twice")
        if row.key in self._attempts:
            raise ValueError(f"attempt: attempt {row.attempt} of group {row.group!r} is there twice")
        self._ids.add(row.id)
        self._attempts.add(row.key)
        digest = _digest(row.task.task())
        if self._tasks.setdefault(row.task.hash, digest) != digest:
            raise ValueError(f"task: another task with the hash {row.task.hash!r} is in a row before")
        group = _Group(row.task.hash, row.source, row.iteration, row.policy)
        for name, mine, first in zip(_Group._fields, group, self._groups.setdefault(row.group, group), strict=True):
            if mine != first:
                raise ValueError(f"{name}: {mine}, but {first} in a row of the same group, {row.group!r}, before")
        for score in row.scores:
            if self._retracted.setdefault(score.by, score.retracted) != score.retracted:
                raise ValueError(
                    f"scores: the verdicts of {score.verifier}/{score.version} are retracted here, not there"
                )
        self._check_parent(row, group)
        self._check_labels(row, number)

    def _check_parent(self, row: ExportedRow, group: _Group) -> None:
        if row.parent is None:
            return
        if row.parent not in self._attempts or row.parent == row.key:
            raise ValueError(f"parent: {row.parent} is not among the rows before")
        parent = self._groups[row.parent[0]]
        if parent.source is not Source.POLICY:
            raise ValueError(f"parent: {row.parent} is no attempt of the policy")
        if row.source is Source.EXPERT and parent.task != group.task:
            raise ValueError(f"parent: an expert goes on at the task of {row.parent}, not at another")
        if row.source is Source.HINDSIGHT and parent.policy != group.policy:
            raise ValueError(f"policy: {group.policy}, but its parent is of {parent.policy}")
        if row.iteration < parent.iteration:
            raise ValueError(f"iteration: {row.iteration}, but its parent is of {parent.iteration}")

    def _check_labels(self, row: ExportedRow, number: int) -> None:
        named = self.compared.pop(row.key, None)
        if named is not None and named.task != row.task.hash:
            raise ValueError(f"task: row {named.number} compares the attempt with one at another task")
        for label in row.labels:
            if label.other is None:
                continue
            if label.other not in self._attempts:
                what = f"a label compares {row.key} with {label.other}"
                waiting = self.compared.setdefault(label.other, _Waiting(number, what, row.task.hash))
                same = waiting.task == row.task.hash
            else:
                same = self._groups[label.other[0]].task == row.task.hash
            if not same:
                raise ValueError(f"labels: {label.other} is an attempt at another task, which cannot be compared")


def _digest(task: Task) -> bytes:
    told = [task.environment, task.split, task.goal, task.payload, [message.to_json() for message in task.prompt]]
    return blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).digest()
