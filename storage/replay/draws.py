"""The arithmetic of a draw: how many from where, by which priority, and what weight makes up for it.

Dimension letters: P pools, N candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.05
"""Least rarity and surprise: no group is out of reach."""


def allot(sizes_P: NDArray[np.int64], weights_P: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """(P,) how many to take from each pool: in proportion to size times weight, at most its size, `count` in all.

    What a small pool cannot give the others give. Fewer than `count` where all pools with a weight hold no more.
    """
    taken_P = np.zeros(len(sizes_P))
    demand_P = sizes_P * weights_P
    left = float(min(count, int(sizes_P[demand_P > 0].sum())))
    while left > 1e-9:
        wanted_P = demand_P * (left / demand_P.sum())
        full_P = (demand_P > 0) & (taken_P + wanted_P >= sizes_P - 1e-9)
        taken_P = np.where(full_P, sizes_P, taken_P)
        if not full_P.any():
            taken_P += wanted_P
            break
        demand_P = np.where(full_P, 0.0, demand_P)
        left = min(count, int(sizes_P[sizes_P * weights_P > 0].sum())) - taken_P.sum()
    whole_P = np.floor(taken_P + 1e-9).astype(np.int64)
    missing = round(float(taken_P.sum())) - int(whole_P.sum())
    whole_P[np.argsort(whole_P - taken_P, kind="stable")[:missing]] += 1  # largest remainders first
    return whole_P


def rarity(successes_N: NDArray[np.float64], attempts_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) 1 - the share of a group's attempts that succeeded, at least FLOOR: rare successes come first."""
    shares_N: NDArray[np.float64] = successes_N / np.maximum(attempts_N, 1.0)
    return np.maximum(1.0 - shares_N, FLOOR)


def surprise(deviations_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the mean distance of a group's rewards from their mean, at least FLOOR.

    What the size of the TD error is to prioritized experience replay (Schaul et al. 2016, arXiv:1511.05952).
    """
    return np.maximum(deviations_N, FLOOR)


def keys(values_N: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(N,) value / uniform number: the n largest are a priority sample (Duffield, Lund, Thorup 2007)."""
    return values_N / rng.uniform(np.finfo(float).tiny, 1.0, len(values_N))


def importance_weights(
    values_N: NDArray[np.float64], reach_N: NDArray[np.float64], threshold: float, correction: float
) -> NDArray[np.float64]:
    """(N,) weights in (0, 1] that make up for unequal chances: (1 / chance) ** correction, over their maximum.

    A sampled item's chance is reach * min(1, value / threshold), with `reach` the chance that it became a candidate
    and `threshold` the largest key that was not sampled (0: all were). `correction` 1 makes sums over the draw
    unbiased up to a factor, 0 lets the priorities stand (beta of Schaul et al. 2016, section 3.4).
    """
    if not len(values_N):
        return np.zeros(0)
    chance_N = reach_N * np.minimum(1.0, values_N / threshold if threshold else 1.0)
    weights_N: NDArray[np.float64] = (chance_N / chance_N.min()) ** -correction
    return weights_N
