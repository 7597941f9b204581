"""Verifiers that fail on most attempts decide nothing, and are asked again once they work."""

from __future__ import annotations

from pathlib import Path

import pytest

from journeyman.agent.data import Split, Status
from journeyman.agent.errors import UsageError
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.attempts.outages import without_outage
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import Session
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.warm_start import warm_start


def verdicts(session: Session) -> list[Status]:
    found = session.store.trajectories.of(session.run.id, split=Split.VALIDATION, tokens=False)
    return [verdict.status for stored in found for verdict in stored.verdicts.values()]


NEEDS_SERVER = "watched_plugins:NeedsServer"


def open_with(watched, switch: Path) -> Session:
    session = watched.open(rubric={NEEDS_SERVER: 1.0}, verifiers={NEEDS_SERVER: {"switch": str(switch)}})
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    return session


def test_an_evaluation_waits_until_the_verifier_works(watched, tmp_path: Path) -> None:
    session = open_with(watched, tmp_path / "switch")
    with pytest.raises(UsageError, match=r"v1 on validation: 8 of 8 attempts have no reward; needs_server.*refused"):
        evaluate(session.ref, 0)
    assert session.store.evaluations.of(session.run.id, Split.VALIDATION) == []
    assert verdicts(session) == [Status.ERROR] * 8
    (tmp_path / "switch").write_text("")
    assert evaluate(session.ref, 0)["pass@1"] == 1.0
    assert verdicts(session) == [Status.OK] * 8


def test_attempts_on_which_a_verifier_failed_are_no_failures(watched, tmp_path: Path) -> None:
    (tmp_path / "switch").write_text("0 1 2")
    session = open_with(watched, tmp_path / "switch")
    row = evaluate(session.ref, 0)
    assert (row["pass@1"], row["tasks"]) == (1.0, 5)
    assert sorted(verdicts(session)) == [Status.ERROR] * 3 + [Status.OK] * 5


def test_another_configuration_of_a_verifier_is_asked_about_what_only_the_old_one_judged(watched, tmp_path) -> None:
    (tmp_path / "switch").write_text("")
    session = open_with(watched, tmp_path / "switch")
    before = evaluate(session.ref, 0)
    changed = Rubric.build({NEEDS_SERVER: 1.0}, {NEEDS_SERVER: {"switch": str(tmp_path / "other")}})

    def never(broken):
        raise AssertionError("no environment broke")

    def read():
        return session.store.trajectories.of(session.run.id, split=Split.VALIDATION, tokens=False)

    with pytest.raises(UsageError, match="after: 8 of 8 attempts have no reward; needs_server on the first"):
        without_outage(session.store, changed, read, "after", never)
    (tmp_path / "other").write_text("")
    assert all(
        changed.succeeded(stored.verdicts) for stored in without_outage(session.store, changed, read, "after", never)
    )
    session.rubric = changed
    assert evaluate(session.ref, 0) == before  # a result that is stored stands


def test_the_warm_start_waits_until_the_verifier_works(watched, tmp_path: Path) -> None:
    warm = {"demonstrations": 4, "max_epochs": 1, "check_every": 1}
    options = {NEEDS_SERVER: {"switch": str(tmp_path / "switch")}}
    ref = start_run(watched.settings(rubric={NEEDS_SERVER: 1.0}, verifiers=options, warm_start=warm))
    prepare(ref)
    with pytest.raises(UsageError, match="demonstrations: 4 of 4 attempts have no reward; needs_server on the first"):
        warm_start(ref)
    (tmp_path / "switch").write_text("3 4 5 6 7")
    with pytest.raises(UsageError, match="warm start: validation: 5 of 8 attempts have no reward"):
        warm_start(ref)
    (tmp_path / "switch").write_text("3")
    found = warm_start(ref)
    assert (found["demonstrations"], found["validation_success"]) == (3, 1.0)  # one had failed, which is data
