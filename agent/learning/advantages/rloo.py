"""RLOO: how much better an attempt did than its siblings, itself left out of what they are expected to do.

Dimension letter: B attempts of all groups together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.advantages.group import group_advantages


@dataclass(frozen=True)
class RlooEstimator:
    """RLOO's: every token of an attempt has the attempt's advantage over its siblings."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        advantages = leave_one_out_advantages([a.total for a in attempts], [a.group for a in attempts])
        return [a.everywhere(float(one)) for a, one in zip(attempts, advantages, strict=True)]


def leave_one_out_advantages(rewards_B: Sequence[float | None], groups_B: Sequence[Hashable]) -> NDArray[np.float64]:
    """(B,) advantages: reward minus the mean of the group's other rewards (Ahmadian et al. 2024, arXiv:2402.14740).

    The baseline does not depend on the attempt's own reward, so that the gradient is unbiased. It comes to n / (n - 1)
    times the reward minus the group's mean, n its known rewards. A reward of None (its verifier failed) enters no mean
    and gets 0; so does the only known reward of a group, and each where all are equal, exactly.

    >>> leave_one_out_advantages([1.0, 0.0, 0.5, None, 0.5], ["a", "a", "a", "a", "b"]).tolist()
    [0.75, -0.75, 0.0, 0.0, 0.0]
    """
    over_mean_B = group_advantages(rewards_B, groups_B, "none")
    known = Counter(group for reward, group in zip(rewards_B, groups_B, strict=True) if reward is not None)
    return over_mean_B * np.array([known[group] / max(known[group] - 1, 1) for group in groups_B], np.float64)
