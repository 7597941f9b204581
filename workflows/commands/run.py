"""`journeyman run` and `journeyman resume`: a run from its settings, or from where it was interrupted, to its end."""

from __future__ import annotations

import argparse
from typing import Any

from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.life import blamed
from journeyman.workflows.session.prefect_server import check_prefect, prepare_prefect, start_prefect
from journeyman.workflows.session.runs import start_run, unfinished_run
from journeyman.workflows.session.session import RunRef
from journeyman.workflows.settings.defaults import DEFAULT_STORE
from journeyman.workflows.settings.loading import load_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.terminal import say


def run(options: argparse.Namespace) -> None:
    """`journeyman run SETTINGS`."""
    overrides = [*options.overrides, *([f"run.engine={options.engine}"] if options.engine else [])]
    settings = load_settings(options.settings, overrides)
    ref = start_run(settings)
    reporter = Reporter()
    reporter.line(f"run {ref.run_id} ({settings.run.name}, seed {settings.run.seed}) in {settings.store.url}")
    store = ReplayStore(settings.store.url)
    try:
        with blamed(store.runs, ref.run_id):  # an engine that does not start, say
            summary = execute(settings, ref, reporter)
    finally:
        store.close()
    show(summary, reporter, as_json=options.json)


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
        say(summary["summary"])


def execute(settings: Settings, ref: RunRef, reporter: Reporter) -> dict[str, Any]:
    """Runs a stored run to its end on the engine that the settings name, and returns its summary."""
    if settings.run.engine == "none":
        from journeyman.workflows.expert_iteration import expert_iteration

        found: dict[str, Any] = expert_iteration(ref, reporter)
        return found
    prepare_prefect()
    start_prefect()
    from journeyman.workflows.flows import journeyman_flow

    summary: dict[str, Any] = journeyman_flow(settings, ref.run_id)
    return summary
