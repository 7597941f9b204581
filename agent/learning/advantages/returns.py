"""Returns and advantages of a sequence of decisions: Monte-Carlo, n-step and lambda returns, GAE.

A decision is a token or a whole turn (`tokens.py` leads from one to the other). `rewards_T` came after each decision,
`values_T` are the critic's estimates before each, and `bootstrap` is that of the state after the last one: 0 where the
attempt terminated, the critic's value where it was truncated (Pardo et al. 2018, arXiv:1712.00378). `discount` is
gamma and `lam` is lambda, both in [0, 1]. All is computed in float64.

Dimension letter: T decisions of one attempt.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from journeyman.agent.errors import SettingsError


def check_discount(name: str, value: float) -> None:
    """Raises SettingsError for an estimator's option that is to be gamma or lambda, and is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise SettingsError(f"estimator.{name} is {value}: it must be in [0, 1]")


def discounted_returns(rewards_T: ArrayLike, discount: float, bootstrap: float = 0.0) -> NDArray[np.float64]:
    """(T,) Monte-Carlo returns: r_t + discount r_{t+1} + ... + discount^(T-t) bootstrap.

    Sutton & Barto 2018, equation 3.8.

    >>> discounted_returns([0.0, 0.0, 1.0], discount=0.5).tolist()
    [0.25, 0.5, 1.0]
    """
    return _backwards(np.asarray(rewards_T, np.float64), discount, bootstrap)


def n_step_returns(
    rewards_T: ArrayLike, values_T: ArrayLike, n: int, discount: float, bootstrap: float = 0.0
) -> NDArray[np.float64]:
    """(T,) r_t + ... + discount^(n-1) r_{t+n-1} + discount^n V_{t+n}; nearer to the end the Monte-Carlo return.

    Sutton & Barto 2018, equation 7.1. n is at least 1, else ValueError.

    >>> n_step_returns([0.0, 0.0, 1.0], [0.5, 0.25, 0.75], n=2, discount=1.0).tolist()
    [0.75, 1.0, 1.0]
    """
    if n < 1:
        raise ValueError(f"returns over {n} steps: n is at least 1")
    rewards, values = _both(rewards_T, values_T)
    returns = np.append(values, bootstrap)
    for _ in range(min(n, len(rewards))):
        returns[:-1] = rewards + discount * returns[1:]
    return returns[:-1]


def lambda_returns(
    rewards_T: ArrayLike, values_T: ArrayLike, discount: float, lam: float, bootstrap: float = 0.0
) -> NDArray[np.float64]:
    """(T,) forward TD(lambda): G_t = r_t + discount ((1 - lam) V_{t+1} + lam G_{t+1}), where G_T is `bootstrap`.

    The mean of the n-step returns with weights (1 - lam) lam^(n-1), what is left going to the last of them (Sutton &
    Barto 2018, equation 12.3): with lam 0 those of one step, with lam 1 the Monte-Carlo returns. Targets of a critic.

    >>> lambda_returns([0.0, 1.0], [0.5, 0.25], discount=1.0, lam=0.5).tolist()
    [0.625, 1.0]
    """
    rewards, values = _both(rewards_T, values_T)
    after = np.append(values, bootstrap)[1:]
    return _backwards(rewards + discount * (1 - lam) * after, discount * lam, bootstrap)


def gae(
    rewards_T: ArrayLike, values_T: ArrayLike, discount: float, lam: float, bootstrap: float = 0.0
) -> NDArray[np.float64]:
    """(T,) generalised advantages: the sum of (discount lam)^l delta_{t+l}, delta_t = r_t + discount V_{t+1} - V_t.

    Schulman et al. 2015, arXiv:1506.02438, equation 16. Plus `values_T` they are `lambda_returns`.

    >>> gae([0.0, 1.0], [0.5, 0.25], discount=1.0, lam=0.5).tolist()
    [0.125, 0.75]
    """
    rewards, values = _both(rewards_T, values_T)
    after = np.append(values, bootstrap)[1:]
    return _backwards(rewards + discount * after - values, discount * lam, 0.0)


def _both(rewards_T: ArrayLike, values_T: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rewards, values = np.asarray(rewards_T, np.float64), np.asarray(values_T, np.float64)
    if rewards.shape != values.shape:
        raise ValueError(f"rewards of shape {rewards.shape} but values of shape {values.shape}: each decision has both")
    return rewards, values


def _backwards(values_T: NDArray[np.float64], decay: float, last: float) -> NDArray[np.float64]:
    """(T,) y_t = x_t + decay y_{t+1}, where y_T is `last`."""
    sums = accumulate(values_T[::-1].tolist(), lambda after, value: value + decay * after, initial=float(last))
    return np.array(list(sums)[:0:-1], np.float64)
