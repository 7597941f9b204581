"""Verifiers that misbehave on every fourth attempt, in a hundred ways at once: no other attempt notices."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from misbehaving import CLEAN, WAYS

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn, Verdict
from journeyman.agent.errors import JourneymanError
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


@pytest.fixture
def small() -> Iterator[VerifierPool]:
    with VerifierPool(PoolLimits(seconds=2.0, memory_mb=1024, workers=2)) as pool:
        yield pool


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exits_at_once", "the verifier's process ended with code 0, while it was imported"),
        ("kills_its_group", "the verifier's process was killed by SIGKILL, while it was imported"),
        ("becomes_another_program", "the verifier's process ended with code 0, while it was imported"),
        ("interrupts", "KeyboardInterrupt: "),
        ("raises_a_base_exception_of_its_own", "Own: "),
        ("writes_noise", "the verifier's process wrote noise into the pool's socket"),
    ],
)
def test_one_that_cannot_be_made_fails_every_attempt_and_no_other(small: VerifierPool, how: str, why: str) -> None:
    given = ask(small, recipe("MisbehavesWhenMade", how), range(20))
    assert {(verdict.status, verdict.explanation) for verdict in given} == {(Status.ERROR, why)}
    assert [verdict.score for verdict in ask(small, Recipe("exact", "{}"), range(4))] == [0.0] * 4


@pytest.mark.parametrize("how", ["forks_and_lets_both_return", "changes_directory_and_path", "prints", "sets_an_alarm"])
def test_one_that_misbehaves_when_made_judges_as_others_do(small: VerifierPool, how: str) -> None:
    given = ask(small, recipe("MisbehavesWhenMade", how), range(20))
    assert [verdict.score for verdict in given] == [number / 10 if number <= 10 else None for number in range(20)]
    assert all('"folder": true' in verdict.expected for verdict in given[:11])


def test_what_a_verifier_started_when_it_was_made_lives_as_long_as_its_worker(monkeypatch) -> None:
    monkeypatch.setenv("TRIAL", mark := uuid.uuid4().hex)
    with VerifierPool(PoolLimits(workers=1)) as pool:
        first, *others = ask(pool, recipe("MisbehavesWhenMade", "starts_a_helper"))
        assert "sleep 1000 " in marked(mark).values()
        assert json.loads(first.expected)["threads"] == 2
        assert {verdict.expected for verdict in others} == {first.expected}
    assert marked(mark) == {}


def test_children_of_the_caller_are_left_alone(small: VerifierPool) -> None:
    mine = [subprocess.Popen(["sh", "-c", f"sleep {seconds}; exit 7"]) for seconds in (0, 1)]
    given = ask(small, recipe("Misbehaves", "starts_a_daemon"))
    assert [verdict.score for verdict in given] == [number / 10 for number in range(ATTEMPTS)]
    assert [child.wait() for child in mine] == [7, 7]


def test_what_is_killed_while_it_starts_is_started_again(monkeypatch) -> None:
    monkeypatch.setenv("TRIAL", mark := uuid.uuid4().hex)
    with VerifierPool(PoolLimits(workers=1)) as pool, ThreadPoolExecutor(1) as threads:
        for numbers in (range(3), range(3, 6)):  # at first, and when all is there
            asked = threads.submit(ask, pool, Recipe("exact", "{}"), numbers)
            while not (processes := marked(mark)):
                time.sleep(0.001)
            os.kill(min(processes), signal.SIGKILL)
            assert [verdict.score for verdict in asked.result(timeout=60)] == [0.0] * 3
    end = time.monotonic() + 10
    while left := marked(mark):  # what a killed warden had started hears of its end, and ends by itself
        assert time.monotonic() < end, left
        time.sleep(0.01)


def test_a_worker_that_never_starts_is_an_error_after_some_tries() -> None:
    with (
        VerifierPool(PoolLimits(workers=2, memory_mb=2**60)) as pool,
        pytest.raises(JourneymanError, match="cannot start"),
    ):
        ask(pool, Recipe("exact", "{}"))


@pytest.mark.parametrize("whom", ["worker", "guardian", "warden"])
def test_what_is_killed_from_outside_is_replaced(small: VerifierPool, monkeypatch, whom: str) -> None:
    monkeypatch.setenv("TRIAL", mark := uuid.uuid4().hex)
    with VerifierPool(PoolLimits(workers=1)) as pool:
        for numbers in (range(3), range(3, 6)):
            assert [verdict.score for verdict in ask(pool, Recipe("exact", "{}"), numbers)] == [0.0] * 3
            processes = dict(zip(("warden", "guardian", "worker"), sorted(marked(mark)), strict=True))
            os.kill(processes[whom], signal.SIGKILL)
            while processes["worker"] in marked(mark):  # it could answer until it hears of it
                time.sleep(0.01)
        assert [verdict.score for verdict in ask(pool, Recipe("exact", "{}"), range(6, 9))] == [0.0] * 3
    assert marked(mark) == {}
