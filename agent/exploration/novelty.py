"""How new it is what an attempt reached: by counts, or by the error of a network that predicts a random one (RND).

Both see the attempts batch by batch, an iteration at a time, and learn a batch before they judge it: what was reached
often within the batch is no news either.

Dimension letters: B attempts, N distinct things reached, F features, H hidden units, K outputs.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.asking import ask_for_goals
from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import StopReason, Trajectory
from journeyman.agent.hosting import Seconds
from journeyman.agent.protocols import Environment, GoalEnvironment

FEATURES, HIDDEN, OUTPUTS = 256, 256, 64
GRAMS = (1, 2, 3)
"""Lengths of the character n-grams."""
LONGEST = 256
"""Characters of a text that its features see, the last ones: there the answer stands."""
RIDGE = 1.0
"""Penalty on the predictor's weights, in units of one visit: how many visits make a thing known."""


class Novelty(Protocol):
    """A judge of novelty, and its memory."""

    def observe(self, visits_B: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """(B,) bonuses >= 0 for what each attempt reached, 0 where that is nothing; the batch is remembered."""


def visits(environment: Environment, trajectory: Trajectory, seconds: Seconds) -> list[str]:
    """What the attempt reached, each once: its goals as JSON, or, without goals, the normalised final text.

    Nothing where the attempt came to no end of its own: whoever rambles to the limit of tokens says new things always.
    Raises Outage where the environment fails to tell its goals.
    """
    if trajectory.stop_reason not in (StopReason.TERMINATED, StopReason.TRUNCATED):
        return []
    if isinstance(environment, GoalEnvironment):
        goals = (json.dumps(a.goal, sort_keys=True) for a in ask_for_goals(environment, trajectory, seconds))
        return list(dict.fromkeys(goals))
    text = normalised(trajectory.final_text)
    return [text] if text else []


def normalised(text: str) -> str:
    """The text less what makes no difference: Unicode NFKC, case folded, runs of white space one space.

    >>> normalised("  The  Answer: 42 ")
    'the answer: 42'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Counts:
    """1 / sqrt(n), in (0, 1], for the thing reached n times up to now that is the rarest of the attempt's.

    The count-based bonus of Strehl and Littman (2008, MBIE-EB) and of Bellemare et al. (2016, arXiv:1606.01868).
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def observe(self, visits_B: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """(B,) bonuses; n counts the attempts of this batch too, so it is at least 1."""
        self._seen.update(visit for found in visits_B for visit in found)
        rarest_B = [min((self._seen[visit] for visit in found), default=0) for found in visits_B]
        return np.array([n**-0.5 if n else 0.0 for n in rarest_B], dtype=np.float64)


class RandomNetwork:
    """Random network distillation (Burda et al. 2018, arXiv:1810.12894): the predictor's error, over its running std.

    The target is a fixed random network of one hidden layer. So is the predictor, but that its last layer is trained,
    on all visits so far, to the optimum of squared error plus `RIDGE` |W|^2: in closed form, so that there is neither a
    step size nor an order, and the same visits give the same errors. Of what an attempt reached the largest error
    counts.
    """

    def __init__(self, seed: int) -> None:
        rng = keyed_rng(seed, "random network")
        self._target_FH = rng.standard_normal((FEATURES, HIDDEN))
        self._target_HK = rng.standard_normal((HIDDEN, OUTPUTS)) / HIDDEN**0.5
        self._predictor_FH = rng.standard_normal((FEATURES, HIDDEN))
        self._gram_HH = RIDGE * np.eye(HIDDEN)
        self._moment_HK = np.zeros((HIDDEN, OUTPUTS))
        self._errors: list[NDArray[np.float64]] = []

    def observe(self, visits_B: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """(B,) bonuses: errors divided by the standard deviation of all errors up to now, one a visit.

        They are 0 while all errors are alike: then nothing is newer than the rest.
        """
        count = Counter(visit for found in visits_B for visit in found)
        if not count:
            return np.zeros(len(visits_B))
        times_N = np.array(list(count.values()))
        error_N = self._learn(hashed_features(list(count)), times_N)
        self._errors.append(np.repeat(error_N, times_N))
        seen = np.concatenate(self._errors)
        deviation = float(seen.std())
        scale = 1 / deviation if deviation > 1e-9 * float(seen.mean()) else 0.0
        bonus = dict(zip(count, error_N * scale, strict=True))
        return np.array([max((bonus[visit] for visit in found), default=0.0) for found in visits_B], dtype=np.float64)

    def _learn(self, x_NF: NDArray[np.float64], times_N: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) mean squared errors after the last layer has been fitted to these visits too."""
        target_NK = np.tanh(x_NF @ self._target_FH) @ self._target_HK
        hidden_NH = np.tanh(x_NF @ self._predictor_FH) / HIDDEN**0.5
        weighted_HN = (hidden_NH * times_N[:, None]).T
        self._gram_HH += weighted_HN @ hidden_NH
        self._moment_HK += weighted_HN @ target_NK
        predicted_NK = hidden_NH @ np.linalg.solve(self._gram_HH, self._moment_HK)
        return np.asarray(((target_NK - predicted_NK) ** 2).mean(axis=1))


def hashed_features(texts_N: Sequence[str]) -> NDArray[np.float64]:
    """(N, F) signed counts of hashed character n-grams and of the whole text, in rows of length 1.

    Feature hashing as in Weinberger et al. (2009, arXiv:0902.2206): one hash gives bucket and sign.
    """
    x_NF = np.zeros((len(texts_N), FEATURES))
    for i, text in enumerate(texts_N):
        end = text[-LONGEST:]
        grams = [text, *(end[j : j + n] for n in GRAMS for j in range(len(end) - n + 1))]
        hashes = np.array([zlib.crc32(gram.encode("utf-8", "replace")) for gram in grams], dtype=np.int64)
        signs = np.where(hashes >> 31, 1.0, -1.0)
        x_NF[i] = np.bincount(hashes % FEATURES, weights=signs, minlength=FEATURES)
    length_N = np.linalg.norm(x_NF, axis=1, keepdims=True)
    return np.asarray(x_NF / np.where(length_N, length_N, 1.0))
