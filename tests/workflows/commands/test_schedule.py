"""A real Prefect server, a real worker, schedules that fire, and runs that go through in another directory."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 600.0
"""Of waiting for something that comes: runs of some seconds, more where the machine does much else."""

NIGHTLY = "0 2 * * *"

SOON = {
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
}
"""How often Prefect looks for what is due; by default every 5 or 10 seconds."""


def wait_for(what: str, seen: Callable[[], object]) -> Any:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        found = seen()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"no {what} within {LIMIT_S:.0f} s")


@contextmanager
def process(*command: str, cwd: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, which ends as a whole."""
    with (cwd / "process.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=cwd, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield child
    except BaseException:
        sys.stdout.write((cwd / "process.log").read_text(errors="replace")[-10_000:])  # pytest shows it
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def prefect_environment(home: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "OMP_NUM_THREADS": "1"}
    return env | quiet | SOON | {"PREFECT_HOME": str(home)}


@dataclass
class Serving:
    """`journeyman serve` under way, in a folder of its own, with a Prefect server that it has started."""

    process: subprocess.Popen[bytes]
    folder: Path
    env: dict[str, str]
    """In which commands reach that server."""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, small: str) -> Iterator[Serving]:
    """One server for all tests here: that of `serve`, whose deployment is journeyman/served."""
    folder = tmp_path_factory.mktemp("serving")
    env = prefect_environment(folder / "home")
    arguments = ["serve", small, "--cron", NIGHTLY, "--set", "run.name=served", "--set", "run.iterations=0"]
    with process("journeyman.workflows.cli", *arguments, cwd=folder, env=env) as child:
        (url,) = wait_for("server", lambda: re.findall("Prefect server at (.*)", (folder / "process.log").read_text()))
        yield Serving(child, folder, env | {"PREFECT_API_URL": f"{url}/api"})


def api(env: dict[str, str], path: str, body: dict[str, object]) -> Any:
    """What Prefect answers; asked again while the server is busy (503, or no answer), as its own client does."""
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )

    def answered() -> tuple[Any] | None:
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


def flow_runs(env: dict[str, str], name: str, **states: list[str]) -> list[dict[str, Any]]:
    """Of a deployment; the earliest first."""
    query = {"deployments": {"name": {"any_": [name]}}, "flow_runs": {"state": {"type": states}} if states else {}}
    return api(env, "flow_runs/filter", query | {"sort": "EXPECTED_START_TIME_ASC"})


def fire(env: dict[str, str], name: str) -> None:
    """Has the next run that the schedule has planned fall due now, as if it were that late."""
    planned = wait_for("scheduled run", lambda: flow_runs(env, name, any_=["SCHEDULED"]))
    assert all(run["auto_scheduled"] for run in planned)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in planned]
    assert {(time.hour, time.minute, time.second) for time in times} == {(2, 0, 0)}
    now = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    api(env, f"flow_runs/{planned[0]['id']}/set_state", {"state": now, "force": True})


def flow_states(env: dict[str, str], name: str) -> list[str]:
    """Of the flow runs that are due or over; those scheduled for later are left out."""
    return [str(run["state_type"]) for run in flow_runs(env, name, not_any_=["SCHEDULED"])]


def finished(folder: Path) -> int:
    """How many of the runs in the folder's database are."""
    with closing(sqlite3.connect(folder / "runs" / "journeyman.db")) as connection:
        ends = [end for (end,) in connection.execute("SELECT finished_at FROM run")]
    assert None not in ends
    return len(ends)


def test_a_scheduled_run_goes_through_on_a_worker_elsewhere(serving, cli, small, tmp_path: Path) -> None:
    elsewhere, env = tmp_path / "elsewhere", serving.env
    elsewhere.mkdir()
    missing = cli("deploy", small, "--pool", "shelf", code=2, **env)
    assert "prefect work-pool create shelf --type process" in missing.stderr
    create = [sys.executable, "-m", "prefect", "work-pool", "create", "shelf", "--type", "process"]
    subprocess.run(create, env=env, check=True, capture_output=True)
    deployed = cli("deploy", small, "--pool", "shelf", "--cron", NIGHTLY, "--set", "run.iterations=3", **env)
    assert "deployed journeyman/small to pool 'shelf'" in deployed.stdout

    with process("prefect", "worker", "start", "--pool", "shelf", cwd=elsewhere, env=env):
        fire(env, "small")
        wait_for("scheduled run", lambda: "RUNNING" in flow_states(env, "small"))
        (deployment,) = api(env, "deployments/filter", {"deployments": {"name": {"any_": ["small"]}}})
        api(env, f"deployments/{deployment['id']}/create_flow_run", {})  # falls due while the first one runs
        wait_for("skip of the run that overlaps", lambda: "CANCELLED" in flow_states(env, "small"))
        assert "COMPLETED" not in flow_states(env, "small")
        wait_for("first completion", lambda: "COMPLETED" in flow_states(env, "small"))
        fire(env, "small")
        wait_for("second completion", lambda: flow_states(env, "small").count("COMPLETED") >= 2)

    assert finished(tmp_path) == 2
    assert set(flow_states(env, "small")) == {"COMPLETED", "CANCELLED"}
    status = json.loads(cli("status", "--json").stdout)
    assert status["versions"][0]["kind"] == "continued"
    assert not (elsewhere / "runs").exists()
    tasks = api(env, "task_runs/filter", {"limit": 200})
    assert {"generate", "score", "relabel", "finetune", "evaluate", "promote"} <= {
        str(t["name"]).rsplit("-", 1)[0] for t in tasks
    }
    artifacts = api(env, "artifacts/filter", {"limit": 50})
    assert {"journeyman-iterations", "journeyman-audit", "journeyman-summary"} <= {str(a["key"]) for a in artifacts}


def test_deploy_needs_a_server(cli, small) -> None:
    env = prefect_environment(cli.folder)
    assert "set PREFECT_API_URL" in cli("deploy", small, "--pool", "x", code=2, **env).stderr


def test_a_bad_schedule_is_refused(serving, cli, small) -> None:
    result = cli("serve", small, "--cron", "whenever", code=2, **serving.env)
    assert "--cron 'whenever' is not a schedule" in result.stderr
    assert "Traceback" not in result.stderr


def alive(process: str) -> bool:
    """Whether it runs: one that has ended, and that nobody has waited for yet, does not."""
    status = Path("/proc", process, "status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_serve_runs_what_is_due_and_leaves_nothing_behind(serving) -> None:
    fire(serving.env, "served")
    wait_for("scheduled run", lambda: flow_states(serving.env, "served") == ["COMPLETED"])
    assert finished(serving.folder) == 1
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(serving.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    serving.process.kill()
    serving.process.wait()
    assert children
    wait_for("end of the children", lambda: not any(map(alive, children)))
