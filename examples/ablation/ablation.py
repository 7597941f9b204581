"""What each part of the loop is worth: `python examples/ablation/ablation.py [--environments ...] [--seeds ...]`.

Every arm begins with the same warm start and makes the same number of rollouts; test tasks are looked at in the end
only. Runs are kept in one store and named `<environment>-<arm>-<seed>`: started again, the script goes on with what is
not finished, and prints the table of what is. `--set` changes all runs, `--workers` says how many go at once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from journeyman.agent.data import Split
from journeyman.storage.store import ReplayStore
from journeyman.workflows.settings.loading import parse_settings

HERE = Path(__file__).parent
ENVIRONMENTS = ("countdown", "gridworld", "bit_flipping")
BC = "bc"
"""The warm start that all arms share, so that no run of its own is needed."""
GENTLE = "finetune.learning_rate=5e-4"
"""For arms about the policy loss: at the rate that suits NLL, GRPO alone fell below its warm start."""
HINDSIGHT = "replay.quota={expert=0.1, success=0.3, policy=0.1, hindsight=0.5}"
GROUPS = ["relabel.strategies=[]", "relabel.groups=2", HINDSIGHT]
ARMS: dict[str, list[str]] = {
    "expert_iteration": [
        "finetune.policy_weight=0.0", "relabel.strategies=[]", "replay.quota={expert=0.2, success=0.8}",
    ],
    "grpo": ["finetune.bc_weight=0.0", "relabel.strategies=[]", "replay.groups=0", GENTLE],
    "ppo": [
        "finetune.bc_weight=0.0", "relabel.strategies=[]", "replay.groups=0", GENTLE,
        "estimator.name=gae", "critic.kind=head", "finetune.epsilon_high=0.2",
    ],
    "grpo_replay": ["relabel.strategies=[]", "replay.quota={expert=0.2, success=0.5, policy=0.3}"],
    "hindsight": [HINDSIGHT],
    "hindsight_groups_nll": GROUPS,
    "hindsight_groups_grpo": [*GROUPS, "replay.groups=128", "finetune.hindsight_loss='grpo'", GENTLE],
}  # fmt: skip
"""Settings by arm; the last three are GRPO + replay + hindsight: by NLL of single relabels, and by NLL of the successes
or GRPO of the whole of hindsight groups."""
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5 % quantile of Student's t by the number of seeds: half a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Job:
    """One run."""

    environment: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of the run in the store."""
        return f"{self.environment}-{self.arm}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to."""

    warm_start: float
    """Success on the test tasks before the first iteration."""
    success: float
    """And after the last one."""
    validation: list[tuple[int, float]]
    """(rollouts, success), from the warm start on."""
    seconds: float


def main() -> None:
    """Runs what is left to do, some runs at once, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS), choices=ENVIRONMENTS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 1), 1))
    parser.add_argument("--folder", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    jobs = [Job(e, arm, seed) for seed in options.seeds for e in options.environments for arm in options.arms]
    os.environ["OMP_NUM_THREADS"] = "1"  # a run for each core, not a core for each run
    work = partial(complete, folder=options.folder.resolve(), overrides=tuple(options.overrides))
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        for done in pool.map(work, jobs):
            print(done, flush=True)
    store = ReplayStore(store_url(options.folder.resolve()), must_exist=True)
    for environment in options.environments:
        print_table(store, environment, options.arms, options.seeds)
    store.close()


def store_url(folder: Path) -> str:
    """Of the database of all runs."""
    return f"sqlite:///{folder}/ablation.db"


def complete(job: Job, folder: Path, overrides: Sequence[str]) -> str:
    """Runs what is left to do of the job, in a process that may have done others before."""
    from journeyman.workflows.console import Reporter
    from journeyman.workflows.expert_iteration import expert_iteration
    from journeyman.workflows.session.runs import start_run
    from journeyman.workflows.session.session import RunRef
    from journeyman.workflows.settings.loading import load_settings

    url = store_url(folder)
    store = ReplayStore(url)
    known = store.runs.all(job.name)
    store.close()
    if known and known[-1].finished:
        return f"{job.name}: there already"
    if known:
        ref = RunRef(url, known[-1].id)
    else:
        places = [f"store.url='{url}'", f"store.artifacts='{folder}/artifacts'", f"run.output='{folder}'"]
        run = [f"run.name='{job.name}'", f"run.seed={job.seed}", *ARMS[job.arm], *places, *overrides]
        ref = start_run(load_settings(str(HERE / f"{job.environment}.toml"), run))
    summary = expert_iteration(ref, Reporter(quiet=True))
    return f"{job.name}: {summary['test_pass_at_1']['final']:.3f} in {summary['seconds']:.0f} s"


def outcome(store: ReplayStore, job: Job) -> Outcome | None:
    """None where the run is not finished."""
    runs = [run for run in store.runs.all(job.name) if run.finished]
    if not runs:
        return None
    run = runs[-1]
    settings = parse_settings(run.settings, job.name)
    rollouts = settings.generate.tasks * settings.generate.attempts
    validation = [(e.iteration * rollouts, e.pass_at_1) for e in store.evaluations.of(run.id, Split.VALIDATION)]
    tested = sorted(
        store.evaluations.of(run.id, Split.TEST), key=lambda e: e.policy_number
    )  # one, if none was promoted
    return Outcome(tested[0].pass_at_1, tested[-1].pass_at_1, validation, store.runs.seconds(run.id))


def print_table(store: ReplayStore, environment: str, arms: Sequence[str], seeds: Sequence[int]) -> None:
    """Mean test success with its 95 % interval, and how soon each arm was as good as GRPO in the end."""
    found = {arm: [o for seed in seeds if (o := outcome(store, Job(environment, arm, seed)))] for arm in arms}
    goal = mean([o.validation[-1][1] for o in found.get("grpo", [])])
    head = ("arm", "seeds", "test success, 95 %", "rollouts", "as good as GRPO's end after", "longest run")
    print(f"\n{environment}\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    shared = next((outcomes for outcomes in found.values() if outcomes), [])
    if shared:
        print(f"| {BC} | {len(shared)} | {with_interval([o.warm_start for o in shared])} | 0 | | |")
    for arm, outcomes in found.items():
        if outcomes:
            steps = range(len(outcomes[0].validation))
            curve = [(outcomes[0].validation[i][0], mean([o.validation[i][1] for o in outcomes])) for i in steps]
            reached = next((str(rollouts) for rollouts, success in curve if success >= goal), "never")
            print(
                f"| {arm} | {len(outcomes)} | {with_interval([o.success for o in outcomes])} "
                f"| {curve[-1][0]} | {reached} | {max(o.seconds for o in outcomes):.0f} s |"
            )


def mean(values: Sequence[float]) -> float:
    """Their mean; NaN where there are none."""
    return statistics.fmean(values) if values else float("nan")


def with_interval(values: Sequence[float]) -> str:
    """Their mean and half its 95 % interval, by Student's t; the mean alone where there is no interval to tell."""
    if len(values) not in STUDENT_T:
        return f"{mean(values):.3f}"
    return f"{mean(values):.3f} ± {STUDENT_T[len(values)] * statistics.stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
