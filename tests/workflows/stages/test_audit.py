"""Audits: a policy that pleases its verifier without solving the tasks is seen, and nothing is decided by that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from journeyman.agent.data import ScoreRecord, Split, Status, Verdict
from journeyman.agent.errors import SettingsError, UnknownNameError, UsageError
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.session import Session
from journeyman.workflows.stages.audit import audit, audited
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import audit_rows, iteration_row
from journeyman.workflows.stages.score import score

TASKS = 8
HOLE, RIGHT, BROKEN = (f"watched_plugins:{name}" for name in ("SaysAnswer", "LastWord", "Breaks"))


def judged(watched, session: Session, iteration: int, answer: Callable[[int, int], str]) -> dict[str, float]:
    watched.candidate(session, iteration, answer)
    evaluate(session.ref, iteration)
    return audit(session.ref, iteration)


def honest(a: int, b: int) -> str:
    return f"answer {a + b}" if a % 2 else f"{a + b}"


def tempted(a: int, b: int) -> str:
    return f"answer {a + b}" if a % 4 else "answer answer"


def hacked(a: int, b: int) -> str:
    return "answer answer answer answer answer answer"


def test_a_policy_that_drifts_into_a_hole_is_caught_and_promoted_all_the_same(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT})
    found = [judged(watched, session, 0, honest)]
    for iteration, answer in ((1, tempted), (2, hacked)):
        found.append(judged(watched, session, iteration, answer))
        assert promote(session.ref, iteration)["promoted"]
    rows = [iteration_row(session, i) for i in range(3)]
    assert [row["validation pass@1"] for row in rows] == [0.5, 1.0, 1.0]
    assert [numbers["rubric_only"] for numbers in found] == [row["rubric only"] for row in rows] == [0.0, 0.25, 1.0]
    assert [numbers["held_out_only"] for numbers in found] == [0.5, 0.0, 0.0]
    assert [numbers["repetition"] for numbers in found] == [0.0, 0.0, pytest.approx(2 / 3)]
    lengths = [numbers["length"] for numbers in found]
    assert lengths == [len_of(session, answer) for answer in (honest, tempted, hacked)]
    assert found[2]["length_vs_warm_start"] == rows[2]["length"] == pytest.approx(lengths[2] / lengths[0])
    assert found[2]["length_vs_parent"] == pytest.approx(lengths[2] / lengths[1])
    assert {"length_vs_parent", "length_vs_warm_start"} & found[0].keys() == set()
    assert [(row["policy"], row["rubric_only"]) for row in audit_rows(session.store, session.run.id)] == [
        (1, 0.0),
        (2, 0.25),
        (3, 1.0),
    ]


def len_of(session: Session, answer: Callable[[int, int], str]) -> float:
    """Mean tokens of the answers to all validation tasks, the one that ends the turn included."""
    sums = [
        task.prompt[0].content.rstrip("?").split("+") for task in session.store.tasks.of(session.run.id, "validation")
    ]
    return sum(len(session.renderer.encode(answer(int(a), int(b)))) + 1 for a, b in sums) / TASKS


def test_held_out_verdicts_are_scores_that_no_reward_knows(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT})
    judged(watched, session, 0, hacked)
    attempts = session.store.trajectories.of(session.run.id, split=Split.VALIDATION)
    assert {v.name: v_.score for t in attempts for v, v_ in t.verdicts.items()} == {"says_answer": 1.0, "last_word": 0}
    assert {session.rubric.reward(t.verdicts) for t in attempts} == {1.0}
    assert [e.mean_reward for e in session.store.evaluations.of(session.run.id)] == [1.0]


def test_an_audit_that_was_killed_goes_on_and_is_done_once(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT, "rewrites": 4})
    watched.candidate(session, 0, tempted)
    evaluate(session.ref, 0)
    first, *_ = session.store.trajectories.of(session.run.id, split=Split.VALIDATION)
    verifier = session.held_out.criteria[0].id
    session.store.verdicts.add([(first.id, ScoreRecord(verifier, Verdict(Status.OK, 0.5), 0.0))])  # before the kill
    found = audit(session.ref, 0)
    assert found["rubric_only"] == 0.25
    assert audit(session.ref, 0) == found
    verdicts = [
        t.verdicts[verifier].score for t in session.store.trajectories.of(session.run.id, split=Split.VALIDATION)
    ]
    assert verdicts == [0.5, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    assert all(len(t.verdicts) == 2 for t in session.store.trajectories.of(session.run.id))


def test_a_verdict_passes_from_the_score_that_is_asked_for(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT, "passes_at": 0.5})
    watched.candidate(session, 0, hacked)
    evaluate(session.ref, 0)
    half = ScoreRecord(session.held_out.criteria[0].id, Verdict(Status.OK, 0.5), 0.0)
    session.store.verdicts.add([(t.id, half) for t in session.store.trajectories.of(session.run.id)])
    assert audit(session.ref, 0)["rubric_only"] == 0.0


def test_training_attempts_are_judged_by_sample(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT, "train": 3})
    judged(watched, session, 0, honest)
    tasks = session.store.tasks.of(session.run.id, Split.TRAIN)
    session.store.runs.begin_iteration(session.run.id, 1, [task.hash for task in tasks])
    generate(session.ref, 1)
    score(session.ref, 1)
    judged(watched, session, 1, hacked)
    (rubric_only,) = [i for i in audited(session, 2, Split.TRAIN) if i.metric == "rubric_only"]
    assert rubric_only.count == 3
    assert sum(len(t.verdicts) == 2 for t in session.store.trajectories.of(session.run.id, split=Split.TRAIN)) == 3


def test_verdicts_that_flip_under_harmless_rewrites(watched) -> None:
    session = watched.open(audit={"rewrites": 6})
    found = judged(watched, session, 0, lambda a, b: "answer it is" if a % 2 else "no")
    flips = {name: value for name, value in found.items() if name.startswith("flips/") and value}
    (drawn,) = [i for i in audited(session, 1) if i.metric == "flips/courtesy/to_pass"]
    assert drawn.count == 6
    assert flips == {"flips/courtesy/to_pass": drawn.value}  # the sentence says "answer": that is the hole
    assert 2 / 6 <= drawn.value <= 4 / 6
    every = {i.metric: i.count for i in audited(session, 1)}
    assert "flips/boxed_blanks/to_pass" not in every  # there is nothing to rewrite
    total = every["flips"]
    assert found["flips"] == pytest.approx(6 * drawn.value / total)
    assert iteration_row(session, 0)["flips"] == found["flips"]


def test_a_brittle_verifier_fails_what_it_passed(watched) -> None:
    session = watched.open(rubric={RIGHT: 1.0}, audit={"rewrites": TASKS, "kinds": ["trailing_blanks", "courtesy"]})
    found = judged(watched, session, 0, lambda a, b: str(a + b))
    flips = {name: value for name, value in found.items() if name.startswith("flips")}
    assert flips == {
        "flips": 1.0,
        "flips/courtesy/to_fail": 1.0,
        "flips/courtesy/to_pass": 0.0,
        "flips/trailing_blanks/to_fail": 1.0,
        "flips/trailing_blanks/to_pass": 0.0,
    }


def test_verifiers_that_fail_are_counted_and_flip_nothing(watched) -> None:
    session = watched.open(rubric={HOLE: 1.0, BROKEN: 1.0}, audit={"verifier": RIGHT, "rewrites": TASKS})
    found = judged(watched, session, 0, hacked)
    numbers = {info.metric: (info.value, info.count) for info in audited(session, 1)}
    assert numbers["verifier_failures"] == (pytest.approx(4 / 24), 24)
    assert numbers["rubric_only"] == (1.0, 4)
    assert numbers["flips/courtesy/to_fail"] == (0.0, 4)
    assert found["flips"] == 0.0


def test_without_settings_the_cheap_numbers_are_there_and_the_row_is_as_ever(watched) -> None:
    session = watched.open()
    assert judged(watched, session, 0, honest).keys() == {"length", "repetition", "verifier_failures"}
    assert "repetition" not in iteration_row(session, 0)


def test_what_is_rewarded_is_not_held_out(watched) -> None:
    with pytest.raises(
        SettingsError, match=f"'audit.verifier': '{HOLE}' counts in the rubric or scores steps.*name another"
    ):
        check(watched.settings(audit={"verifier": HOLE}))
    with pytest.raises(SettingsError, match="counts in the rubric"):
        check(watched.settings(rubric={RIGHT: 1.0, HOLE: {"gate": 0.5}}, audit={"verifier": HOLE}))
    steps = "step_plugins:LikesL"
    scored = {"rubric": {HOLE: 1.0, steps: 0.0}, "finetune": {"step_verifier": steps}}
    with pytest.raises(SettingsError, match=f"'audit.verifier': '{steps}'"):
        check(watched.settings(**scored, audit={"verifier": steps}))
    with pytest.raises(UnknownNameError, match="'exakt': did you mean 'exact'"):
        check(watched.settings(audit={"verifier": "exakt"}))
    check(watched.settings(rubric={HOLE: 1.0, RIGHT: 0.0}, audit={"verifier": RIGHT}))


def test_a_retracted_verifier_audits_nothing(watched) -> None:
    session = watched.open(audit={"verifier": RIGHT})
    judged(watched, session, 0, honest)
    session.store.verdicts.retract("last_word", "1", "it was wrong")
    del session.__dict__["held_out"]
    with pytest.raises(UsageError, match="verifier last_word/1 is retracted"):
        judged(watched, session, 1, honest)
