"""Advantages over a critic's values: PPO's GAE, and n-step and Monte-Carlo returns minus values, as one family.

Dimension letters: N trained tokens of one attempt, U turns of it, T decisions (tokens or turns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.advantages.batch import normalised_over_batch
from journeyman.agent.learning.advantages.returns import check_discount, gae, n_step_returns
from journeyman.agent.learning.advantages.tokens import token_advantages, turn_values


@dataclass(frozen=True)
class GaeEstimator:
    """Generalised advantages (see `returns.gae`); the critic's targets are advantages plus values, lambda-returns.

    `lam` 1 gives Monte-Carlo returns, 0 one-step ones.
    """

    discount: float = 1.0
    """gamma, in [0, 1]."""
    lam: float = 0.95
    """lambda, in [0, 1]."""
    n_step: int | None = None
    """Takes returns over so many decisions instead of lambda-returns."""
    over: Literal["tokens", "turns"] = "tokens"
    """What a decision is; a turn's value is that before its first token."""
    turn_rewards: bool = False
    """Whether the environment's own rewards count beside the rubric's at the end."""
    normalise: bool = True
    """Advantages minus their mean over all tokens of the update, divided by their standard deviation."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.VALUES})

    def __post_init__(self) -> None:
        """Refuses what is no discount, with SettingsError."""
        check_discount("discount", self.discount)
        check_discount("lam", self.lam)
        if self.n_step is not None and self.n_step < 1:
            raise SettingsError(f"estimator.n_step is {self.n_step}: it must be at least 1")

    def credit(self, attempts: Sequence[Attempt]) -> list[Credit]:
        """One for each attempt."""
        found = [self._of_tokens(a) if self.over == "tokens" else self._of_turns(a) for a in attempts]
        if not self.normalise:
            return found
        advantages = normalised_over_batch([c.advantages_N for c in found], [a.reward is not None for a in attempts])
        return [replace(c, advantages_N=one) for c, one in zip(found, advantages, strict=True)]

    def _of_tokens(self, attempt: Attempt) -> Credit:
        values_N = _values(attempt)
        rewards_N = attempt.token_rewards(turn_rewards=self.turn_rewards)
        advantages_N = self._advantages(rewards_N, values_N, attempt.final_value)
        return Credit(advantages_N, advantages_N + values_N)

    def _of_turns(self, attempt: Attempt) -> Credit:
        """All tokens of a turn foresee the same: what is to come from its beginning on."""
        values_U = turn_values(_values(attempt), attempt.turns_N)
        rewards_U = attempt.rewards_by_turn(turn_rewards=self.turn_rewards)
        advantages_U = self._advantages(rewards_U, values_U, attempt.final_value)
        spread = (token_advantages(one, attempt.turns_N) for one in (advantages_U, advantages_U + values_U))
        return Credit(*spread)

    def _advantages(
        self, rewards_T: NDArray[np.float64], values_T: NDArray[np.float64], bootstrap: float
    ) -> NDArray[np.float64]:
        if self.n_step is None:
            return gae(rewards_T, values_T, self.discount, self.lam, bootstrap)
        return n_step_returns(rewards_T, values_T, self.n_step, self.discount, bootstrap) - values_T


def _values(attempt: Attempt) -> NDArray[np.float64]:
    if attempt.values_N is None:
        raise ValueError("generalised advantages need the critic's values: give each attempt its values_N")
    return attempt.values_N
