"""Rewards from verdicts, and the boundary that keeps a verifier's failure from becoming a zero."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn, Verdict
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.verifiers.isolation.pool import VerifierPool
from journeyman.verifiers.rubric import Rubric, Term

TASK = Task("toy", "yes", (Message("user", "?"),), Split.TRAIN, "h")
RETURNS, GRADED, TOGETHER = (f"plugins_under_test:{name}" for name in ("Returns", "Graded", "Together"))


def says(text: str) -> Trajectory:
    return Trajectory("h", Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)


def rubric(pool: VerifierPool, value: str, term: float | Term = 1.0) -> Rubric:
    return Rubric.build({RETURNS: term}, {RETURNS: {"value": value}}, pool)


def two(pool: VerifierPool, first: tuple[str, float | Term], second: tuple[str, float | Term]) -> Rubric:
    """A rubric of two verifiers, each given by what it returns and its term."""
    terms = {RETURNS: first[1], GRADED: second[1]}
    return Rubric.build(terms, {RETURNS: {"value": first[0]}, GRADED: {"value": second[0]}}, pool)


def outcome(built: Rubric) -> tuple[float | None, bool]:
    (records,) = built.score_all([(TASK, says("x"))])
    verdicts = {r.verifier: r.verdict for r in records}
    return built.reward(verdicts), built.succeeded(verdicts)


@pytest.mark.parametrize(
    ("value", "status", "score", "why"),
    [
        ("0.5", Status.OK, 0.5, None),
        ("1", Status.OK, 1.0, None),
        ("abstain", Status.ABSTAIN, None, "no idea"),
        ("raise", Status.ERROR, None, "ZeroDivisionError: division by zero"),
        ("exit", Status.ERROR, None, "SystemExit: 0"),
        ("nan", Status.ERROR, None, "score nan is not in [0, 1]"),
        ("two", Status.ERROR, None, "score 2.0 is not in [0, 1]"),
        ("text", Status.ERROR, None, "verify() returned str, not a Verdict"),
        ("none", Status.ERROR, None, "verify() returned NoneType, not a Verdict"),
        ("empty", Status.ERROR, None, "a verdict of status ok has score None: `ok` has one, nothing else has"),
        ("inf", Status.ERROR, None, "raw inf is not finite"),
        ("huge", Status.ERROR, None, f"raw {10**400} is not finite"),
        ("word", Status.ERROR, None, "score '1' is not in [0, 1]"),
        ("status", Status.ERROR, None, "status 'ok' is none of ok, abstain, error, timeout"),
        ("steps", Status.ERROR, None, "score -0.1 of step 1 is not in [0, 1]"),
        ("extracted", Status.ERROR, None, "extracted is int, not text"),
        ("failed with a number", Status.ERROR, None, "a verdict of status error has numbers: only `ok` carries them"),
    ],
)
def test_only_a_proper_verdict_carries_a_number(pool, value, status, score, why) -> None:
    ((record,),) = rubric(pool, value).score_all([(TASK, says("x"))])
    assert (record.verdict.status, record.verdict.score, record.verdict.explanation) == (status, score, why)
    assert outcome(rubric(pool, value)) == (score, score == 1)


def test_texts_are_kept_short_and_such_as_a_database_takes(pool) -> None:
    ((record,),) = rubric(pool, "long").score_all([(TASK, says("x"))])
    assert record.verdict.extracted == "x\ufffd?" * 3333 + "x..."


def test_weights_sum_and_watched_ones_do_not_count(pool) -> None:
    built = Rubric.build({"exact": 2.0, "number": 0.0}, {}, pool)
    ((exact, number),) = built.score_all([(TASK, says("yes"))])
    assert (exact.verdict.score, number.verdict.status) == (1.0, Status.ERROR)
    verdicts = {r.verifier: r.verdict for r in (exact, number)}
    assert (built.best, built.reward(verdicts), built.succeeded(verdicts)) == (2.0, 2.0, True)
    assert built.reward({}) is None
    assert outcome(two(pool, ("0.5", 1.0), ("0.5", -0.5))) == (0.25, False)
    assert outcome(two(pool, ("1", 1.0), ("0", -0.5))) == (1.0, True)
    assert outcome(two(pool, ("1", 1.0), ("raise", -0.5))) == (None, False)
    assert outcome(two(pool, ("1", 1.0), ("abstain", -0.5))) == (1.0, True)


def test_nothing_that_adds_counts_before_the_gate_holds(pool) -> None:
    assert outcome(two(pool, ("1", 1.0), ("0.5", Term(gate=1.0)))) == (0.0, False)
    assert outcome(two(pool, ("1", 1.0), ("0.5", Term(gate=0.5)))) == (1.0, True)
    assert outcome(two(pool, ("1", 1.0), ("abstain", Term(gate=1.0)))) == (1.0, True)
    assert outcome(two(pool, ("1", 1.0), ("raise", Term(gate=1.0)))) == (None, False)
    assert outcome(two(pool, ("abstain", 1.0), ("1", Term(gate=1.0)))) == (None, False)
    assert outcome(two(pool, ("abstain", 1.0), ("0", Term(gate=1.0)))) == (0.0, False)
    assert outcome(two(pool, ("1", 1.0), ("0.5", Term(weight=0.5, gate=0.5)))) == (1.25, False)
    assert outcome(two(pool, ("0.5", -1.0), ("0", Term(weight=1.0, gate=1.0)))) == (-0.5, False)


def test_a_closed_gate_is_no_success_whatever_else_there_is(pool) -> None:
    shaped = Term(weight=1.0, gate=1.0, shaping=True)
    assert outcome(two(pool, ("1", 1.0), ("0.5", shaped))) == (0.0, False)
    assert outcome(two(pool, ("1", 1.0), ("1", shaped))) == (2.0, True)
    assert outcome(two(pool, ("0", -1.0), ("0", Term(gate=1.0)))) == (0.0, False)
    assert outcome(two(pool, ("0", -1.0), ("1", Term(gate=1.0)))) == (0.0, True)


def test_shaping_moves_the_reward_and_not_success(pool) -> None:
    assert outcome(two(pool, ("1", 1.0), ("0.5", Term(weight=0.5, shaping=True)))) == (1.25, True)
    assert outcome(two(pool, ("1", 1.0), ("0.5", Term(weight=-0.5, shaping=True)))) == (0.75, True)
    assert outcome(two(pool, ("0.5", 1.0), ("1", Term(weight=0.5, shaping=True)))) == (1.0, False)
    assert outcome(two(pool, ("1", 1.0), ("raise", Term(weight=0.5, shaping=True)))) == (None, True)


SCORES = st.sampled_from(["0", "0.5", "1", "abstain", "raise"])
TERMS = st.builds(Term, st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from([None, 0.5]), st.booleans())


@given(SCORES, SCORES, TERMS, TERMS)
def test_a_failure_that_counts_is_no_reward_and_order_does_not_matter(first, second, one, other) -> None:
    if not any(term.weight and not term.shaping for term in (one, other)):
        return
    pool = VerifierPool()  # not used: verdicts are made here
    built, turned = two(pool, (first, one), (second, other)), two(pool, (second, other), (first, one))
    made = {"abstain": Verdict.abstain("-"), "raise": Verdict(Status.ERROR)}
    verdicts = [made.get(v) or Verdict(Status.OK, float(v)) for v in (first, second)]
    reward = built.reward(dict(zip([c.id for c in built.criteria], verdicts, strict=True)))
    assert turned.reward(dict(zip([c.id for c in turned.criteria], reversed(verdicts), strict=True))) == reward
    failed = (first == "raise" and one.counts) or (second == "raise" and other.counts)
    assert reward is None if failed else reward is None or -2 <= reward <= 2


def test_batch_verifiers_are_asked_together_here_and_equal_inputs_once(pool) -> None:
    built = Rubric.build({TOGETHER: 1.0, "exact": 1.0}, {}, pool)
    attempts = [(TASK, says(text)) for text in ("yes", "no", "yes")]
    together, exact = zip(*built.score_all(attempts), strict=True)
    assert [r.verdict.extracted for r in together] == ["yes", "no", "yes"]
    assert [r.verdict.raw for r in together] == [2.0, 2.0, 2.0]
    assert [r.verdict.score for r in exact] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("fault", "explanations"),
    [
        ("raise", ["RuntimeError: the model is gone"] * 2),
        ("short", ["ValueError: verify_all() returned 0 verdicts on 2 attempts"] * 2),
        ("one", ["verify() returned str, not a Verdict", None]),
    ],
)
def test_what_a_batch_verifier_does_wrong_is_told_in_its_verdicts(pool, fault, explanations) -> None:
    built = Rubric.build({TOGETHER: 1.0}, {TOGETHER: {"fault": fault}}, pool)
    scores = built.score_all([(TASK, says("a")), (TASK, says("b"))])
    assert [record.verdict.explanation for (record,) in scores] == explanations
    assert [record.verdict.status is Status.ERROR for (record,) in scores] == [why is not None for why in explanations]


def test_options_and_terms_make_another_identity(pool) -> None:
    assert rubric(pool, "1").criteria[0].id != rubric(pool, "0.5").criteria[0].id
    terms = (0.0, 1.0, 2.0, Term(1.0, gate=1.0), Term(1.0, shaping=True))
    assert len({two(pool, ("1", 1.0), ("1", term)).hash for term in terms}) == 5
    assert rubric(pool, "1", 1.0).hash == rubric(pool, "1", Term(1.0)).hash


@dataclass(frozen=True)
class OnlyHere:
    """A plugin that a worker cannot import."""

    name: ClassVar[str] = "only_here"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        return Verdict(Status.OK, 1.0)


def test_a_verifier_that_the_workers_cannot_make_says_so(pool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_in_this_process")
    module.OnlyHere = OnlyHere
    monkeypatch.setitem(sys.modules, "only_in_this_process", module)
    built = Rubric.build({"only_in_this_process:OnlyHere": 1.0}, {}, pool)
    ((record,),) = built.score_all([(TASK, says("x"))])
    assert record.verdict.status is Status.ERROR
    assert "only_in_this_process" in record.verdict.explanation
    assert "ModuleNotFoundError" in record.verdict.explanation


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown verifier 'gaol': did you mean 'goal'"):
        Rubric.build({"gaol": 1.0}, {})
    with pytest.raises(SettingsError, match="nothing would be a success"):
        Rubric.build({"goal": 0.0}, {})
    with pytest.raises(SettingsError, match="nothing would be a success"):
        Rubric.build({"goal": Term(gate=1.0), "exact": Term(1.0, shaping=True)}, {})
    with pytest.raises(SettingsError, match="verifier 'goal' has no option 'x'"):
        Rubric.build({"goal": 1.0}, {"goal": {"x": 1}})
    with pytest.raises(SettingsError, match="cannot be imported: ModuleNotFoundError"):
        Rubric.build({"nowhere:Thing": 1.0}, {})
    with pytest.raises(SettingsError, match="is no Verifier"):
        Rubric.build({"builtins:object": 1.0}, {})
    with pytest.raises(ValueError, match=r"a gate of 1.5 is not in \(0, 1\]"):
        Term(gate=1.5)
    with pytest.raises(ValueError, match="a weight of inf is not finite"):
        Term(weight=float("inf"))
