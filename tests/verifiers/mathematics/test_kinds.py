"""Kinds of answers and gold answers that were judged wrongly once, several of each, and what is near to them."""

import json
from pathlib import Path

import pytest

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.verifiers.mathematics.answers import MathAnswer

ROWS = [json.loads(line) for line in (Path(__file__).parent / "kinds.jsonl").read_text().splitlines()]


def judge(gold, text):
    task = Task("dataset", gold, (Message("user", "?"),), Split.TRAIN, "0" * 32)
    turn = Turn(Message("assistant", text))
    return MathAnswer().verify(task, Trajectory(task.hash, Source.POLICY, (turn,), (), StopReason.TERMINATED))


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in ROWS}))
def test_every_kind(kind):
    wrong = []
    for row in ROWS:
        if row["kind"] == kind:
            verdict = judge(row["gold"], row["answer"])
            if verdict.status is not Status.OK or (verdict.score == 1) is not row["equal"]:
                wrong.append((row, verdict.score, verdict.explanation))
    assert wrong == []


@pytest.mark.parametrize("gold", sorted({row["gold"] for row in ROWS if "answer is" not in row["gold"]}))
def test_every_gold_is_itself_and_no_other_number(gold):
    assert judge(gold, f"\\boxed{{{gold}}}").score == 1
    assert judge(gold, "\\boxed{98765}").score == 0


@pytest.mark.parametrize(
    ("gold", "answer", "score", "who"),
    [
        ("12", "12", 1, "compared as numbers"),
        ("2x", "x+x", 1, "compared as mathematics"),
        ("C", "(C) 5", 1, "compared as choices"),
        ("Evelyn", "evelyn", 1, "the same text"),
        ("Evelyn", "Peter", 0, "compared as words"),
        (r"\int_0^1 x^2 dx", r"\int_{0}^{1} x^{2} \, dx", 1, "the same text"),
        (r"\int_0^1 x^2 dx", r"\int_{0}^{1} x x dx", 1, "compared by math-verify"),
        (r"\int_0^1 x^2 dx", r"\int_{0}^{2} x x dx", 0, "compared by math-verify"),
        (r"\int_0^1 x^2 dx", r"\int_{0}^{1} x^3 dx", 0, "compared by math-verify"),
    ],
)
def test_the_verdict_says_who_judged(gold, answer, score, who):
    verdict = judge(gold, f"\\boxed{{{answer}}}")
    assert (verdict.score, verdict.explanation) == (score, who)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\sum_{k=1}^{3} k", r"\sum_{k=1}^{3} j"),
        (r"\lim_{x \to 0} f(x)", r"\lim_{x \to 1} f(x)"),
        (r"\int_0^1 f(x) dx", r"\int_0^1 g(x) dx"),
        (r"\prod_{k=1}^{n} a_k", r"\prod_{k=1}^{n} b_k"),
    ],
)
def test_what_math_verify_has_not_seen_whole_is_not_believed(gold, answer):
    verdict = judge(gold, f"\\boxed{{{answer}}}")
    assert verdict.score == 0


def test_a_goal_that_nobody_reads_is_an_error_unless_the_same_text_is_given():
    gold = r"\mathfrak{X} \models \varphi !!"
    assert judge(gold, f"\\boxed{{{gold}}}").score == 1
    with pytest.raises(ValueError, match="no answer that can be read, by math-verify neither"):
        judge(gold, r"\boxed{5}")


def test_a_goal_may_be_the_end_of_a_solution():
    assert judge(r"So the answer is \[ \boxed{32349} \]", r"\boxed{32,\!349}").score == 1
