"""Rewards from verdicts, and the boundary that keeps a verifier's failure from becoming a zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn, Verdict
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.verifiers.rubric import Rubric

TASK = Task("toy", "yes", (Message("user", "?"),), Split.TRAIN, "h")
HERE = __name__


def says(text: str) -> Trajectory:
    return Trajectory("h", Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)


@dataclass(frozen=True)
class Returns:
    """Returns whatever `value` names."""

    value: str = "0.5"
    name: ClassVar[str] = "returns"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        values = {
            "0.5": lambda: Verdict(Status.OK, 0.5),
            "1": lambda: Verdict(Status.OK, 1.0),
            "abstain": lambda: Verdict.abstain("no idea"),
            "raise": lambda: 1 / 0,
            "nan": lambda: Verdict(Status.OK, math.nan),
            "two": lambda: Verdict(Status.OK, 2.0),
            "text": lambda: "yes",
            "empty": lambda: Verdict(Status.OK),
            "inf": lambda: Verdict(Status.OK, 1.0, raw=math.inf),
        }
        return values[self.value]()


@pytest.fixture(autouse=True)
def this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("plugin_under_test")
    module.Returns = Returns
    monkeypatch.setitem(sys.modules, "plugin_under_test", module)


def rubric(**values: tuple[float, str]) -> Rubric:
    """Verifiers a, b, ... of one kind cannot share a name, so each rubric here has one or two."""
    name = "plugin_under_test:Returns"
    ((weight, value),) = values.values()
    return Rubric.build({name: weight}, {name: {"value": value}})


def verdict_of(value: str) -> tuple[Status, float | None, float | None]:
    built = rubric(a=(1.0, value))
    (record,) = built.score(TASK, says("x"))
    return record.verdict.status, record.verdict.score, built.reward({record.verifier: record.verdict})


@pytest.mark.parametrize(
    ("value", "status", "score", "reward"),
    [
        ("0.5", Status.OK, 0.5, 0.5),
        ("1", Status.OK, 1.0, 1.0),
        ("abstain", Status.ABSTAIN, None, None),
        ("raise", Status.ERROR, None, None),
        ("nan", Status.ERROR, None, None),
        ("two", Status.ERROR, None, None),
        ("text", Status.ERROR, None, None),
        ("empty", Status.ERROR, None, None),
        ("inf", Status.ERROR, None, None),
    ],
)
def test_only_a_proper_verdict_carries_a_number(value, status, score, reward) -> None:
    assert verdict_of(value) == (status, score, reward)


def test_an_error_says_what_was_wrong() -> None:
    (record,) = rubric(a=(1.0, "raise")).score(TASK, says("x"))
    assert record.verdict.explanation == "ZeroDivisionError: division by zero"
    (record,) = rubric(a=(1.0, "two")).score(TASK, says("x"))
    assert record.verdict.explanation == "score 2.0 is not in [0, 1]"


def test_weights_sum_and_watched_ones_do_not_count() -> None:
    built = Rubric.build({"exact": 2.0, "number": 0.0}, {})
    records = built.score(TASK, says("yes"))
    verdicts = {r.verifier: r.verdict for r in records}
    assert built.best == 2.0
    assert built.reward(verdicts) == 2.0
    assert built.succeeded(verdicts)
    assert built.reward({}) is None


def test_options_make_another_identity() -> None:
    assert rubric(a=(1.0, "1")).criteria[0].id != rubric(a=(1.0, "0.5")).criteria[0].id


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown verifier 'gaol': did you mean 'goal'"):
        Rubric.build({"gaol": 1.0}, {})
    with pytest.raises(SettingsError, match="every reward would be 0"):
        Rubric.build({"goal": 0.0}, {})
    with pytest.raises(SettingsError, match="verifier 'goal' has no option 'x'"):
        Rubric.build({"goal": 1.0}, {"goal": {"x": 1}})
    with pytest.raises(SettingsError, match="cannot be imported: ModuleNotFoundError"):
        Rubric.build({"nowhere:Thing": 1.0}, {})
    with pytest.raises(SettingsError, match="is no Verifier"):
        Rubric.build({"builtins:object": 1.0}, {})
