"""Guards: a policy that gets worse at tasks of other kinds is not promoted, whatever validation says."""

from __future__ import annotations

from collections import Counter

import pytest

from journeyman.agent.data import Source, Split
from journeyman.agent.errors import DataError, SettingsError, UsageError
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.session import Session
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import iteration_row

RIGHT = "watched_plugins:LastWord"


def guard(name: str = "large", offset: int = 1000, **options) -> dict:
    """Ten sums of large numbers, one attempt each, judged by who sees whether they are right."""
    environment = {"name": "watched_plugins:Sums", "offset": offset}
    values = {"environment": environment, "tasks": 10, "attempts": 1, "rubric": {RIGHT: 1.0}, "margin": 0.2}
    return {"name": name} | values | options


def right(a: int, b: int) -> str:
    return f"answer {a + b}"


def forgets(share: int):
    """Right but for so many of the sums of 1000 to 1009."""
    return lambda a, b: "answer" if 1000 <= a < 1000 + share else right(a, b)


def measured(watched, session: Session, iteration: int, answer) -> dict:
    watched.candidate(session, iteration, answer)
    return evaluate(session.ref, iteration)


def test_guard_tasks_are_of_their_own(watched) -> None:
    session = watched.open(guard=[guard(), guard("same", offset=0)])
    store, run = session.store, session.run.id
    large, same = (store.tasks.of(run, Split.GUARD, f"guard/{name}") for name in ("large", "same"))
    assert [t.prompt[0].content for t in large] == [f"{a}+1?" for a in range(1000, 1010)]
    assert [t.prompt[0].content for t in same] == [f"{a}+1?" for a in range(8, 18)]  # the first 8 are for validation
    assert {t.split for t in large + same} == {Split.GUARD}
    assert {t.hash for t in large + same} < store.tasks.held_out(run)
    others = [t.hash for split in (Split.TRAIN, Split.VALIDATION, Split.TEST) for t in store.tasks.of(run, split)]
    assert not {t.hash for t in large + same} & set(others)


def test_a_guard_that_gets_worse_stops_the_promotion(watched) -> None:
    session = watched.open(guard=[guard(), guard("huge", offset=5000)])
    before = measured(watched, session, 0, right)
    assert (before["pass@1"], before["guard large"], before["guard huge"]) == (1.0, 1.0, 1.0)
    measured(watched, session, 1, forgets(3))
    decided = promote(session.ref, 1)
    assert (decided["promoted"], decided["stopped_by"]) == (False, "guard large 1.000 -> 0.700")
    row = iteration_row(session, 1)
    assert (row["validation pass@1"], row["guard large"], row["guard huge"]) == (1.0, 0.7, 1.0)
    assert row["promoted"] == "no (guard large 1.000 -> 0.700)"
    assert promote(session.ref, 1) == decided  # resumed, it decides the same
    assert session.store.policies.newest_promoted(session.run.id).number == 1
    assert session.store.upkeep.check() == []


def test_a_drop_by_the_margin_is_none_by_more(watched) -> None:
    session = watched.open(guard=[guard()])
    measured(watched, session, 0, right)
    measured(watched, session, 1, forgets(2))
    assert promote(session.ref, 1)["promoted"]
    measured(watched, session, 2, forgets(4))  # from 0.8 to 0.6: the parent is the measure
    assert promote(session.ref, 2)["promoted"]
    measured(watched, session, 3, forgets(7))
    assert promote(session.ref, 3)["stopped_by"] == "guard large 0.600 -> 0.300"
    measured(watched, session, 4, forgets(5))  # its parent is that of the one before, which was stopped
    assert promote(session.ref, 4)["promoted"]


def test_a_guard_is_judged_by_the_environments_rubric_where_it_has_none(watched) -> None:
    session = watched.open(guard=[guard(rubric={})])
    assert measured(watched, session, 0, lambda a, b: "answer")["guard large"] == 1.0
    (row,) = [t for t in session.store.trajectories.of(session.run.id, split=Split.GUARD) if t.task.goal == "1001"]
    assert [verifier.name for verifier in row.verdicts] == ["says_answer"]
    assert (row.trajectory.source, row.trajectory.sampled_tokens) == (Source.POLICY, len("answer") + 1)


def test_the_limit_of_tokens_is_the_guards_own(watched) -> None:
    session = watched.open(guard=[guard(max_tokens=3), guard("huge", offset=5000)])
    found = measured(watched, session, 0, right)
    assert (found["guard large"], found["guard huge"]) == (0.0, 1.0)


def test_what_was_evaluated_is_not_evaluated_again(watched) -> None:
    session = watched.open(guard=[guard(attempts=2)])
    found = measured(watched, session, 0, forgets(3))
    assert measured(watched, session, 0, right) == found
    rows = session.store.trajectories.of(session.run.id, split=Split.GUARD)
    assert len(rows) == 20
    (info,) = session.store.evaluations.of(session.run.id, Split.GUARD)
    assert (info.guard, info.tasks, info.k, info.pass_at_1, info.iteration) == ("large", 10, 2, 0.7, 0)


def test_mistakes_are_named_before_the_run(watched) -> None:
    with pytest.raises(SettingsError, match=r"setting 'guard\.large\.environment\.name' is missing"):
        check(watched.settings(guard=[guard(environment={})]))
    with pytest.raises(SettingsError, match=r"has no option 'ofset': did you mean 'offset'\?"):
        check(watched.settings(guard=[guard(environment={"name": "watched_plugins:Sums", "ofset": 1})]))
    with pytest.raises(SettingsError, match=r"unknown setting 'guard\.0\.taks': did you mean 'tasks'\?"):
        parse_settings({"guard": [guard(taks=3)]}, "here")
    with pytest.raises(SettingsError, match=r"two guards have the same name among \['large', 'large'\]"):
        watched.settings(guard=[guard(), guard()])
    with pytest.raises(DataError, match=r"guard 'large': environment .* has only 292 validation tasks that serve noth"):
        watched.open(guard=[guard(offset=0, tasks=293)])


def test_a_retracted_verifier_guards_nothing(watched) -> None:
    session = watched.open(guard=[guard()])
    measured(watched, session, 0, right)
    session.store.verdicts.retract("last_word", "1", "it was wrong")
    del session.__dict__["guards"]
    with pytest.raises(UsageError, match="verifier last_word/1 is retracted"):
        measured(watched, session, 1, right)


def test_files_of_a_guards_environment_are_anchored(tmp_path) -> None:
    (tmp_path / "a.jsonl").touch()
    values = {"guard": [{"name": "facts", "environment": {"name": "dataset", "validation": "a.jsonl"}}]}
    (found,) = parse_settings(values, "here").anchored(str(tmp_path)).guard
    assert found.environment == {"name": "dataset", "validation": str(tmp_path / "a.jsonl")}


def test_a_candidate_that_solves_as_many_attempts_is_no_worse_however_the_sums_are_rounded(watched) -> None:
    """All five attempts solved at one of ten tasks, or one of five at five of them: 0.1, and 0.09999999999999998."""
    session = watched.open(tasks={"train": 4, "validation": 10, "test": 1}, evaluate={"attempts": 5})
    scores = []
    for iteration, solved in enumerate(({0: 5}, {0: 1, 1: 1, 2: 1, 3: 1, 4: 1})):
        asked: Counter[int] = Counter()

        def answer(a, b, asked=asked, solved=solved):
            asked[a] += 1
            return "answer" if asked[a] <= solved.get(a, 0) else "what?"

        scores.append(measured(watched, session, iteration, answer)["pass@1"])
    assert scores[1] < scores[0] == 0.1
    assert promote(session.ref, 1)["promoted"]
