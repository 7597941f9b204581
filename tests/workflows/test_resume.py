"""`kill -9` at any moment, then `journeyman resume`: the tables equal those of a run that nobody killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume")]

DIES_AT_COMMIT = """
import os, signal, sys
from contextlib import contextmanager
from journeyman.storage.database import Database
from journeyman.workflows.cli import main

deadly, before = int(sys.argv.pop(1)), sys.argv.pop(1) == "before"
write, count = Database.write, 0

@contextmanager
def counted(self):
    global count
    with write(self) as connection:
        yield connection
        count += 1
        if count == deadly and before:
            os.kill(os.getpid(), signal.SIGKILL)
    if count == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

Database.write = counted
sys.exit(main())
"""

# ids, times and places: all that may differ between two runs
UNEQUAL = {"id", "created_at", "started_at", "finished_at", "latency_ms", "settings", "stats", "path"}
NAMES = {
    "run": "name",
    "task": "hash",
    "policy_version": "number",
    "trajectory_group": "key",
}


def tables(url: str) -> dict[str, list[str]]:
    """All rows of all tables as sorted text, ids replaced by natural keys."""
    engine = create_engine(url)
    found: dict[str, list[dict[str, Any]]] = {}
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        for name in names:
            found[name] = [dict(row) for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()]
    engine.dispose()
    natural = {row["id"]: f"{name}:{row[key]}" for name, key in NAMES.items() for row in found[name]}
    natural |= {row["id"]: f"{natural[row['group_id']]}/{row['attempt']}" for row in found["trajectory"]}
    return {
        name: sorted(
            json.dumps(
                {c: natural.get(v, v.hex() if isinstance(v, bytes) else v) for c, v in row.items() if c not in UNEQUAL}
            )
            for row in rows
        )
        for name, rows in found.items()
    }


@pytest.fixture(scope="module")
def expected(small_run) -> dict[str, list[str]]:
    return tables(f"sqlite:///{small_run.folder}/runs/journeyman.db")


def resume_to_the_end(cli) -> dict[str, list[str]]:
    cli("resume", "--engine", "none")
    return tables(f"sqlite:///{cli.folder}/runs/journeyman.db")


def test_the_dump_sees_every_table(expected) -> None:
    assert {name for name, rows in expected.items() if rows} == {
        "alembic_version", "evaluation", "iteration", "policy_version", "replay_entry", "replay_pool", "run", "score",
        "segment", "task", "token_blob", "training_use", "trajectory", "trajectory_group", "turn",
    }  # fmt: skip
    assert {name for name, rows in expected.items() if not rows} == {"label", "lease", "retraction"}


# of the small run's 20-odd transactions: the first chunks, a version, relabels, an evaluation, the last
@pytest.mark.parametrize(("commit", "moment"), [(7, "before"), (9, "after"), (13, "before"), (17, "after")])
def test_killed_at_a_transaction(cli, small, expected, commit: int, moment: str) -> None:
    cli(str(commit), moment, "run", small, "--engine", "none", script=DIES_AT_COMMIT, code=-signal.SIGKILL)
    assert resume_to_the_end(cli) == expected


def test_killed_again_and_again_at_random_moments(cli, small, expected, tmp_path: Path) -> None:
    import random

    rng = random.Random(7)
    command = [sys.executable, "-m", "journeyman.workflows.cli"]
    arguments = ["run", small, "--engine", "none"]
    for _ in range(4):
        process = subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        )
        database = tmp_path / "runs" / "journeyman.db"
        while not database.exists():
            time.sleep(0.1)
        time.sleep(rng.uniform(1, 15))
        process.kill()
        process.wait()
        if process.returncode == 0:
            break
        arguments = ["resume", "--engine", "none"]
    assert tables_after(cli) == expected


def tables_after(cli) -> dict[str, list[str]]:
    """The tables once the run is finished, whether or not the last process finished it."""
    last = cli("status", "--json")
    if json.loads(last.stdout)["runs"][0]["state"] == "unfinished":
        return resume_to_the_end(cli)
    return tables(f"sqlite:///{cli.folder}/runs/journeyman.db")
