"""Training a head on steps: the loss, and how well scores foretell targets."""

from __future__ import annotations

from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.learning.heads.steps import (
    StepExample,
    area_under_curve,
    score_model,
    score_steps,
    step_losses,
)

PAD = 9


class Table:
    """A model whose logits at a token are a row of a table by its id."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.table = torch.linspace(-2, 2, 20).reshape(10, 2) ** 3
        self.masks: list[torch.Tensor] = []

    def __call__(self, input_ids, attention_mask):
        self.masks.append(attention_mask)
        return SimpleNamespace(logits=self.table[input_ids])

    def good(self, token: int) -> float:
        """The probability of "good" at a token."""
        bad, good = self.table[token].tolist()
        return 1 / (1 + np.exp(bad - good))


EXAMPLES = [
    StepExample((1, 2, 3, 4, 5), (2, 4), (0.25, None)),
    StepExample((6, 7, 8), (1, 2), (1.0, 0.0)),
]


def test_the_loss_is_the_cross_entropy_of_the_steps_with_a_target() -> None:
    model = Table()
    total, count = step_losses(PAD)(model, EXAMPLES)
    three, seven, eight = (model.good(token) for token in (3, 7, 8))
    expected = -0.25 * log(three) - 0.75 * log(1 - three) - log(seven) - log(1 - eight)
    assert count == 3
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert model.masks[0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_examples_without_a_target_have_no_loss() -> None:
    total, count = step_losses(PAD)(Table(), [StepExample((1, 2), (1,), (None,))])
    assert (float(total), count) == (0.0, 0)


def test_a_model_is_scored_on_the_steps_with_a_target() -> None:
    model = Table()
    found = [score_model(model, EXAMPLES, PAD, batch) for batch in (1, 2)]
    assert found[0] == found[1]
    scores = np.array([model.good(token) for token in (3, 7, 8)])
    expected = score_steps(scores, np.array([0.25, 1.0, 0.0]))
    assert found[0].steps == expected.steps == 3
    assert found[0].calibration_error == pytest.approx(expected.calibration_error, abs=1e-6)


def test_scores_against_targets() -> None:
    scores = score_steps(np.array([0.05, 0.08, 0.55, 0.58, 1.0]), np.array([0.0, 0.25, 0.25, 1.0, 1.0]))
    assert (scores.steps, scores.good, scores.accuracy) == (5, 0.4, 0.8)
    assert scores.auc == 1.0
    assert scores.calibration_error == pytest.approx((abs(0.13 - 0.25) + abs(1.13 - 1.25) + 0) / 5)


def test_without_steps_there_is_nothing_to_score() -> None:
    with pytest.raises(ValueError, match="no step"):
        score_model(Table(), [], PAD, 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_the_area_is_the_chance_that_a_good_one_is_above_a_bad_one(pairs: list[tuple[int, bool]]) -> None:
    good = [score for score, is_good in pairs if is_good]
    bad = [score for score, is_good in pairs if not is_good]
    wins = [(a > b) + (a == b) / 2 for a in good for b in bad]
    found = area_under_curve(np.array([s / 4 for s, _ in pairs]), np.array([g for _, g in pairs]))
    assert found == (pytest.approx(sum(wins) / len(wins)) if wins else None)
