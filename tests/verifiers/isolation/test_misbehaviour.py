"""Verifiers that misbehave on every fourth attempt, in a hundred ways at once: no other attempt notices."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from misbehaving import CLEAN, WAYS

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn, Verdict
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.isolation.worker import Recipe

ATTEMPTS = 8
WORKERS = 6
TASK = Task("toy", "yes", (Message("user", "?"),), Split.TRAIN, "h")


def attempt(number: int) -> tuple[Task, Trajectory]:
    return TASK, Trajectory("h", Source.POLICY, (Turn(Message("assistant", str(number))),), (), StopReason.TERMINATED)


def ask(pool: VerifierPool, recipe: Recipe, numbers: range = range(ATTEMPTS)) -> list[Verdict]:
    return [judged.verdict for judged in pool.verify_all(recipe, [attempt(number) for number in numbers])]


def recipe(kind: str, how: str) -> Recipe:
    return Recipe(f"misbehaving:{kind}", json.dumps({"how": how}))


def marked(mark: str) -> dict[int, str]:
    """Living processes that have the mark in their environment, but for this one."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_text(errors="replace") and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Future[list[Verdict]]]:
    """Of every way, on one pool; nothing is left when all have been judged, nor when it is closed."""
    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIAL", mark)
        with (
            VerifierPool(PoolLimits(seconds=2.0, cpu_seconds=20, memory_mb=1024, workers=WORKERS)) as pool,
            ThreadPoolExecutor(len(WAYS)) as threads,
        ):
            started = time.monotonic()
            found = {how: threads.submit(ask, pool, recipe("Misbehaves", how)) for how in WAYS}
            for one in found.values():
                one.exception(timeout=120)
            assert time.monotonic() - started < 120
            assert [verdict.score for verdict in ask(pool, Recipe("exact", "{}"), range(4))] == [0.0] * 4
            assert len(left := marked(mark)) <= 1 + 2 * WORKERS, left
        assert marked(mark) == {}
    return found


@pytest.mark.parametrize("how", WAYS)
def test_a_verifier_that(verdicts: dict[str, Future[list[Verdict]]], how: str) -> None:
    given = verdicts[how].result(timeout=0)
    clean = json.dumps(CLEAN)
    expected = [Verdict(Status.OK, n / 10, n * 1e300, (0.1, n / 10), str(n), clean) for n in range(ATTEMPTS)]
    for number, verdict in enumerate(given):
        if number % 4 != 3:
            assert verdict == expected[number]
            continue
        assert verdict.status in WAYS[how].status
        assert type(verdict.score) in (float, type(None))
        if verdict.status is not Status.OK:
            assert re.search(WAYS[how].why, verdict.explanation)
        elif verdict.extracted is not None:
            assert replace(verdict, expected=clean) == expected[number]  # what it did to its process, it sees
