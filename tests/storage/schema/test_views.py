"""The documented queries, every one, on a store small enough to know the answers by heart."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from journeyman.agent.data import Message, ScoreRecord, Source, Split, Status, Turn, Verdict, VerifierId
from journeyman.storage.runs.evaluations import AuditInfo, EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.runs.runs import TermInfo
from journeyman.storage.schema.views import VIEWS
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.arrays import unpack_segment
from journeyman.storage.trajectories.rows import NewTrajectory

DOC = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
QUERIES = dict(re.findall(r"^## (.+?)\n.*?```sql\n(.+?)```", DOC, re.DOTALL | re.MULTILINE))
GOAL, GOAL_2 = VerifierId("goal", "1", "00"), VerifierId("goal", "2", "00")


def verdict(score: float | None, verifier: VerifierId = GOAL) -> ScoreRecord:
    status = Status.TIMEOUT if score is None else Status.OK
    return ScoreRecord(verifier, Verdict(status, score), 2.0)


@pytest.fixture
def ids(store: ReplayStore, run_id: str, task_of, trajectory_of) -> dict[str, str]:
    """Iteration 1: task 1 solved once in two, task 2 never, task 3 timed out; a relabel, DAgger; v2 learned."""
    first = store.policies.numbered(run_id, 1).id

    def new(group: str, task: int, attempt: int, *scores: ScoreRecord, split=Split.TRAIN, policy=first):
        return NewTrajectory(group, trajectory_of(task_of(task, split), attempt=attempt), 1, policy, scores=scores)

    store.runs.begin_iteration(run_id, 1)
    rows = [
        new("one", 1, 0, verdict(1.0)),
        new("one", 1, 1, verdict(0.0), verdict(1.0, GOAL_2)),
        new("two", 2, 0, verdict(0.0)),
        new("two", 2, 1, verdict(0.0)),
        new("three", 3, 0, verdict(None)),
        new("held", 200, 0, verdict(0.0), split=Split.TEST),
    ]
    store.trajectories.add(run_id, rows)
    ids = {t.key: t.id for t in store.trajectories.of(run_id)}
    told = trajectory_of(task_of(4), Source.HINDSIGHT)
    relabel = NewTrajectory("told", told, 1, first, ids["two/0"], "final/2", (verdict(1.0),))
    by_dagger = trajectory_of(task_of(2), Source.EXPERT)
    shown = NewTrajectory("dagger/two/0/0", by_dagger, 1, None, ids["two/0"], "dagger/1", (verdict(1.0),))
    store.trajectories.add(run_id, [relabel, shown])
    ids = {t.key: t.id for t in store.trajectories.of(run_id)}
    uses = [
        Use(ids["one/0"], 1.0, "00", 1.0, 0.0),
        Use(ids["one/1"], 0.0, "00", -1.0, 0.0),
        Use(ids["two/0"], 0.0, "00", 0.0, 0.0),
        Use(ids["two/1"], 0.0, "00", 0.0, 0.0),
        Use(ids["three/0"], None, "00", 0.0, 0.0),
        Use(ids["told/0"], 1.0, "00", None, 1.0),
        Use(ids["dagger/two/0/0/0"], 1.0, "00", None, 1.0),
    ]
    store.policies.add(run_id, NewPolicy(2, first, 1, "finetune", "x", {}), uses)
    store.evaluations.add(run_id, EvaluationInfo(Split.VALIDATION, 1, 2, 2, 4, 0.25, 0.5, None))
    for iteration, policy, rate in ((0, 1, 0.5), (1, 2, 0.375)):
        store.evaluations.add(run_id, EvaluationInfo(Split.GUARD, iteration, policy, 2, 4, rate, 0.5, None, "words"))
        store.evaluations.add_audit(run_id, [AuditInfo(policy, Split.VALIDATION, "rubric_only", rate / 2, 8)])
    store.policies.set_promoted(run_id, 2, promoted=True)
    second = store.policies.numbered(run_id, 2).id
    store.trajectories.add(run_id, [new("later", 200, 0, verdict(1.0), split=Split.TEST, policy=second)])
    store.runs.finish_iteration(run_id, 1)
    return ids


def ask(store: ReplayStore, question: str) -> list[dict]:
    with store.database.read() as connection:
        return [dict(row) for row in connection.execute(text(QUERIES[question])).mappings()]


def test_there_are_seventeen_questions() -> None:
    assert len(QUERIES) == 17


def test_relabels_and_lineage(store: ReplayStore, ids) -> None:
    (row,) = ask(store, "Which relabels were trained on, and by which policies?")
    assert str(row["parent_id"]) == ids["two/0"]
    assert (row["relabeller"], row["first_policy"], row["last_policy"], row["uses"]) == ("final/2", 2, 2, 1)


def test_what_was_solved(store: ReplayStore, ids) -> None:
    unsolved = ask(store, "Which training tasks were never solved?")
    assert [(r["task"], r["attempts"]) for r in unsolved] == [("hash2", 2), ("hash3", 1)]
    (contrast,) = ask(store, "Which groups had contrast, so that GRPO could learn from them?")
    assert (contrast["groups"], contrast["with_contrast"]) == (3, 1)
    newly = ask(store, "Which tasks did the newest policy solve that the first one did not?")
    assert [r["task"] for r in newly] == ["hash200"]


def test_verifiers(store: ReplayStore, ids) -> None:
    (row,) = ask(store, "Which verifier changed its mind?")
    assert (row["version"], row["score"], row["other_version"], row["other_score"]) == ("1", 0.0, "2", 1.0)
    health = ask(store, "Which verifiers fail, and how slow are they?")
    found = {(r["version"], r["status"]): (r["verdicts"], r["worst_ms"]) for r in health}
    assert found == {("1", "ok"): (8, 2.0), ("1", "timeout"): (1, 2.0), ("2", "ok"): (1, 2.0)}


def test_fates(store: ReplayStore, ids) -> None:
    rows = ask(store, "Why was a row dropped?")
    assert {(r["source"], r["fate"]): r["attempts"] for r in rows} == {
        ("expert", "positive"): 1,
        ("hindsight", "positive"): 1,
        ("policy", "policy loss"): 2,
        ("policy", "dropped: its group has no contrast"): 2,
        ("policy", "dropped: a verifier failed"): 1,
    }


def test_iterations_policies_and_updates(store: ReplayStore, ids) -> None:
    (row,) = ask(store, "How did each iteration go?")
    assert (row["attempts"], row["solved"], row["relabels"], row["policy"]) == (5, 1, 1, 2)
    assert (bool(row["promoted"]), row["validation_pass_at_1"]) == (True, 0.25)
    of_guard, *_, evaluation = ask(store, "What is pass@k by policy version?")
    assert (evaluation["policy"], evaluation["pass_at_k"], evaluation["k"]) == (2, 0.5, 4)
    assert (of_guard["policy"], of_guard["split"], of_guard["guard"]) == (1, "guard", "words")
    learned = {r["source"]: r for r in ask(store, "What did one policy learn from?")}
    assert (learned["policy"]["attempts"], learned["policy"]["in_policy_loss"]) == (5, 2)
    assert (learned["hindsight"]["positives"], learned["hindsight"]["mean_reward"]) == (1, 1.0)


def test_guards_and_audits(store: ReplayStore, ids) -> None:
    first, second = ask(store, "What did the training cost elsewhere?")
    assert (first["guard"], first["policy"], first["pass_at_1"], first["change"]) == ("words", 1, 0.5, None)
    assert (second["policy"], second["parent"], second["pass_at_1"], second["change"]) == (2, 1, 0.375, -0.125)
    rows = ask(store, "Does the policy please the verifiers, or solve the tasks?")
    assert [(r["iteration"], r["policy"], r["metric"], r["value"], r["count"]) for r in rows] == [
        (0, 1, "rubric_only", 0.25, 8),
        (1, 2, "rubric_only", 0.1875, 8),
    ]


def test_attempts_with_their_text(store: ReplayStore, ids) -> None:
    rows = ask(store, "What did the attempts at one task say?")
    assert [(str(r["id"]), r["said"], r["answered"], r["fate"]) for r in rows] == [
        (ids["one/0"], "1", "ok", "policy loss"),
        (ids["one/1"], "1", "ok", "policy loss"),
    ]


def test_the_best_and_the_worst(store: ReplayStore, ids) -> None:
    rows = ask(store, "Which attempts of an iteration were the best, and which the worst?")
    found = [str(r["id"]) for r in rows]
    assert (found[0], set(found)) == (ids["one/0"], {ids[key] for key in ("one/0", "one/1", "two/0", "two/1")})
    assert [(r["best"], r["success"]) for r in rows] == [(1, 1), (2, 0), (3, 0), (4, 0)]


def test_tokens_come_out_of_their_blobs(store: ReplayStore, ids, capsys) -> None:
    (row,) = ask(store, "Which tokens did an attempt sample, and with what log-probs?")
    assert store.trajectories.find(str(row["trajectory_id"])).key == "later/0"
    segment = unpack_segment(bytes(row["data"]))
    assert (segment.prompt_ids.tolist(), segment.completion_ids.tolist()) == ([1, 2, 3], [7, 8, 9])
    if store.database.is_sqlite:
        (code,) = re.findall(r"```python\n(.+?)```", DOC, re.DOTALL)
        exec(code.replace("runs/journeyman.db", str(store.database.url.database)))
        assert capsys.readouterr().out == "[1 2 3] [7 8 9] [ True False  True] [-0.5  -0.25]\n"


def test_what_updates_did_and_base_models(store: ReplayStore, ids) -> None:
    base = store.runs.create("toy.base", {}).id
    store.policies.add(base, NewPolicy(1, None, 0, "base", "models/small", {}, promoted=True))
    store.evaluations.add(base, EvaluationInfo(Split.TEST, 0, 1, 2, 4, 0.125, 0.25, None))
    updates = ask(store, "How did the updates go?")
    assert [(r["run"], r["policy"], r["kind"]) for r in updates] == [
        ("toy", 1, "warm_start"),
        ("toy", 2, "finetune"),
        ("toy.base", 1, "base"),
    ]
    (row,) = ask(store, "How good were the models before any training?")
    assert (row["run"], row["model"], row["pass_at_1"]) == ("toy.base", "models/small", 0.125)


def test_an_id_that_is_shown_is_found_in_every_view(store: ReplayStore, run_id: str, ids) -> None:
    places = {
        "v_trajectory": ("id", ids["two/0"]),
        "v_turn": ("trajectory_id", ids["two/0"]),
        "v_success": ("trajectory_id", ids["two/0"]),
        "counted_score": ("trajectory_id", ids["two/0"]),
        "v_lineage": ("parent_id", ids["two/0"]),
        "v_verifier_disagreement": ("trajectory_id", ids["one/1"]),
        "v_group": ("run_id", run_id),
        "v_iteration": ("run_id", run_id),
        "v_guard": ("run_id", run_id),
        "v_audit": ("run_id", run_id),
    }
    assert set(places) == set(VIEWS)
    for view, (column, value) in places.items():
        with store.database.read() as connection:
            rows = connection.execute(text(f"SELECT * FROM {view} WHERE {column} = '{value}'")).mappings().all()
        assert {str(row[column]) for row in rows} == {value}, view


def test_a_text_with_a_nul_is_shown(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    said = replace(trajectory_of(task_of(1)), turns=(Turn(Message("assistant", "a\0b")),))
    store.trajectories.add(run_id, [NewTrajectory("g", said, 1, None)])
    with store.database.read() as connection:
        (found,) = connection.scalars(text("SELECT said FROM v_turn"))
    assert found in ("a\ufffdb", "a\0b", "a")


def test_what_is_retracted_counts_in_no_view(store: ReplayStore, ids) -> None:
    for version in ("1", "2"):
        store.verdicts.retract("goal", version, "it was wrong")
    unsolved = ask(store, "Which training tasks were never solved?")
    assert {r["task"] for r in unsolved} == {"hash1", "hash2", "hash3"}
    assert ask(store, "Which verifier changed its mind?") == []


def by_group(store: ReplayStore, columns: str, joined: str) -> dict[str, tuple]:
    query = f"SELECT trajectory_group.key, {columns} FROM trajectory_group JOIN {joined} = trajectory_group.id"
    with store.database.read() as connection:
        return {key: tuple(values) for key, *values in connection.execute(text(query))}


def test_the_runs_rubric_says_what_a_success_is(store: ReplayStore, task_of, trajectory_of) -> None:
    terms = [
        TermInfo("goal", 1.0),
        TermInfo("style", 0.5, shaping=True),
        TermInfo("format", 0.0, gate=0.5),
        TermInfo("unsafe", -1.0),
        TermInfo("watched", 0.0),
        TermInfo("words", 1.0, guard="facts"),
    ]
    run = store.runs.create("weighed", {}, terms).id
    store.tasks.add(run, [task_of(i) for i in range(8)], origin="generated")
    store.tasks.add(run, [task_of(9, Split.GUARD)], origin="guard/facts")
    well = {"goal": 1.0, "style": 0.0, "format": 0.5, "unsafe": 0.0, "watched": 0.0, "held out": 0.0}
    changes = {
        "all is well": {},
        "wrong": {"goal": 0.0},
        "unsafe": {"unsafe": 0.5},
        "below the gate": {"format": 0.25},
        "failed": {"goal": None},
        "another failed": {"held out": None, "style": None},
    }
    store.policies.add(run, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
    first = store.policies.numbered(run, 1).id
    rows = [
        NewTrajectory(
            key,
            trajectory_of(task_of(i)),
            1,
            first,
            scores=tuple(verdict(s, VerifierId(name, "1", "00")) for name, s in (well | change).items()),
        )
        for i, (key, change) in enumerate(changes.items())
    ]
    rows.append(NewTrajectory("unjudged", trajectory_of(task_of(7)), 1, first))
    words = (verdict(1.0, VerifierId("words", "1", "00")), verdict(0.0))
    rows.append(NewTrajectory("of the guard", trajectory_of(task_of(9, Split.GUARD)), 1, first, scores=words))
    store.runs.begin_iteration(run, 1)
    store.trajectories.add(run, rows)
    assert by_group(store, "success, score", "v_trajectory ON group_id") == {
        "all is well": (1, 1.0),
        "wrong": (0, 0.0),
        "unsafe": (0, 1.0),
        "below the gate": (0, 1.0),
        "failed": (None, None),
        "another failed": (1, 1.0),
        "unjudged": (None, None),
        "of the guard": (1, 1.0),
    }
    groups = by_group(store, "attempts, scored, successes, mean_score", "v_group ON v_group.id")
    assert (groups["all is well"], groups["unsafe"]) == ((1, 1, 1, 1.0), (1, 1, 0, 1.0))
    assert groups["failed"] == (1, 0, 0, None)
    (row,) = ask(store, "How did each iteration go?")
    assert (row["attempts"], row["solved"]) == (7, 2)
