"""Between tokens and turns: where a reward falls due, which values a turn has, and its advantage on all its tokens.

`turns_M` says which turn each token belongs to, as `turns_of_tokens` does (the segments of an attempt one after
another). Its numbers may begin anywhere and may leave some out; U counts those that are there.

Dimension letters: M trained tokens of one attempt, U turns that they belong to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def turn_starts(turns_M: ArrayLike) -> NDArray[np.intp]:
    """(U,) the index of each turn's first token. Raises ValueError where turns do not come one after another.

    >>> turn_starts([2, 2, 3, 5]).tolist()
    [0, 2, 3]
    """
    steps = np.diff(np.asarray(turns_M, np.intp))
    if np.any(steps < 0):
        raise ValueError(f"token {int(np.argmax(steps < 0)) + 1} belongs to an earlier turn than the one before it")
    return np.flatnonzero(np.concatenate([np.ones(min(np.size(turns_M), 1), np.intp), steps]))


def turn_values(values_M: ArrayLike, turns_M: ArrayLike) -> NDArray[np.float64]:
    """(U,) the critic's value before each turn, where each token's is read at the position that predicts the token.

    So it is that of the turn's first token, of which the turn's own tokens are no part.

    >>> turn_values([0.1, 0.2, 0.3], [0, 0, 1]).tolist()
    [0.1, 0.3]
    """
    return _per_token(values_M, turns_M)[turn_starts(turns_M)]


def turn_rewards(rewards_M: ArrayLike, turns_M: ArrayLike) -> NDArray[np.float64]:
    """(U,) the sum of the rewards of each turn's tokens.

    >>> turn_rewards([0.5, 1.0, 2.0], [0, 0, 1]).tolist()
    [1.5, 2.0]
    """
    return np.add.reduceat(_per_token(rewards_M, turns_M), turn_starts(turns_M))


def token_rewards(rewards_U: ArrayLike, turns_M: ArrayLike) -> NDArray[np.float64]:
    """(M,) each turn's reward at its last token, which brought it about, and 0 at the others.

    >>> token_rewards([0.5, 1.0], [0, 0, 1]).tolist()
    [0.0, 0.5, 1.0]
    """
    starts, count = turn_starts(turns_M), np.size(turns_M)
    rewards = np.zeros(count)
    rewards[np.append(starts, count)[1:] - 1] = _per_turn(rewards_U, starts)
    return rewards


def token_advantages(advantages_U: ArrayLike, turns_M: ArrayLike) -> NDArray[np.float64]:
    """(M,) each turn's advantage on all its tokens.

    >>> token_advantages([0.5, -1.0], [0, 0, 1]).tolist()
    [0.5, 0.5, -1.0]
    """
    starts = turn_starts(turns_M)
    return np.repeat(_per_turn(advantages_U, starts), np.diff(np.append(starts, np.size(turns_M))))


def _per_token(values_M: ArrayLike, turns_M: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values_M, np.float64)
    if values.shape != np.shape(turns_M):
        raise ValueError(f"{np.size(turns_M)} tokens but numbers of shape {values.shape}: give one for each token")
    return values


def _per_turn(values_U: ArrayLike, starts_U: NDArray[np.intp]) -> NDArray[np.float64]:
    values = np.asarray(values_U, np.float64)
    if values.shape != starts_U.shape:
        raise ValueError(f"tokens of {len(starts_U)} turns but numbers of shape {values.shape}: give one for each turn")
    return values
