"""The draw of positives: quotas, ages, caps, and never a held-out task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from journeyman.agent.data import ScoreRecord, Source, Split, Status, Verdict, VerifierId
from journeyman.storage.replay import Mix, sample_positives
from journeyman.storage.rows import NewTrajectory
from journeyman.storage.store import ReplayStore

GOAL = VerifierId("goal", "1", "00")


def succeeded(verdicts) -> bool:
    return verdicts[GOAL].score == 1.0


@pytest.fixture
def full(store: ReplayStore, run_id: str, task_of, trajectory_of) -> ReplayStore:
    """Per source and iteration 1..4: each training task solved three times and failed once; held-out ones solved."""
    rows = []
    for source in Source:
        for iteration in range(1, 5):
            for number in [*range(10), *(() if source is Source.HINDSIGHT else (100, 200))]:
                for attempt in range(4):
                    verdict = Verdict(Status.OK, float(attempt > 0))
                    rows.append(
                        NewTrajectory(
                            f"{source}/{iteration}/{number}/{attempt}",
                            trajectory_of(task_of(number), source, attempt),
                            iteration,
                            None,
                            scores=(ScoreRecord(GOAL, verdict, 0.0),),
                        )
                    )
    store.add_trajectories(run_id, rows)
    return store


def draw(store, run_id, *, iteration=4, seed=0, **changes):
    values = {"positives": 20, "quota": {"expert": 0.25, "policy": 0.25, "hindsight": 0.5}, "max_age": 9, "per_task": 9}
    rng = np.random.default_rng(seed)
    return sample_positives(store, run_id, iteration, Mix(**(values | changes)), succeeded, rng)


def test_quota_success_and_split(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id)
    sources = [t.trajectory.source for t in drawn]
    assert [sources.count(s) for s in Source] == [5, 5, 10]
    assert all(succeeded(t.verdicts) and t.task.split is Split.TRAIN for t in drawn)
    assert len({t.id for t in drawn}) == 20


def test_the_same_key_is_the_same_draw(full: ReplayStore, run_id: str) -> None:
    assert [t.key for t in draw(full, run_id)] == [t.key for t in draw(full, run_id)]
    assert [t.key for t in draw(full, run_id)] != [t.key for t in draw(full, run_id, seed=1)]


def test_age_counts_for_all_but_experts(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id, positives=400, max_age=2, per_task=99)
    by_source = {s: {t.iteration for t in drawn if t.trajectory.source is s} for s in Source}
    assert by_source == {Source.EXPERT: {1, 2, 3, 4}, Source.POLICY: {3, 4}, Source.HINDSIGHT: {3, 4}}


def test_cap_per_task_and_filling_up(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id, positives=1000, per_task=2)
    assert len(drawn) == 3 * 10 * 2
    few = draw(full, run_id, positives=30, per_task=1, quota={"expert": 1.0, "policy": 0.0})
    assert [sum(t.trajectory.source is s for t in few) for s in (Source.EXPERT, Source.POLICY)] == [10, 10]


def test_of_one_task_the_fewest_turns_are_taken(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    rows = []
    for attempt, turns in enumerate((3, 1, 2)):
        whole = trajectory_of(task_of(1), attempt=attempt)
        longer = replace(whole, turns=whole.turns * turns)
        scores = (ScoreRecord(GOAL, Verdict(Status.OK, 1.0), 0.0),)
        rows.append(NewTrajectory("g", longer, 4, None, scores=scores))
    store.add_trajectories(run_id, rows)
    assert [len(t.trajectory.turns) for t in draw(store, run_id, per_task=2)] in ([1, 2], [2, 1])


def test_nothing_there_is_an_empty_draw(store: ReplayStore, run_id: str) -> None:
    assert draw(store, run_id) == []
