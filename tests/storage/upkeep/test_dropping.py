"""A run is deleted with everything of it and nothing else; a kill on the way leaves one that can be dropped again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select

from journeyman.agent.data import ScoreRecord, Source, Split, Status, Verdict, VerifierId
from journeyman.agent.errors import UnknownNameError, UsageError
from journeyman.storage.database import Database
from journeyman.storage.replay.pools import Kind
from journeyman.storage.runs.evaluations import AuditInfo, EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.runs.runs import RunState, TermInfo
from journeyman.storage.schema.base import Base
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.upkeep import dropping


def fill(store: ReplayStore, name: str, task_of, trajectory_of, parent: str | None = None) -> str:
    """A run with a row in every table that is about runs."""
    run = store.runs.create(name, {"a": 1}, [TermInfo("goal", 1.0)])
    tasks = [task_of(i) for i in range(6)]
    store.tasks.add(run.id, tasks, origin="generated")
    store.runs.begin_iteration(run.id, 0)
    store.policies.add(run.id, NewPolicy(1, parent, 0, "warm_start", "x", {}, promoted=True))
    (policy,) = store.policies.of(run.id)
    verdict = ScoreRecord(VerifierId("goal", "1", "00"), Verdict(Status.OK, 1.0), 1.0)
    made = [(f"g{i}", trajectory_of(task, attempt=n)) for i, task in enumerate(tasks) for n in (0, 1)]
    store.trajectories.add(run.id, [NewTrajectory(g, t, 0, policy.id, scores=(verdict,)) for g, t in made])
    ids = [t.id for t in store.trajectories.of(run.id)]
    expert = trajectory_of(tasks[0], Source.EXPERT)
    store.trajectories.add(run.id, [NewTrajectory("dagger", expert, 0, None, ids[0], "dagger/1")])
    store.policies.add(run.id, NewPolicy(2, policy.id, 1, "finetune", "y", {}), [Use(ids[0], 1.0, "r", 0.5, 0.0)])
    store.evaluations.add(run.id, EvaluationInfo(Split.VALIDATION, 0, 1, 2, 1, 0.5, 0.5, None))
    store.evaluations.add_audit(run.id, [AuditInfo(1, Split.VALIDATION, "repetition", 0.5, 2)])
    store.labels.add(NewLabel(ids[0], ids[1], 1.0, "ann", None))
    store.queue.enqueue(run.id, "generate/1", ["hash1"])
    store.replay.enter(run.id, Kind.POLICY, ["g0", "g1"])
    return run.id


def rows(store: ReplayStore) -> dict[str, int]:
    with store.database.read() as connection:
        count = {
            name: connection.scalar(select(func.count()).select_from(table))
            for name, table in Base.metadata.tables.items()
        }
    return {name: n for name, n in count.items() if n}


def test_everything_of_it_goes_and_nothing_else(
    store: ReplayStore, task_of, trajectory_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropping, "_PAGE", 5)
    kept = fill(store, "kept", task_of, trajectory_of)
    before = rows(store)
    gone = fill(store, "gone", task_of, trajectory_of)
    told = []
    assert rows(store) == {name: 2 * n for name, n in before.items()}
    assert store.upkeep.drop(gone, lambda: told.append("files")) == 13
    assert told == ["files"]
    assert rows(store) == before
    assert [run.id for run in store.runs.all()] == [kept]
    assert store.upkeep.check() == []
    again = store.runs.create("kept", {})
    assert again.ordinal == 1


def test_who_is_gone_on_from_stays(store: ReplayStore, task_of, trajectory_of) -> None:
    first = fill(store, "nightly", task_of, trajectory_of)
    second = fill(store, "nightly", task_of, trajectory_of, parent=store.policies.of(first)[0].id)
    with pytest.raises(UsageError, match=rf"cannot be dropped: nightly \({second}\) began with a policy of it"):
        store.upkeep.drop(first, lambda: None)
    assert store.runs.find(first).state is RunState.RUNNING
    store.upkeep.drop(second, lambda: None)
    store.upkeep.drop(first, lambda: None)
    assert rows(store) == {}


class Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("deadly", range(5))
def test_a_kill_leaves_a_run_that_says_so(
    store: ReplayStore, task_of, trajectory_of, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    monkeypatch.setattr(dropping, "_PAGE", 5)
    fill(store, "kept", task_of, trajectory_of)
    before = rows(store)
    run_id = fill(store, "gone", task_of, trajectory_of)
    write, count = Database.write, 0

    @contextmanager
    def counted(self: Database) -> Iterator[object]:
        nonlocal count
        with write(self) as connection:
            count += 1
            yield connection
            if count == deadly + 2:
                raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", counted)
        with pytest.raises(Killed):
            store.upkeep.drop(run_id, lambda: None)
    half = store.runs.find(run_id)
    assert (half.state, half.stands_for_name) == (RunState.DROPPING, False)
    assert store.upkeep.check() == []
    store.runs.begin(run_id, "here")
    store.runs.stop(run_id, RunState.FAILED, "nothing brings it back")
    assert store.runs.find(run_id).state is RunState.DROPPING
    store.upkeep.drop(run_id, lambda: None)
    assert rows(store) == before
    with pytest.raises(UnknownNameError):
        store.runs.find(run_id)
