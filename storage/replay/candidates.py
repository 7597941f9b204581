"""Candidates of a draw: groups at random places of the pools, with what their verdicts say of them.

Dimension letters: P pools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from sqlalchemy import Connection, exists, select

from journeyman.agent.data import Split, Verdict, VerifierId
from journeyman.storage.database import chunks
from journeyman.storage.replay import draws
from journeyman.storage.replay.pools import Kind
from journeyman.storage.schema.runs import TaskRow
from journeyman.storage.schema.trajectories import (
    ReplayEntry,
    ReplayPool,
    SegmentRow,
    TrajectoryGroup,
    TrajectoryRow,
)
from journeyman.storage.trajectories.loading import verdicts_of


class Judge(Protocol):
    """What turns verdicts into rewards: the rubric."""

    def reward(self, verdicts: Mapping[VerifierId, Verdict]) -> float | None:
        """The reward, None where a verifier failed."""

    def succeeded(self, verdicts: Mapping[VerifierId, Verdict]) -> bool:
        """Whether it is the best there is."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The groups of one kind by one policy version."""

    run_id: str
    kind: Kind
    policy: int
    size: int
    recency: float
    """Factor of its groups' priority, in (0, 1]."""


@dataclass(slots=True)
class Candidate:
    """A group as a draw sees it, without turns and tokens."""

    id: str
    key: str
    task: str
    goal: str
    iteration: int
    reach: float
    """The chance with which it became a candidate, in (0, 1]."""
    recency: float
    """Of its pool."""
    whole: bool = True
    """False where tokens of an attempt were pruned."""
    rewards: list[float | None] = field(default_factory=list)
    successes: int = 0

    @property
    def known(self) -> list[float]:
        """The rewards of those that could be scored."""
        return [reward for reward in self.rewards if reward is not None]

    @property
    def spread(self) -> float:
        """Mean distance of the rewards from their mean."""
        known = self.known
        return float(np.abs(np.array(known) - np.mean(known)).mean()) if known else 0.0

    @property
    def differs(self) -> bool:
        """Whether its rewards do."""
        return len(set(self.known)) > 1


def pools_of(connection: Connection, run_id: str, kind: Kind, policy: int, max_age: int, recency: float) -> list[Pool]:
    """The run's pools of a kind that are at most `max_age` versions older than `policy`; experts never age."""
    query = select(ReplayPool.policy, ReplayPool.size).where(ReplayPool.run_id == run_id, ReplayPool.kind == kind)
    found = []
    for number, size in connection.execute(query.order_by(ReplayPool.policy)):
        age = 0 if kind is Kind.EXPERT else max(policy - number, 0)
        if age <= max_age:
            found.append(Pool(run_id, kind, number, size, (1.0 + age) ** -recency))
    return found


def candidates(
    connection: Connection, pools: Sequence[Pool], count: int, judge: Judge, rng: np.random.Generator
) -> list[Candidate]:
    """Up to `count` groups, drawn uniformly within each pool and from newer pools more often, in the order of keys."""
    sizes_P = np.array([pool.size for pool in pools], dtype=np.int64)
    counts_P = draws.allot(sizes_P, np.array([pool.recency for pool in pools]), count).tolist()
    found: dict[str, Candidate] = {}
    attempts: dict[str, list[str]] = {}
    for pool, taken in zip(pools, counts_P, strict=True):
        places = np.sort(rng.choice(pool.size, taken, replace=False)).tolist()
        for candidate, ids in _at(connection, pool, places, reach=taken / max(pool.size, 1)):
            found[candidate.id], attempts[candidate.id] = candidate, ids
    verdicts = verdicts_of(connection, [i for ids in attempts.values() for i in ids])
    for group, candidate in found.items():
        candidate.rewards = [judge.reward(verdicts[i]) for i in attempts[group]]
        candidate.successes = sum(judge.succeeded(verdicts[i]) for i in attempts[group])
    return sorted(found.values(), key=lambda c: c.key)


def _at(connection: Connection, pool: Pool, places: Sequence[int], reach: float) -> list[tuple[Candidate, list[str]]]:
    """The groups of training tasks at those places, each with the ids of its attempts."""
    group, entry = TrajectoryGroup, ReplayEntry
    pruned = exists().where(SegmentRow.trajectory_id == TrajectoryRow.id, SegmentRow.kept.is_(False))
    query = (
        select(group.id, group.key, group.iteration, TaskRow.hash, TaskRow.goal, TrajectoryRow.id, pruned)
        .join_from(entry, group, group.id == entry.group_id)
        .join(TaskRow, TaskRow.id == group.task_id)
        .join(TrajectoryRow, TrajectoryRow.group_id == group.id)
        .where(entry.run_id == pool.run_id, entry.kind == pool.kind, entry.policy == pool.policy)
        .where(TaskRow.split == Split.TRAIN)
        .order_by(entry.position, TrajectoryRow.attempt)
    )
    found: dict[str, tuple[Candidate, list[str]]] = {}
    for chunk in chunks(places):
        for i, key, iteration, task, goal, attempt, gone in connection.execute(query.where(entry.position.in_(chunk))):
            if i not in found:
                text = json.dumps(goal, sort_keys=True)
                found[i] = Candidate(i, key, task, text, iteration, reach, pool.recency), []
            found[i][0].whole &= not gone
            found[i][1].append(attempt)
    return list(found.values())
