"""Trains a model with a head of two labels to tell good steps from bad ones, and says how well it does.

The model is read at the end of each step, as TRL's process reward models are: softmax over the two labels, index 1 is
"good". Dimension letters: B rows, L tokens of the longest row, S steps of one attempt, N steps of all examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.learning.heads.training import Losses, autocast, pad_right

BINS = 10
"""Of equal width, for the calibration error."""


@dataclass(frozen=True, slots=True, eq=False)
class StepExample:
    """One attempt as the model reads it, with what it shall say at the end of each step."""

    ids: tuple[int, ...]
    """Prompt and steps."""
    ends_S: tuple[int, ...]
    """Index in `ids` of the last token of each step."""
    targets_S: tuple[float | None, ...]
    """How good each step is, in [0, 1]; None where nobody knows: it is trained and scored on no step like that."""


@dataclass(frozen=True, slots=True)
class StepScores:
    """How well a model does on steps it was not trained on. Good is a target of at least a half."""

    steps: int
    good: float
    """Share of the steps that are good."""
    accuracy: float
    """Share on which the score is on the same side of a half as the target."""
    auc: float | None
    """Chance that a good step is scored above a bad one, a tie counting half; None where all are of one kind."""
    calibration_error: float
    """Mean over ten bins of the score of |mean score - mean target|, weighted by their steps."""


def step_losses(pad_id: int) -> Losses[StepExample]:
    """The cross-entropy of every step with a target, which may be any share between bad and good."""

    def losses(model: Any, examples: Sequence[StepExample]) -> tuple[Tensor, int]:
        logprobs_N2 = _logprobs(model, examples, pad_id)
        targets = [target for example in examples for target in example.targets_S if target is not None]
        targets_N = torch.tensor(targets, device=logprobs_N2.device)
        return -(targets_N * logprobs_N2[:, 1] + (1 - targets_N) * logprobs_N2[:, 0]).sum(), len(targets)

    return losses


@torch.no_grad()
def score_model(model: Any, examples: Sequence[StepExample], pad_id: int, batch: int) -> StepScores:
    """The model's scores on the examples' steps; raises ValueError where no step has a target."""
    parts = []
    for first in range(0, len(examples), batch):
        with autocast(model):
            parts.append(_logprobs(model, examples[first : first + batch], pad_id)[:, 1].exp().cpu().numpy())
    targets = [target for example in examples for target in example.targets_S if target is not None]
    return score_steps(np.concatenate(parts or [np.zeros(0)]).astype(np.float64), np.array(targets))


def score_steps(scores_N: NDArray[np.float64], targets_N: NDArray[np.float64]) -> StepScores:
    """Compares scores in [0, 1] with targets in [0, 1]; raises ValueError where there are none.

    >>> score_steps(np.array([0.9, 0.4, 0.6]), np.array([1.0, 1.0, 0.0])).auc
    0.5
    """
    if not len(targets_N):
        raise ValueError("there is no step to score")
    good_N = targets_N >= 0.5
    return StepScores(
        steps=len(targets_N),
        good=float(good_N.mean()),
        accuracy=float(((scores_N >= 0.5) == good_N).mean()),
        auc=area_under_curve(scores_N, good_N),
        calibration_error=_calibration_error(scores_N, targets_N),
    )


def area_under_curve(scores_N: NDArray[np.float64], good_N: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve by ranks (Mann and Whitney 1947): P(good above bad) + P(equal) / 2."""
    good, bad = int(good_N.sum()), int((~good_N).sum())
    if not good or not bad:
        return None
    _, place_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2  # from 1; equal scores share the mean of their ranks
    return float((mean_ranks[place_N][good_N].sum() - good * (good + 1) / 2) / (good * bad))


def _calibration_error(scores_N: NDArray[np.float64], targets_N: NDArray[np.float64]) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3), with soft targets where they are."""
    bins_N = np.minimum((scores_N * BINS).astype(int), BINS - 1)
    gaps = [abs((scores_N - targets_N)[bins_N == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(scores_N))


def _logprobs(model: Any, examples: Sequence[StepExample], pad_id: int) -> Tensor:
    """(N, 2) log-probs of bad and good at the ends of the steps that have a target, example by example."""
    ids_BL, mask_BL = pad_right([example.ids for example in examples], pad_id, model.device)
    logits_BL2: Tensor = model(input_ids=ids_BL, attention_mask=mask_BL).logits
    rows, columns = [], []
    for b, example in enumerate(examples):
        ends = [end for end, target in zip(example.ends_S, example.targets_S, strict=True) if target is not None]
        rows += [b] * len(ends)
        columns += ends
    return logits_BL2[rows, columns].float().log_softmax(-1)
