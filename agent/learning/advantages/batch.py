"""Advantages over the whole batch: REINFORCE with its mean as the baseline, and REINFORCE++.

Dimension letters: B attempts of the batch, M trained tokens of one attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.advantages.group import STD_FLOOR, check_finite, group_advantages
from journeyman.agent.learning.advantages.returns import check_discount, discounted_returns


@dataclass(frozen=True)
class ReinforceEstimator:
    """REINFORCE's: every token of an attempt has the attempt's reward over the mean of all."""

    shift: float = 0.0
    """Taken from that mean, so that more is pushed up than down: AsymRE's for attempts of older policies
    (arXiv:2506.20520, which takes 0.1 of rewards 0 and 1)."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        advantages = batch_advantages([a.total for a in attempts])
        shifted = [
            0.0 if a.reward is None else float(one) + self.shift for a, one in zip(attempts, advantages, strict=True)
        ]
        return [a.everywhere(one) for a, one in zip(attempts, shifted, strict=True)]


@dataclass(frozen=True)
class ReinforcePlusPlusEstimator:
    """REINFORCE++'s: each token has what came from it on, normalised over all tokens of the batch.

    Hu et al. 2025, arXiv:2501.03262; there `discount` is 1, and the KL is in the reward.
    """

    discount: float = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        """Refuses what is no discount, with SettingsError."""
        check_discount("discount", self.discount)

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        returns = [discounted_returns(a.token_rewards(turn_rewards=False), self.discount) for a in attempts]
        found = normalised_over_batch(returns, [a.reward is not None for a in attempts])
        return [Credit(advantages_N) for advantages_N in found]


def batch_advantages(rewards_B: Sequence[float | None]) -> NDArray[np.float64]:
    """(B,) advantages: reward minus the mean of all (REINFORCE with a baseline: Williams 1992).

    A reward of None (its verifier failed) enters no mean and gets 0; where all are equal each advantage is exactly 0.

    >>> batch_advantages([1.0, 0.0, None, 0.5]).tolist()
    [0.5, -0.5, 0.0, 0.0]
    """
    return group_advantages(rewards_B, [None] * len(rewards_B), "none")


def normalised_over_batch(
    values_BM: Sequence[NDArray[np.float64]], known_B: Sequence[bool]
) -> list[NDArray[np.float64]]:
    """(M,) of each attempt: its values minus the mean over all tokens, divided by their standard deviation + 1e-4.

    The deviation is unbiased. Attempts that are not known enter neither and get zeros; where all known values are equal
    there are only zeros, exactly. With rewards minus the mean of their group, one on each token, this is REINFORCE++
    with a baseline (arXiv:2501.03262). Raises ValueError for a known value that is not finite.

    >>> [found.round(3).tolist() for found in normalised_over_batch([np.array([1.0, 2.0]), np.ones(1)], [True, False])]
    [[-0.707, 0.707], [0.0]]
    """
    for b, (values, is_known) in enumerate(zip(values_BM, known_B, strict=True)):
        if is_known:
            check_finite(values, f"attempt {b}: value")
    known = [values for values, is_known in zip(values_BM, known_B, strict=True) if is_known]
    pooled = np.concatenate([np.zeros(0), *known])
    if not len(pooled) or pooled.min() == pooled.max():
        return [np.zeros(len(values)) for values in values_BM]
    mean, scale = pooled.mean(), pooled.std(ddof=1) + STD_FLOOR
    return [
        (values - mean) / scale if is_known else np.zeros(len(values))
        for values, is_known in zip(values_BM, known_B, strict=True)
    ]
