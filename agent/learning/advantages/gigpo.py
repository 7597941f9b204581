"""GiGPO: an attempt against its siblings, and each of its steps against the steps taken from the same state.

Dimension letters: B attempts of all groups together, U turns (steps) of one attempt.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.advantages.group import ScaleRewards, group_advantages
from journeyman.agent.learning.advantages.ragged import ragged_advantages
from journeyman.agent.learning.advantages.returns import check_discount, discounted_returns


@dataclass(frozen=True)
class GigpoEstimator:
    """GiGPO's: each turn's tokens have the attempt's advantage, and that of the turn among those from its state."""

    step_weight: float = 1.0
    discount: float = 0.95
    scale_rewards: ScaleRewards = "group"
    """What both are divided by: the standard deviation of the `group`, of the whole `batch`, or `none`."""
    turn_rewards: bool = True
    """Whether the environment's own rewards count beside the rubric's at the end."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.STATES})

    def __post_init__(self) -> None:
        """Refuses what is no discount, with SettingsError."""
        check_discount("discount", self.discount)

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt; a turn whose state is not known has no siblings."""
        rewards = [None if a.reward is None else a.rewards_by_turn(turn_rewards=self.turn_rewards) for a in attempts]
        totals = [None if a.total is None else math.fsum((a.total, *self._own_rewards(a))) for a in attempts]
        anchors = [a.states_by_turn() for a in attempts]
        groups = [a.group for a in attempts]
        found = gigpo_advantages(rewards, anchors, groups, self.step_weight, self.discount, self.scale_rewards, totals)
        return [a.by_turn(advantages_U) for a, advantages_U in zip(attempts, found, strict=True)]

    def _own_rewards(self, attempt: Attempt) -> tuple[float, ...]:
        """The environment's that count."""
        return attempt.turn_rewards_U if self.turn_rewards else ()


def gigpo_advantages(
    rewards_BU: Sequence[Sequence[float] | NDArray[np.float64] | None],
    anchors_BU: Sequence[Sequence[Hashable]],
    groups_B: Sequence[Hashable],
    step_weight: float = 1.0,
    discount: float = 0.95,
    scale_rewards: ScaleRewards = "group",
    totals_B: Sequence[float | None] | None = None,
) -> list[NDArray[np.float64]]:
    """(U,) advantages of each attempt's turns: A_episode + step_weight A_step (Feng et al. 2025, arXiv:2505.10978).

    A_episode is `group_advantages` of the attempts' sums of rewards, or of `totals_B`: an attempt without tokens
    has no rewards here, but its siblings are held against what it got. A_step is that of the discounted returns from
    each turn on, where the turns of the group's attempts that stand in the same state are one group; a state that was
    met once gives 0. `anchors_BU` has the state before each turn (`Retraceable.states` without its last).
    `scale_rewards` holds for both: the paper's F_norm is the standard deviation (`group`) or 1 (`none`). An attempt of
    None (its verifier failed) enters nothing, whatever its states, and gets an empty array.

    >>> rewards, states = [[0.0, 1.0], [0.0, 0.0]], [["s", "t"], ["s", "u"]]
    >>> [found.tolist() for found in gigpo_advantages(rewards, states, ["a", "a"], 1.0, 0.5, "none")]
    [[0.75, 0.5], [-0.75, -0.5]]
    """
    if not len(rewards_BU) == len(anchors_BU) == len(groups_B):
        given = f"{len(rewards_BU)} attempts, states of {len(anchors_BU)} and {len(groups_B)} group keys"
        raise ValueError(f"{given}: give states and a key for each attempt")
    sums_B = [None if rewards is None else math.fsum(rewards) for rewards in rewards_BU]
    returns_BU = [discounted_returns(() if rewards is None else rewards, discount) for rewards in rewards_BU]
    keys_BU = [
        [] if total is None else [(group, anchor) for anchor in anchors]
        for total, group, anchors in zip(sums_B, groups_B, anchors_BU, strict=True)
    ]
    episode_B = group_advantages(sums_B if totals_B is None else totals_B, groups_B, scale_rewards)
    step_BU = ragged_advantages(returns_BU, keys_BU, scale_rewards)
    return [episode + step_weight * step_U for episode, step_U in zip(episode_B, step_BU, strict=True)]
