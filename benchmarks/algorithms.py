"""Every algorithm from one warm start on a small Countdown, by seeds: does it learn, and what does it cost?

    python benchmarks/algorithms.py [--seeds 0 1 2] [--only grpo ppo] [--set NAME=VALUE ...]

For each seed one warm start is made; each algorithm then goes on from a copy of it with as many rollouts, without
hindsight and without replay (expert iteration imitates the iteration's successes). Wall time is taken from outside and
is that of the whole command. Test pass@1 is of 300 tasks, 4 attempts each; the warm start's stands beside it, and
`points` are the mean gain over seeds with its spread (standard deviation).
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
from pathlib import Path

from journeyman.agent.data import Json

SETTINGS = Path(__file__).parent.parent / "examples" / "countdown.toml"
BASE = (
    "run.engine=none",
    "run.name=algorithms",
    "run.iterations=10",
    "environment.max_value=10",
    "environment.max_target=50",
    "tasks.train=1500",
    "tasks.validation=100",
    "tasks.test=300",
    "warm_start.demonstrations=800",
    "warm_start.max_epochs=30",
    "generate.tasks=256",
    "generate.attempts=8",
    "generate.chunk=256",
    "relabel.strategies=[]",
    "replay.groups=0",
    "finetune.policy_weight=1.0",
    "finetune.learning_rate=1e-3",
    "finetune.batch=256",
    "finetune.epochs=2",
    "evaluate.attempts=4",
    "evaluate.temperature=1.0",
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
    "trpo": ("optimizer.kind=trust_region", "optimizer.trust_delta=0.02"),
    "topr": ("finetune.loss=topr",),
    "dpo rounds": (
        "finetune.objective=dpo",
        "preference.pairs=rewards",
        "preference.nll_weight=1.0",
        "preference.learning_rate=1e-3",
        "replay.max_age=0",
    ),
    "rest-em": ("finetune.objective=bc", "finetune.begin=v1", 'imitation.sources=["policy"]', "imitation.per_task=4"),
    "expert iteration": (
        "finetune.policy_weight=0",
        "replay.groups=2048",
        "replay.quota={ success = 1 }",
        "replay.max_age=0",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS), metavar="NAME")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in options.only}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as place:
            warm = Path(place, "warm")
            seconds, _ = summary_of(warm, seed, [*options.overrides, "run.iterations=0"])
            print(f"seed {seed}: warm start in {seconds:.0f} s", file=sys.stderr, flush=True)
            for name in options.only:
                folder = Path(place, name.replace(" ", "_"))
                shutil.copytree(warm, folder)
                changes = [*ALGORITHMS[name], *options.overrides, "run.continues=true"]
                seconds, summary = summary_of(folder, seed, changes)
                tested = summary["test_pass_at_1"]
                shutil.rmtree(folder)
                found[name].append((tested["warm_start"], tested["final"], seconds))
                print(f"seed {seed}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    print("| algorithm | warm start | final | points | wall s |\n|---|---|---|---|---|")
    for name, rows in found.items():
        starts, ends, seconds_S = zip(*rows, strict=True)
        points = [100 * (end - start) for start, end in zip(starts, ends, strict=True)]
        spread = statistics.stdev(points) if len(points) > 1 else 0.0
        print(
            f"| {name} | {three(starts)} | {three(ends)} | {statistics.mean(points):+.1f} +- {spread:.1f} "
            f"| {statistics.median(seconds_S):.0f} |"
        )


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
