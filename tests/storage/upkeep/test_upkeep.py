"""A whole store passes its check, and each kind of damage is named."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from journeyman.agent.data import ScoreRecord, Source, Split, Status, Verdict, VerifierId
from journeyman.agent.errors import StoreError
from journeyman.storage.database import Database
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory


@pytest.fixture
def filled(store: ReplayStore, run_id: str, task_of, trajectory_of) -> ReplayStore:
    """Two attempts in iterations 1 and 2, a demonstration, and a held-out attempt."""
    rows = [
        NewTrajectory("old", trajectory_of(task_of(1)), 1, None),
        NewTrajectory("new", trajectory_of(task_of(2)), 2, None),
        NewTrajectory("shown", trajectory_of(task_of(3), Source.EXPERT), 0, None),
        NewTrajectory("test", trajectory_of(task_of(200, Split.TEST)), 2, None),
    ]
    store.trajectories.add(run_id, rows)
    return store


def change(store: ReplayStore, statement: str, **values: object) -> None:
    with store.database.write() as connection:
        connection.execute(text(statement), values)


def test_a_whole_store_has_no_problem(filled: ReplayStore) -> None:
    assert filled.upkeep.check() == []


@pytest.mark.parametrize(
    ("statement", "what", "why"),
    [
        ("UPDATE token_blob SET data = substr(data, 1, 20)", "corrupt tokens", "cut short"),
        ("DELETE FROM token_blob", "missing tokens", "was not pruned"),
        ("DELETE FROM turn", "incomplete trajectory", "0 of 1 turns"),
        ("UPDATE segment SET prompt_tokens = 9", "corrupt tokens", "not those announced"),
        (
            "UPDATE trajectory_group SET source = 'hindsight' WHERE key <> 'test'",
            "wrong lineage",
            "names its parent",
        ),
        ("UPDATE trajectory SET relabeller = 'final/2'", "wrong lineage", "an attempt has neither"),
    ],
)
def test_damage_is_named(filled: ReplayStore, statement: str, what: str, why: str) -> None:
    change(filled, statement)
    problems = filled.upkeep.check()
    assert {p.what for p in problems} == {what}
    assert len(problems) == (3 if "hindsight" in statement else 4)
    assert all(why in p.why for p in problems)


@pytest.mark.parametrize(
    ("statement", "wheres"),
    [
        ("UPDATE score SET counts = NOT counts", {"score", "outcome of trajectory"}),
        ("UPDATE outcome SET success = 1 - success", {"outcome of trajectory", "tally of group"}),
        ("DELETE FROM outcome", {"outcome of trajectory", "tally of group"}),
        ("UPDATE group_tally SET mean_score = 0.5", {"tally of group"}),
        ("DELETE FROM group_tally", {"tally of group"}),
    ],
)
def test_outcomes_out_of_step_are_named_and_worked_out_anew(
    filled: ReplayStore, url: str, run_id: str, statement: str, wheres: set[str]
) -> None:
    ids = [t.id for t in filled.trajectories.of(run_id, tokens=False)]
    filled.verdicts.add([(i, ScoreRecord(VerifierId("goal", "1", "00"), Verdict(Status.OK, 0.0), 0.0)) for i in ids])
    assert filled.upkeep.check() == []
    change(filled, statement)
    found = filled.upkeep.check()
    assert {(p.what, p.where.rpartition(" ")[0]) for p in found} == {("outcome out of step", where) for where in wheres}
    assert all("`journeyman db upgrade`" in p.why for p in found)
    Database(url, upgrade=True).close()
    assert filled.upkeep.check() == []


def test_a_demonstration_may_go_on_from_an_attempt_at_its_own_task(
    filled: ReplayStore, run_id: str, task_of, trajectory_of
) -> None:
    """As DAgger's do."""
    attempt = next(t for t in filled.trajectories.of(run_id) if t.group == "old")
    shown = trajectory_of(task_of(1), Source.EXPERT)
    filled.trajectories.add(run_id, [NewTrajectory("dagger/old/0/0", shown, 1, None, attempt.id, "dagger/1")])
    (row,) = [t for t in filled.trajectories.of(run_id) if t.parent_id]
    assert (row.trajectory.source, row.parent_id, row.relabeller) == (Source.EXPERT, attempt.id, "dagger/1")
    assert filled.upkeep.check() == []
    another = "SELECT t.id FROM trajectory t JOIN trajectory_group g ON g.id = t.group_id WHERE g.key = :key"
    change(filled, f"UPDATE trajectory SET parent_id = ({another}) WHERE relabeller = 'dagger/1'", key="new")
    assert [(p.what, p.where) for p in filled.upkeep.check()] == [("wrong lineage", row.id)]
    change(filled, f"UPDATE trajectory SET parent_id = ({another}) WHERE relabeller = 'dagger/1'", key="shown")
    assert [p.why for p in filled.upkeep.check()] == ["an expert goes on from an attempt of the policy at its own task"]
    change(filled, "UPDATE trajectory SET parent_id = NULL WHERE relabeller = 'dagger/1'")
    assert ["an attempt has neither" in p.why for p in filled.upkeep.check()] == [True]


def test_only_attempts_may_be_at_held_out_tasks(filled: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    held_out = task_of(200, Split.TEST)
    for source in (Source.EXPERT, Source.HINDSIGHT):
        with pytest.raises(StoreError, match="hash200, is held out"):
            filled.trajectories.add(run_id, [NewTrajectory("shown", trajectory_of(held_out, source), 1, None)])
    change(filled, "UPDATE trajectory_group SET source = 'expert' WHERE key = 'test'")
    assert [p.what for p in filled.upkeep.check()] == ["relabel or demonstration for a held-out task"]


def test_training_on_held_out_tasks_and_work_without_outcome_are_named(filled: ReplayStore, run_id: str) -> None:
    (held_out,) = filled.trajectories.of(run_id, split=Split.TEST)
    use = Use(held_out.id, 1.0, "00", 1.0, 0.0)
    filled.policies.add(run_id, NewPolicy(2, None, 1, "finetune", "x", {}), [use])
    filled.queue.enqueue(run_id, "generate/1", ["hash1", "hash9"])
    claim = filled.queue.claim(run_id, "generate/1", "w", limit=2, seconds=60)
    assert claim is not None
    filled.queue.finish(claim)
    found = {(p.what, p.where) for p in filled.upkeep.check()}
    assert found == {("held-out attempt trained on", held_out.id), ("work done without an outcome", "hash9")}
    filled.queue.enqueue(run_id, "generate/2", ["hash1"])  # attempted in iteration 1, not in 2
    later = filled.queue.claim(run_id, "generate/2", "w", limit=1, seconds=60)
    assert later is not None
    filled.queue.finish(later)
    assert ("work done without an outcome", "hash1") in {(p.what, p.where) for p in filled.upkeep.check()}


def test_scoring_without_a_score_is_named(filled: ReplayStore, run_id: str) -> None:
    attempts = [t.id for t in filled.trajectories.of(run_id, split=Split.TRAIN, source=Source.POLICY)]
    filled.queue.enqueue(run_id, "score/1", attempts)
    scored = filled.queue.claim(run_id, "score/1", "w", limit=1, seconds=60)
    assert scored is not None
    record = ScoreRecord(VerifierId("goal", "1", "00"), Verdict(Status.OK, 1.0), 0.0)
    filled.verdicts.add([(scored.subjects[0], record)], finishes=scored)
    assert filled.upkeep.check() == []
    dropped = filled.queue.claim(run_id, "score/1", "w", limit=1, seconds=60)
    assert dropped is not None
    filled.queue.finish(dropped)
    assert [(p.what, p.where) for p in filled.upkeep.check()] == [("work done without an outcome", dropped.subjects[0])]


def test_pruning_deletes_old_tokens_and_nothing_else(filled: ReplayStore, run_id: str) -> None:
    before = {t.group: t for t in filled.trajectories.of(run_id)}
    assert filled.upkeep.prune(run_id, before_iteration=2) == 1
    filled.upkeep.vacuum()
    after = {t.group: t for t in filled.trajectories.of(run_id)}
    assert {g: len(t.trajectory.segments) for g, t in after.items()} == {"old": 0, "new": 1, "shown": 1, "test": 1}
    assert {g: t.trajectory.turns for g, t in after.items()} == {g: t.trajectory.turns for g, t in before.items()}
    assert filled.upkeep.check() == []
    assert filled.upkeep.prune(run_id, before_iteration=2) == 0
