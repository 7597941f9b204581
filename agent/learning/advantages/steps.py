"""Step-level advantages: how much better each step of an attempt did than the steps of its group.

Dimension letters: B attempts of all groups together, S steps of one attempt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.group import ScaleRewards
from journeyman.agent.learning.advantages.ragged import ragged_advantages
from journeyman.agent.learning.advantages.returns import discounted_returns


def step_advantages(
    scores_BS: Sequence[Sequence[float] | None],
    groups_B: Sequence[Hashable],
    scale_rewards: ScaleRewards = "group",
    discount: float = 1.0,
) -> list[NDArray[np.float64]]:
    """(S,) advantages of each attempt's steps: the discounted sum of the normalised step rewards from each step on.

    Step rewards are normalised as `group_advantages` does with rewards, over all steps of all attempts of the group
    (process supervision of GRPO, DeepSeekMath, arXiv:2402.03300, section 4.1.3: minus their mean, over their standard
    deviation; there `discount` is 1). With discount 0 each step has its own alone. A token's advantage is that of its
    step. An attempt of None (its verifier failed) enters no mean or deviation, and gets an empty array.

    >>> [found.tolist() for found in step_advantages([[1.0, 0.0], None, [0.5]], ["a", "a", "a"], "none")]
    [[0.0, -0.5], [], [0.0]]
    """
    if len(scores_BS) != len(groups_B):
        raise ValueError(f"{len(scores_BS)} attempts but {len(groups_B)} group keys: give one key for each attempt")
    known_BS = [scores or () for scores in scores_BS]
    keys_BS = [[key] * len(scores) for key, scores in zip(groups_B, known_BS, strict=True)]
    normalised_BS = ragged_advantages(known_BS, keys_BS, scale_rewards)
    return [discounted_returns(normalised_S, discount) for normalised_S in normalised_BS]
