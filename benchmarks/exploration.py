"""What exploration does: three choices of tasks and three novelty bonuses, the same number of rollouts, by seeds.

    OMP_NUM_THREADS=1 python benchmarks/exploration.py --seeds 0 1 2 3 4 [--set NAME=VALUE ...]

Every run is small, in this process, with the transformers sampler, and has a store of its own, so that the arms of a
seed share tasks, model and warm start. Hindsight is off: what is learned comes from the attempts themselves. Prints for
each arm the mean over the seeds: attempts; the share of groups with contrast, some attempts solved and some not;
how many different values the attempts reached; test pass@1; and, seed by seed, what that is above the first arm,
with a 95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import create_engine, text

from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import load_settings

BASE = (
    "run.engine=none",
    "run.iterations=6",
    "tasks.train=64",  # six iterations are one pass and a half
    "tasks.test=100",
    "warm_start.max_epochs=10",
    "relabel.strategies=[]",
    "estimator.scale_rewards=batch",  # scaled by group, a bonus alone would count as much as a success
    "replay.quota={ expert = 0.2, success = 0.8 }",
)
TABLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "curriculum": {"passes": (), "ucb": ("curriculum.strategy=ucb",), "thompson": ("curriculum.strategy=thompson",)},
    "novelty": {"none": (), "counts": ("novelty.kind=counts",), "rnd": ("novelty.kind=rnd",)},
}
T_975 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % by degrees of freedom, from 0."""
GROUPS = """
SELECT SUM(attempts), AVG(CASE WHEN successes > 0 AND successes < attempts THEN 1.0 ELSE 0.0 END)
FROM v_group WHERE source = 'policy' AND split = 'train'
"""
REACHED = """
SELECT COUNT(DISTINCT counted_score.extracted)
FROM counted_score JOIN v_trajectory ON v_trajectory.id = counted_score.trajectory_id
WHERE v_trajectory.source = 'policy' AND v_trajectory.split = 'train'
"""

Figures = tuple[float, float, float, float]
"""Attempts, share of groups with contrast, values reached, test pass@1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="examples/small.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--tables", nargs="+", choices=tuple(TABLES), default=list(TABLES))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    if len(options.seeds) > len(T_975):
        parser.error(f"at most {len(T_975)} seeds")
    done: dict[tuple[Sequence[str], int], Figures] = {}  # the first arms of both tables are the same runs
    for name in options.tables:
        for arm, changes in TABLES[name].items():
            for seed in options.seeds:
                if (changes, seed) not in done:
                    overrides = [*BASE, *options.overrides, *changes, f"run.seed={seed}"]
                    started = time.monotonic()
                    done[changes, seed] = one_run(options.settings, overrides)
                    print(f"{name} {arm}, seed {seed}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        show(name, {arm: [done[c, seed] for seed in options.seeds] for arm, c in TABLES[name].items()})


def one_run(path: str, overrides: Sequence[str]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/a.db"
        places = [f"store.url={url}", f"store.artifacts={folder}/weights", f"run.output={folder}"]
        summary = expert_iteration(start_run(load_settings(path, [*overrides, *places])), Reporter(quiet=True))
        engine = create_engine(url)
        with engine.connect() as connection:
            attempts, contrast = connection.execute(text(GROUPS)).one()
            reached = connection.execute(text(REACHED)).scalar_one()
        engine.dispose()
        return attempts, contrast, reached, summary["test_pass_at_1"]["final"]


def show(name: str, arms: Mapping[str, Sequence[Figures]]) -> None:
    base = next(iter(arms))
    print(f"\n| {name} | attempts | groups with contrast | values reached | test pass@1 | above {base} |")
    print("|---|---|---|---|---|---|")
    for arm, runs in arms.items():
        attempts, contrast, reached, solved = (statistics.mean(column) for column in zip(*runs, strict=True))
        above = interval([run[-1] - other[-1] for run, other in zip(runs, arms[base], strict=True)])
        print(f"| {arm} | {attempts:.0f} | {contrast:.3f} | {reached:.0f} | {solved:.3f} | {above} |")


def interval(values: Sequence[float]) -> str:
    """Mean and half width of the 95 % interval."""
    if len(values) == 1:
        return f"{values[0]:+.3f}"
    half = T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
