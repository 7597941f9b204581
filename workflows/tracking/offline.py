"""What wandb holds of a run on this disk alone: offline nobody else can be asked, and a process that died says nothing.

wandb's files are logs in LevelDB's format (its `doc/log_format.md`) whose records are protocol buffers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 32768
_HEADER = 7
"""Bytes before a piece of a record (checksum, length, kind), and as it happens those that wandb begins a file with."""
_WHOLE, _FIRST, _LAST = 1, 2, 4


def rows_on_disk(folder: Path, run_id: str) -> Iterator[dict[str, float]]:
    """The rows that processes of this run have logged, as far as they reached the disk; `folder` is wandb's."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(folder.glob(f"*-{run_id}/run-{run_id}.wandb")):
        for record in records(file.read_bytes()):
            items = Record.FromString(record).history.item
            if items:
                yield {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def records(data: bytes) -> Iterator[bytes]:
    """The records up to where a process died while it wrote; a long one lies in pieces in several blocks."""
    at, record = _HEADER, b""
    while at + _HEADER <= len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEADER:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        piece = data[at + _HEADER : at + _HEADER + length]
        if len(piece) < length:
            return
        record = piece if kind in (_WHOLE, _FIRST) else record + piece
        if kind in (_WHOLE, _LAST):
            yield record
        at += _HEADER + length
