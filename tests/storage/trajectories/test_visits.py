"""The policy's past: earlier iterations, training tasks, the newest, in one order."""

from __future__ import annotations

import pytest

from journeyman.agent.data import Source
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.visits import past_attempts


@pytest.fixture
def full(store: ReplayStore, run_id: str, task_of, trajectory_of) -> ReplayStore:
    """Iterations 1 to 3, in each two attempts at tasks 1 and 2 and one at a held-out task; and an expert's."""
    rows = [
        NewTrajectory(f"{source}/{i}/{number}", trajectory_of(task_of(number), source, attempt), i, None)
        for i in (3, 1, 2)
        for number, source, attempts in ((1, Source.POLICY, 2), (2, Source.POLICY, 2), (100, Source.POLICY, 1))
        for attempt in range(attempts)
    ]
    rows.append(NewTrajectory("expert", trajectory_of(task_of(1), Source.EXPERT), 0, None))
    store.trajectories.add(run_id, rows)
    return store


def keys(store: ReplayStore, run_id: str, iteration: int, limit: int) -> list[str]:
    return [t.key for t in past_attempts(store.database, run_id, iteration, limit)]


def test_earlier_iterations_oldest_first(full: ReplayStore, run_id: str) -> None:
    found = past_attempts(full.database, run_id, 3, 99)
    assert [t.iteration for t in found] == [1] * 4 + [2] * 4
    assert {t.task.hash for t in found} == {"hash1", "hash2"}
    assert found[0].trajectory.turns[0].action.content in ("1", "2")
    assert found[0].trajectory.segments == ()


def test_the_newest_are_kept(full: ReplayStore, run_id: str) -> None:
    everything = keys(full, run_id, 4, 99)
    assert len(everything) == 12
    assert keys(full, run_id, 4, 5) == everything[-5:]
    assert keys(full, run_id, 4, 0) == keys(full, run_id, 1, 99) == []
