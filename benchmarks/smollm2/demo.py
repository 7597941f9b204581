"""The demo with a real model, by seeds, against its warm start and against plain GRPO.

    python benchmarks/smollm2/demo.py --seeds 0 1 2 --plain 0 [--set NAME=VALUE ...]

For each seed it runs `journeyman run examples/smollm2.toml` as `make demo-real` does, wall time taken from outside. For
the seeds of `--plain` it runs it again without hindsight and without replay: GRPO on as many attempts at the same
tasks, the first iteration's by the same warm start. Test pass@1 has a 95 % interval over the test's tasks
(bootstrap), and so has the difference between the last policy and the warm start, task by task.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Split
from journeyman.workflows.attempts.exams import answers, exam_of, results
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, Session, lend

PLAIN = ["relabel.strategies=[]", "replay.groups=0"]
DRAWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="examples/smollm2.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plain", type=int, nargs="*", default=[0])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    arms = [("whole", seed, []) for seed in options.seeds] + [("plain GRPO", seed, PLAIN) for seed in options.plain]
    print("| arm | seed | wall s | attempts | warm start | final | points gained |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    for arm, seed, changes in arms:
        seconds, ref = run(options.settings, [*options.overrides, *changes, f"run.seed={seed}"])
        with lend(ref, Reporter()) as session:
            print(f"| {arm} | {seed} | {seconds:.0f} | {row(session)} |", flush=True)


def run(settings: str, overrides: list[str]) -> tuple[float, RunRef]:
    """Wall seconds of the whole command, and the run."""
    command = [sys.executable, "-m", "journeyman.workflows.cli", "run", settings, "--json"]
    for override in overrides:
        command += ["--set", override]
    started = time.monotonic()
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - started
    summary: Json = json.loads(Path(result.stdout.splitlines()[-1]).read_text())
    return seconds, RunRef(summary["store"], summary["run"])


def row(session: Session) -> str:
    """Attempts made for learning, and test pass@1 of the first and of the newest promoted policy with intervals."""
    policies = session.store.policies.of(session.run.id)
    promoted = [p for p in policies if p.promoted]
    exam, last = exam_of(session, Split.TEST), max(p.iteration for p in policies)
    first_T, final_T = (
        np.array([r.successes / r.judged for r in results(exam.rubric, answers(session, p, last, exam)).values()])
        for p in (promoted[0], promoted[-1])
    )
    generate, iterations = session.settings.generate, session.settings.run.iterations
    attempts = generate.tasks * generate.attempts * iterations
    gained = interval(100 * (final_T - first_T), ".1f")
    return f"{attempts} | {interval(first_T, '.3f')} | {interval(final_T, '.3f')} | {gained}"


def interval(value_T: np.ndarray, form: str) -> str:
    """The mean over T tasks with its 95 % interval, e.g. "0.452 (0.401 to 0.503)"."""
    drawn = keyed_rng(0, "bootstrap").integers(len(value_T), size=(DRAWS, len(value_T)))
    low, high = np.quantile(value_T[drawn].mean(-1), [0.025, 0.975])
    return f"{value_T.mean():{form}} ({low:{form}} to {high:{form}})"


if __name__ == "__main__":
    main()
