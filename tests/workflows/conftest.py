"""Small runs through the command line, in child processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "examples" / "small.toml"

# one thread: the order of floating-point sums, and so every sampled token, is then the same in every process
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Cli:
    """Runs `journeyman ...` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *arguments: str, code: int = 0, script: str | None = None, timeout: float = 400, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """The finished process; fails where its exit code is not `code`. `script` replaces the console script."""
        program = (
            [sys.executable, "-m", "journeyman.workflows.cli"] if script is None else [sys.executable, "-c", script]
        )
        result = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            env=os.environ | ENVIRONMENT | env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert result.returncode == code, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """examples/small.toml run to its end without Prefect; tests only look at it."""
    cli = Cli(tmp_path_factory.mktemp("small"))
    cli.result = cli("run", str(SMALL), "--engine", "none", "--json")
    return cli


@pytest.fixture(scope="session")
def small() -> str:
    return str(SMALL)
