"""`journeyman serve` and `journeyman deploy`: runs on a schedule, here or on a Prefect work pool.

A scheduled run continues from the newest promoted policy of its name; one that falls due while another runs is
skipped (Prefect cancels it).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from journeyman.agent.errors import UsageError
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.prefect_server import check_prefect, prepare_prefect
from journeyman.workflows.settings.loading import load_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.terminal import say, tell

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

_START_LIMIT_S = 180.0


def serve(options: argparse.Namespace) -> None:
    """`journeyman serve SETTINGS`: schedules it and runs it in this process's children until it is stopped."""
    settings = scheduled(load_settings(options.settings, options.overrides))
    _check_cron(options.cron)
    check(settings)
    check_prefect()
    prepare_prefect()
    with _server():
        from prefect import serve as prefect_serve

        deployment = _deployment(settings, options.cron)
        tell(f"serving {settings.run.name!r}, schedule {options.cron or 'none'}; Ctrl-C stops")
        prefect_serve(deployment, limit=1, print_starting_message=False)


def deploy(options: argparse.Namespace) -> None:
    """`journeyman deploy SETTINGS --pool POOL`: any machine with this package and a worker on the pool can run it."""
    settings = scheduled(load_settings(options.settings, options.overrides))
    _check_cron(options.cron)
    check(settings)
    if "PREFECT_API_URL" not in os.environ:
        raise UsageError("deploy needs a Prefect server: set PREFECT_API_URL, e.g. http://127.0.0.1:4200/api")
    check_prefect()
    prepare_prefect()
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(options.pool)
        except ObjectNotFound:
            remedy = f"prefect work-pool create {options.pool} --type process"
            raise UsageError(f"there is no work pool {options.pool!r}: {remedy}") from None
    _deployment(settings, options.cron, options.pool).apply()
    say(f"deployed journeyman/{settings.run.name} to pool {options.pool!r}, schedule {options.cron or 'none'}")


def scheduled(settings: Settings) -> Settings:
    """The settings as a scheduled run gets them: paths absolute, since it may start elsewhere, and continuing."""
    absolute = settings.anchored(str(Path.cwd()))
    return absolute.model_copy(update={"run": absolute.run.model_copy(update={"continues": True, "engine": "prefect"})})


def _deployment(settings: Settings, cron: str | None, pool: str | None = None) -> RunnerDeployment:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from journeyman.workflows.flows import journeyman_flow

    try:
        return RunnerDeployment.from_flow(
            journeyman_flow,
            name=settings.run.name,
            cron=cron,
            parameters={"settings": settings.model_dump(mode="json")},
            work_pool_name=pool,
            entrypoint_type=EntrypointType.MODULE_PATH,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        )
    except ValueError:  # pydantic's ValidationError is one; its text is many lines
        raise _no_schedule(cron) from None


def _check_cron(cron: str | None) -> None:
    """Before a server is started; what the fields say, Prefect looks at later."""
    if cron is not None and len(cron.split()) != 5:
        raise _no_schedule(cron)


def _no_schedule(cron: str | None) -> UsageError:
    return UsageError(f'--cron {cron!r} is not a schedule: write minute, hour, day, month, weekday, e.g. "0 2 * * *"')


@contextmanager
def _server() -> Iterator[None]:
    """The server of PREFECT_API_URL, or one of our own: an ephemeral one never fires a schedule."""
    if "PREFECT_API_URL" in os.environ:
        yield
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_end_with_parent)  # noqa: PLW1509 (one thread yet)
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_for(url, server)
        os.environ["PREFECT_API_URL"] = url  # before Prefect is imported, and for the flow runs' processes
        tell(f"Prefect server at {url.removesuffix('/api')}")
        yield
    finally:
        server.terminate()
        server.wait(30)


def _end_with_parent() -> None:
    """Asks Linux to end this child when its parent dies, however that comes about (prctl's PR_SET_PDEATHSIG, 1)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise UsageError(f"`prefect server start` ended with code {server.returncode}: run it by hand to see why")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 (our own address)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise UsageError(f"`prefect server start` did not answer within {_START_LIMIT_S:.0f} s")
