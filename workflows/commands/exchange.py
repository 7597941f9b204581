"""`journeyman export` and `import`: runs as files, and data sets for other trainers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from journeyman.agent.errors import DataError, UsageError
from journeyman.storage.files.exporting import export_rows
from journeyman.storage.files.importing import check_rows, import_rows, pages
from journeyman.storage.files.training_sets import preference_rows, sft_rows
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.engines import open_rubric, open_task_set
from journeyman.workflows.settings.loading import load_settings, parse_settings, settings_of
from journeyman.workflows.terminal import say

_PAGE = 1000
_NESTED = ("task", "turns", "scores", "labels", "uses", "parent", "messages", "prompt", "chosen", "rejected")
"""Columns that are JSON text in a Parquet file: their shape differs from row to row."""


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
            told = f"all {store.trajectories.tally(run.id)} of run {run.id} ({run.name})"
        else:
            settings = settings_of(run)
            rubric = open_rubric(settings, open_task_set(settings))
            sft = options.what == "sft"
            told = f"what run {run.id} ({run.name}) has to teach"
            rows = sft_rows(store, run.id, rubric.succeeded) if sft else preference_rows(store, run.id, rubric.reward)
        part = file.with_name(f".{file.name}.part")
        count = _writer(file)(part, rows)
        part.rename(file)
    finally:
        store.close()
    say(f"wrote {count} rows to {file}: {told}")


def import_(options: argparse.Namespace) -> None:
    """`journeyman import FILE --run NAME`: a new run of that name with the file's trajectories.

    Some commands ask the run's settings what its tasks and tokens mean: they are those of `--settings`, if any.
    """
    file = Path(options.file)
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    read = _reader(file)
    given = load_settings(options.settings).anchored(str(Path.cwd())) if options.settings else None
    parse_settings({"run": {"name": options.run}}, "--run")
    check_rows(read(file))
    store = ReplayStore(options.store)
    try:
        run = store.runs.create(options.run, given.model_dump(mode="json") if given else {})
        store.runs.finish(run.id)  # it is no run to resume, whatever the file holds
        count = import_rows(store, run.id, read(file))
    finally:
        store.close()
    say(f"imported {count} trajectories into run {run.id} ({run.name})")


def write_jsonl(file: Path, rows: Iterable[Any]) -> int:
    """One row a line; how many."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
            count += 1
    return count


def read_jsonl(file: Path) -> Iterator[Any]:
    """The rows of `write_jsonl`; raises DataError for a line that is no JSON."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:  # no JSON, or not UTF-8
                raise DataError(f"{file}, line {number}: {error}") from None


def write_parquet(file: Path, rows: Iterable[Any]) -> int:
    """The rows in a Parquet file, token ids as lists of int32 and log-probs of float32; how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokens = pa.list_(pa.int32())
    segment = pa.struct(
        [
            ("prompt_ids", tokens),
            ("completion_ids", tokens),
            ("loss_mask", pa.list_(pa.bool_())),
            ("behaviour_logprobs", pa.list_(pa.float32())),
        ]
    )
    writer, count = None, 0
    for page in pages(rows, _PAGE):
        plain = [{name: json.dumps(v) if name in _NESTED else v for name, v in row.items()} for row in page]
        if writer is None:
            kinds = {
                "segments": pa.list_(segment),
                "seconds": pa.float64(),
                **dict.fromkeys(("format", "attempt", "iteration", "policy"), pa.int64()),
            }
            schema = pa.schema([(name, kinds.get(name, pa.string())) for name in plain[0]])
            writer = pq.ParquetWriter(file, schema, compression="zstd")
        writer.write_table(pa.Table.from_pylist(plain, schema=schema))
        count += len(page)
    if writer is None:
        raise DataError("there is nothing to export")
    writer.close()
    return count


def read_parquet(file: Path) -> Iterator[Any]:
    """The rows of `write_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches(_PAGE):
            for row in batch.to_pylist():
                yield {name: json.loads(v) if name in _NESTED else v for name, v in row.items()}
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} is no Parquet file: {error}") from None


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
