"""Draws training groups from the pools, in two steps whose cost does not depend on how many groups are stored.

First some candidates of each pool by their place, newer policies' more often; of these, once their verdicts are read,
a priority sample. Both chances are known, so that importance weights can make up for them.

Dimension letters: P kinds, N candidates of one kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from journeyman.storage.database import Database, chunks
from journeyman.storage.replay import draws, pools
from journeyman.storage.replay.candidates import Candidate, Judge, candidates, pools_of
from journeyman.storage.replay.pools import Kind
from journeyman.storage.schema.trajectories import TrajectoryGroup
from journeyman.storage.trajectories.loading import StoredTrajectory, load, select_trajectories

CANDIDATES = 4
"""Candidates read for each group that is wanted; of no kind fewer than the whole draw, lest the others lack."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What a draw is made of, e.g. `Mix(256, {"expert": 0.1, "success": 0.4, "hindsight": 0.5}, max_age=8)`."""

    groups: int
    """How many."""
    quota: Mapping[str, float]
    """Shares by `Kind`; what one kind lacks is filled from the others. A kind without a share is not drawn."""
    max_age: int
    """Most policy versions between the one that sampled a group and the one to be trained; experts never age."""
    per_task: int | None = None
    """Most groups of one task (by its hash) and kind."""
    per_goal: int | None = None
    """Most groups of one goal and kind."""
    rarity: float = 0.0
    """Exponent of the rarity of success in a group's priority, at least 0."""
    surprise: float = 0.0
    """Exponent of the spread of its rewards."""
    recency: float = 1.0
    """Exponent of 1 / (1 + age in policy versions)."""
    correction: float = 0.0
    """How far importance weights make up for the priorities, in [0, 1]."""
    by_contrast: frozenset[Kind] = frozenset({Kind.POLICY})
    """Kinds of which only groups that differ in reward are drawn; of the others those with a success."""


@dataclass(frozen=True, slots=True, eq=False)
class ReplayGroup:
    """A drawn group: the attempts at one task, in order."""

    kind: Kind
    members: tuple[StoredTrajectory, ...]
    importance_weight: float
    """In (0, 1]; see `draws.importance_weights`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """The candidates of one kind that fit and keep the caps, best key first."""

    kind: Kind
    groups: list[Candidate]
    values_N: NDArray[np.float64]
    keys_N: NDArray[np.float64]

    def first(self, count: int, correction: float) -> Iterator[tuple[str, Kind, float]]:
        """Id, kind and importance weight of the first `count`."""
        threshold = float(self.keys_N[count]) if count < len(self.groups) else 0.0
        reach_N = np.array([group.reach for group in self.groups[:count]])
        weights_N = draws.importance_weights(self.values_N[:count], reach_N, threshold, correction)
        for group, weight in zip(self.groups[:count], weights_N, strict=True):
            yield group.id, self.kind, float(weight)


class ReplaySampler:
    """The part of the replay store that hands out what to learn from."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def enter(self, run_id: str, kind: Kind, groups: Sequence[str]) -> None:
        """Makes the groups (by key) drawable as `kind`, in this order; those that are already stay where they are.

        Only training tasks' groups may enter: the caller sees to that, and a draw checks it again. Raises StoreError
        for a group that the run does not have.
        """
        self.database.write_again(lambda connection: pools.enter(connection, run_id, kind, groups))

    def sample(
        self, run_id: str, mix: Mix, judge: Judge, rng: np.random.Generator, *, policy: int, iteration: int
    ) -> list[ReplayGroup]:
        """Groups for training version `policy` further in `iteration`; the same for the same `rng` and store.

        Never drawn are attempts at validation and test tasks, groups without a success or (kind `policy`) without
        differing rewards, pruned ones, and as `policy` the iteration's own, which are fresh and used whole.
        """
        shares = {Kind(kind): share for kind, share in sorted(mix.quota.items()) if share > 0}
        with self.database.read() as connection:
            rankings = []
            for kind, share in shares.items():
                wanted = int(np.ceil(mix.groups * share / sum(shares.values())))
                among = pools_of(connection, run_id, kind, policy, mix.max_age, mix.recency)
                found = candidates(connection, among, max(CANDIDATES * wanted, mix.groups), judge, rng)
                fitting = [c for c in found if c.whole and (kind is not Kind.POLICY or c.iteration < iteration)]
                teaching = [c for c in fitting if (c.differs if kind in mix.by_contrast else c.successes)]
                rankings.append(_rank(kind, teaching, mix, rng))
            sizes_P = np.array([len(ranking.groups) for ranking in rankings], dtype=np.int64)
            weights_P = np.array(list(shares.values())) / np.maximum(sizes_P, 1)
            counts_P = draws.allot(sizes_P, weights_P, mix.groups).tolist()
            drawn = [d for r, n in zip(rankings, counts_P, strict=True) for d in r.first(n, mix.correction)]
            members = _members(connection, [group for group, _, _ in drawn])
        return [ReplayGroup(kind, tuple(members[group]), weight) for group, kind, weight in drawn]


def _rank(kind: Kind, found: Sequence[Candidate], mix: Mix, rng: np.random.Generator) -> _Ranking:
    """Best key first; of one task and of one goal no more than the caps allow."""
    successes_N = np.array([float(c.successes) for c in found])
    attempts_N = np.array([float(len(c.known)) for c in found])
    priority_N = draws.rarity(successes_N, attempts_N) ** mix.rarity
    priority_N *= draws.surprise(np.array([c.spread for c in found])) ** mix.surprise
    values_N = priority_N * np.array([c.recency / c.reach for c in found])
    keys_N = draws.keys(values_N, rng)
    tasks: Counter[str] = Counter()
    goals: Counter[str] = Counter()
    kept: list[int] = []
    for i in np.argsort(-keys_N, kind="stable").tolist():
        task, goal = found[i].task, found[i].goal
        if tasks[task] != mix.per_task and goals[goal] != mix.per_goal:
            tasks[task] += 1
            goals[goal] += 1
            kept.append(i)
    return _Ranking(kind, [found[i] for i in kept], values_N[kept], keys_N[kept])


def _members(connection: Connection, groups: Sequence[str]) -> dict[str, list[StoredTrajectory]]:
    """By group id its attempts, tokens and all."""
    found: dict[str, list[StoredTrajectory]] = {group: [] for group in groups}
    for chunk in chunks(list(found)):
        for stored in load(connection, select_trajectories().where(TrajectoryGroup.id.in_(chunk)), tokens=True):
            found[stored.group_id].append(stored)
    return found
