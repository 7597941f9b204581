"""`journeyman run` and `journeyman resume`: starting, finding and finishing runs."""

from __future__ import annotations

import argparse
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.workflows.checking import check, check_folders
from journeyman.workflows.cli import DEFAULT_STORE
from journeyman.workflows.console import Reporter
from journeyman.workflows.engines import rubric_terms
from journeyman.workflows.session import RunRef
from journeyman.workflows.settings import Settings, load_settings, parse_settings

_ANSWER_LIMIT_S = 10.0


def run(options: argparse.Namespace) -> None:
    """`journeyman run SETTINGS`."""
    overrides = [*options.overrides, *([f"run.engine={options.engine}"] if options.engine else [])]
    settings = load_settings(options.settings, overrides)
    ref = start_run(settings)
    reporter = Reporter()
    reporter.line(f"run {ref.run_id} ({settings.run.name}, seed {settings.run.seed}) in {settings.store.url}")
    show(execute(settings, ref, reporter), reporter, as_json=options.json)


def resume(options: argparse.Namespace) -> None:
    """`journeyman resume [RUN]`."""
    ref, settings = unfinished_run(options.store, options.run)
    if options.engine:
        settings = settings.model_copy(update={"run": settings.run.model_copy(update={"engine": options.engine})})
    if settings.run.engine == "prefect":
        check_prefect()
    reporter = Reporter()
    reporter.line(f"resuming run {ref.run_id} ({settings.run.name}, seed {settings.run.seed}) in {settings.store.url}")
    show(execute(settings, ref, reporter), reporter, as_json=options.json)


def show(summary: dict[str, Any], reporter: Reporter, *, as_json: bool) -> None:
    """The table at the end, and what to type next; with `as_json` the path of summary.json as the last line."""
    k = f"test pass@{summary['k']}"
    rows = [
        {"policy": end.replace("_", " "), "test pass@1": at_1, k: summary["test_pass_at_k"][end]}
        for end, at_1 in summary["test_pass_at_1"].items()
    ]
    reporter.table(f"{summary['name']}, seed {summary['seed']}: {summary['seconds']:.0f} s", rows)
    store = "" if summary["store"] == DEFAULT_STORE else f" --store {summary['store']}"
    reporter.line(f"database  {summary['store']}")
    reporter.line(f"plot      {summary['plot']}")
    reporter.line(f"summary   {summary['summary']}")
    reporter.line(f"next      journeyman status{store}     journeyman inspect{store}")
    if as_json:
        print(summary["summary"])


def start_run(settings: Settings) -> RunRef:
    """Checks everything the settings name, then stores a new run; nothing is written where a check fails.

    It is stored with absolute paths, so that it can be resumed, joined and looked at from any folder.
    """
    check(settings)
    if settings.run.engine == "prefect":
        check_prefect()
    check_folders(settings)
    stored = settings.anchored(str(Path.cwd()))
    store = ReplayStore(settings.store.url)
    try:
        run = store.create_run(settings.run.name, stored.model_dump(mode="json"), rubric_terms(settings))
    finally:
        store.close()
    return RunRef(settings.store.url, run.id)


def unfinished_run(store_url: str, wanted: str | None) -> tuple[RunRef, Settings]:
    """The run to resume: the one named, or the newest that is not finished. Raises UsageError where there is none."""
    store = ReplayStore(store_url, must_exist=True)
    try:
        runs = [store.run(wanted)] if wanted else [run for run in store.runs() if not run.finished]
    finally:
        store.close()
    if not runs or runs[-1].finished:
        what = f"run {wanted!r} is finished" if wanted else "every run is finished"
        raise UsageError(f"nothing to resume in {store_url}: {what}; `journeyman run` starts a new one")
    settings = parse_settings(runs[-1].settings, f"run {runs[-1].id}")
    here = settings.store.model_copy(update={"url": store_url})
    return RunRef(store_url, runs[-1].id), settings.model_copy(update={"store": here})


def execute(settings: Settings, ref: RunRef, reporter: Reporter) -> dict[str, Any]:
    """Runs a stored run to its end on the engine that the settings name, and returns its summary."""
    if settings.run.engine == "none":
        from journeyman.workflows.expert_iteration import expert_iteration

        found: dict[str, Any] = expert_iteration(ref, reporter)
        return found
    prepare_prefect()
    from journeyman.workflows.prefect_flow import journeyman_flow

    summary: dict[str, Any] = journeyman_flow(settings, ref.run_id)
    return summary


def check_prefect() -> None:
    """Raises UsageError where PREFECT_API_URL names a server that does not answer."""
    url = os.environ.get("PREFECT_API_URL")
    if url is None:
        return
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_ANSWER_LIMIT_S):  # noqa: S310 (the user's own address)
            return
    except urllib.error.HTTPError:
        return  # something answers; what it makes of a key, Prefect will say
    except (OSError, ValueError) as error:
        remedy = "start one (`prefect server start`), correct the address or unset it, or pass --engine none to `run`"
        raise UsageError(f"no Prefect server answers at PREFECT_API_URL {url!r} ({error}): {remedy}") from None


def prepare_prefect() -> None:
    """Defaults for Prefect, to be set before it is imported; what the user has set stays."""
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 25 s on two cores, the first time
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # an error is raised to the caller, who prints it once
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
