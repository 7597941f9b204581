"""Small runs through the command line, in child processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import create_engine, text
from warm import Child, WarmPython

from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import Session, lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.stages.prepare import prepare

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "examples" / "small.toml"

# one thread: the order of floating-point sums, and so every sampled token, is then the same in every process
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

# ids, times and places: all that may differ between two runs
UNEQUAL = {"id", "created_at", "started_at", "finished_at", "seconds", "latency_ms", "settings", "stats", "path"}
UNEQUAL |= {"token", "worker", "claims"}  # of leases: who did it, and after how many
UNEQUAL |= {"seen_at"}
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


# what a run imports of others' packages
HEAVY = [
    "alembic.command",
    "matplotlib.pyplot",
    "peft",
    "reasoning_gym",
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
]


@dataclass
class Cli:
    """Runs `journeyman ...` in a folder, in child processes that `python` starts."""

    folder: Path
    python: WarmPython

    def __call__(
        self, *arguments: str, code: int = 0, script: str | None = None, timeout: float = 400, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """The finished process; fails where its exit code is not `code`. `script` replaces the console script."""
        command = program(arguments, script)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = self.python.start(command, self.folder, ENVIRONMENT | env, out, err)
            try:
                child.wait(timeout)
            finally:
                child.kill()
            printed = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
        result = subprocess.CompletedProcess(command, child.wait(), *printed)
        assert result.returncode == code, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def start(self, *arguments: str, script: str | None = None) -> Child:
        """The process, under way; what it prints goes to a file in the folder."""
        with (self.folder / "printed.txt").open("ab") as printed:
            return self.python.start(program(arguments, script), self.folder, ENVIRONMENT, printed, printed)

    def tables(self) -> dict[str, list[str]]:
        """What is in the folder's database; see `tables`."""
        return tables(f"sqlite:///{self.folder}/runs/journeyman.db")


def program(arguments: tuple[str, ...], script: str | None) -> list[str]:
    return ["-m", "journeyman.workflows.cli", *arguments] if script is None else ["-c", script, *arguments]


@pytest.fixture(scope="session")
def python() -> Iterator[WarmPython]:
    """Starts Python programs that need not import the large packages again."""
    warm = WarmPython(HEAVY, ENVIRONMENT)
    yield warm
    warm.close()


@pytest.fixture
def cli(tmp_path: Path, python: WarmPython) -> Cli:
    return Cli(tmp_path, python)


@pytest.fixture(scope="session")
def cli_in(python: WarmPython) -> Callable[[Path], Cli]:
    """`cli_in(folder)`: a command line in a folder that outlives the test."""
    return lambda folder: Cli(folder, python)


@dataclass
class SmallRun(Cli):
    """A finished run, what it printed and how long it took."""

    stdout: str
    stderr: str
    seconds: float


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, python: WarmPython) -> SmallRun:
    """examples/small.toml run to its end without Prefect, once for all of xdist's workers; tests only look at it.

    By a process that is no child of a warm one: those that runs are compared with have another hash seed.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small-run"
    told = folder / "told.json"
    with FileLock(f"{folder}.lock"):
        if not told.exists():
            folder.mkdir()
            started = time.perf_counter()
            command = [sys.executable, *program(("run", str(SMALL), "--engine", "none", "--json"), None)]
            made = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
            told.write_text(json.dumps([made.stdout, made.stderr, time.perf_counter() - started]))
    return SmallRun(folder, python, *json.loads(told.read_text()))


@pytest.fixture(scope="session")
def small() -> str:
    return str(SMALL)


class Watched:
    """Opens sessions of new runs of sums (watched_plugins.py) whose policies say what the test has them say."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack

    def settings(self, **sections) -> Settings:
        """Of a small run; keyword arguments are sections."""
        values = {
            "run": {"name": "watched", "engine": "none", "output": str(self.folder)},
            "store": {"url": f"sqlite:///{self.folder}/store.db", "artifacts": str(self.folder / "artifacts")},
            "environment": {"name": "watched_plugins:Sums"},
            "tasks": {"train": 4, "validation": 8, "test": 1},
            "model": {"hidden": 32, "layers": 1},
            "sampler": {"kind": "transformers"},
            "evaluate": {"attempts": 1},
            "verification": {"workers": 1},
        }
        return parse_settings(values | sections, "the test")

    def open(self, **sections) -> Session:
        """With tasks and policy v1, as the warm start leaves it."""
        ref = start_run(self.settings(**sections))
        session = self.stack.enter_context(lend(ref, Reporter(quiet=True)))
        prepare(ref)
        session.store.runs.begin_iteration(ref.run_id, 0)
        session.store.policies.add(ref.run_id, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
        return session

    def candidate(self, session: Session, iteration: int, answer: Callable[[int, int], str]) -> None:
        """Has the iteration's candidate (made here, but for iteration 0) answer a + b like this from now on."""

        def reply(prompt: str, seed: int) -> str:
            a, b = prompt.split("<|user|>")[1].split("?", maxsplit=1)[0].split("+")
            return answer(int(a), int(b))

        session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
        if iteration:
            parent = session.store.policies.newest_promoted(session.run.id)
            session.store.runs.begin_iteration(session.run.id, iteration)
            new = NewPolicy(iteration + 1, parent.id, iteration, "finetune", f"x{iteration}", {})
            session.store.policies.add(session.run.id, new)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with ExitStack() as stack:
        yield Watched(tmp_path, stack)
