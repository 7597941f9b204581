"""Rows as JSONL and Parquet files; reading them back raises DataError, and nothing else, for a file that is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from journeyman.agent.data import Json
from journeyman.agent.errors import DataError

MOST_LINE_BYTES = 2**28
"""Of one row in a JSONL file."""
_PAGE = 500
_NESTED = ("task", "turns", "scores", "labels", "uses", "parent", "messages", "prompt", "chosen", "rejected")
"""Columns that are JSON text in a Parquet file: their shape differs from row to row."""
_AGAIN = "write the file again with `journeyman export`"


def write_jsonl(file: Path, rows: Iterable[Any]) -> int:
    """One row a line; how many."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
            count += 1
    return count


def read_jsonl(file: Path) -> Iterator[Json]:
    """The rows of `write_jsonl`, one in memory at a time; raises DataError for a line that is no JSON."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MOST_LINE_BYTES + 1), b""), 1):
                yield _line(line, f"{file}, line {number}")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


def _line(line: bytes, where: str) -> Json:
    if len(line) > MOST_LINE_BYTES:
        raise DataError(f"{where}: over {MOST_LINE_BYTES} bytes, so it is no exported row; {_AGAIN}")
    try:
        return parsed(line.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise DataError(f"{where}: {error}; {_AGAIN}") from None


def parsed(text: str) -> Json:
    """The JSON value; raises ValueError for text that is none, and for what JSON readers disagree about.

    That is a key that is there twice, numbers that are not finite, and nesting deeper than can be read.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def one_line(text: str) -> str:
    """The text on one line, with what cannot be printed escaped: it may come from a file."""
    line = " ".join(text.split())
    return line if line.isprintable() else ascii(line)[1:-1]


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {ascii(twice)[:60]} is there twice")
    return found


def _no_number(name: str) -> Json:
    raise ValueError(f"{name} is no number of JSON")


def write_parquet(file: Path, rows: Iterable[Any]) -> int:
    """The rows in a Parquet file, token ids as lists of int32 and log-probs of float32; how many.

    Every page has a checksum. Raises DataError where there are no rows.
    """
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
    for page in _pages(rows):
        plain = [{name: json.dumps(v) if name in _NESTED else v for name, v in row.items()} for row in page]
        if writer is None:
            kinds = {
                "segments": pa.list_(segment),
                "seconds": pa.float64(),
                **dict.fromkeys(("format", "attempt", "iteration", "policy"), pa.int64()),
            }
            schema = pa.schema([(name, kinds.get(name, pa.string())) for name in plain[0]])
            writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
        writer.write_table(pa.Table.from_pylist(plain, schema=schema))
        count += len(page)
    if writer is None:
        raise DataError("there is nothing to export")
    writer.close()
    return count


def _pages(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while page := list(islice(iterator, _PAGE)):
        yield page


def read_parquet(file: Path) -> Iterator[Json]:
    """The rows of `write_parquet`, a page in memory; raises DataError for a file that is none, or is damaged."""
    count = 0
    try:
        for row in _parquet_rows(file):
            yield {name: parsed(_text(name, v)) if name in _NESTED else v for name, v in row.items()}
            count += 1
    except DataError:
        raise
    except Exception as error:  # of a damaged file pyarrow raises a dozen kinds, and its message may be many lines
        why = one_line(f"{type(error).__name__}: {error}")[:300]
        raise DataError(f"{file}, after row {count}: no Parquet file of exported rows ({why}); {_AGAIN}") from None


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True) as source:
        names = source.schema_arrow.names
        if len(set(names)) < len(names):
            raise DataError(f"{file}: two columns have one name among {', '.join(names)}; {_AGAIN}")
        count = 0
        for batch in source.iter_batches(_PAGE):
            yield from batch.to_pylist()
            count += batch.num_rows
        if count != source.metadata.num_rows:
            raise DataError(f"{file}: {count} rows of the {source.metadata.num_rows} that it announces; {_AGAIN}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"column {name!r} holds a {type(value).__name__}, not JSON text")
    return value
