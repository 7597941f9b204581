"""Advantages of the parts of attempts, turns or steps, of which each attempt has as many as it has.

Dimension letters: B attempts of all groups together, U parts of one attempt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.group import ScaleRewards, check_finite, group_advantages


def ragged_advantages(
    values_BU: Sequence[Sequence[float] | NDArray[np.float64]],
    keys_BU: Sequence[Sequence[Hashable]],
    scale_rewards: ScaleRewards = "group",
) -> list[NDArray[np.float64]]:
    """(U,) of each attempt: what `group_advantages` gives its parts, all parts with equal keys being one group.

    Raises ValueError, with its place, for a value that is not finite.

    >>> [found.tolist() for found in ragged_advantages([[1.0, 0.0], [], [0.5]], [["a", "a"], [], ["a"]], "none")]
    [[0.5, -0.5], [], [0.0]]
    """
    sizes_B = [len(values) for values in values_BU]
    if sizes_B != (keys := [len(own) for own in keys_BU]):
        raise ValueError(f"attempts with {sizes_B} values but {keys} keys: give one key for each value")
    for b, values in enumerate(values_BU):
        check_finite(np.asarray(values, np.float64), f"attempt {b}: value")
    flat = group_advantages(list(chain(*values_BU)), list(chain(*keys_BU)), scale_rewards)
    return np.split(flat, np.cumsum(sizes_B)[:-1])[: len(sizes_B)]
