"""What one update of a gridworld run did to the moves it learned from: right and wrong ones, in dead ends or elsewhere.

    python benchmarks/gridworld_choices.py sqlite:///runs/journeyman.db --artifacts runs/artifacts --iteration 1

Takes the first attempts of the iteration (`--attempts`), computes the log-probs of their tokens (temperature 1) under
the policy that made them and under the one that the iteration made, and prints for each kind of turn how many there
are, the mean probability of the turn's least likely token (the choice) before, and how its log-prob changed on average.
In a dead end the one free neighbour is the cell it came from.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.agent.data import PolicyRef, Source, Split
from journeyman.agent.environments.gridworld import Gridworld, read_direction, read_layout
from journeyman.agent.environments.gridworld_maps import HOLE
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.step_tokens import turns_of_tokens
from journeyman.agent.models import load_causal_lm
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.loading import StoredTrajectory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="database URL")
    parser.add_argument("--artifacts", type=Path, required=True, help="the run's `store.artifacts`")
    parser.add_argument("--run", default="gridworld")
    parser.add_argument("--iteration", type=int, default=1)
    parser.add_argument("--attempts", type=int, default=300)
    options = parser.parse_args()
    store = ReplayStore(options.store, must_exist=True)
    run = store.runs.find(options.run)
    attempts = store.trajectories.of(run.id, source=Source.POLICY, split=Split.TRAIN, iterations=[options.iteration])
    attempts = attempts[: options.attempts]
    paths = {policy.number: options.artifacts / policy.path for policy in store.policies.of(run.id)}
    store.close()
    before, after = (logprobs(paths[n], attempts) for n in (attempts[0].policy_number, options.iteration + 1))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i, stored in enumerate(attempts):
        (turn_M,) = turns_of_tokens(stored.trajectory)
        for turn, kind in enumerate(kinds(stored)):
            tokens = np.flatnonzero(turn_M == turn)
            choice = tokens[np.argmin(before[i][tokens])]
            found[kind].append((before[i][choice], after[i][choice] - before[i][choice]))
    for kind, values in sorted(found.items()):
        old, change = np.array(values).T
        print(f"{kind:<16} {len(values):>6} turns, probability {np.exp(old).mean():.3f}, log-prob {change.mean():+.3f}")


def logprobs(folder: Path, attempts: list[StoredTrajectory]) -> dict[int, NDArray[np.float32]]:
    """(M,) of each attempt's trained tokens under the weights in the folder."""
    model = load_causal_lm(PolicyRef(0, str(folder)), dtype=torch.float32, device="cpu").eval()
    segments = [stored.trajectory.segments[0] for stored in attempts]
    return Scorer(model, torch.float32, 1.0).logprobs(segments, range(len(segments)))


def kinds(stored: StoredTrajectory) -> Iterator[str]:
    """Of each turn, e.g. "dead end, wall" or "elsewhere, move"."""
    actions = [turn.action for turn in stored.trajectory.turns]
    layout, states = read_layout(stored.task), Gridworld().open(stored.task).states(actions)
    came_from = None
    for action, here, there in zip(actions, states, states[1:], strict=False):
        where = "dead end" if list(layout.free_beside(here).values()) == [came_from] else "elsewhere"
        what = "wall" if there == here else "hole" if layout.at(there) == HOLE else "move"
        yield f"{where}, {what if read_direction(action) else 'no move'}"
        if there != here:
            came_from = here


if __name__ == "__main__":
    main()
