"""Attempts and successes by task: the rubric's word, earlier iterations only, nothing held out."""

from __future__ import annotations

import pytest

from journeyman.agent.data import ScoreRecord, Source, Status, Verdict, VerifierId
from journeyman.storage.runs.curriculum import Tally, tallies
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory

GOAL, STYLE, OTHER = VerifierId("goal", "1", "00"), VerifierId("style", "1", "00"), VerifierId("goal", "2", "00")


def passed_both(verdicts) -> bool | None:
    """None for what was not judged by both, or failed to be."""
    if any(v not in verdicts or verdicts[v].score is None for v in (GOAL, STYLE)):
        return None
    return all(v in verdicts and verdicts[v].score == 1 for v in (GOAL, STYLE))


def scored(goal: float | None, style: float | None) -> tuple[ScoreRecord, ...]:
    """None is an error; the other version of the verifier always says 0."""
    verdicts = {GOAL: goal, STYLE: style, OTHER: 0.0}
    return tuple(
        ScoreRecord(v, Verdict(Status.ERROR if score is None else Status.OK, score), 0.0)
        for v, score in verdicts.items()
    )


@pytest.fixture
def full(store: ReplayStore, run_id: str, task_of, trajectory_of) -> ReplayStore:
    """Iterations 1 to 3: task 1 solved once in four, with an error; 2 always; 100 held out; others' solutions."""
    rows = []

    def add(iteration, number, scores, attempt, source=Source.POLICY):
        trajectory = trajectory_of(task_of(number), source, attempt)
        rows.append(NewTrajectory(f"{source}/{iteration}/{number}", trajectory, iteration, None, scores=scores))

    for iteration in (1, 2, 3):
        for attempt, scores in enumerate((scored(1, 1), scored(1, 0), scored(0, 1), scored(None, 1))):
            add(iteration, 1, scores, attempt)
        for attempt in range(2):
            add(iteration, 2, scored(1, 1), attempt)
            add(iteration, 3, (), attempt)
        add(iteration, 100, scored(1, 1), 0)
        for source in (Source.EXPERT, Source.HINDSIGHT):
            add(iteration, 4, scored(1, 1), 0, source)
    store.trajectories.add(run_id, rows)
    return store


def count(store: ReplayStore, run_id: str, iterations: range = range(1, 4)) -> dict[str, Tally]:
    return tallies(store.database, run_id, iterations, [GOAL, STYLE], passed_both)


def test_counts_by_task(full: ReplayStore, run_id: str) -> None:
    assert count(full, run_id) == {"hash1": Tally(12, 9, 3), "hash2": Tally(6, 6, 6), "hash3": Tally(6, 0, 0)}


def test_only_the_iterations_asked_for(full: ReplayStore, run_id: str) -> None:
    assert count(full, run_id, range(2, 3)) == {
        "hash1": Tally(4, 3, 1),
        "hash2": Tally(2, 2, 2),
        "hash3": Tally(2, 0, 0),
    }
    assert count(full, run_id, range(1, 1)) == {}


def test_the_question_is_asked_once_for_each_kind_of_verdicts(full: ReplayStore, run_id: str) -> None:
    asked = []
    tallies(full.database, run_id, range(1, 4), [GOAL], lambda verdicts: bool(asked.append(verdicts)))
    assert len(asked) == 3 + 1 + 1
    assert {GOAL: Verdict(Status.ERROR)} in asked


def test_another_runs_attempts_are_its_own(full: ReplayStore) -> None:
    assert count(full, full.runs.create("toy", {}).id) == {}


def test_a_retracted_verdict_counts_no_more(full: ReplayStore, run_id: str) -> None:
    full.verdicts.retract("goal", "1", "took 1 for 7")
    assert {t.successes for t in count(full, run_id).values()} == {0}


def test_the_latest_verdict_counts(full: ReplayStore, run_id: str) -> None:
    failed = [
        t.id
        for t in full.trajectories.of(run_id, iterations=[1], source=Source.POLICY)
        if GOAL in t.verdicts and t.verdicts[GOAL].score == 0
    ]
    full.verdicts.add([(i, ScoreRecord(GOAL, Verdict(Status.OK, 1.0), 0.0)) for i in failed])
    assert count(full, run_id, range(1, 2))["hash1"] == Tally(4, 3, 2)
