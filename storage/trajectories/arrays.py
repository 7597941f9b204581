"""Token blobs: one segment as bytes.

Layout, little-endian: magic `JT`, version, flags, then P, C, M as uint32, S, the size of one zlib stream, and the
CRC-32 of all but itself. The stream holds prompt and completion ids (P + C int32), the loss mask (ceil(C / 8) bytes,
first token in the highest bit) and, where flag 1 is set, the highest bytes of M float32 behaviour log-probs; their
other bytes follow as they are, since noise does not compress. Numbers are stored in planes, all first bytes, then all
second ones and so on: the upper bytes of ids are mostly 0, so that this is both smaller and faster.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Segment
from journeyman.agent.errors import StoreError

_HEADER = struct.Struct("<2sBBIIII")
_CRC = struct.Struct("<I")
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
    body = _planes(np.concatenate([segment.prompt_ids, segment.completion_ids]).astype("<i4"))
    body += np.packbits(segment.loss_mask).tobytes()
    noise = b""
    if logprobs is not None:
        planes = _planes(logprobs.astype("<f4"))
        body, noise = body + planes[3 * trained :], planes[: 3 * trained]
    flags = 0 if logprobs is None else _HAS_LOGPROBS
    packed = zlib.compress(body, 1)
    sizes = len(segment.prompt_ids), len(segment.completion_ids), trained, len(packed)
    header, content = _HEADER.pack(_MAGIC, _VERSION, flags, *sizes), packed + noise
    return header + _CRC.pack(zlib.crc32(content, zlib.crc32(header))) + content


def unpack_segment(data: bytes) -> Segment:
    """The segment of `pack_segment`'s bytes; raises StoreError where they are not such bytes."""
    start = _HEADER.size + _CRC.size
    if len(data) < start:
        raise StoreError(f"a token blob of {len(data)} bytes is cut short")
    magic, version, flags, prompt, completion, trained, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise StoreError(f"not a token blob of version {_VERSION}: it begins with {data[:4]!r}")
    (announced_crc,), found_crc = _CRC.unpack_from(data, _HEADER.size), zlib.crc32(data[: _HEADER.size])
    if zlib.crc32(data[start:], found_crc) != announced_crc:
        raise StoreError("a token blob is corrupt: its checksum does not fit")
    try:
        body = zlib.decompress(data[start : start + size])
    except zlib.error as error:
        raise StoreError(f"a token blob is corrupt: {error}") from error
    noise = data[start + size :]
    scored = trained if flags & _HAS_LOGPROBS else 0
    tokens, mask_bytes = prompt + completion, (completion + 7) // 8
    found, announced = (len(body), len(noise)), (4 * tokens + mask_bytes + scored, 3 * scored)
    if found != announced:
        raise StoreError(f"a token blob is corrupt: {found} bytes of content, {announced} announced")
    ids = _from_planes(body[: 4 * tokens], "<i4")
    packed = np.frombuffer(body, np.uint8, mask_bytes, 4 * tokens)
    mask = np.unpackbits(packed, count=completion).astype(np.bool_)
    if int(mask.sum()) != trained:
        raise StoreError(f"a token blob is corrupt: {int(mask.sum())} mask bits set, {trained} announced")
    logprobs = None
    if flags & _HAS_LOGPROBS:
        logprobs = _from_planes(noise + body[4 * tokens + mask_bytes :], "<f4")
        if not np.isfinite(logprobs).all():
            raise StoreError("a token blob is corrupt: a log-prob is not finite")
    return Segment(ids[:prompt], ids[prompt:], mask, logprobs)


def _planes(values: NDArray[Any]) -> bytes:
    """The bytes of 4-byte numbers by place: all lowest, then all second, third and highest ones."""
    return values.view(np.uint8).reshape(-1, 4).T.tobytes()


def _from_planes(data: bytes, dtype: str) -> NDArray[Any]:
    """The inverse of `_planes`."""
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(4, -1).T).view(dtype)[:, 0]
