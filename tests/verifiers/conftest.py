"""What tests of verifiers share: a pool, and a folder on the path in which workers find the tests' plugins too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def pool() -> Iterator[VerifierPool]:
    """One for all tests that need no limits of their own."""
    with VerifierPool(PoolLimits(workers=1)) as shared:
        yield shared
