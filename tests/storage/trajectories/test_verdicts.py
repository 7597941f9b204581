"""Old scores stay facts: scoring again adds, retracting takes nothing away but its say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from journeyman.agent.data import ScoreRecord, Status, Verdict, VerifierId
from journeyman.agent.errors import UnknownNameError
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.verdicts import Affected

OLD, NEW = VerifierId("goal", "1", "00"), VerifierId("goal", "2", "00")


def record(verifier: VerifierId, status: Status, score: float | None = None) -> ScoreRecord:
    return ScoreRecord(verifier, Verdict(status, score), 0.5)


@pytest.fixture
def scored(store: ReplayStore, run_id: str, task_of, trajectory_of) -> ReplayStore:
    """Tasks 1 and 2, each attempted once and passed by the old verifier; v2 learned from the first."""
    rows = [
        NewTrajectory(f"g{i}", trajectory_of(task_of(i)), 1, None, scores=(record(OLD, Status.OK, 1.0),))
        for i in (1, 2)
    ]
    store.trajectories.add(run_id, rows)
    uses = [Use(t.id, 1.0, "00", 0.0, float(t.group == "g1")) for t in store.trajectories.of(run_id)]
    store.policies.add(run_id, NewPolicy(2, None, 1, "finetune", "x", {}), uses)
    return store


def test_a_new_version_judges_beside_the_old_one(scored: ReplayStore, run_id: str) -> None:
    ids = scored.verdicts.unscored(run_id, NEW)
    assert len(ids) == 2
    assert scored.verdicts.unscored(run_id, OLD) == []
    scored.verdicts.add([(ids[0], record(NEW, Status.OK, 0.0))])
    assert scored.verdicts.unscored(run_id, NEW) == ids[1:]
    verdicts = {t.id: t.verdicts for t in scored.trajectories.of(run_id)}
    assert {v: d.score for v, d in verdicts[ids[0]].items()} == {OLD: 1.0, NEW: 0.0}


def test_the_latest_ok_counts(scored: ReplayStore, run_id: str) -> None:
    first = scored.trajectories.of(run_id)[0].id
    for again in (record(OLD, Status.OK, 0.25), record(OLD, Status.ERROR)):
        scored.verdicts.add([(first, again)])
    assert scored.trajectories.of(run_id)[0].verdicts[OLD].score == 0.25


def test_a_retracted_verdict_counts_no_more(scored: ReplayStore, run_id: str) -> None:
    assert scored.verdicts.retract("goal", "1", "took 1 for 7") == [Affected("toy", 2, 1)]
    assert all(t.verdicts == {} for t in scored.trajectories.of(run_id))
    first = scored.trajectories.of(run_id)[0].id
    scored.verdicts.add([(first, record(NEW, Status.OK, 1.0))])
    assert scored.trajectories.of(run_id)[0].verdicts == {NEW: Verdict(Status.OK, 1.0)}
    assert scored.upkeep.check() == []


def test_who_learned_before_the_verdict_did_not_learn_from_it(scored: ReplayStore, run_id: str) -> None:
    late = [(i, record(NEW, Status.OK, 1.0)) for i in scored.verdicts.unscored(run_id, NEW)]
    scored.verdicts.add(late)
    assert scored.verdicts.retract("goal", "2", "came later") == []


def test_one_that_failed_is_asked_again(scored: ReplayStore, run_id: str) -> None:
    first = scored.trajectories.of(run_id)[0].id
    scored.verdicts.add([(first, record(NEW, Status.TIMEOUT))])
    assert first in scored.verdicts.unscored(run_id, NEW)
    scored.verdicts.add([(first, record(NEW, Status.OK, 0.5))])
    assert first not in scored.verdicts.unscored(run_id, NEW)
    assert scored.trajectories.by_id([first])[0].verdicts[NEW].score == 0.5


def test_only_what_was_given_can_be_retracted(scored: ReplayStore) -> None:
    with pytest.raises(UnknownNameError, match="unknown verifier 'goal/3': did you mean 'goal/1'"):
        scored.verdicts.retract("goal", "3", "why not")
    assert scored.verdicts.retract("goal", "1", "this configuration only", config_hash="00") == [Affected("toy", 2, 1)]


def counted(store: ReplayStore, run_id: str) -> list[tuple]:
    query = "SELECT verdicts_ok, success, score FROM v_trajectory WHERE run_id = :run ORDER BY id"
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"run": run_id})]


def test_the_views_follow_every_verdict_and_retraction(scored: ReplayStore, run_id: str) -> None:
    first, second = sorted(t.id for t in scored.trajectories.of(run_id, tokens=False))
    assert counted(scored, run_id) == [(1, 1, 1.0), (1, 1, 1.0)]
    scored.verdicts.add([(first, record(OLD, Status.OK, 0.25)), (second, record(NEW, Status.ERROR))])
    assert counted(scored, run_id) == [(1, 0, 0.25), (1, None, 1.0)]
    scored.verdicts.add([(second, record(NEW, Status.OK, 0.5))])
    assert counted(scored, run_id) == [(1, 0, 0.25), (2, 0, 0.5)]
    scored.verdicts.retract("goal", "2", "came later")
    assert counted(scored, run_id) == [(1, 0, 0.25), (1, 1, 1.0)]
    scored.verdicts.add([(first, record(NEW, Status.OK, 1.0))])  # retracted beforehand
    scored.verdicts.retract("goal", "1", "this configuration", config_hash="00")
    assert counted(scored, run_id) == [(None, None, None), (None, None, None)]
    assert scored.upkeep.check() == []


def test_the_attempts_never_asked_about_come_first(scored: ReplayStore, run_id: str) -> None:
    first, second = sorted(t.id for t in scored.trajectories.of(run_id, tokens=False))
    scored.verdicts.add([(first, record(NEW, Status.ERROR))])
    assert scored.verdicts.unscored(run_id, NEW) == [second, first]


def test_disagreements_are_those_of_the_runs_attempts(scored: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    ids = sorted(t.id for t in scored.trajectories.of(run_id, tokens=False))
    scored.verdicts.add([(ids[0], record(NEW, Status.OK, 0.0)), (ids[1], record(NEW, Status.OK, 1.0))])
    other = scored.runs.create("other", {}).id
    scored.tasks.add(other, [task_of(1)], origin="generated")
    both = (record(OLD, Status.OK, 1.0), record(NEW, Status.OK, 0.0))
    scored.trajectories.add(other, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None, scores=both)])
    assert scored.verdicts.disagreements(run_id, NEW) == scored.verdicts.disagreements(other, NEW) == 1


def test_verdicts_that_come_at_once_are_all_in_the_outcome(url: str, scored: ReplayStore, run_id: str) -> None:
    """Each worker settles what it added; none may leave another's out."""
    ids = [t.id for t in scored.trajectories.of(run_id, tokens=False)]

    def judge(number: int) -> None:
        store = ReplayStore(url)
        verifier = VerifierId(f"v{number}", "1", "00")
        store.verdicts.add([(i, record(verifier, Status.OK, 1.0)) for i in ids])
        if number == 3:
            store.verdicts.retract("goal", "1", "meanwhile")
        store.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(judge, range(8)))
    assert counted(scored, run_id) == [(8, 1, 1.0)] * 2
    assert scored.upkeep.check() == []
