"""Reads rows of data: JSONL files, `datasets` names, demonstrations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from journeyman.agent.data import Json
from journeyman.agent.environments.chats import ChatDemonstration, demonstration_in
from journeyman.agent.errors import DataError, SettingsError, suggestion


def read_chat_demonstrations(path: str) -> list[ChatDemonstration]:
    """The demonstrations of a JSONL file, each row in one of the forms of `chats`.

    Raises DataError, naming file and line, for a row of another shape.
    """
    found = [demonstration for _, demonstration in placed_demonstrations(path)]
    if not found:
        raise DataError(f"{path}: no rows")
    return found


def placed_demonstrations(path: str) -> Iterator[tuple[str, ChatDemonstration]]:
    """The demonstrations of `read_chat_demonstrations`, each with its place ("file:line")."""
    for where, row in jsonl_rows(path):
        yield where, demonstration_in(row, where)


def jsonl_rows(path: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """The rows of a JSONL file, each with its place ("file:line"); blank lines are skipped."""
    file = Path(path).expanduser()
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, _parsed(line, where)
    except OSError as error:
        near = suggestion(file.name, sorted(f.name for f in file.parent.iterdir())) if file.parent.is_dir() else ""
        raise DataError(f"cannot read {path}: {error.strerror}{'; ' + near if near else ''}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def hub_rows(name: str, config: str | None, split: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """The rows of one split of a `datasets` name or folder, each with its place ("name[split][index]")."""
    try:
        import datasets
    except ImportError:
        remedy = "pip install 'journeyman[datasets]'"
        raise SettingsError(f"option 'hub' ({name!r}) needs the package 'datasets': {remedy}") from None
    try:
        rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # a loader of a third party: it may raise anything
        raise DataError(f"cannot load split {split!r} of {name!r}: {type(error).__name__}: {error}") from error
    for index, row in enumerate(rows):
        yield f"{name}[{split}][{index}]", row


def _parsed(line: str, where: str) -> dict[str, Json]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row must be a JSON object, got {type(row).__name__}")
    return row
