"""Draws the positives of an update from the store: verified successes of every source, by quota, age and task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from journeyman.agent.data import Source, Verdict, VerifierId
from journeyman.storage.trajectories import Candidate, StoredTrajectory, TrajectoryStore


@dataclass(frozen=True, slots=True)
class Mix:
    """What a draw is made of, e.g. `Mix(2048, {"expert": 0.1, "policy": 0.4, "hindsight": 0.5}, 8, 2)`."""

    positives: int
    """How many trajectories."""
    quota: Mapping[str, float]
    """Shares by source, within each the newest iteration first; what one source lacks is filled from the others."""
    max_age: int
    """Iterations back, the present one included; experts never age."""
    per_task: int
    """Most of one task (by its hash) from one source."""


def sample_positives(
    store: TrajectoryStore,
    run_id: str,
    iteration: int,
    mix: Mix,
    succeeded: Callable[[Mapping[VerifierId, Verdict]], bool],
    rng: np.random.Generator,
) -> list[StoredTrajectory]:
    """Training trajectories whose verdicts `succeeded` accepts; the same draw for the same `rng` and store.

    Attempts at validation and test tasks are never drawn.
    """
    recent = range(max(iteration - mix.max_age + 1, 0), iteration + 1)
    pools: dict[str, list[str]] = {}
    for source in mix.quota:
        iterations = None if source == Source.EXPERT else recent
        found = [c for c in store.candidates(run_id, Source(source), iterations) if succeeded(c.verdicts)]
        pools[source] = _capped(found, mix.per_task, rng)
    total = sum(mix.quota.values())
    wanted = {source: round(mix.positives * share / total) for source, share in mix.quota.items()} if total else {}
    chosen = [i for source, n in wanted.items() for i in pools[source][:n]]
    spare = [i for source, n in wanted.items() for i in pools[source][n:]]
    return store.by_id([*chosen, *spare[: mix.positives - len(chosen)]][: mix.positives])


def _capped(candidates: Sequence[Candidate], per_task: int, rng: np.random.Generator) -> list[str]:
    """Ids, the newest iteration's first, older ones after, each shuffled; of a task at most `per_task`.

    Those are its newest, and of equally new ones those with the fewest turns: wasted turns are not worth imitating.
    """
    by_task: dict[str, list[Candidate]] = defaultdict(list)
    for i in rng.permutation(len(candidates)):
        by_task[candidates[i].task_hash].append(candidates[i])
    kept = [c for group in by_task.values() for c in sorted(group, key=lambda c: (-c.iteration, c.turns))[:per_task]]
    newest = max((c.iteration for c in kept), default=0)
    shuffled = [kept[i] for i in rng.permutation(len(kept))]
    return [c.id for c in sorted(shuffled, key=lambda c: c.iteration != newest)]
