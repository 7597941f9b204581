"""No hang past its limit, no crash of the caller, no false positive, no process or file left behind."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import Case, cases

from journeyman.agent.data import Status
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.isolation.worker import Recipe

SECONDS = 5.0
"""Wall-clock limit of one verdict."""
SLACK = 3.0
"""For a worker's end and another one's start on a busy machine."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder that is working directory and home of temporary files of the workers."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TMPDIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def strict(place: Path) -> Iterator[VerifierPool]:
    before = children()
    with VerifierPool(PoolLimits(seconds=SECONDS, cpu_seconds=4, memory_mb=3000, workers=2)) as pool:
        yield pool
        assert len(children() - before) <= 2
    assert children() <= before


CORPUS = list(cases("CANARY"))
VERIFIERS = sorted({case.verifier for case in CORPUS})


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    texts = {(case.verifier, case.text, str(case.calls)) for case in CORPUS}
    assert len(texts) >= 2000
    assert {case.kind.split(",")[0] for case in CORPUS} >= {
        *("tower", "factorial", "fractions", "brackets", "control", "long", "code", "regex", "plea", "deep", "calls")
    }


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_nothing_hangs_crashes_or_passes(strict: VerifierPool, place: Path, verifier: str) -> None:
    attacks = [case for case in CORPUS if case.verifier == verifier]
    statuses: Counter[Status] = Counter()
    for options, group in by_options(attacks).items():
        started = time.monotonic()
        judged = strict.verify_all(Recipe(verifier, options), [case.attempt(i) for i, case in enumerate(group)])
        assert len(judged) == len(group)
        for case, (verdict, milliseconds) in zip(group, judged, strict=True):
            told = f"{case.kind}: {case.text[:80]!r} -> {verdict}"
            assert verdict.score is None or verdict.score < 1, told
            assert milliseconds <= 1000 * (SECONDS + SLACK), told
            statuses[verdict.status] += 1
        assert time.monotonic() - started < len(group) * (SECONDS + SLACK)
    assert statuses.total() == len(attacks)
    assert statuses[Status.OK] > 0.8 * len(attacks) or verifier in ("pattern", "tools"), statuses
    assert list(place.iterdir()) == []


def by_options(attacks: list[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in attacks:
        found.setdefault(json.dumps(case.options), []).append(case)
    return found


def children() -> set[str]:
    """Living processes that this one started: the workers of its pools."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(stat.parent.name)
    return found
