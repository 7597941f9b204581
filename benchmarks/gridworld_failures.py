"""Why attempts at gridworld fail: how each policy's validation attempts ended, and what it does in a dead end.

    journeyman run examples/gridworld.toml --engine none
    python benchmarks/gridworld_failures.py sqlite:///runs/journeyman.db [--run gridworld] [--split train]

A row for each policy version: attempts; of them in per cent successes, falls into a hole, attempts that ran out of
turns or tokens with a call that was no move ("form"), and others (circles, walls). Then what it did on arriving in a
dead end, a place whose one free neighbour is the cell it came from: how often that was, and in per cent a step back, a
hole, a push against a wall. Only the first action there counts: pushing against a wall for ever would hide the rest.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

from journeyman.agent.data import Source, Split
from journeyman.agent.environments.gridworld import Gridworld, read_direction, read_layout
from journeyman.agent.environments.gridworld_maps import HOLE
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.loading import StoredTrajectory

ENDINGS = ("success", "hole", "form", "other")
IN_DEAD_ENDS = ("back", "hole", "wall", "no move")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="database URL")
    parser.add_argument("--run", default="gridworld")
    parser.add_argument("--split", type=Split, default=Split.VALIDATION, choices=list(Split))
    options = parser.parse_args()
    endings: dict[int, Counter[str]] = defaultdict(Counter)
    dead_ends: dict[int, Counter[str]] = defaultdict(Counter)
    store = ReplayStore(options.store, must_exist=True)
    run = store.runs.find(options.run)
    for stored in store.trajectories.of(run.id, source=Source.POLICY, split=options.split, tokens=False):
        version = stored.policy_number or 0
        endings[version][ending(stored)] += 1
        dead_ends[version].update(in_dead_ends(stored))
    store.close()
    heads = ["".join(f"{name:>9}" for name in names) for names in (ENDINGS, IN_DEAD_ENDS)]
    print(f"version  attempts {heads[0]} | dead ends{heads[1]}")
    for version, counts in sorted(endings.items()):
        found = dead_ends[version]
        shown = f"{version:>7} {counts.total():>9} {shares(counts, ENDINGS)}"
        print(f"{shown} | {found.total():>9}{shares(found, IN_DEAD_ENDS)}")


def shares(counts: Counter[str], names: tuple[str, ...]) -> str:
    """In per cent, nine columns each."""
    return "".join(f"{100 * counts[name] / max(counts.total(), 1):9.1f}" for name in names)


def ending(stored: StoredTrajectory) -> str:
    """One of ENDINGS."""
    actions = [turn.action for turn in stored.trajectory.turns]
    layout, last = read_layout(stored.task), Gridworld().open(stored.task).states(actions)[-1]
    if layout.at(last) == HOLE:
        return "hole"
    if last == layout.goal:
        return "success"
    return "other" if all(map(read_direction, actions)) else "form"


def in_dead_ends(stored: StoredTrajectory) -> list[str]:
    """What was done on each arrival in a dead end, of IN_DEAD_ENDS."""
    actions = [turn.action for turn in stored.trajectory.turns]
    layout, states = read_layout(stored.task), Gridworld().open(stored.task).states(actions)
    found = []
    for action, before, here, after in zip(actions[1:], states, states[1:], states[2:], strict=False):
        if before != here and list(layout.free_beside(here).values()) == [before]:
            moved = "wall" if after == here else "back" if after == before else "hole"
            found.append(moved if read_direction(action) else "no move")
    return found


if __name__ == "__main__":
    main()
