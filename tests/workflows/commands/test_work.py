"""Workers that join a run: each piece is done once, and the rows are those of one process."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from warm import Child

from journeyman.storage.store import ReplayStore
from journeyman.workflows.commands.work import work_for

pytestmark = pytest.mark.slow

ONLY_WAITS = """
import sys
from journeyman.workflows.attempts import sharing
from journeyman.workflows.cli import main

sharing.do_some = lambda session, work: False
sys.exit(main())
"""
HANGS_IN_A_CHUNK = """
import sys, time
from pathlib import Path
from journeyman.workflows.stages import generate
from journeyman.workflows.cli import main

def hang(*_):
    Path("hangs").touch()
    time.sleep(600)

generate.make_chunk = hang
sys.exit(main())
"""
LETS_ANOTHER_BEGIN = """
import sys, time
from pathlib import Path
from journeyman.workflows.attempts import sharing
from journeyman.workflows.cli import main

do_some = sharing.do_some
sharing.do_some = lambda session, work: Path("hangs").exists() and do_some(session, work)
sys.exit(main())
"""
LIMIT_S = 240.0


def wait_for(what: str, seen: Callable[[], bool], maker: Child) -> None:
    end = time.monotonic() + LIMIT_S
    while not seen():
        assert maker.poll() is None, f"no {what}: its process has ended"
        assert time.monotonic() < end, f"no {what} within {LIMIT_S:.0f} s"
        time.sleep(0.1)


@pytest.fixture
def started(cli) -> Iterator[Callable[..., Child]]:
    """Starts processes, and ends those that are left."""
    processes = []

    def start(*arguments: str, script: str | None = None) -> Child:
        processes.append(cli.start(*arguments, script=script))
        return processes[-1]

    yield start
    for process in processes:
        process.kill_session()


def weights(cli) -> bool:
    return any(Path(cli.folder, "runs", "artifacts").glob("*-*-*-*-*/v0001"))


def leases(cli) -> list[tuple[str, str, int]]:
    """Kind, worker and how often claimed, of all work, which is done."""
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    with store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT kind, worker, claims, state FROM lease").all()
    store.close()
    assert {row.state for row in rows} == {"done"}
    return [(row.kind, row.worker, row.claims) for row in rows]


def test_two_workers_make_the_rows_of_one_process(cli, started, small, small_run) -> None:
    driver = started("run", small, "--engine", "none", script=ONLY_WAITS)
    wait_for("weights of the warm start", lambda: weights(cli), driver)
    workers = [started("work", "small"), started("work", "small", "--kinds", "generate")]
    assert driver.wait(LIMIT_S) == 0
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert cli.tables() == small_run.tables()
    theirs = tuple(f"-{worker.pid}" for worker in workers)
    assert all(name.endswith(theirs) and claims == 1 for _, name, claims in leases(cli))


def test_the_work_of_a_killed_worker_is_done_once_by_another(cli, started, small, small_run) -> None:
    lease = "generate.lease_seconds=3"
    driver = started("run", small, "--engine", "none", "--set", lease, script=LETS_ANOTHER_BEGIN)
    wait_for("weights of the warm start", lambda: weights(cli), driver)
    worker = started("work", "small", script=HANGS_IN_A_CHUNK)
    wait_for("chunk under way", (cli.folder / "hangs").exists, worker)
    time.sleep(5)  # its lease would have expired, were it not renewed
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    run = store.runs.find("small")
    assert store.queue.progress(run.id, "generate/1").claimed == 1
    assert driver.poll() is None
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert driver.wait(LIMIT_S) == 0
    assert cli.tables() == small_run.tables()
    assert sorted(claims for _, _, claims in leases(cli))[-2:] == [1, 2]
    assert {worker for _, worker, _ in leases(cli)} == {"driver"}
    assert store.upkeep.check() == []
    store.close()


def test_a_worker_with_nothing_to_do(small_run, cli) -> None:
    assert "done: nothing" in small_run("work", "small", "--once").stderr
    assert "done: nothing" in small_run("work", "small").stderr  # the run is finished
    assert "unknown run 'smal': did you mean 'small'?" in small_run("work", "smal", code=2).stderr
    database = small_run.folder / "runs" / "journeyman.db"
    assert "done: nothing" in cli("work", "small", "--store", f"sqlite:///{database}").stderr

    shutil.copy(database, cli.folder / "copy.db")
    with sqlite3.connect(cli.folder / "copy.db") as connection:
        artifacts = str(small_run.folder / "runs" / "artifacts")
        connection.execute("UPDATE run SET settings = replace(settings, ?, ?)", (artifacts, f"{cli.folder}/nowhere"))
    copy = ("work", "small", "--store", "sqlite:///copy.db")
    assert "the weights of run small are not here" in cli(*copy, code=2).stderr
    cli(*copy, "--kinds", "score")


def test_work_of_another_rubric_is_left_to_who_knows_it(watched) -> None:
    """A run that was killed while a verifier's older version scored: neither `--once` nor a finished run waits."""
    session = watched.open()
    session.store.queue.enqueue(session.run.id, "score/1/0123456789abcdef", ["a", "b"])
    assert work_for(session, ["generate", "score"], once=True) == {}
    session.store.runs.finish(session.run.id)
    assert work_for(session, ["generate", "score"], once=False) == {}
    assert session.store.queue.progress(session.run.id, "score/1/0123456789abcdef").open == 2
