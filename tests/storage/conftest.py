"""A store in a temporary folder, with a run and tasks in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from journeyman.agent.data import Message, Segment, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.storage.runs import NewPolicy
from journeyman.storage.store import ReplayStore


def make_task(number: int, split: Split = Split.TRAIN) -> Task:
    return Task("toy", number, (Message("user", f"say {number}"),), split, f"hash{number}", {"n": number})


def make_trajectory(task: Task, source: Source = Source.POLICY, attempt: int = 0) -> Trajectory:
    logprobs = None if source is Source.EXPERT else np.array([-0.5, -0.25], np.float32)
    segment = Segment(
        np.array([1, 2, 3], np.int32), np.array([7, 8, 9], np.int32), np.array([True, False, True]), logprobs
    )
    turn = Turn(Message("assistant", str(task.goal)), (Message("tool", "ok"),), 0.5)
    return Trajectory(task.hash, source, (turn,), (segment,), StopReason.TERMINATED, attempt=attempt)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReplayStore]:
    opened = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def run_id(store: ReplayStore) -> str:
    """A run with training tasks 0..9, validation tasks 100, 101, test task 200, and policy v1."""
    run = store.create_run("toy", {"a": 1})
    store.add_tasks(run.id, [make_task(i) for i in range(10)], origin="generated")
    store.add_tasks(run.id, [make_task(i, Split.VALIDATION) for i in (100, 101)], origin="generated")
    store.add_tasks(run.id, [make_task(200, Split.TEST)], origin="generated")
    store.add_policy(run.id, NewPolicy(1, None, 0, "warm_start", "x/v0001", {}, promoted=True))
    return run.id


@pytest.fixture(scope="session")
def task_of():
    return make_task


@pytest.fixture(scope="session")
def trajectory_of():
    return make_trajectory
