"""`journeyman export` and `import`: runs as files, and data sets for other trainers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from journeyman.agent.errors import DataError, UsageError
from journeyman.storage.files.checking import check_rows
from journeyman.storage.files.exporting import export_rows
from journeyman.storage.files.formats import read_jsonl, read_parquet, write_jsonl, write_parquet
from journeyman.storage.files.importing import import_run
from journeyman.storage.files.training_sets import preference_rows, sft_rows
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.engines import open_rubric, open_task_set
from journeyman.workflows.settings.loading import load_settings, parse_settings, settings_of


def export(options: argparse.Namespace) -> None:
    """`journeyman export RUN FILE`: FILE ends in .jsonl or .parquet."""
    file = Path(options.file)
    if file.exists():
        raise UsageError(f"{file} is there already: name another file, or delete it")
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = store.runs.find(options.run)
        if options.what == "trajectories":
            rows: Iterator[Any] = export_rows(store, run.id)
        else:
            settings = settings_of(run)
            rubric = open_rubric(settings, open_task_set(settings))
            sft = options.what == "sft"
            rows = sft_rows(store, run.id, rubric.succeeded) if sft else preference_rows(store, run.id, rubric.reward)
        part = file.with_name(f".{file.name}.part")
        count = _writer(file)(part, rows)
        part.rename(file)
    finally:
        store.close()
    print(f"wrote {count} rows to {file}")


def import_(options: argparse.Namespace) -> None:
    """`journeyman import FILE --run NAME`: a new run of that name with the file's trajectories.

    Some commands ask the run's settings what its tasks and tokens mean: they are those of `--settings`, if any.
    """
    file = Path(options.file)
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "is no file" if file.exists() else "is not there"
        raise DataError(f"{file} {what}: name what `journeyman export` wrote")
    read = partial(_reader(file), file)
    given = load_settings(options.settings).anchored(str(Path.cwd())) if options.settings else None
    parse_settings({"run": {"name": options.run}}, "--run")
    check_rows(read(), str(file))  # before there is a store to write to
    store = ReplayStore(options.store)
    try:
        settings = given.model_dump(mode="json") if given else {}
        done = import_run(store, options.run, settings, read, str(file))
    finally:
        store.close()
    print(f"imported {done.rows} trajectories into run {done.run.id} ({done.run.name})")
    for by, why in done.retracted.items():
        print(f"retracted {by.name}/{by.version}, configuration {by.config_hash}, in all runs of the store: {why}")


def _writer(file: Path) -> Any:
    return _by_suffix(file, {".jsonl": write_jsonl, ".parquet": write_parquet})


def _reader(file: Path) -> Any:
    return _by_suffix(file, {".jsonl": read_jsonl, ".parquet": read_parquet})


def _by_suffix(file: Path, known: dict[str, Any]) -> Any:
    if file.suffix not in known:
        raise UsageError(f"{file.name} says no format: let it end in {' or '.join(known)}")
    if file.suffix == ".parquet":
        try:
            metadata.version("pyarrow")
        except metadata.PackageNotFoundError:
            raise UsageError("Parquet needs the package pyarrow: pip install 'journeyman[parquet]'") from None
    return known[file.suffix]
