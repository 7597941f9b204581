"""Every algorithm from one warm start on a small Countdown, by seeds: does it learn, and what does it cost?

    python benchmarks/algorithms.py [--seeds 0 1 2] [--only grpo ppo] [--at-once 1] [--set NAME=VALUE ...]

For each seed one warm start is made; each algorithm then goes on from a copy of it with as many rollouts, without
hindsight and without replay (expert iteration imitates the iteration's successes). Wall time is taken from outside and
is that of the whole command, with `--at-once` runs beside each other. Test pass@1 is of 300 tasks, 4 attempts each; the
warm start's stands beside it, and `points` are the mean gain over seeds with its spread (standard deviation). The warm
start is short, so that its policy still has something to choose between, and a candidate may be five points worse on
validation than its parent: without either, few groups have contrast and noise alone turns candidates away. Sizes and
rates were chosen on seed 100.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from journeyman.agent.data import Json

SETTINGS = Path(__file__).parent.parent / "examples" / "countdown.toml"
BASE = (
    "run.engine=none",
    "run.name=algorithms",
    "run.iterations=8",
    "environment.count=2",
    "environment.max_value=40",
    "environment.max_target=100",
    "tasks.train=1000",
    "tasks.validation=200",
    "tasks.test=300",
    "warm_start.demonstrations=300",
    "warm_start.max_epochs=6",
    "generate.tasks=256",
    "generate.attempts=8",
    "generate.chunk=256",
    "relabel.strategies=[]",
    "replay.groups=0",
    "finetune.policy_weight=1.0",
    "finetune.learning_rate=5e-4",
    "finetune.batch=256",
    "finetune.epochs=2",
    "evaluate.attempts=4",
    "evaluate.temperature=1.0",
    "evaluate.margin=-0.05",
)
PPO = ("estimator.name=gae", "finetune.epsilon_high=0.2", "critic.kind=head", "critic.learning_rate=1e-3")
ALGORITHMS: dict[str, Sequence[str]] = {
    "grpo": ("finetune.loss=grpo", "finetune.epsilon_high=0.2"),
    "dr_grpo": ("finetune.loss=dr_grpo", "finetune.epsilon_high=0.2", "estimator.scale_rewards=none"),
    "dapo": ("finetune.loss=dapo",),
    "gspo": ("finetune.loss=gspo", "finetune.epsilon=3e-3", "finetune.epsilon_high=4e-3"),
    "cispo": ("finetune.loss=cispo", "finetune.epsilon_high=5.0"),
    "sapo": ("finetune.loss=sapo",),
    "rloo": ("estimator.name=rloo", "finetune.loss=reinforce"),
    "reinforce": ("estimator.name=reinforce", "finetune.loss=reinforce"),
    "reinforce++": ("estimator.name=reinforce_pp",),
    "ppo": PPO,
    "ppo, own critic": (*PPO, "critic.kind=model"),
    "trpo": ("optimizer.kind=trust_region", "optimizer.trust_delta=0.02", "optimizer.trust_rows=128"),
    "topr": ("finetune.loss=topr",),
    "dpo rounds": (
        "finetune.objective=dpo",
        "preference.pairs=rewards",
        "preference.nll_weight=1.0",
        "preference.learning_rate=5e-4",
        "replay.max_age=0",
    ),
    "rest-em": (
        "finetune.objective=bc",
        "finetune.begin=v1",
        'imitation.sources=["policy"]',
        "imitation.per_task=4",
        "finetune.learning_rate=1e-3",
    ),
    "expert iteration": (
        "finetune.policy_weight=0",
        "finetune.learning_rate=1e-3",
        "replay.groups=2048",
        "replay.quota={ success = 1 }",
        "replay.max_age=0",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS), metavar="NAME")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.at_once) as pool:
        jobs = [(name, seed) for seed in options.seeds for name in options.only]
        list(pool.map(lambda seed: warm_start(Path(place), seed, options.overrides), options.seeds))
        found = dict(zip(jobs, pool.map(lambda job: go_on(Path(place), *job, options.overrides), jobs), strict=True))
    print("| algorithm | warm start | final | points | wall s |\n|---|---|---|---|---|")
    for name in options.only:
        starts, ends, seconds_S = zip(*(found[name, seed] for seed in options.seeds), strict=True)
        points = [100 * (end - start) for start, end in zip(starts, ends, strict=True)]
        spread = statistics.stdev(points) if len(points) > 1 else 0.0
        print(
            f"| {name} | {three(starts)} | {three(ends)} | {statistics.mean(points):+.1f} +- {spread:.1f} "
            f"| {statistics.median(seconds_S):.0f} |"
        )


def warm_start(place: Path, seed: int, overrides: Sequence[str]) -> None:
    """The one that all algorithms of the seed share."""
    seconds, _ = summary_of(place / f"warm{seed}", seed, [*overrides, "run.iterations=0"])
    print(f"seed {seed}: warm start in {seconds:.0f} s", file=sys.stderr, flush=True)


def go_on(place: Path, name: str, seed: int, overrides: Sequence[str]) -> tuple[float, float, float]:
    """Test pass@1 of the warm start and of what the algorithm made of it, and the wall seconds of that."""
    folder = place / f"{name.replace(' ', '_')}{seed}"
    shutil.copytree(place / f"warm{seed}", folder)
    seconds, summary = summary_of(folder, seed, [*ALGORITHMS[name], *overrides, "run.continues=true"])
    shutil.rmtree(folder)
    tested = summary["test_pass_at_1"]
    found = (tested["warm_start"], tested["final"], seconds)
    print(f"seed {seed}, {name}: {found}", file=sys.stderr, flush=True)
    return found


def three(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def summary_of(folder: Path, seed: int, overrides: Sequence[str]) -> tuple[float, dict[str, Json]]:
    """Wall seconds of `journeyman run` in the folder, and its summary."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "journeyman.workflows.cli", "run", str(SETTINGS.resolve()), "--json"]
    for override in (*BASE, f"run.seed={seed}", *overrides):
        command += ["--set", override]
    started = time.monotonic()
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    seconds = time.monotonic() - started
    return seconds, json.loads(Path(folder, result.stdout.splitlines()[-1]).read_text())


if __name__ == "__main__":
    main()
