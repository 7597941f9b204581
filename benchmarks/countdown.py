"""The main job against its two baselines, by seeds: the warm start, and the same time spent on more BC.

    python benchmarks/countdown.py --seeds 0 1 2 [--set NAME=VALUE ...]

For each seed it runs `journeyman run examples/countdown.toml` as a user would, wall time taken from outside. Then the
control: behavioural cloning of the same demonstrations goes on from the warm start's weights and optimizer for as long
as the whole run took, looks at validation after every few epochs, keeps the best, and is tested like the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json, Split
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.attempts.attempts import success_rate
from journeyman.workflows.attempts.exams import exam_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, Session, lend
from journeyman.workflows.stages.evaluate import measure
from journeyman.workflows.stages.warm_start import cloning_rows, verified_demonstrations

CONTROL = 1000
"""Version number of the control, above any iteration's."""
CHECK_EVERY = 4
"""Epochs between two looks at validation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="examples/countdown.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    rows = [one_seed(options.settings, seed, options.overrides) for seed in options.seeds]
    print("\n| seed | wall s | warm start | control | final | final / best baseline | points above it |")
    print("|---|---|---|---|---|---|---|")
    for r in rows:
        baseline = max(r["warm_start"], r["control"])
        print(
            f"| {r['seed']} | {r['seconds']:.0f} | {r['warm_start']:.3f} | {r['control']:.3f} | {r['final']:.3f} "
            f"| {r['final'] / baseline:.2f} | {100 * (r['final'] - baseline):.1f} |"
        )


def one_seed(settings: str, seed: int, overrides: list[str]) -> dict[str, Json]:
    command = [sys.executable, "-m", "journeyman.workflows.cli", "run", settings, "--json", "--set", f"run.seed={seed}"]
    for override in overrides:
        command += ["--set", override]
    started = time.monotonic()
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - started
    summary = json.loads(Path(result.stdout.splitlines()[-1]).read_text())
    control, epochs = more_cloning(RunRef(summary["store"], summary["run"]), seconds)
    print(f"seed {seed}: {seconds:.0f} s; control: {epochs} epochs, best {control:.3f}", file=sys.stderr)
    return {"seed": seed, "seconds": seconds, "control": control, **summary["test_pass_at_1"]}


def more_cloning(ref: RunRef, seconds: float) -> tuple[float, int]:
    """Test pass@1 of the control after `seconds` of further BC, and its epochs."""
    with lend(ref, Reporter()) as session:
        path, epochs = keep_cloning(session, seconds)
        first = session.store.policies.numbered(ref.run_id, 1)
        last = max(p.iteration for p in session.store.policies.of(ref.run_id))
        new = NewPolicy(CONTROL, first.id, last, "control", path, {"epochs": epochs}, promoted=False)
        session.store.policies.add(ref.run_id, new)
        policy = session.store.policies.numbered(ref.run_id, CONTROL)
        return measure(session, policy, last, exam_of(session, Split.TEST)).pass_at_1, epochs


def keep_cloning(session: Session, seconds: float) -> tuple[str, int]:
    """The best weights on validation, among the warm start's and all that came within the time."""
    settings, tasks = session.settings.warm_start, session.store.tasks.of(session.run.id, Split.VALIDATION)
    first, path = session.store.policies.numbered(session.run.id, 1), f"{session.run.id}/control"
    learner, rows = session.learner(first), cloning_rows(verified_demonstrations(session))
    best = success_rate(session, first.path, tasks)
    learner.save(session.artifacts / path, CONTROL)
    started, epochs = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        epochs += 1
        seed = keyed_seed(session.settings.run.seed, "control", epochs)
        done = min((time.monotonic() - started) / seconds, 0.999)
        rate = warmup_then_decay(settings.learning_rate, settings.warmup, done)
        learner.update(rows, minibatch_rows=settings.batch, seed=seed, learning_rate=rate)
        if epochs % CHECK_EVERY == 0:
            learner.save(session.artifacts / f"{path}-check", CONTROL)
            success = success_rate(session, f"{path}-check", tasks)
            if success > best:
                best = success
                learner.save(session.artifacts / path, CONTROL)
    return path, epochs


if __name__ == "__main__":
    main()
