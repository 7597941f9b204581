"""Token blobs: one segment as bytes.

Layout, little-endian: magic `JT`, version, flags, then P, C, M as uint32; the rest is one zlib stream of
prompt ids (P int32), completion ids (C int32), the loss mask (ceil(C / 8) bytes, first token in the highest bit)
and, where flag 1 is set, behaviour log-probs (M float32).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from journeyman.agent.data import Segment
from journeyman.agent.errors import StoreError

_HEADER = struct.Struct("<2sBBIII")
_MAGIC, _VERSION, _HAS_LOGPROBS = b"JT", 1, 1


def pack_segment(segment: Segment) -> bytes:
    """The segment as bytes; `unpack_segment` gives it back bit for bit.

    Raises StoreError where lengths disagree or a log-prob is not finite.
    """
    logprobs = segment.behaviour_logprobs
    trained = int(segment.loss_mask.sum())
    if len(segment.loss_mask) != len(segment.completion_ids):
        raise StoreError(f"{len(segment.loss_mask)} mask bits for {len(segment.completion_ids)} completion tokens")
    if logprobs is not None and (len(logprobs) != trained or not np.isfinite(logprobs).all()):
        raise StoreError(f"{len(logprobs)} log-probs for {trained} trained tokens, or one is not finite")
    body = segment.prompt_ids.astype("<i4").tobytes() + segment.completion_ids.astype("<i4").tobytes()
    body += np.packbits(segment.loss_mask).tobytes()
    if logprobs is not None:
        body += logprobs.astype("<f4").tobytes()
    flags = 0 if logprobs is None else _HAS_LOGPROBS
    sizes = len(segment.prompt_ids), len(segment.completion_ids), trained
    return _HEADER.pack(_MAGIC, _VERSION, flags, *sizes) + zlib.compress(body, 1)


def unpack_segment(data: bytes) -> Segment:
    """The segment of `pack_segment`'s bytes; raises StoreError where they are not such bytes."""
    if len(data) < _HEADER.size:
        raise StoreError(f"a token blob of {len(data)} bytes is cut short")
    magic, version, flags, prompt, completion, trained = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise StoreError(f"not a token blob of version {_VERSION}: it begins with {data[:4]!r}")
    try:
        body = zlib.decompress(data[_HEADER.size :])
    except zlib.error as error:
        raise StoreError(f"a token blob is corrupt: {error}") from error
    mask_bytes = (completion + 7) // 8
    expected = 4 * (prompt + completion) + mask_bytes + (4 * trained if flags & _HAS_LOGPROBS else 0)
    if len(body) != expected:
        raise StoreError(f"a token blob is corrupt: {len(body)} bytes of content, {expected} announced")
    ids = np.frombuffer(body, "<i4", prompt + completion)
    packed = np.frombuffer(body, np.uint8, mask_bytes, 4 * (prompt + completion))
    mask = np.unpackbits(packed, count=completion).astype(np.bool_)
    if int(mask.sum()) != trained:
        raise StoreError(f"a token blob is corrupt: {int(mask.sum())} mask bits set, {trained} announced")
    logprobs = (
        np.frombuffer(body, "<f4", trained, 4 * (prompt + completion) + mask_bytes) if flags & _HAS_LOGPROBS else None
    )
    return Segment(ids[:prompt], ids[prompt:], mask, logprobs)
