"""Keyed randomness: every random number comes from named parts, so redone work is the same work."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid

import numpy as np


def keyed_seed(*parts: int | str) -> int:
    """A number in [0, 2^63) from the parts, e.g. `keyed_seed(seed, "generate", iteration, task_hash, attempt)`."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_rng(*parts: int | str) -> np.random.Generator:
    """A counter-based generator (Philox) keyed by the parts."""
    return np.random.Generator(np.random.Philox(key=keyed_seed(*parts)))


def uuid7() -> uuid.UUID:
    """A time-ordered UUID, version 7 (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & (2**62 - 1)
    return uuid.UUID(int=value)
