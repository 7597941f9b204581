"""What Prefect adds to the loop's wall time: the same run with `--engine none` and as a flow, alternating.

    python benchmarks/overhead.py examples/countdown.toml --set run.iterations=3

Every run has a store of its own, so that all of them draw the same tasks and do the same work. The flow's server is
started before the clock (its one start is not counted). Prints the loop's wall time from the first stage to the last
for each run and the ratio of the medians; the part of that time that was spent outside the stage functions, which is
Prefect's own and does not depend on how busy the machine was; the CPU time of this process (without the server's),
which hardly does either; and the task runs of each flow run.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from typing import Any

import journeyman.workflows.expert_iteration as algorithm
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import Stage
from journeyman.workflows.session.prefect_server import prepare_prefect
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import load_settings
from journeyman.workflows.settings.settings import Settings

STAGES_OUTSIDE = 6
"""prepare, warm_start, the warm start's evaluate and audit, test and report."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=("none", "prefect"), default=["none", "prefect"])
    options = parser.parse_args()
    clock_stages()
    settings = load_settings(options.settings, options.overrides)
    prepare_prefect()
    from prefect.client.orchestration import get_client

    get_client(sync_client=True).hello()  # starts the server
    plain(short(settings))  # warm-up: imports, the vLLM engine's compilation
    times: dict[str, list[float]] = {engine: [] for engine in options.engines}
    outside: dict[str, list[float]] = {engine: [] for engine in options.engines}
    busy: dict[str, list[float]] = {engine: [] for engine in options.engines}
    for _ in range(options.repeats):
        for engine in options.engines:
            inside.clear()
            before = time.process_time()
            seconds = plain(fresh(settings)) if engine == "none" else as_flow(fresh(settings))
            busy[engine].append(time.process_time() - before)
            times[engine].append(seconds)
            outside[engine].append(100 * (1 - sum(inside) / seconds))
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    for engine, values in times.items():
        print(f"{engine:<8} {' '.join(f'{v:.1f}' for v in values)} s, median {medians[engine]:.1f} s")
        print(f"         outside the stages: {' '.join(f'{v:.2f}' for v in outside[engine])} %")
        print(f"         CPU time: {' '.join(f'{v:.1f}' for v in busy[engine])} s")
    if len(medians) == 2:
        cpu = {engine: statistics.median(values) for engine, values in busy.items()}
        print(f"Prefect adds {100 * (medians['prefect'] / medians['none'] - 1):.1f} % of wall time", end=", ")
        print(f"{100 * (cpu['prefect'] / cpu['none'] - 1):.1f} % of CPU time")
    if "prefect" in medians:
        tasks = task_runs(settings.run.name)
        print(f"task runs an iteration: {(tasks - STAGES_OUTSIDE) / settings.run.iterations:.1f}")


inside: list[float] = []
"""Seconds of each call of a stage function in the run under way."""


def clocked(stage: Stage) -> Stage:
    """The stage, its time noted."""

    @functools.wraps(stage)
    def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return stage(*arguments)
        finally:
            inside.append(time.perf_counter() - started)

    return run


def clock_stages() -> None:
    """Puts clocks into the algorithm's file: whatever wraps a stage is then outside."""
    for name in (
        "prepare",
        "warm_start",
        "generate",
        "score",
        "relabel",
        "dagger",
        "finetune",
        "evaluate",
        "audit",
        "promote",
        "test",
        "report",
    ):
        setattr(algorithm, name, clocked(getattr(algorithm, name)))


def fresh(settings: Settings) -> Settings:
    """The settings with a new store."""
    folder = tempfile.mkdtemp()
    store = settings.store.model_copy(update={"url": f"sqlite:///{folder}/a.db", "artifacts": f"{folder}/weights"})
    return settings.model_copy(update={"store": store, "run": settings.run.model_copy(update={"output": folder})})


def short(settings: Settings) -> Settings:
    """One epoch of the warm start and one iteration."""
    warm_start = settings.warm_start.model_copy(update={"max_epochs": 1})
    run = settings.run.model_copy(update={"iterations": 1})
    return fresh(settings.model_copy(update={"warm_start": warm_start, "run": run}))


def plain(settings: Settings) -> float:
    ref = start_run(settings)
    started = time.perf_counter()
    algorithm.expert_iteration(ref, Reporter(quiet=True))
    return time.perf_counter() - started


def as_flow(settings: Settings) -> float:
    from journeyman.workflows.flows import journeyman_flow

    ref = start_run(settings)
    started = time.perf_counter()
    journeyman_flow(settings, ref.run_id)
    return time.perf_counter() - started


def task_runs(name: str) -> int:
    """How many task runs the newest flow run of that name had."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    time.sleep(3)  # task runs reach the server by events
    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
        (newest,) = client.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])), limit=200)
    return len(runs)


if __name__ == "__main__":
    main()
