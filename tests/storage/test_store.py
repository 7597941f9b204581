"""What is written comes back, once; what a user gets wrong is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Turn,
    Verdict,
    VerifierId,
)
from journeyman.agent.errors import SettingsError, StoreError, UnknownNameError
from journeyman.storage.runs.evaluations import AuditInfo, EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory

GOAL = VerifierId("goal", "1", "00")


def scored(score: float) -> tuple[ScoreRecord, ...]:
    return (ScoreRecord(GOAL, Verdict(Status.OK, score, extracted="3"), 0.1),)


def new(trajectory, key: str = "k", *, score: float | None = None, iteration: int = 1, policy_id=None) -> NewTrajectory:
    return NewTrajectory(key, trajectory, iteration, policy_id, scores=() if score is None else scored(score))


def test_a_trajectory_comes_back_as_it_was(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    task, policy = task_of(3), store.policies.numbered(run_id, 1)
    trajectory = trajectory_of(task, attempt=4)
    store.trajectories.add(run_id, [new(trajectory, score=1.0, policy_id=policy.id)])
    (found,) = store.trajectories.of(run_id, source=Source.POLICY, split=Split.TRAIN, iterations=[1], policy_number=1)
    assert found.task == task
    assert found.trajectory.turns == trajectory.turns
    assert found.trajectory.segments[0].same_as(trajectory.segments[0])
    assert (found.trajectory.attempt, found.policy_number, found.key) == (4, 1, "k/4")
    assert found.verdicts == {GOAL: Verdict(Status.OK, 1.0, extracted="3")}


@pytest.mark.parametrize("tokens", [True, False])
def test_what_an_attempt_took_comes_back(store: ReplayStore, run_id: str, task_of, trajectory_of, tokens) -> None:
    store.trajectories.add(
        run_id, [new(replace(trajectory_of(task_of(1)), seconds=1.5)), new(trajectory_of(task_of(2)), "e")]
    )
    found = store.trajectories.of(run_id, tokens=tokens)
    assert [(t.trajectory.seconds, t.trajectory.sampled_tokens) for t in found] == [(1.5, 2), (None, 2)]
    assert [len(t.trajectory.segments) for t in found] == [int(tokens)] * 2


def test_writing_twice_is_writing_once(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    chunk = [new(trajectory_of(task_of(i)), f"k{i}", score=0.0) for i in range(3)]
    store.trajectories.add(run_id, chunk)
    before = {t.id for t in store.trajectories.of(run_id)}
    again = [new(trajectory_of(task_of(i)), f"k{i}", score=1.0) for i in range(4)]
    store.trajectories.add(run_id, again)
    after = store.trajectories.of(run_id)
    assert len(after) == 4
    assert before < {t.id for t in after}
    assert [t.verdicts[GOAL].score for t in after] == [0.0, 0.0, 0.0, 1.0]


def test_a_chunk_is_stored_whole_or_not_at_all(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    with pytest.raises(StoreError, match="1 trajectories are of tasks that run"):
        store.trajectories.add(run_id, [new(trajectory_of(task_of(1)), "a"), new(trajectory_of(task_of(77)), "b")])
    assert store.trajectories.of(run_id) == []


def test_an_error_carries_no_number_and_a_later_ok_counts(store: ReplayStore, run_id, task_of, trajectory_of) -> None:
    store.trajectories.add(run_id, [new(trajectory_of(task_of(1)))])
    (row,) = store.trajectories.of(run_id)
    broken = ScoreRecord(GOAL, Verdict(Status.ERROR, 0.0), 1.0)
    with pytest.raises(StoreError, match="ok_has_score"):
        store.verdicts.add([(row.id, broken)])
    store.verdicts.add([(row.id, ScoreRecord(GOAL, Verdict(Status.TIMEOUT), 1.0))])
    assert store.trajectories.of(run_id)[0].verdicts[GOAL].status is Status.TIMEOUT


def test_a_hash_has_one_split(store: ReplayStore, run_id: str, task_of) -> None:
    store.tasks.add(run_id, [task_of(100), task_of(11)], origin="generated", first_ordinal=10)
    assert [t.goal for t in store.tasks.of(run_id, Split.TRAIN)] == [*range(10), 11]
    assert store.tasks.held_out(run_id) == {"hash100", "hash101", "hash200"}


def test_judged_attempts_leave_held_out_tasks_out(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    rows = [new(trajectory_of(task_of(1)), "a", score=1.0), new(trajectory_of(task_of(100)), "b", score=1.0)]
    store.trajectories.add(run_id, rows)
    (judged,) = store.trajectories.judged(run_id, 1, Source.POLICY)
    assert store.trajectories.by_id([judged.id])[0].task.hash == "hash1"
    assert [verdict.score for verdict in judged.verdicts.values()] == [1.0]
    assert store.trajectories.counts(run_id) == {(1, Source.POLICY): 1}


def test_promotion_is_decided_once(store: ReplayStore, run_id: str) -> None:
    first = store.policies.numbered(run_id, 1)
    store.policies.add(run_id, NewPolicy(2, first.id, 1, "finetune", "x/v0002", {"loss": 1.0}))
    assert store.policies.newest_promoted(run_id) == first
    store.policies.set_promoted(run_id, 2, promoted=True)
    store.policies.set_promoted(run_id, 2, promoted=False)
    assert store.policies.newest_promoted(run_id).number == 2
    assert store.policies.newest_promoted(run_id, before=2) == first


def test_a_later_run_finds_the_policy_of_an_earlier_one(store: ReplayStore, run_id: str) -> None:
    second = store.runs.create("toy", {})
    assert second.ordinal == 1
    assert store.policies.newest_promoted_of("toy", before_ordinal=1) == store.policies.numbered(run_id, 1)
    assert store.policies.newest_promoted_of("toy", before_ordinal=0) is None


def test_evaluations_and_uses(store: ReplayStore, run_id: str, task_of: Task, trajectory_of) -> None:
    info = EvaluationInfo(Split.VALIDATION, 0, 1, 2, 4, 0.25, 0.5, None)
    store.evaluations.add(run_id, info)
    store.evaluations.add(run_id, info)
    assert store.evaluations.of(run_id) == [info]
    store.trajectories.add(run_id, [new(trajectory_of(task_of(1)))])
    (row,) = store.trajectories.of(run_id)
    use = Use(row.id, None, "feed", -0.5, 1.0, 1.25, 0.5)
    store.policies.add(run_id, NewPolicy(2, None, 1, "finetune", "x/v0002", {}), [use])
    assert store.trajectories.uses_of(row.id) == [(2, use)]


def test_guards_are_evaluated_apart(store: ReplayStore, run_id: str) -> None:
    validation = EvaluationInfo(Split.VALIDATION, 0, 1, 2, 4, 0.25, 0.5, None)
    guards = [replace(validation, split=Split.GUARD, guard=name) for name in ("arithmetic", "words")]
    for info in (*guards, validation, replace(guards[0], pass_at_1=1.0)):
        store.evaluations.add(run_id, info)
    assert store.evaluations.of(run_id) == [*guards, validation]
    assert store.evaluations.of(run_id, Split.GUARD) == guards
    with pytest.raises(StoreError, match="guard_has_name"):
        store.evaluations.add(run_id, replace(validation, split=Split.GUARD))


def test_what_stopped_a_promotion_is_kept(store: ReplayStore, run_id: str) -> None:
    store.policies.add(run_id, NewPolicy(2, None, 1, "finetune", "x/v0002", {}))
    store.policies.set_promoted(run_id, 2, promoted=False, stopped_by="guard words 0.41 -> 0.30")
    store.policies.set_promoted(run_id, 2, promoted=True)
    found = store.policies.numbered(run_id, 2)
    assert (found.promoted, found.stopped_by) == (False, "guard words 0.41 -> 0.30")


def test_guard_tasks_are_held_out(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    store.tasks.add(run_id, [task_of(300, Split.GUARD)], origin="guard/words")
    assert "hash300" in store.tasks.held_out(run_id)
    assert [t.goal for t in store.tasks.of(run_id, Split.GUARD, "guard/words")] == [300]
    assert store.tasks.of(run_id, Split.GUARD) == []
    assert [t.goal for t in store.tasks.of(run_id, Split.GUARD, None)] == [300]
    told = new(trajectory_of(task_of(300), Source.HINDSIGHT))
    with pytest.raises(StoreError, match="hash300, is held out"):
        store.trajectories.add(run_id, [told], [task_of(300)])
    store.trajectories.add(run_id, [new(trajectory_of(task_of(300)), score=1.0)])
    assert store.trajectories.counts(run_id) == {}


def test_audits_are_written_once(store: ReplayStore, run_id: str) -> None:
    found = [
        AuditInfo(1, Split.TRAIN, "rubric_only", 0.5, 4),
        AuditInfo(1, Split.VALIDATION, "length", 31.5, 8),
        AuditInfo(1, Split.VALIDATION, "repetition", 0.125, 8),
    ]
    store.evaluations.add_audit(run_id, found)
    store.evaluations.add_audit(run_id, [replace(info, value=0.0) for info in found])
    assert store.evaluations.audits(run_id) == found


def test_names_are_found_or_suggested(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    assert store.runs.find("toy").id == run_id
    assert store.runs.find(run_id[-8:]).id == run_id
    with pytest.raises(UnknownNameError, match="unknown run 'toyy': did you mean 'toy'"):
        store.runs.find("toyy")
    with pytest.raises(UnknownNameError, match="v7"):
        store.policies.numbered(run_id, 7)
    store.trajectories.add(run_id, [new(trajectory_of(task_of(1)))])
    (row,) = store.trajectories.of(run_id)
    assert store.trajectories.find(row.id[-12:]).key == "k/0"
    assert (
        store.trajectories.find(row.id.replace("-", "")).key == store.trajectories.find(row.id).key == "k/0"
    )  # as queries show it, and as we do
    assert store.runs.find(run_id.replace("-", "")).id == run_id
    with pytest.raises(UnknownNameError, match="unknown trajectory 'zzz'"):
        store.trajectories.find("zzz")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "is not a database URL"),
        ("mysqlx://a/b", "is not a database URL"),
        ("postgresql+psycopg://u:secret@h/d", "set PGPASSWORD instead"),
        ("mysql://bob:secret@h/d", "set PGPASSWORD instead"),
        ("postgresql+psycopg://u@h/d?password=secret", "set PGPASSWORD instead"),
        ("postgresql://h/d", "needs the package 'psycopg2': write"),
        ("mysql+asyncmy://h/d", "needs the package 'asyncmy'|neither SQLite nor PostgreSQL"),
    ],
)
def test_a_bad_url_is_a_settings_error(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        ReplayStore(url)
    assert "secret" not in str(caught.value)


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown database"):
        ReplayStore(f"sqlite:///{tmp_path}/none.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are notes, and long enough to be read as a header" * 10)
    with pytest.raises(StoreError, match=r"notes\.db refused: file is not a database"):
        ReplayStore(f"sqlite:///{tmp_path}/notes.db")


def test_text_that_a_database_cannot_hold_is_stored_all_the_same(store, run_id, task_of, trajectory_of) -> None:
    verdict = Verdict(Status.OK, 0.0, extracted="a\0b", explanation="lone \ud800")
    row = NewTrajectory("k", trajectory_of(task_of(1)), 1, None, scores=(ScoreRecord(GOAL, verdict, 0.1),))
    store.trajectories.add(run_id, [row])
    (found,) = store.trajectories.of(run_id)
    assert found.verdicts[GOAL].extracted == "a\ufffdb"
    assert found.verdicts[GOAL].explanation == "lone ?"


def test_step_scores_come_back(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    verdict = Verdict(Status.OK, 0.5, raw=-3.0, step_scores=(0.25, 0.75))
    row = NewTrajectory("k", trajectory_of(task_of(1)), 1, None, scores=(ScoreRecord(GOAL, verdict, 0.1),))
    store.trajectories.add(run_id, [row])
    assert store.trajectories.of(run_id)[0].verdicts[GOAL] == verdict


def test_two_writers_of_the_same_attempts(url: str, store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    rows = [new(trajectory_of(task_of(i % 10)), f"g{i:03d}", score=1.0) for i in range(300)]

    def write(order: int) -> None:
        other = ReplayStore(url)
        other.trajectories.add(run_id, rows[::order])
        other.close()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, (1, -1, 1, -1))) == [None] * 4
    assert sorted(t.group for t in store.trajectories.of(run_id)) == [row.group for row in rows]
    assert store.upkeep.check() == []


def test_runs_begun_at_once_are_all_there(url: str, store: ReplayStore) -> None:
    def begin(_: int) -> str:
        other = ReplayStore(url)
        run = other.runs.create("same", {})
        other.close()
        return run.id

    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(begin, range(6)))
    found = store.runs.all("same")
    assert sorted(r.id for r in found) == sorted(made)
    assert sorted(r.ordinal for r in found) == list(range(6))


def test_a_version_written_twice_is_written_once(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    store.trajectories.add(run_id, [new(trajectory_of(task_of(1)))])
    (row,) = store.trajectories.of(run_id)
    policy = NewPolicy(2, None, 1, "finetune", "x/v0002", {})
    for _ in range(2):
        store.policies.add(run_id, policy, [Use(row.id, 1.0, "feed", 1.0, 0.0)])
    assert len(store.trajectories.uses_of(row.id)) == 1


def test_a_relabel_for_a_held_out_task_is_refused(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    told = new(trajectory_of(task_of(200), Source.HINDSIGHT))
    with pytest.raises(StoreError, match="hash200, is held out"):
        store.trajectories.add(run_id, [told], [task_of(200)])
    assert store.trajectories.of(run_id) == []


def test_numbers_that_are_none_are_refused(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    bad = replace(trajectory_of(task_of(1)), turns=(Turn(Message("assistant", ""), (), float("nan")),))
    with pytest.raises(StoreError, match="a turn's reward is nan"):
        store.trajectories.add(run_id, [new(bad)])
    nan = ScoreRecord(GOAL, Verdict(Status.OK, float("nan")), 1.0)
    with pytest.raises(StoreError, match="break a rule of the schema"):
        store.trajectories.add(run_id, [NewTrajectory("k", trajectory_of(task_of(1)), 1, None, scores=(nan,))])
    with pytest.raises(StoreError, match="its goal or payload cannot be stored as JSON"):
        store.tasks.add(run_id, [replace(task_of(11), payload={"n": float("inf")})], origin="generated")
    assert store.trajectories.of(run_id) == []


def test_a_broken_attempt_has_no_verdict_that_counts_and_may_be_replaced(
    store: ReplayStore, run_id: str, task_of, trajectory_of
) -> None:
    """Whatever was said of it; what was made of it is none of the store's to take back."""
    verifier, ok = VerifierId("goal", "1", "0"), Verdict(Status.OK, 1.0)
    broken = replace(trajectory_of(task_of(1)), stop_reason=StopReason.ERROR, error="step: KeyError: 'x'")
    other = replace(broken, attempt=1)
    rows = [NewTrajectory("g", t, 1, None, scores=(ScoreRecord(verifier, ok, 0.0),)) for t in (broken, other)]
    store.trajectories.add(run_id, rows)
    first, second = store.trajectories.of(run_id)
    assert first.verdicts == {}
    use = Use(second.id, None, "r", 0.0, 0.0)
    store.policies.add(run_id, NewPolicy(2, None, 1, "finetune", "x", {}), [use])
    whole = trajectory_of(task_of(1))
    again = [NewTrajectory("g", t, 1, None, scores=rows[0].scores) for t in (whole, replace(whole, attempt=1))]
    store.trajectories.replace_broken(run_id, again)
    store.trajectories.replace_broken(run_id, again)
    made = store.trajectories.of(run_id)
    assert [t.id for t in made] == [first.id, second.id]
    assert [t.trajectory.broken for t in made] == [False, True]
    assert made[0].verdicts == {verifier: ok}
    assert made[0].trajectory.segments[0].same_as(whole.segments[0])
    assert made[1].verdicts == {}
    assert store.upkeep.check() == []
