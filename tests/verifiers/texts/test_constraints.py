"""The share of satisfied constraints, and which were missed."""

import pytest

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.errors import UnknownNameError
from journeyman.verifiers.rubric import Rubric
from journeyman.verifiers.texts.constraints import ConstraintsSatisfied

NAME = "journeyman.verifiers.texts.constraints:ConstraintsSatisfied"
GOAL = [{"kind": "words", "count": 2}, {"kind": "use", "word": "cat"}, {"kind": "json"}, {"kind": "avoid", "word": "a"}]


def row(goal, text):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32)
    return task, Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)


@pytest.mark.parametrize(
    ("text", "score", "missed"),
    [
        ('"red cat"', 1.0, None),
        ("red cat", 0.75, "missed: Answer in JSON."),
        ('"a Cat runs"', 0.5, "missed: Do not use the word a. Write exactly 2 words."),
        ("a", 0.0, "missed: Do not use the word a. Answer in JSON. Use the word cat. Write exactly 2 words."),
        ("", 0.0, "missed: Do not use the word a. Answer in JSON. Use the word cat. Write exactly 2 words."),
    ],
)
def test_the_score_is_the_share_and_the_missed_are_named(text, score, missed):
    verdict = ConstraintsSatisfied().verify(*row(GOAL, text))
    assert (verdict.status, verdict.score, verdict.explanation) == (Status.OK, score, missed)
    assert verdict.extracted == text
    assert verdict.expected == "Do not use the word a. Answer in JSON. Use the word cat. Write exactly 2 words."


@pytest.mark.parametrize(("text", "reward", "success"), [('"red cat"', 1.0, True), ("red cat", 0.75, False)])
def test_only_all_of_them_is_a_success(text, reward, success):
    rubric = Rubric.build({NAME: 1.0}, {})
    ((record,),) = rubric.score_all([row(GOAL, text)])
    verdicts = {record.verifier: record.verdict}
    assert (record.verifier.name, rubric.reward(verdicts), rubric.succeeded(verdicts)) == (
        "constraints",
        reward,
        success,
    )


def test_a_goal_that_is_no_list_of_constraints_is_no_zero():
    assert ConstraintsSatisfied().verify(*row(None, "a")).status is Status.ABSTAIN
    with pytest.raises(UnknownNameError, match="unknown kind of constraint 'wrods': did you mean 'words'"):
        ConstraintsSatisfied().verify(*row([{"kind": "wrods", "count": 2}], "a"))
    ((record,),) = Rubric.build({NAME: 1.0}, {}).score_all([row([], "a")])
    assert (record.verdict.status, record.verdict.score) == (Status.ERROR, None)
    assert record.verdict.explanation == "DataError: constraints must be a list with at least one in it, got []"
