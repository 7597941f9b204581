"""A process reward model trained from Monte-Carlo labels, against the exact solver and against majority votes.

    OMP_NUM_THREADS=1 python benchmarks/prm.py --seeds 0 1 2 [--set NAME=VALUE ...]

For each seed: `examples/countdown_steps.toml` is run, `train-prm` labels its attempts and trains a model from them, and
the model scores the run's attempts at test tasks, eight each, which neither it nor the policy was trained on.

Its AUC is over their distinct steps; the truth about a step is the exact solver's word on whether the target can still
be reached. Best-of-8 takes the attempt that the model scores highest (the least of its steps' scores), the vote the
most frequent solution (steps alike but for the sides of + and *). A success is the verifier's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from journeyman.agent.data import Source, Split, Task, Trajectory
from journeyman.agent.environments.countdown_steps import CountdownStepsEpisode, still_reachable
from journeyman.agent.learning.heads.steps import area_under_curve
from journeyman.agent.search import best_of_n, majority
from journeyman.agent.steps import split_steps
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.models.prm.process_reward import ProcessReward
from journeyman.workflows.commands.heads.train_prm import PrmOptions, make_prm
from journeyman.workflows.commands.run import execute
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import chosen_version, start_run
from journeyman.workflows.session.session import Session, lend
from journeyman.workflows.settings.loading import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="examples/countdown_steps.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--targets", choices=("hard", "soft"), default="hard")
    options = parser.parse_args()
    rows = [one_seed(options.settings, seed, options.overrides, options.targets) for seed in options.seeds]
    Reporter(stdout=True).table("process reward models on held-out tasks", rows)


def one_seed(path: str, seed: int, overrides: Sequence[str], targets: Literal["hard", "soft"]) -> dict[str, object]:
    started = time.monotonic()
    settings = load_settings(path, [*overrides, f"run.seed={seed}", "run.engine=none"])
    ref = start_run(settings)
    execute(settings, ref, Reporter())
    with lend(ref, Reporter()) as session:
        ran = time.monotonic()
        folder = Path(settings.run.output) / ref.run_id / "prm"
        report = make_prm(
            session,
            chosen_version(session, None),
            PrmOptions(split="turn", targets=targets, attempts=8000, batch=32),
            folder,
        )
        print(f"seed {seed}: run {ran - started:.0f} s, {report}", file=sys.stderr)
        trained = time.monotonic()
        row = {"seed": seed, **scored(session, folder)}
    return row | {"run s": ran - started, "PRM s": trained - ran}


def scored(session: Session, folder: Path) -> dict[str, object]:
    """The benchmark's figures on the newest promoted policy's attempts at test tasks."""
    number = chosen_version(session, None).number
    stored = session.store.trajectories.of(
        session.run.id, source=Source.POLICY, split=Split.TEST, policy_number=number, tokens=False
    )
    verifier = ProcessReward(str(folder))
    verdicts = verifier.verify_all([(s.task, s.trajectory) for s in stored])
    steps = [v.step_scores or () for v in verdicts]
    scores = {id(s.trajectory): v.score for s, v in zip(stored, verdicts, strict=True)}
    return aucs(stored, steps) | choices(session, stored, scores)


def aucs(stored: Sequence[StoredTrajectory], steps: Sequence[Sequence[float]]) -> dict[str, object]:
    """Over distinct steps: all, the first ones, and the first ones that keep the rules."""
    found: dict[tuple[str, tuple[str, ...]], tuple[float, bool, bool, bool]] = {}
    for one, scores in zip(stored, steps, strict=True):
        said = tuple(turn.action.content for turn in one.trajectory.turns)
        truth, left = still_reachable(one.task, one.trajectory), states_of(one)
        for span, score in zip(split_steps(one.trajectory, "turn"), scores, strict=True):
            turn = span.turn
            found[one.task.hash, said[: turn + 1]] = score, truth[turn], turn == 0, bool(left[turn])
    score_N, good_N, first_N, valid_N = map(np.array, zip(*found.values(), strict=True))
    return {
        "steps": len(score_N),
        "reachable": float(good_N.mean()),
        "AUC": area_under_curve(score_N, good_N),
        "first steps": area_under_curve(score_N[first_N], good_N[first_N]),
        "by the rules": area_under_curve(score_N[valid_N], good_N[valid_N]),
        "first by the rules": area_under_curve(score_N[first_N & valid_N], good_N[first_N & valid_N]),
    }


def states_of(one: StoredTrajectory) -> list[tuple[int, ...]]:
    """The numbers left after each turn; none where it broke the rules."""
    return CountdownStepsEpisode(one.task).states(turn.action for turn in one.trajectory.turns)[1:]


def choices(session: Session, stored: Sequence[StoredTrajectory], scores: dict[int, float | None]) -> dict[str, object]:
    """Share of the tasks solved by each way to choose one of eight attempts, beside pass@1 and pass@8."""
    solved: dict[str, list[float]] = {name: [] for name in ("pass@1", "pass@8", "vote, solution", "best of 8")}
    for _, members in groupby(stored, key=lambda s: s.task.hash):
        group = list(members)
        task, attempts = group[0].task, [s.trajectory for s in group]
        good = {id(s.trajectory): session.rubric.succeeded(s.verdicts) for s in group}

        def score(pairs: Sequence[tuple[Task, Trajectory]]) -> list[float | None]:
            return [scores[id(attempt)] for _, attempt in pairs]

        chosen = majority(attempts, solution_of), best_of_n(task, attempts, score)
        shares = [sum(good.values()) / len(good), float(any(good.values()))]
        shares += [float(good[id(attempt)]) for attempt in chosen]
        for name, share in zip(solved, shares, strict=True):
            solved[name].append(share)
    return {name: float(np.mean(shares)) for name, shares in solved.items()}


def solution_of(attempt: Trajectory) -> tuple[str, ...]:
    """The steps, the larger side of + and * first."""
    steps = []
    for turn in attempt.turns:
        text = turn.action.content.strip()
        operator = next((o for o in "+*" if o in text), None)
        steps.append(operator.join(sorted(text.split(operator), reverse=True)) if operator else text)
    return tuple(steps)


if __name__ == "__main__":
    main()
