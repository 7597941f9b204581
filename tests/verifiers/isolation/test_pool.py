"""The pool: hangs, crashes and floods are contained, order is kept, equal inputs are scored once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.errors import JourneymanError
from journeyman.verifiers.isolation import dispatcher
from journeyman.verifiers.isolation.pool import Judged, PoolLimits, VerifierPool, shared_pool
from journeyman.verifiers.isolation.worker import Recipe

TASK = Task("toy", "yes", (Message("user", "?"),), Split.TRAIN, "h")
OBEYS = "plugins_under_test:Obeys"


@pytest.fixture(scope="module")
def quick() -> Iterator[VerifierPool]:
    """Two workers with little patience."""
    with VerifierPool(PoolLimits(seconds=1.0, cpu_seconds=2, memory_mb=1024, workers=2)) as pool:
        yield pool


def says(text: str, attempt: int = 0) -> Trajectory:
    return Trajectory("h", Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED, attempt)


def ask(pool: VerifierPool, *texts: str, log: Path | None = None) -> list[Judged]:
    options = json.dumps({"log": str(log)} if log else {})
    return pool.verify_all(Recipe(OBEYS, options), [(TASK, says(text, i)) for i, text in enumerate(texts)])


def told(judged: list[Judged]) -> list[tuple[Status, str | None]]:
    return [(j.verdict.status, j.verdict.extracted or j.verdict.explanation) for j in judged]


def test_answers_come_in_order_and_equal_inputs_are_scored_once(quick: VerifierPool, tmp_path: Path) -> None:
    texts = [f"score 0.{i % 50:02}" for i in range(500)]
    judged = ask(quick, *texts, log=tmp_path / "log")
    assert [j.verdict.score for j in judged] == [(i % 50) / 100 for i in range(500)]
    assert all(j.milliseconds > 0 for j in judged)
    again = ask(quick, *reversed(texts), log=tmp_path / "log")
    assert again == judged[::-1]
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(set(texts))


def test_what_an_attempt_took_is_told_to_those_that_ask_for_it(quick: VerifierPool, tmp_path: Path) -> None:
    attempts = [(TASK, replace(says("score 0.3"), seconds=float(s), sampled_tokens=3)) for s in range(1, 4)]
    quick.verify_all(Recipe(OBEYS, json.dumps({"log": str(tmp_path / "log")})), attempts)
    assert (tmp_path / "log").read_text() == "score 0.3\n"
    latency = Recipe("latency", json.dumps({"budget": 0.0, "limit": 4.0}))
    assert [j.verdict.score for j in quick.verify_all(latency, attempts, expenses=True)] == [0.25, 0.5, 0.75]
    assert {j.verdict.status for j in quick.verify_all(latency, attempts)} == {Status.ABSTAIN}


@pytest.mark.parametrize(
    ("order", "status", "why"),
    [
        ("hang", Status.TIMEOUT, "the verifier took over 1 s"),
        ("swallow", Status.TIMEOUT, "the verifier took over 1 s"),
        ("die 0", Status.ERROR, "the verifier's process ended with code 0"),
        ("die 3", Status.ERROR, "the verifier's process ended with code 3"),
        ("crash", Status.ERROR, "the verifier's process was killed by SIGSEGV"),
        ("eat 4000000000", Status.ERROR, "MemoryError: "),
        ("close", Status.ERROR, "the verifier closed its process's pipe"),
        ("orphan", Status.ERROR, "the verifier's process ended with code 7"),
        ("nonsense", Status.ERROR, "AttributeError: 'Obeys' object has no attribute '_nonsense'"),
    ],
)
def test_a_bad_call_harms_no_other(quick: VerifierPool, order: str, status: Status, why: str) -> None:
    good = [f"score 0.{i}1" for i in range(10)]
    judged = told(ask(quick, *good[:5], order, *good[5:]))
    assert judged.pop(5) == (status, why)
    assert judged == [(Status.OK, text.split()[1]) for text in good]


def test_processor_time_is_limited_apart_from_the_clock() -> None:
    with VerifierPool(PoolLimits(seconds=60.0, cpu_seconds=1, workers=1)) as pool:
        started = time.monotonic()
        judged = told(ask(pool, "score 0.5", "spin", "score 0.7"))
        assert time.monotonic() - started < 40
    why = "the verifier used over 1 s of processor time"
    assert judged == [(Status.OK, "0.5"), (Status.TIMEOUT, why), (Status.OK, "0.7")]


def test_a_call_that_filled_the_memory_leaves_none_of_it_behind() -> None:
    with VerifierPool(PoolLimits(memory_mb=1024, workers=1)) as pool:
        judged = ask(pool, "hoard", "eat 300000000", "eat 300000001")
    assert [j.verdict.status for j in judged] == [Status.ERROR, Status.OK, Status.OK]


SLOW = """
import time
from journeyman.agent.data import Status, Verdict

end = time.{clock}() + {seconds}
while time.{clock}() < end:
    pass

class Slow:
    name, version = "slow", "1"
    def verify(self, task, trajectory):
        return Verdict(Status.OK, 1.0)
"""


def test_a_slow_import_is_no_attempts_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW.format(clock="process_time", seconds=3.5))
    monkeypatch.syspath_prepend(str(tmp_path))
    with VerifierPool(PoolLimits(cpu_seconds=1, workers=1)) as pool:
        ask(pool, "score 1")
        (judged,) = pool.verify_all(Recipe("slow_to_import:Slow", "{}"), [(TASK, says("x"))])
    assert (judged.verdict.status, judged.verdict.score) == (Status.OK, 1.0)


def test_an_import_that_hangs_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs_at_import.py").write_text(SLOW.format(clock="monotonic", seconds=1000))
    monkeypatch.syspath_prepend(str(tmp_path))
    with VerifierPool(PoolLimits(workers=1)) as pool:
        ask(pool, "score 1")
        monkeypatch.setattr(dispatcher, "LOAD_SECONDS", 1.0)
        judged = pool.verify_all(Recipe("hangs_at_import:Slow", "{}"), [(TASK, says(str(i))) for i in range(200)])
        monkeypatch.undo()
        assert told(ask(pool, "score 0.5")) == [(Status.OK, "0.5")]
    assert {(j.verdict.status, j.verdict.explanation) for j in judged} == {
        (Status.TIMEOUT, "importing the verifier took over 1 s")
    }


def test_a_worker_that_does_not_start_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LOAD_SECONDS", 0.01)
    with VerifierPool(PoolLimits(workers=1)) as pool, pytest.raises(JourneymanError, match="did not start within"):
        ask(pool, "score 1")


def test_a_crowd_of_small_batches_is_served(quick: VerifierPool) -> None:
    with ThreadPoolExecutor(150) as threads:
        scores = list(threads.map(lambda i: ask(quick, f"score 0.{i:04}")[0].verdict.score, range(1500)))
    assert scores == [i / 10_000 for i in range(1500)]


def test_a_forked_child_has_workers_of_its_own(quick: VerifierPool) -> None:
    ask(quick, "score 0.1")
    child = os.fork()
    if child == 0:
        judged = ask(quick, "score 0.123")
        quick.close()
        os._exit(0 if judged[0].verdict.score == 0.123 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert told(ask(quick, "score 0.124")) == [(Status.OK, "0.124")]


def test_files_in_the_working_directory_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numbers.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with VerifierPool(PoolLimits(workers=1)) as pool:
        assert told(ask(pool, "score 0.5")) == [(Status.OK, "0.5")]


def test_failures_are_asked_again_and_verdicts_are_not(quick: VerifierPool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        assert [s for s, _ in told(ask(quick, "die 1", "score 1", log=log))] == [Status.ERROR, Status.OK]
    assert log.read_text().splitlines().count("die 1") == 2
    assert log.read_text().splitlines().count("score 1") == 1


def test_what_a_verifier_prints_or_starts_stays_without_effect(quick: VerifierPool, tmp_path: Path) -> None:
    child = tmp_path / "child"
    judged = told(ask(quick, "print x", f"start {child}", "score 0.25"))
    assert [status for status, _ in judged] == [Status.OK, Status.TIMEOUT, Status.OK]
    wait_until_gone(int(child.read_text()))


def test_many_threads_asyncio_and_workers_share_one_pool(quick: VerifierPool) -> None:
    found: dict[int, list[float | None]] = {}

    def one(number: int) -> None:
        texts = [f"score 0.{number}{i:02}" for i in range(40)]
        found[number] = [j.verdict.score for j in ask(quick, *texts)]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [float(f"0.{n}{i:02}") for i in range(40)] for n in range(1, 5)}

    async def from_async() -> list[list[Judged]]:
        return await asyncio.gather(*(asyncio.to_thread(ask, quick, f"score 0.9{i}", "hang") for i in range(3)))

    scores = [[j.verdict.score for j in judged] for judged in asyncio.run(from_async())]
    assert scores == [[0.90, None], [0.91, None], [0.92, None]]


def test_workers_work_at_the_same_time(tmp_path: Path) -> None:
    with VerifierPool(PoolLimits(workers=2, seconds=60)) as pool:
        judged = ask(pool, f"meet {tmp_path / 'one'}", f"meet {tmp_path / 'two'}")
    assert [j.verdict.extracted for j in judged] == ["one two", "one two"]


def test_a_closed_pool_starts_anew_and_leaves_no_process(tmp_path: Path) -> None:
    pool = VerifierPool(PoolLimits(workers=1))
    ((_, first),) = told(ask(pool, "who 1"))
    raised = []

    def wait() -> None:
        with pytest.raises(JourneymanError, match="was closed") as error:
            ask(pool, "hang")
        raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    pool.close()
    waiting.join(timeout=10)
    assert len(raised) == 1
    wait_until_gone(int(first))
    ((_, second),) = told(ask(pool, "who 2"))
    pool.close()
    assert first != second
    wait_until_gone(int(second))


PARENT = """
from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.isolation.worker import Recipe

def ask(text):
    turn = Turn(Message("assistant", text))
    trajectory = Trajectory("h", Source.POLICY, (turn,), (), StopReason.TERMINATED)
    attempt = Task("toy", 1, (), Split.TRAIN, "h"), trajectory
    return pool.verify_all(Recipe("plugins_under_test:Obeys", "{}"), [attempt])

pool = VerifierPool(PoolLimits(workers=1, seconds=500))
print(ask("who")[0].verdict.extracted, flush=True)
ask("swallow")
"""


def test_workers_end_with_a_killed_parent() -> None:
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | path) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.5)  # it is hanging by now
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(worker)


def test_a_worker_that_cannot_start_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with VerifierPool(PoolLimits(workers=1)) as pool, pytest.raises(JourneymanError, match="cannot start"):
        ask(pool, "score 1")


def test_pools_of_equal_limits_are_shared() -> None:
    assert shared_pool(PoolLimits(seconds=3.0)) is shared_pool(PoolLimits(seconds=3.0))
    assert shared_pool(PoolLimits(seconds=3.0)) is not shared_pool(PoolLimits(seconds=4.0))


def wait_until_gone(process: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = Path(f"/proc/{process}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} is still there")
