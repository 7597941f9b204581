"""A real Prefect server, a real worker, a schedule that fires, and a run that goes through in another directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]

LIMIT_S = 600.0
"""Of waiting for something that comes: two runs of a minute, more where the machine does much else."""


def wait_for(what: str, seen: Callable[[], object]) -> object:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        found = seen()
        if found:
            return found
        time.sleep(2)
    raise AssertionError(f"no {what} within {LIMIT_S:.0f} s")


@contextmanager
def process(*command: str, cwd: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, which ends as a whole."""
    log = (cwd / "process.log").open("ab")
    child = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=cwd, env=env, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield child
    except BaseException:
        sys.stdout.write((cwd / "process.log").read_text(errors="replace")[-10_000:])  # pytest shows it
        raise
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def prefect_environment(home: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "OMP_NUM_THREADS": "1"}
    return env | quiet | {"PREFECT_HOME": str(home)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that reaches a Prefect server of our own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = prefect_environment(home)
    url = f"http://127.0.0.1:{port}/api"
    with process("prefect", "server", "start", "--port", str(port), cwd=home, env=env):
        wait_for("server", lambda: answers(f"{url}/health"))
        yield env | {"PREFECT_API_URL": url}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def api(env: dict[str, str], path: str, body: dict[str, object]) -> list[dict[str, object]]:
    """What Prefect answers; asked again while the server is busy (503, or no answer), as its own client does."""
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )

    def answered() -> tuple[list[dict[str, object]]] | None:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return (json.loads(answer.read()),)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return None
        except TimeoutError:
            return None

    (answer,) = wait_for(path, answered)
    return answer


def flow_states(env: dict[str, str]) -> list[str]:
    """Of the flow runs that are due or over; those scheduled for later are left out."""
    begun = {"flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
    return [str(run["state_type"]) for run in api(env, "flow_runs/filter", begun)]


def runs_in(folder: Path) -> list[dict[str, object]]:
    if not (folder / "runs" / "journeyman.db").exists():
        return []
    command = [sys.executable, "-m", "journeyman.workflows.cli", "status", "--json"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)["runs"]


def finished(folder: Path, count: int) -> bool:
    return sum(run["state"] == "finished" for run in runs_in(folder)) >= count


def test_a_scheduled_run_goes_through_on_a_worker_elsewhere(server, cli, small, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    missing = cli("deploy", small, "--pool", "shelf", code=2, **server)
    assert "prefect work-pool create shelf --type process" in missing.stderr
    create = [sys.executable, "-m", "prefect", "work-pool", "create", "shelf", "--type", "process"]
    subprocess.run(create, env=server, check=True, capture_output=True)
    deployed = cli("deploy", small, "--pool", "shelf", "--cron", "* * * * *", "--set", "run.iterations=6", **server)
    assert "deployed journeyman/small to pool 'shelf'" in deployed.stdout

    polling = {"PREFECT_WORKER_QUERY_SECONDS": "1"}  # soon enough to find the first run still going on
    with process("prefect", "worker", "start", "--pool", "shelf", cwd=elsewhere, env=server | polling):
        wait_for("scheduled run", lambda: runs_in(tmp_path))
        (deployment,) = api(server, "deployments/filter", {})
        api(server, f"deployments/{deployment['id']}/create_flow_run", {})  # falls due while the first one runs
        wait_for("skip of the run that overlaps", lambda: "CANCELLED" in flow_states(server))
        assert not finished(tmp_path, 1)
        wait_for("second completion", lambda: flow_states(server).count("COMPLETED") >= 2)

    assert finished(tmp_path, 2)
    states = flow_states(server)
    assert "FAILED" not in states
    assert "CRASHED" not in states
    status = json.loads(cli("status", "--json").stdout)
    assert status["versions"][0]["kind"] == "continued"
    assert not (elsewhere / "runs").exists()
    tasks = api(server, "task_runs/filter", {"limit": 200})
    assert {"generate", "score", "relabel", "finetune", "evaluate", "promote"} <= {
        str(t["name"]).rsplit("-", 1)[0] for t in tasks
    }
    artifacts = api(server, "artifacts/filter", {"limit": 50})
    assert {"journeyman-iterations", "journeyman-audit", "journeyman-summary"} <= {str(a["key"]) for a in artifacts}


def test_deploy_needs_a_server(cli, small) -> None:
    env = prefect_environment(cli.folder)
    assert "set PREFECT_API_URL" in cli("deploy", small, "--pool", "x", code=2, **env).stderr


def test_a_bad_schedule_is_refused(server, cli, small) -> None:
    result = cli("serve", small, "--cron", "whenever", code=2, **server)
    assert "--cron 'whenever' is not a schedule" in result.stderr
    assert "Traceback" not in result.stderr


def alive(process: str) -> bool:
    """Whether it runs: one that has ended, and that nobody has waited for yet, does not."""
    status = Path("/proc", process, "status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_serve_starts_a_server_of_its_own_and_leaves_none_behind(small, tmp_path: Path) -> None:
    env = prefect_environment(tmp_path / "home")
    arguments = ["serve", small, "--cron", "* * * * *", "--set", "run.iterations=0"]
    with process("journeyman.workflows.cli", *arguments, cwd=tmp_path, env=env) as serving:
        wait_for("scheduled run", lambda: finished(tmp_path, 1))
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(serving.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        serving.kill()
        serving.wait()
        assert children
        wait_for("end of the children", lambda: not any(map(alive, children)))
