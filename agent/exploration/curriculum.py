"""Which tasks an iteration should attempt: those whose groups promise contrast, by UCB or Thompson sampling.

A group teaches by its contrast: rewards of 0 and 1 at success rate p have variance p (1 - p), and a group that all
solve, or none, has no advantages at all. The rate is known from few attempts, so a task's worth is an estimate, and
the choice among tasks a bandit's. Tasks are the arms; an iteration pulls the best so many of them.

Dimension letters: T tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRIOR = 2.0
"""Attempts that the prior is worth: with the rate 1/2 it is uniform."""


def contrast(rate_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) 4 p (1 - p), in [0, 1]: the variance of a group's rewards at success rate p, its largest value made 1."""
    return 4 * rate_T * (1 - rate_T)


def ucb_scores(
    attempts_T: NDArray[np.int64],
    judged_T: NDArray[np.int64],
    successes_T: NDArray[np.int64],
    explore: float = 1.0,
) -> NDArray[np.float64]:
    """(T,) contrast to be expected at the estimated success rate, plus a bonus for having been tried seldom.

    The bonus is `explore` sqrt(2 ln(1 + N) / (n + 2)) for n attempts at the task and N at all: UCB1 (Auer,
    Cesa-Bianchi and Fischer 2002, figure 1) with `explore` 1. Where UCB1 pulls every arm once first, here the prior
    stands in: the rate is (s + 2 q) / (m + 2), of m attempts that were judged and s that succeeded, with q the rate
    over all tasks, so that a task never tried is taken for an ordinary one. Otherwise a run that has not seen all its
    tasks would never come back to any.
    """
    alpha_T, beta_T = _posterior(judged_T, successes_T)
    bonus_T = np.sqrt(2 * np.log1p(attempts_T.sum()) / (attempts_T + PRIOR))
    expected_T = contrast(alpha_T / (alpha_T + beta_T)) * _yield(attempts_T, judged_T)
    scores_T: NDArray[np.float64] = expected_T + explore * bonus_T
    return scores_T


def thompson_scores(
    attempts_T: NDArray[np.int64],
    judged_T: NDArray[np.int64],
    successes_T: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(T,) contrast to be expected at a success rate drawn from each task's Beta posterior, in [0, 1] (Thompson 1933).

    The posterior is Beta(s + 2 q, m - s + 2 (1 - q)), with s, m and q as in `ucb_scores`.
    """
    scores_T: NDArray[np.float64] = contrast(rng.beta(*_posterior(judged_T, successes_T)))
    return scores_T * _yield(attempts_T, judged_T)


def best(scores_T: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(min(`count`, T),) indices of the highest scores, highest first; equal ones in an order that `rng` draws."""
    order_T = rng.permutation(len(scores_T))
    return order_T[np.argsort(-scores_T[order_T], kind="stable")][:count]


def _yield(attempts_T: NDArray[np.int64], judged_T: NDArray[np.int64]) -> NDArray[np.float64]:
    """(T,) share of a task's attempts that have a reward, in (0, 1]: those that broke have none and teach nothing."""
    share_T: NDArray[np.float64] = (judged_T + PRIOR) / (attempts_T + PRIOR)
    return share_T


def _posterior(
    judged_T: NDArray[np.int64], successes_T: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both (T,): the parameters of each task's Beta posterior; its prior is worth `PRIOR` attempts at the mean rate."""
    if np.any(successes_T < 0) or np.any(successes_T > judged_T):
        raise ValueError("a task has more successes than judged attempts, or fewer than none")
    rate = (successes_T.sum() + 1) / (judged_T.sum() + 2)  # Laplace's rule of succession: never 0 or 1
    return successes_T + PRIOR * rate, judged_T - successes_T + PRIOR * (1 - rate)
