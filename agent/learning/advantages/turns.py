"""Turn-level credit: how much better things went from each turn on than from the turns of its group.

Dimension letters: B attempts of all groups together, U turns of one attempt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.advantages.group import ScaleRewards
from journeyman.agent.learning.advantages.ragged import ragged_advantages
from journeyman.agent.learning.advantages.returns import check_discount, discounted_returns


@dataclass(frozen=True)
class TurnEstimator:
    """Credit by turns: each turn's tokens have what came from the turn on, among all turns of the group."""

    discount: float = 1.0
    scale_rewards: ScaleRewards = "group"
    """What advantages are divided by: the standard deviation of the `group`, of the whole `batch`, or `none`."""
    turn_rewards: bool = True
    """Whether the environment's own rewards count beside the rubric's at the end."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        """Refuses what is no discount, with SettingsError."""
        check_discount("discount", self.discount)

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        rewards = [None if a.reward is None else a.rewards_by_turn(turn_rewards=self.turn_rewards) for a in attempts]
        found = turn_advantages(rewards, [a.group for a in attempts], self.scale_rewards, self.discount)
        return [a.by_turn(advantages_U) for a, advantages_U in zip(attempts, found, strict=True)]


def turn_advantages(
    rewards_BU: Sequence[Sequence[float] | NDArray[np.float64] | None],
    groups_B: Sequence[Hashable],
    scale_rewards: ScaleRewards = "group",
    discount: float = 1.0,
) -> list[NDArray[np.float64]]:
    """(U,) advantages of each attempt's turns: its discounted rewards from the turn on, normalised within the group.

    Returns (Sutton & Barto 2018, equation 3.8) are normalised as `group_advantages` does with rewards, over all turns
    of all attempts of the group. Not over those with the same number: where the policy decides when to stop, only
    attempts of one kind have a late turn, and what they have in common would be taken for the baseline. An attempt of
    None (its verifier failed) enters no mean or deviation, and gets an empty array.

    >>> [found.tolist() for found in turn_advantages([[0.0, 1.0], None, [0.75]], ["a", "a", "a"], "none", 0.5)]
    [[-0.25, 0.25], [], [0.0]]
    """
    if len(rewards_BU) != len(groups_B):
        raise ValueError(f"{len(rewards_BU)} attempts but {len(groups_B)} group keys: give one key for each attempt")
    returns_BU = [discounted_returns(() if rewards is None else rewards, discount) for rewards in rewards_BU]
    keys_BU = [[key] * len(returns_U) for key, returns_U in zip(groups_B, returns_BU, strict=True)]
    return ragged_advantages(returns_BU, keys_BU, scale_rewards)
