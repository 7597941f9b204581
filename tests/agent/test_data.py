"""Verdicts as verifiers write them."""

import numpy as np
import pytest

from journeyman import Status, Verdict


def test_a_partial_score_is_a_verdict_with_plain_numbers():
    assert Verdict.scored(0.5) == Verdict(Status.OK, 0.5)
    whole = Verdict.scored(
        np.float32(0.25), raw=np.int64(3), steps=[np.float32(1), 0], extracted=7, expected="8", why="3 of 12"
    )
    assert whole == Verdict(Status.OK, 0.25, 3.0, (1.0, 0.0), "7", "8", "3 of 12")
    assert {type(n) for n in (whole.score, whole.raw, *whole.step_scores)} == {float}
    assert Verdict.passed(True, extracted=7) == Verdict(Status.OK, 1.0, extracted="7")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": 1.5}, r"score 1.5 is not in \[0, 1\]"),
        ({"score": -0.1}, "score -0.1"),
        ({"score": float("nan")}, "score nan"),
        ({"score": 1.0, "steps": [0.5, 2]}, "score 2.0"),
        ({"score": 1.0, "raw": float("inf")}, "raw inf is not finite"),
    ],
)
def test_a_score_outside_the_range_is_refused_where_it_is_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        Verdict.scored(**arguments)
