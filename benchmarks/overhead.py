"""What Prefect adds to the loop's wall time: the same run with `--engine none` and as a flow, alternating.

    python benchmarks/overhead.py examples/countdown.toml --set run.iterations=3

Every run has a store of its own, so that all of them draw the same tasks and do the same work. The flow's server is
started before the clock (its one start is not counted). Prints the loop's wall time from the first stage to the last
for each run, the ratio of the medians, and the task runs of each flow run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.running import prepare_prefect, start_run
from journeyman.workflows.settings import Settings, load_settings

STAGES_OUTSIDE = 5
"""prepare, warm_start, the warm start's evaluate, test and report."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    settings = load_settings(options.settings, options.overrides)
    prepare_prefect()
    from prefect.client.orchestration import get_client

    get_client(sync_client=True).hello()  # starts the server
    plain(short(settings))  # warm-up: imports, the vLLM engine's compilation
    times: dict[str, list[float]] = {"none": [], "prefect": []}
    for _ in range(options.repeats):
        times["none"].append(plain(fresh(settings)))
        seconds, tasks = as_flow(fresh(settings))
        times["prefect"].append(seconds)
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    for engine, values in times.items():
        print(f"{engine:<8} {' '.join(f'{v:.1f}' for v in values)} s, median {medians[engine]:.1f} s")
    print(f"Prefect adds {100 * (medians['prefect'] / medians['none'] - 1):.1f} %")
    print(f"task runs an iteration: {(tasks - STAGES_OUTSIDE) / settings.run.iterations:.1f}")


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
    expert_iteration(ref, Reporter(quiet=True))
    return time.perf_counter() - started


def as_flow(settings: Settings) -> tuple[float, int]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import FlowRunSort

    from journeyman.workflows.prefect_flow import journeyman_flow

    ref = start_run(settings)
    started = time.perf_counter()
    journeyman_flow(settings, ref.run_id)
    seconds = time.perf_counter() - started
    time.sleep(3)  # task runs reach the server by events
    with get_client(sync_client=True) as client:
        (newest,) = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])), limit=200)
    return seconds, len(runs)


if __name__ == "__main__":
    main()
