"""Ctrl-C once gives back what is under way and says so in the store; twice ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.life import standing

pytestmark = pytest.mark.slow

HANGS_IN_A_CHUNK = """
import sys, time
from pathlib import Path
from journeyman.storage.leases import WorkQueue
from journeyman.workflows.stages import generate
from journeyman.workflows.cli import main

release = WorkQueue.release

def hang(*_):
    Path("hangs").touch()
    time.sleep(600)

def hang_too(self, claim):
    Path("cleans up").touch()
    time.sleep(600)

generate.make_chunk = hang
if sys.argv.pop(1) == "twice":
    WorkQueue.release = hang_too
sys.exit(main())
"""
IN_AN_EXEC = """
import sys
from journeyman.workflows import cli
from journeyman.workflows.commands import look

def plugins(options):
    exec("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)")

look.plugins = plugins
sys.exit(cli.main(["plugins"]))
"""
LIMIT_S = 120.0


def wait_for(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.05)


def start(folder: Path, how_often: str, small: str) -> subprocess.Popen[str]:
    """A run in a process group of its own, as a terminal's is, once it hangs in its first chunk."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS_IN_A_CHUNK, how_often, "run", small, "--engine", "none"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    wait_for(lambda: (folder / "hangs").exists() or process.poll() is not None)
    return process


def test_once(cli, small: str) -> None:
    process = start(cli.folder, "once", small)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "journeyman: stopped; `journeyman resume` goes on from here"
    assert "Traceback" not in said
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    run = store.runs.find("small")
    assert (run.state, run.stage, run.reason) == ("stopped", "generate 1", "Ctrl-C")
    progress = store.queue.progress(run.id, "generate/1")
    assert (progress.open, progress.claimed) == (2, 0)
    store.close()
    assert "stopped in generate 1: Ctrl-C" in cli("status").stdout


def test_twice(cli, small: str) -> None:
    process = start(cli.folder, "twice", small)
    os.killpg(process.pid, signal.SIGINT)
    wait_for((cli.folder / "cleans up").exists)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=LIMIT_S)[1]
    assert (process.returncode, said.splitlines()[-1]) == (130, "journeyman: stopped at once")
    assert time.monotonic() - began < 20
    assert "Traceback" not in said
    wait_for(lambda: not living(process.pid))
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    assert standing(store.runs.find("small")) == "interrupted"
    store.close()


def living(group: int) -> list[str]:
    """The processes of the group that are more than an entry in the table."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [row[-1] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def test_the_exit_code_is_130_wherever_it_comes() -> None:
    """An interpreter that was interrupted in an `exec` means to kill itself by the signal at its end."""
    done = subprocess.run([sys.executable, "-c", IN_AN_EXEC], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "journeyman: stopped\n")
