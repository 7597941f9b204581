"""`kill -9` at any moment, then `journeyman resume`: the tables equal those of a run that nobody killed."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

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

DIES_IN_AN_UPDATE = """
import functools, os, signal, sys
from torch.optim import AdamW
from journeyman.agent.learning import checkpoint
from journeyman.workflows import expert_iteration as loop
from journeyman.workflows.cli import main

stage, step, moment = loop.finetune, AdamW.step, sys.argv.pop(1)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def one_step(*arguments, **more):
    step(*arguments, **more)
    die()

@functools.wraps(stage)
def finetune(*arguments):
    if moment == "between two steps":
        AdamW.step = one_step
    else:
        checkpoint.seal = die
    return stage(*arguments)

loop.finetune = finetune
sys.exit(main())
"""


@pytest.fixture(scope="module")
def expected(small_run) -> dict[str, list[str]]:
    return small_run.tables()


@pytest.fixture(scope="module")
def watched_run(cli_in, tmp_path_factory, small) -> dict[str, list[str]]:
    cli = cli_in(tmp_path_factory.mktemp("watched"))
    cli("run", small, "--engine", "none", *(part for setting in WATCHED for part in ("--set", setting)))
    return cli.tables()


def resume_to_the_end(cli) -> dict[str, list[str]]:
    cli("resume", "--engine", "none")
    return cli.tables()


def test_the_dump_sees_every_table(expected) -> None:
    assert {name for name, rows in expected.items() if rows} == {
        "alembic_version", "audit", "evaluation", "group_tally", "iteration", "lease", "outcome", "policy_version",
        "replay_entry", "replay_pool", "rubric_term", "run", "score", "segment", "task", "token_blob", "training_use",
        "trajectory", "trajectory_group", "turn",
    }  # fmt: skip
    assert {name for name, rows in expected.items() if not rows} == {"label", "retraction"}


# of the small run's 60-odd transactions: the warm start's, a chunk claimed, scores stored, an evaluation's chunk
@pytest.mark.parametrize(("commit", "moment"), [(7, "before"), (17, "after"), (24, "before"), (30, "after")])
def test_killed_at_a_transaction(cli, small, expected, commit: int, moment: str) -> None:
    cli(str(commit), moment, "run", small, "--engine", "none", script=DIES_AT_COMMIT, code=-signal.SIGKILL)
    assert resume_to_the_end(cli) == expected


WATCHED = [
    "run.iterations=1",
    "warm_start.max_epochs=4",
    "warm_start.check_every=4",
    'audit={verifier = "pattern", rewrites = 8, train = 8}',
    'verifiers.pattern={pattern = "[*]"}',
    'guard=[{name = "wide", environment = {name = "countdown", max_value = 9}, tasks = 10, margin = 0.0}]',
]


def test_killed_while_guards_and_audits_are_under_way(cli, small, watched_run) -> None:
    """Five times in one run: what is left after each resume is resumed again."""
    command = ["run", small, "--engine", "none", *(part for setting in WATCHED for part in ("--set", setting))]
    for commit, moment in [(19, "after"), (5, "before"), (5, "after"), (18, "before"), (6, "after")]:
        cli(str(commit), moment, *command, script=DIES_AT_COMMIT, code=-signal.SIGKILL)
        command = ["resume", "--engine", "none"]
    assert resume_to_the_end(cli) == watched_run


def test_killed_again_and_again_at_random_moments(cli, small, small_run, expected) -> None:
    chance = random.Random(7)
    command = ["run", small, "--engine", "none"]
    for _ in range(4):
        process = cli.start(*command)
        database = cli.folder / "runs" / "journeyman.db"
        while not database.exists():
            time.sleep(0.05)
        time.sleep(chance.uniform(0.02, 0.5) * small_run.seconds)
        process.kill()
        if process.wait() == 0:
            break
        command = ["resume", "--engine", "none"]
    assert tables_after(cli) == expected


@pytest.mark.parametrize("moment", ["between two steps", "while it is saved"])
def test_killed_in_an_update(cli, small, small_run, moment: str) -> None:
    """All files of all versions are in the end what they are without a kill, but for manifests: they name the run."""
    cli(moment, "run", small, "--engine", "none", script=DIES_IN_AN_UPDATE, code=-signal.SIGKILL)
    cli("resume", "--engine", "none")
    assert versions(cli.folder) == versions(small_run.folder)
    assert {name.split("/")[0] for name in versions(cli.folder)} == {"v0001", "v0002", "v0003"}


def versions(folder: Path) -> dict[str, bytes]:
    (run,) = (path for path in (folder / "runs" / "artifacts").iterdir() if (path / "lock").exists())
    files = (path for path in run.rglob("v*/**/*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def tables_after(cli) -> dict[str, list[str]]:
    """The tables once the run is finished, whether or not the last process finished it."""
    last = cli("status", "--json")
    if json.loads(last.stdout)["runs"][0]["state"] == "interrupted":
        return resume_to_the_end(cli)
    return cli.tables()
