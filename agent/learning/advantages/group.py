"""Group advantages: how much better an attempt did than its siblings.

Dimension letters: B attempts of all groups together, G groups.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need

ScaleRewards: TypeAlias = Literal["group", "batch", "none"]

STD_FLOOR = 1e-4
"""Added to every standard deviation, as TRL does."""


@dataclass(frozen=True)
class GroupEstimator:
    """GRPO's: every token of an attempt has the attempt's advantage among its group."""

    scale_rewards: ScaleRewards = "group"
    """What advantages are divided by: the standard deviation of the `group`, of the whole `batch`, or `none`."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        rewards, groups = [a.total for a in attempts], [a.group for a in attempts]
        advantages = group_advantages(rewards, groups, self.scale_rewards)
        return [a.everywhere(float(one)) for a, one in zip(attempts, advantages, strict=True)]


def group_advantages(
    rewards_B: Sequence[float | None], groups_B: Sequence[Hashable], scale_rewards: ScaleRewards = "group"
) -> NDArray[np.float64]:
    """(B,) advantages: reward minus the mean of its group, divided as `scale_rewards` says.

    `group` divides by the unbiased standard deviation of the group + 1e-4 (GRPO, DeepSeekMath, arXiv:2402.03300,
    section 4.1), `batch` by that of all B rewards + 1e-4, `none` by nothing (Dr. GRPO, arXiv:2503.20783). Groups may
    have unequal sizes; in one whose rewards are all equal every advantage is exactly 0. A reward of None (its verifier
    failed) enters no mean or deviation and gets advantage 0; its row should still be given to the learner, whose
    denominators count it. Raises ValueError, with its index, for a reward that is not finite.

    >>> group_advantages([1.0, 0.0, 0.5, None], ["a", "a", "b", "b"], "none").tolist()
    [0.5, -0.5, 0.0, 0.0]
    """
    if len(rewards_B) != len(groups_B):
        raise ValueError(f"{len(rewards_B)} rewards but {len(groups_B)} group keys: give one key for each reward")
    known_B = np.array([reward is not None for reward in rewards_B], dtype=bool)
    values_B = np.array([0.0 if reward is None else reward for reward in rewards_B], dtype=np.float64)
    check_finite(values_B, "reward")
    numbers: dict[Hashable, int] = {}
    group_B = np.array([numbers.setdefault(key, len(numbers)) for key in groups_B], dtype=np.intp)

    mean_G, std_G = _moments(values_B[known_B], group_B[known_B], len(numbers))
    differ_G = _differ(values_B[known_B], group_B[known_B], len(numbers))
    advantages_B = np.where(known_B & differ_G[group_B], values_B - mean_G[group_B], 0.0)
    if scale_rewards == "group":
        advantages_B /= std_G[group_B] + STD_FLOOR
    elif scale_rewards == "batch":
        _, std = _moments(values_B[known_B], np.zeros(int(known_B.sum()), dtype=np.intp), 1)
        advantages_B /= std[0] + STD_FLOOR
    return advantages_B


def check_finite(values: NDArray[np.float64], what: str) -> None:
    """Raises ValueError that names the first of the values that is not finite by its index."""
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{what} {wrong[0]} is {values[wrong[0]]}: nothing can be compared with it")


def _differ(values: NDArray[np.float64], groups: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Whether each group's values do. Not by their mean: that of equal values may differ from them by rounding."""
    low_G, high_G = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low_G, groups, values)
    np.maximum.at(high_G, groups, values)
    return low_G < high_G


def _moments(
    values: NDArray[np.float64], groups: NDArray[np.intp], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and unbiased standard deviation of each group; 0 where a group has no value, or one for the deviation."""
    size_G = np.bincount(groups, minlength=count)
    mean_G = np.bincount(groups, weights=values, minlength=count) / np.maximum(size_G, 1)
    squares_G = np.bincount(groups, weights=(values - mean_G[groups]) ** 2, minlength=count)
    return mean_G, np.sqrt(squares_G / np.maximum(size_G - 1, 1))
